"""A copy of the repository: the real rules, in seconds, where scripts only write their outputs.

A stub keeps its original's imports, unexecuted, so that every rule depends on the code it really
depends on.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = (
    *("Snakefile", "bench", "config", "enclave", "envs", "profiles", "report", "rules", "scripts"),
    *("aws", "gcp"),
)
LEAVINGS = shutil.ignore_patterns("__pycache__", "*.part")
WRITE = """
from pathlib import Path
for path in snakemake.output:
    Path(path).write_text(f"{path}\\n")
"""
MODELS = re.compile(r"^models:\n(?:  .*\n)+", re.MULTILINE)
FEW = """models:
  minilm: {tiers: [1, 4]}
  distilbert-seeded: {tiers: [1]}
"""
COUNT = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)


class Tree:
    """A copied repository with a finished run, or at least the means for one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def make(cls, root: Path, *, real: bool = False) -> Tree:
        """Copy what a run needs, choose few models, and replace the scripts unless they are to do
        what they do."""
        root.mkdir(exist_ok=True)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, root / name, ignore=LEAVINGS)
            else:
                shutil.copy2(ROOT / name, root / name)
        config = root / "config" / "config.yaml"
        text, count = MODELS.subn(FEW, config.read_text())
        assert count == 1, "config.yaml does not say which models"
        config.write_text(text)
        for script in () if real else (root / "scripts").glob("*.py"):
            script.write_text(_stub(script.read_text()))
        return cls(root)

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the workflow and return what it said, both streams in one."""
        return subprocess.run(
            command(arguments),
            cwd=self.root,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def finish(self, *arguments: str) -> None:
        """Run everything that is left to do."""
        done = self.snakemake("all", *arguments)
        assert done.returncode == 0, done.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs that a run would make, by rule; `all` itself left out."""
        done = self.snakemake("all", "--dry-run", *arguments)
        assert done.returncode == 0, done.stdout
        table = done.stdout.partition("Job stats:")[2].partition("\n\n")[0]
        counts = {rule: int(count) for rule, count in COUNT.findall(table)}
        return {rule: counts[rule] for rule in counts if rule not in ("all", "total")}

    @contextmanager
    def edited(self, name: str, old: str, new: str) -> Iterator[None]:
        """A file with `old` replaced, put back afterwards."""
        path = self.root / name
        before = path.read_text()
        assert old in before, f"{name} does not hold {old!r}"
        path.write_text(before.replace(old, new, 1))
        try:
            yield
        finally:
            path.write_text(before)


def command(arguments: Sequence[str]) -> list[str]:
    """The command line of a run."""
    return [sys.executable, "-m", "snakemake", *arguments]


def environment() -> dict[str, str]:
    """Ours, but for what `make test` leaves there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def _stub(source: str) -> str:
    imports = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return "if False:\n" + "".join(f"    {line}\n" for line in imports) + WRITE
