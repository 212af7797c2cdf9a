"""Bounds: the type and size that a field of a closed message must have."""

from __future__ import annotations

from typing import Any, NamedTuple


class Bounds(NamedTuple):
    """Of an int itself, of a text's or byte string's length in bytes, of a map's count."""

    kind: type
    least: int
    most: int

    def fault(self, value: Any) -> str:
        """What is wrong with a value; empty if nothing is. The type is exact: no bool is an int."""
        found = type(value)
        if found is not self.kind:
            return f"{found.__name__} instead of {self.kind.__name__}"
        size = value if found is int else len(value.encode() if found is str else value)
        return "" if self.least <= size <= self.most else f"{size}, not {self.least} to {self.most}"


def exactly(size: int) -> Bounds:
    """A byte string of one size."""
    return Bounds(bytes, size, size)


COUNT = Bounds(int, 0, (1 << 64) - 1)
