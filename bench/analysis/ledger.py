"""The ledger: where records were made, and in what the compared sides were alike.

A boot reports for every side what has to be alike wherever two servers are compared (threads,
CPUs, library versions, weights). Where a field differs no ratio of these sides is printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.analysis import overhead
from bench.records import Records


def ledger(group: Sequence[Records]) -> dict[str, dict[str, object]]:
    """ledger[field][side]: what every boot of a group reports, or all of it where boots differ.

    A side that some boot has no entry for is left out: what is unknown once is unknown.
    """
    boots = [boot for found in group for boot in _boots(found)]
    return {
        str(field): {
            str(side): values.iloc[0] if values.nunique() == 1 else values.to_list()
            for side, values in sides.items()
            if values.count() == len(boots)
        }
        for field, sides in _parity(boots).groupby("field")
    }


def rows(found: Records) -> dict[str, list[dict[Any, Any]]]:
    """Rows of context.csv and parity.csv for one records file."""
    parity = _parity(_boots(found))
    equal = (parity.nunique(axis=1) == 1) & parity.notna().all(axis=1)
    return {
        "context": [{"field": field, "value": value} for field, value in _flat(found.context)],
        "parity": parity.assign(equal=equal).reset_index().to_dict("records"),
    }


def _boots(found: Records) -> list[tuple[str, Mapping[str, object]]]:
    """Each boot's name and what its sides reported, as far as the context has either."""
    boots = found.context.get("per_boot")
    maps = [boot for boot in boots if isinstance(boot, Mapping)] if isinstance(boots, list) else []
    reports = [(str(boot.get("boot")), boot.get("parity")) for boot in maps]
    return [(boot, sides if isinstance(sides, Mapping) else {}) for boot, sides in reports]


def _parity(boots: Sequence[tuple[str, Mapping[str, object]]]) -> pd.DataFrame:
    """A row per boot and field, a column per side; NaN where a boot has no entry for one."""
    told = [
        (place, boot, field, side, value)
        for place, (boot, sides) in enumerate(boots)
        for side, fields in sides.items()
        for field, value in _flat(fields)
    ]
    keys = ["place", "boot", "field", "side"]
    values = pd.DataFrame(told, columns=[*keys, "value"]).groupby(keys)["value"].last()
    return values.unstack("side").reindex(columns=overhead.LEDGER)


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
