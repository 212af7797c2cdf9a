"""The ledger: where records were made, and in what the compared sides were alike.

A boot reports for every side what has to be alike wherever two servers are compared (threads,
CPUs, library versions, weights). Where a field differs no ratio of these sides is printed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bench.analysis import overhead
from bench.analysis.facts import Row
from bench.records import Records


def ledger(group: Sequence[Records]) -> dict[str, dict[str, object]]:
    """ledger[field][side]: what every boot of a group reports, or all of it where boots differ.

    A side that some boot has no entry for is left out: what is unknown once is unknown.
    """
    boots = [boot for found in group for boot in _boots(found)]
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for boot in boots:
        for field, sides in _parity(boot).items():
            for side, value in sides.items():
                seen[field][side].append(value)
    return {
        field: {side: _one(values) for side, values in sides.items() if len(values) == len(boots)}
        for field, sides in seen.items()
    }


def rows(found: Records) -> dict[str, list[Row]]:
    """Rows of context.csv and parity.csv for one records file."""
    context: list[Row] = [{"field": field, "value": value} for field, value in _flat(found.context)]
    parity: list[Row] = []
    for boot in _boots(found):
        for field, sides in sorted(_parity(boot).items()):
            row: Row = {side: sides[side] for side in overhead.LEDGER if side in sides}
            equal = len(row) == len(overhead.LEDGER) and len(set(row.values())) == 1
            parity.append(row | {"boot": str(boot.get("boot")), "field": field, "equal": equal})
    return {"context": context, "parity": parity}


def _one(values: Sequence[str]) -> object:
    return values[0] if len(set(values)) == 1 else list(values)


def _boots(found: Records) -> list[Mapping[str, object]]:
    boots = found.context.get("per_boot", [])
    return [boot for boot in boots if isinstance(boot, Mapping)] if isinstance(boots, list) else []


def _parity(boot: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """One boot's fields by side, turned to sides by field."""
    sides = boot.get("parity", {})
    turned: dict[str, dict[str, str]] = defaultdict(dict)
    if isinstance(sides, Mapping):
        for side, fields in sides.items():
            for field, value in _flat(fields):
                turned[field][side] = value
    return turned


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested maps and lists as dotted names with the leaves' text; order kept."""
    if isinstance(value, Mapping):
        items: Iterable[tuple[object, object]] = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)
        return
    for key, inner in items:
        yield from _flat(inner, f"{name}.{key}" if name else str(key))
