"""The ledger: where records were made, and in what the compared sides were alike.

A boot reports for every side what has to be alike wherever two servers are compared (threads,
CPUs, library versions, weights). Where a field differs no ratio of these sides is printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis import overhead
from bench.records import Records


def ledger(group: Sequence[Records]) -> dict[str, dict[str, object]]:
    """ledger[field][side]: what every boot of a group reports, or all of it where boots differ.

    A side that some boot started and has no entry for is left out: unknown once is unknown.
    """
    boots = [boot for found in group for boot in _boots(found)]
    started = {side: sum(side in boot.started for boot in boots) for side in overhead.LEDGER}
    return {
        str(field): {
            str(side): values.iloc[0] if values.nunique() == 1 else values.to_list()
            for side, values in ((side, sides[side].dropna()) for side in sides)
            if values.count() == started[str(side)] > 0
        }
        for field, sides in _parity(boots).groupby("field")
    }


def rows(found: Records) -> dict[str, list[dict[Any, Any]]]:
    """Rows of context.csv and parity.csv for one records file."""
    boots = _boots(found)
    parity = _parity(boots)
    wanted = [len(boots[place].started) for place in parity.index.get_level_values("place")]
    equal = (parity.nunique(axis=1) == 1) & (parity.count(axis=1) == wanted)
    return {
        "context": [{"field": field, "value": value} for field, value in _flat(found.context)],
        "parity": parity.assign(equal=equal).reset_index().to_dict("records"),
    }


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot's name, which sides it started, and what these reported."""

    name: str
    started: Sequence[str]
    parity: Mapping[str, object]


def _boots(found: Records) -> list[Boot]:
    """As far as the context says it; a boot that does not say which sides it had had all."""
    boots = found.context.get("per_boot")
    maps = [boot for boot in boots if isinstance(boot, Mapping)] if isinstance(boots, list) else []
    return [
        Boot(
            str(boot.get("boot")),
            [side for side in boot.get("sides", overhead.LEDGER) if side in overhead.LEDGER],
            parity if isinstance(parity := boot.get("parity"), Mapping) else {},
        )
        for boot in maps
    ]


def _parity(boots: Sequence[Boot]) -> pd.DataFrame:
    """A row per boot and field, a column per side; NaN where a boot has no entry for one."""
    told = [
        (place, boot.name, field, side, value)
        for place, boot in enumerate(boots)
        for side, fields in boot.parity.items()
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
