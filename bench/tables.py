"""Tables: tab-separated files read strictly, one row as one map of text.

Every complaint is a `ConfigError` that names file, line, field, what was found and what was
expected, because these files are edited by hand. Standard library only: the rules import this
at parse time, in Snakemake's own environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ABSENT = "-"  # how a table says "does not apply"; an empty cell is a mistake


class ConfigError(Exception):
    """A configuration file is not what it has to be: fix the file."""

    def __init__(
        self,
        path: Path | str,
        line: int | None,
        field: str,
        *,
        found: object,
        expected: object,
        hint: str = "",
    ) -> None:
        self.path, self.line, self.field = str(path), line, field
        self.found, self.expected, self.hint = found, expected, hint
        place = f"{path}, line {line}" if line else str(path)
        text = f"{place}, field {field}: found {found!r}, expected {expected}"
        super().__init__(f"{text}\nhint: {hint}" if hint else text)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; the accessors complain about the exact cell."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """The cell as it stands, or empty for `-`."""
        cell = self.cells[column]
        return "" if cell == ABSENT else cell

    def given(self, column: str) -> str:
        """The cell, which has to say something."""
        if self.cells[column] == ABSENT:
            raise self.error(column, expected="a value")
        return self.cells[column]

    def one_of(self, column: str, choices: Sequence[str]) -> str:
        """The cell, which has to be one of `choices`."""
        if self.cells[column] not in choices:
            raise self.error(column, expected=f"one of {', '.join(choices)}")
        return self.cells[column]

    def words(self, column: str, choices: Sequence[str] = ()) -> tuple[str, ...]:
        """The cell's blank-separated words, each one of `choices` where these are given."""
        words = tuple(self.text(column).split())
        for word in words:
            if choices and word not in choices:
                raise self.error(column, found=word, expected=f"any of {', '.join(choices)}")
        return words

    def integer(self, column: str, *, least: int = 0) -> int:
        """The cell as an integer of at least `least`."""
        cell = self.cells[column]
        if not (cell.isascii() and cell.isdigit() and int(cell) >= least):
            raise self.error(column, expected=f"an integer of at least {least}")
        return int(cell)

    def error(
        self, column: str, *, expected: object, found: object = None, hint: str = ""
    ) -> ConfigError:
        """The complaint about this cell, to be raised by the caller."""
        found = self.cells[column] if found is None else found
        return ConfigError(self.path, self.line, column, found=found, expected=expected, hint=hint)


def read(path: Path, columns: Sequence[str], *, key: Sequence[str]) -> list[Row]:
    """Rows of a table that has exactly these columns and no two rows with the same key."""
    lines = list(_lines(path))
    if not lines:
        raise ConfigError(path, 1, "header", found="an empty file", expected=" ".join(columns))
    number, header = lines[0]
    if header != list(columns):
        raise ConfigError(
            path,
            number,
            "header",
            found=" ".join(header),
            expected=" ".join(columns),
            hint="columns are separated by one tab and stand in this order",
        )
    rows = [_row(path, line, header, cells) for line, cells in lines[1:]]
    _unique(rows, key)
    return rows


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(path, None, "file", found="no such file", expected="a table") from None
    except UnicodeDecodeError as error:
        found = f"a byte at {error.start} that is not"
        raise ConfigError(path, None, "file", found=found, expected="UTF-8 text") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line.split("\t")


def _row(path: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(header):
        raise ConfigError(
            path,
            line,
            "row",
            found=f"{len(cells)} cells",
            expected=f"{len(header)} cells",
            hint=f"columns are {' '.join(header)}, separated by one tab",
        )
    for column, cell in zip(header, cells, strict=True):
        if not cell or cell != cell.strip():
            raise ConfigError(
                path,
                line,
                column,
                found=cell,
                expected=f"text without blanks around it, or {ABSENT}",
            )
    return Row(path, line, dict(zip(header, cells, strict=True)))


def _unique(rows: Sequence[Row], key: Sequence[str]) -> None:
    seen: dict[tuple[str, ...], int] = {}
    for row in rows:
        name = tuple(row.cells[column] for column in key)
        if name in seen:
            raise ConfigError(
                row.path,
                row.line,
                " ".join(key),
                found=" ".join(name),
                expected=f"a name of its own (line {seen[name]} has it)",
            )
        seen[name] = row.line
