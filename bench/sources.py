"""Sources: the code that a rule depends on, as sorted paths relative to the repository's root.

Snakemake sees a script but none of the modules it imports, so every rule declares its code as
input. `folder()` lists what an image holds; `closure()` follows what a script imports. Both are
read without running anything, which is why the project has absolute imports only, and why a
module started by name (`python -m bench.host.relay`) has to stand in the code as that literal.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bench.tables import ConfigError

PACKAGES = ("bench", "enclave")
MODULE = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.[a-z_][a-z0-9_]*)+")
LEAVINGS = (".pyc", ".part")
UNMEASURED = (".md", "Dockerfile")  # prose, and what says how an image is made: not in it


def folder(name: str, root: Path = Path()) -> list[str]:
    """Every file below `name` that goes into an image."""
    return [path for path in files(name, root) if _measured(PurePosixPath(path))]


def files(name: str, root: Path = Path()) -> list[str]:
    """Every file below `name` but for hidden ones and leavings: a folder that is read whole."""
    paths = (_relative(path, root) for path in (root / name).rglob("*") if path.is_file())
    return sorted(path for path in paths if not _hidden(PurePosixPath(path)))


def closure(*entries: str, root: Path = Path()) -> list[str]:
    """The entries and every module of ours that they can reach.

    An entry is a script's path (`scripts/seal_model.py`) or a module's name (`bench.measure`).
    """
    found: set[Path] = set()
    waiting = [path for entry in entries for path in _entry(entry, root)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_reached(path, root))
    return sorted(_relative(path, root) for path in found)


def _entry(entry: str, root: Path) -> list[Path]:
    paths = [root / entry] if entry.endswith(".py") else _module(entry, root)
    if not paths or not all(path.is_file() for path in paths):
        raise ConfigError(
            entry,
            None,
            "code",
            found="no such file",
            expected="a script, or a module of bench or enclave",
            hint="a probe is named in config/metrics.tsv, a platform in config/config.yaml",
        )
    return paths


def _reached(path: Path, root: Path) -> Iterator[Path]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for name in _names(tree, path):
        if name.partition(".")[0] in PACKAGES:
            yield from _module(name, root)
    for name in _started(tree):
        yield from _module(name, root, started=True)


def _started(tree: ast.Module) -> Iterator[str]:
    """Modules that stand in the code as literals: they are run, and packages by `__main__`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and MODULE.fullmatch(str(node.value)):
            yield str(node.value)


def _names(tree: ast.Module, path: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ConfigError(
                    path,
                    node.lineno,
                    "import",
                    found="a relative import",
                    expected="an absolute one",
                    hint="what a rule depends on is read from the imports",
                )
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module(name: str, root: Path, *, started: bool = False) -> list[Path]:
    """Files that importing or starting `name` executes: its packages' `__init__` and itself."""
    parts = name.split(".")
    place = root.joinpath(*parts)
    own = [place.with_suffix(".py"), place / "__init__.py"]
    own += [place / "__main__.py"] if started else []
    if not any(path.is_file() for path in own):
        return []  # a name inside a module, or a folder without code of its own
    packages = [root.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts))]
    return [path for path in (*own, *packages) if path.is_file()]


def _hidden(path: PurePosixPath) -> bool:
    leavings = path.suffix in LEAVINGS or "__pycache__" in path.parts
    return leavings or any(part.startswith(".") for part in path.parts)


def _measured(path: PurePosixPath) -> bool:
    return path.suffix not in UNMEASURED and path.name not in UNMEASURED


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
