"""The catalogue of attacks and the page made of it.

`attacks.tsv` says what each attack is and what has to happen; `@pytest.mark.attack(N, ...)` says
which test holds row N. `python -m tests.attacks` writes ATTACKS.md from both. Marks are read from
the source, so a test that is skipped on this machine is listed all the same.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS / "attacks.tsv"
PAGE = TESTS / "ATTACKS.md"
KINDS = {
    "hardware": "needs a real security module or cloud account",
    "later": "the code it would attack is not written yet",
    "limit": "cannot be had here, and SPEC.md or the report says so",
}
HEAD = """\
# Attacks, and the tests that hold them

Made by `make attacks` from `tests/attacks.tsv` and the marks `@pytest.mark.attack(...)` on tests;
a test fails when it is out of date. CI runs every test named here, and a change is taken only when
all pass. What a test needs and a machine lacks (a corpus, a tool), it skips, saying so.

A row is held when its tests insist on what stands after "Required". That is no claim that the
attack has no other form; what is known to be missing stands first.
"""


@dataclass(frozen=True, slots=True)
class Attack:
    """One row. `open` is empty, or `kind: what is not covered`."""

    number: int
    name: str
    required: str
    sources: str
    open: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A test that holds a row."""

    number: int
    file: str
    test: str


def read(path: Path = TABLE) -> list[Attack]:
    """The rows in order; ValueError for a table that is not one."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if rows[0] != ["number", "attack", "required", "sources", "open"]:
        raise ValueError(f"{path.name}: another header")
    attacks = [Attack(int(number), *rest) for number, *rest in rows[1:]]
    if [attack.number for attack in attacks] != list(range(1, len(attacks) + 1)):
        raise ValueError(f"{path.name}: rows are not numbered 1, 2, 3, ...")
    for attack in attacks:
        if attack.open and attack.open.split(":")[0] not in KINDS:
            raise ValueError(
                f"{path.name}: row {attack.number} is open for no known kind of reason"
            )
    return attacks


def collect(folder: Path = TESTS) -> list[Mark]:
    """Every mark in a folder of tests, in the order of files and lines."""
    marks = []
    for path in sorted(folder.rglob("test_*.py")):
        source = path.read_text()
        if "mark.attack(" in source:
            file = path.relative_to(folder).as_posix()
            marks += [Mark(number, file, test) for test, number in _marks(ast.parse(source))]
    return marks


def _marks(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(test, row). A mark inside `pytest.param(...)` counts for its test, `pytestmark` for all."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for part in node.decorator_list:
                yield from ((node.name, row) for row in _rows_in(part))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    names = {ast.unparse(node.targets[0]): node.value for node in assigned}
    if "pytestmark" in names:
        tests = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        for test in [*tests, *names]:
            if test.startswith(("test_", "Test")):
                yield from ((test, row) for row in _rows_in(names["pytestmark"]))


def _rows_in(part: ast.expr) -> Iterator[int]:
    for node in ast.walk(part):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.attack":
            yield from map(ast.literal_eval, node.args)


def page(attacks: Sequence[Attack], marks: Sequence[Mark]) -> str:
    """The whole page."""
    held = {a.number: [m for m in marks if m.number == a.number] for a in attacks}
    return "\n".join([HEAD, *_summary(attacks, held), *_gaps(attacks, held), *_rows(attacks, held)])


def _summary(attacks: Sequence[Attack], held: Mapping[int, Sequence[Mark]]) -> Iterator[str]:
    whole = sum(bool(held[a.number]) and not a.open for a in attacks)
    part = sum(bool(held[a.number]) and bool(a.open) for a in attacks)
    tests = len({(m.file, m.test) for marks in held.values() for m in marks})
    yield (
        f"{len(attacks)} rows: {whole} held, {part} held in part, "
        f"{len(attacks) - whole - part} not held; {tests} tests.\n"
    )


def _gaps(attacks: Sequence[Attack], held: Mapping[int, Sequence[Mark]]) -> Iterator[str]:
    yield "## What is not covered\n"
    yield "| row | attack | held | why | what is missing |\n|---|---|---|---|---|"
    for attack in attacks:
        if attack.open:
            kind, _, missing = attack.open.partition(": ")
            extent = "in part" if held[attack.number] else "no"
            yield f"| {attack.number} | {attack.name} | {extent} | {kind} | {missing} |"
    yield ""
    yield from (f"*{kind}*: {meaning}." for kind, meaning in KINDS.items())
    yield ""


def _rows(attacks: Sequence[Attack], held: Mapping[int, Sequence[Mark]]) -> Iterator[str]:
    yield "## The rows\n"
    for attack in attacks:
        yield f"### {attack.number}. {attack.name}\n"
        yield f"Required: {attack.required}. Sources: {attack.sources}.\n"
        files: dict[str, list[str]] = {}
        for mark in held[attack.number]:
            files.setdefault(mark.file, []).append(f"`{mark.test}`")
        for file, tests in files.items():
            yield f"- [{file}]({file}): {', '.join(dict.fromkeys(tests))}"
        yield "" if files else "No test.\n"


if __name__ == "__main__":
    PAGE.write_text(page(read(), collect()))
