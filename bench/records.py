"""Records: what was observed, kept whole, as JSON lines.

Line 1 is `{"context": {...}}`; every further line is one observation or one failure. Nothing is
aggregated here and nothing is ever dropped: judgement comes later and can be redone. A file is
written to a temporary name, synced and renamed, so a half-written one never has the final name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from bench import files

SCHEMA = 1
EVERY = "every"  # the side of a failure that took all sides of a metric

TYPE_NAMES = {str: "text", int: "integer", bool: "true or false", dict: "map"}

T = TypeVar("T")

Axes = tuple[tuple[str, str | int | float], ...]


class RecordError(Exception):
    """A results file is not what it claims to be: fix the data, not the code."""

    def __init__(
        self, path: Path, line: int, field: str, *, found: object, expected: object, hint: str = ""
    ) -> None:
        text = f"{path}, line {line}, field {field}: found {found!r}, expected {expected}"
        super().__init__(f"{text}\nhint: {hint}" if hint else text)


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured value in the catalogue's unit of its metric.

    `block` numbers the mirrored block an interleaved request belongs to, `iteration` counts
    within (metric, side, boot, axes) in the order measured.
    """

    metric: str
    side: str
    boot: int
    block: int
    iteration: int
    value: float
    warmup: bool = False
    at: Axes = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that could not be measured, and why."""

    metric: str
    side: str
    boot: int
    reason: str
    at: Axes = ()


@dataclass(frozen=True, slots=True)
class Records:
    """One records file: the context and everything observed in it."""

    context: Mapping[str, object]
    observations: tuple[Observation, ...]
    failures: tuple[Failure, ...]


def encode(record: Observation | Failure) -> str:
    """One line, without the newline. The bytes are what an enclave signs a digest of."""
    if isinstance(record, Failure):
        fields: dict[str, object] = {"metric": record.metric, "side": record.side}
        fields |= {"boot": record.boot, "at": dict(record.at), "failed": record.reason}
    else:
        fields = {name: getattr(record, name) for name in Observation.__slots__}
        fields["at"] = dict(record.at)
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def identity(plan: Mapping[str, object]) -> str:
    """SHA-256 in hex of everything in a context that was fixed before the first observation."""
    return sha256(json.dumps(plan, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def digest(identity: str, lines: Iterable[str]) -> bytes:
    """What an enclave signs for one boot: SHA-256 over its plan's identity and its record lines."""
    return sha256("".join(f"{line}\n" for line in (identity, *lines)).encode()).digest()


def counted(found: Iterable[Observation | Failure]) -> list[Observation]:
    """What a file's statistics may count: no value of a probe that failed later in that boot."""
    every = list(found)
    failed = {(record.metric, record.boot) for record in every if isinstance(record, Failure)}
    return [
        record
        for record in every
        if isinstance(record, Observation) and (record.metric, record.boot) not in failed
    ]


def write(path: Path, context: Mapping[str, object], lines: Iterable[str]) -> None:
    """Write a records file atomically; `lines` come from `encode`."""
    head = json.dumps(
        {"context": {"schema": SCHEMA, **context}}, separators=(",", ":"), sort_keys=True
    )
    files.replace(path, "".join(f"{line}\n" for line in (head, *lines)).encode())


def read(path: Path) -> Records:
    """Read and check a records file; RecordError names file, line, field, found, expected."""
    context: Mapping[str, object] | None = None
    observations: list[Observation] = []
    failures: list[Failure] = []
    for number, fields in _lines(path):
        if number == 1:
            context = _context(path, fields)
            continue
        record = decode(path, number, fields)
        if isinstance(record, Failure):
            failures.append(record)
        else:
            observations.append(record)
    if context is None:
        raise RecordError(path, 1, "context", found="an empty file", expected="a context line")
    return Records(context, tuple(observations), tuple(failures))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise RecordError(
                    path, number, "line", found=line[:60], expected="one JSON map", hint=str(error)
                ) from None
            if type(fields) is not dict:
                raise RecordError(path, number, "line", found=line[:60], expected="one JSON map")
            yield number, fields


def _context(path: Path, fields: dict[str, object]) -> Mapping[str, object]:
    context = fields.get("context")
    if type(context) is not dict or set(fields) != {"context"}:
        raise RecordError(path, 1, "context", found=sorted(fields), expected="one context map")
    if context.get("schema") != SCHEMA:
        raise RecordError(path, 1, "schema", found=context.get("schema"), expected=SCHEMA)
    return context


def decode(path: Path, number: int, fields: dict[str, object]) -> Observation | Failure:
    """One line's map to its record, every field's type checked exactly."""

    def take(name: str, kind: type[T]) -> T:
        value = fields.get(name)
        if type(value) is not kind:
            raise RecordError(path, number, name, found=value, expected=TYPE_NAMES[kind])
        return value

    names = {"metric", "side", "boot", "at", "failed"}
    if "failed" not in fields:
        names = set(Observation.__slots__)
    if set(fields) != names:
        raise RecordError(path, number, "fields", found=sorted(fields), expected=sorted(names))
    at = tuple(take("at", dict).items())
    if not all(type(value) in (str, int, float) for _, value in at):
        raise RecordError(path, number, "at", found=dict(at), expected="text or numbers")
    metric, side, boot = take("metric", str), take("side", str), take("boot", int)
    if "failed" in fields:
        return Failure(metric, side, boot, take("failed", str), at)
    value = fields["value"]
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise RecordError(path, number, "value", found=value, expected="a finite number")
    block, iteration, warmup = take("block", int), take("iteration", int), take("warmup", bool)
    return Observation(metric, side, boot, block, iteration, float(value), warmup, at)  # type: ignore[arg-type]
