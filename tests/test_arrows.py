"""Who may import whom (ARCHITECTURE.md). An arrow that is missing here does not exist."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("bench", "enclave")

# The longest prefix of a module decides; a module may always import its own package.
ARROWS: dict[str, tuple[str, ...]] = {
    "enclave": ("enclave.wire", "enclave.tee", "enclave.models", "enclave.memory"),
    "enclave.wire": (),
    "enclave.tee": ("enclave.wire",),
    "enclave.models": ("enclave.wire", "enclave.memory"),
    "enclave.memory": (),
    "bench": (),
    "bench.tables": (),
    "bench.sources": ("bench.tables",),
    "bench.settings": ("bench.tables",),
    "bench.plan": ("bench.tables",),
    "bench.catalogue": ("bench.tables",),
    "bench.jobs": tuple(
        f"bench.{name}" for name in ("catalogue", "plan", "settings", "sources", "tables")
    ),
    "bench.goals": ("bench.tables",),
    "bench.prices": ("bench.plan", "bench.tables"),
    # Probes draw faults and emulators play them: neither knows the other, both know what one is.
    "bench.faults": (),
    "bench.files": (),
    "bench.records": ("bench.files", "enclave.wire"),
    "bench.context": (),
    "bench.host": (),
    "bench.image": ("bench.files",),
    "bench.verify": ("enclave.wire",),
    # The command is the door to all verifiers, also to those that walk records and images. It is
    # imported by nobody, so this arrow leads nowhere that the package's own would not.
    "bench.verify.__main__": (
        *("bench.verify", "bench.analysis.evidence", "bench.image", "bench.records"),
        "enclave.wire",
    ),
    # A client waits by the same clockwork as the enclave: deadlines that count in total.
    "bench.client": ("enclave.wire", "enclave.deadlines", "bench.verify"),
    "bench.emulators": ("bench.faults", "bench.files", "bench.verify", "enclave.wire"),
    "bench.platforms": (
        *("bench.host", "bench.image", "bench.verify", "bench.emulators", "bench.faults"),
        *("bench.weights.seal", "bench.weights.seeded", "enclave.wire"),
    ),
    # Releases of the key are measured outside with the very code that the enclave runs.
    "bench.platforms.releases": (
        *("bench.faults", "bench.platforms", "enclave.tee", "enclave.wire"),
    ),
    "bench.weights": ("bench.files", "enclave.models", "enclave.wire"),
    "bench.plain": ("enclave.models", "enclave.wire", "enclave.memory", "enclave.stages"),
    "bench.probes": (
        *("bench.client", "bench.faults", "bench.verify", "bench.records", "enclave.wire"),
        "bench.weights.corpus",  # text that nothing was trained on
    ),
    # Continuations are judged by embeddings of tokens, which no server gives away.
    "bench.probes.bert_score": ("enclave.models",),
    "bench.measure": (
        *("bench.platforms", "bench.probes", "bench.records", "bench.context", "bench.client"),
        *("bench.files", "bench.verify", "enclave.wire"),
    ),
    # Engines beside ours, and parts of ours beside the least that does the same: they know no
    # platform, so the parts of the enclave are taken from it one by one.
    "bench.peers": (
        *("bench.context", "bench.files", "bench.probes.inputs", "bench.records"),
        *("bench.client", "bench.weights", "enclave"),
    ),
    "bench.analysis": (
        *(
            "bench.files",
            "bench.records",
            "bench.plan",
            "bench.catalogue",
            "bench.goals",
            "bench.prices",
            "bench.tables",
            "bench.verify",
        ),
        *("bench.image.measurements", "enclave.wire"),
    ),
    "scripts": ("bench", "enclave.wire.sealed"),
    "rules": ("bench.jobs", "bench.plan", "bench.sources", "bench.goals", "bench.prices"),
    "envs": (),
    "tests": ("bench", "enclave", "tests"),
}

# The rules run in Snakemake's own environment, which holds these two and nothing else of ours.
PARSE_TIME = ("jobs", "plan", "catalogue", "sources", "settings", "tables", "goals", "prices")
IN_SNAKEMAKE = ("jsonschema", "yaml")

# The protocol is bytes in, bytes out: no clock, no socket, no machine.
IMPURE = ("asyncio", "logging", "os", "pathlib", "random", "socket", "subprocess", "threading")
IMPURE += ("time", "torch")


def python_files() -> list[Path]:
    folders = ("enclave", "bench", "scripts", "envs", "tests")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Modules and names a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def owner(module: str) -> str:
    """The key of ARROWS that speaks of a module."""
    keys = [key for key in ARROWS if module == key or module.startswith(f"{key}.")]
    assert keys, f"{module} has no place among the arrows: give it one in tests/test_arrows.py"
    return max(keys, key=len)


def below(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def forbidden(module: str, names: set[str]) -> list[str]:
    """Imports of ours that no arrow allows."""
    home = owner(module)
    ours = sorted(name for name in names if name.partition(".")[0] in (*OURS, "scripts", "tests"))
    return [name for name in ours if not below(name, ARROWS[home]) and not below(name, (home,))]


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    assert forbidden(module_of(path), imports(path)) == []


def test_an_import_against_the_arrows_is_seen() -> None:
    assert forbidden("bench.host.relay", {"enclave.wire.session"}) == ["enclave.wire.session"]
    assert forbidden("enclave.boot", {"bench.records.read"}) == ["bench.records.read"]
    assert forbidden("enclave.wire.cbor", {"enclave.tee.Tee"}) == ["enclave.tee.Tee"]
    assert forbidden("bench.client.session", {"bench.emulators.nsm"}) == ["bench.emulators.nsm"]
    assert forbidden("bench.client.session", {"bench.verify.nitro", "socket"}) == []


@pytest.mark.attack(49)
def test_only_platforms_reach_emulators() -> None:
    reaching = {key for key, places in ARROWS.items() if below("bench.emulators", places)}
    assert reaching == {"bench.platforms", "scripts", "tests"}


@pytest.mark.parametrize("name", PARSE_TIME)
def test_what_rules_import_needs_nothing_that_snakemake_lacks(name: str) -> None:
    outside = {
        found.partition(".")[0] for found in imports(ROOT / "bench" / f"{name}.py")
    } - sys.stdlib_module_names
    assert outside <= {"bench", *IN_SNAKEMAKE}


def test_rules_import_only_what_the_arrows_allow() -> None:
    for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        lines = [line for line in path.read_text().splitlines() if " import " in line]
        tree = ast.parse("\n".join(line for line in lines if line.startswith(("from ", "import "))))
        names = {
            f"{node.module}.{alias.name}"
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert forbidden("rules", names) == [], path.name


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "enclave" / "wire").glob("*.py")),
    ids=lambda path: path.name,
)
def test_the_wire_touches_no_world(path: Path) -> None:
    assert {name for name in imports(path) if below(name, IMPURE)} == set()
