"""Prices: a dated snapshot of what instances cost, and what is bought for each that is measured.

A snapshot is a file `config/prices/<date>.json` that people write by hand, so every complaint names
file, field, what was found and what was expected. The newest counts. Standard library only: the
rules read it at parse time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.plan import Instance
from bench.tables import ConfigError

SCHEMA = 1
KINDS = ("estimate", "quoted")  # read in tables, or asked of the provider's own service
CLASSES = ("on-demand", "spot", "reserved")

HEAD = ("schema", "date", "currency", "kind", "source", "note", "rows")
REQUIRED = ("provider", "region", "instance", "class", "usd_per_hour")
OPTIONAL = ("gpu", "source", "as_of", "note")

# CPU 0 and its siblings stay with the parent (Linux, Documentation/virt/ne_overview.rst): one core
# of two threads. A confidential virtual machine has no parent among the vCPUs that are paid for.
PARENT_VCPUS = {"aws-nitro": 2}


@dataclass(frozen=True, slots=True)
class Price:
    """What an instance costs in one class; `gpu` names an accelerator that keeps secrets."""

    provider: str
    region: str
    instance: str
    price_class: str
    usd_per_hour: float
    gpu: str
    source: str
    as_of: str
    note: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One file of prices; `sha256` is of its bytes."""

    date: str
    kind: str
    source: str
    note: str
    sha256: str
    prices: tuple[Price, ...]

    def of(self, instance: str) -> tuple[Price, ...]:
        """Every class that an instance is offered in, in the file's order."""
        return tuple(price for price in self.prices if price.instance == instance)


def newest(folder: Path) -> Path:
    """The snapshot that counts; ConfigError where there is none."""
    found = sorted(folder.glob("*.json"))
    if not found:
        raise ConfigError(folder, None, "file", found="no snapshot", expected="<date>.json")
    return found[-1]


def read(path: Path) -> Snapshot:
    """Read and check a snapshot; ConfigError names the field that is wrong."""
    data = path.read_bytes()
    try:
        told = json.loads(data, parse_constant=float)
    except ValueError as error:
        raise _error(path, "file", str(error), "JSON") from None
    if not isinstance(told, dict):
        raise _error(path, "file", type(told).__name__, "a map")
    _names(path, "", told, HEAD, ())
    _head(path, told)
    rows = tuple(_price(path, f"rows[{n}]", row, told) for n, row in enumerate(told["rows"]))
    _unique(path, rows)
    return Snapshot(told["date"], told["kind"], told["source"], told["note"],
                    sha256(data).hexdigest(), rows)  # fmt: skip


def bought(
    chosen: Iterable[Instance], known: Sequence[Instance]
) -> dict[str, dict[str, str | int | bool]]:
    """What is paid for where each chosen instance is used, as plain maps by its name.

    Its price's name, the vCPUs that price buys, those one server has, how many enclaves fit beside
    the parent, and whether the price is that of another machine. Nothing else of a row decides a
    cost. An instance without `priced_as` is left out.
    """
    names = {row.instance: row for row in known if row.platform != "local"}
    made: dict[str, dict[str, str | int | bool]] = {}
    for row in (row for row in chosen if row.priced_as):
        paid = names.get(row.priced_as, row)
        enclaves = (paid.vcpus - PARENT_VCPUS.get(paid.platform, 0)) // row.enclave_vcpus
        made[row.instance] = {
            "priced_as": row.priced_as,
            "vcpus": paid.vcpus,
            "server_vcpus": row.enclave_vcpus,
            "enclaves": max(enclaves, 0),
            "hypothetical": row.platform == "local" or row.priced_as != row.instance,
        }
    return made


def _error(path: Path, field: str, found: object, expected: object, hint: str = "") -> ConfigError:
    return ConfigError(path, None, field, found=found, expected=expected, hint=hint)


def _names(
    path: Path,
    place: str,
    told: Mapping[str, Any],
    required: Sequence[str],
    optional: Sequence[str],
) -> None:
    """Every field that has to be there, and none that is unknown: it may be a misspelt one."""
    for name in required:
        if name not in told:
            raise _error(path, place + name, None, "a value")
    for name in told:
        if name not in (*required, *optional):
            raise _error(path, place + name, name, f"one of {', '.join((*required, *optional))}")


def _head(path: Path, told: Mapping[str, Any]) -> None:
    if told["schema"] != SCHEMA:
        raise _error(path, "schema", told["schema"], SCHEMA)
    if _day(path, "date", told["date"]) != path.stem:
        raise _error(path, "date", told["date"], f"{path.stem}, as the file is called")
    _one_of(path, "currency", told["currency"], ("USD",))
    _one_of(path, "kind", told["kind"], KINDS)
    for name in ("source", "note"):
        _text(path, name, told[name])
    if not isinstance(told["rows"], list) or not told["rows"]:
        raise _error(path, "rows", told["rows"], "a list of at least one price")


def _price(path: Path, place: str, row: Any, told: Mapping[str, Any]) -> Price:
    if not isinstance(row, dict):
        raise _error(path, place, row, "a map")
    _names(path, f"{place}.", row, REQUIRED, OPTIONAL)
    for name in row.keys() - {"usd_per_hour"}:
        _text(path, f"{place}.{name}", row[name])
    _one_of(path, f"{place}.class", row["class"], CLASSES)
    usd = row["usd_per_hour"]
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 < usd < math.inf:
        raise _error(path, f"{place}.usd_per_hour", usd, "a number above 0")
    return Price(
        row["provider"], row["region"], row["instance"], row["class"], float(usd),
        gpu=row.get("gpu", ""), source=row.get("source", told["source"]),
        as_of=row.get("as_of", told["date"]), note=row.get("note", ""),
    )  # fmt: skip


def _unique(path: Path, rows: Sequence[Price]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows):
        first = seen.setdefault((row.instance, row.price_class), number)
        if first != number:
            found = f"{row.instance} {row.price_class}"
            expected = f"a price of its own (rows[{first}] has it)"
            hint = "one region to a snapshot: a cost is made from one price"
            raise _error(path, f"rows[{number}]", found, expected, hint)


def _one_of(path: Path, field: str, found: object, choices: Sequence[str]) -> None:
    if found not in choices:
        raise _error(path, field, found, f"one of {', '.join(choices)}")


def _text(path: Path, field: str, found: object) -> None:
    if not isinstance(found, str) or not found.strip():
        raise _error(path, field, found, "text")


def _day(path: Path, field: str, found: object) -> str:
    try:
        return date.fromisoformat(str(found)).isoformat()
    except ValueError:
        raise _error(path, field, found, "a day, as 2026-01-31") from None
