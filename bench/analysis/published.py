"""Published: result files of the original project, read strictly and summed up with our statistics.

A campaign is a folder of runs, a run a folder of JSON files as the original's harness writes them.
These hold no values but quantiles and means of each run, so runs are what our statistics are given:
a mean over runs with a t interval, and ratios formed within a run. What was written as 0 was not
measured and is absent. Rows say `platform: published` and never come near a record of ours.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench import catalogue
from bench.analysis import sheets, stats
from bench.analysis.facts import OK, SMALL
from bench.records import RecordError

PLATFORM = "published"
STATISTICS = ("mean", "p50")
SIDES = {"bare_metal": "plain", "enclave": "enclave"}
RATIO = ("enclave", "plain")
TRANSCRIBED = "transcribed"  # the field of a file that was typed in, and what it says of itself

STAGES = {
    "attestation_ms": "attest", "kms_key_release_ms": "key_release", "model_fetch_ms": "fetch",
    "model_decrypt_ms": "open", "model_load_ms": "load", "tokenizer_setup_ms": "tokenizer",
}  # fmt: skip
PAYLOADS = {"rtt_64b_ms": 64, "rtt_1kb_ms": 1024, "rtt_64kb_ms": 65536, "rtt_1mb_ms": 1048576}
CRYPTO = {
    "session_setup": "hpke.session_setup_ms",
    "receipt_issue": "receipt.sign_ms",
    "receipt_check": "receipt.verify_ms",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of one run."""

    metric: str
    side: str
    at: str
    statistic: str
    value: float


@dataclass(frozen=True, slots=True)
class Run:
    """What one file says, and of what."""

    campaign: str
    name: str
    hardware: str
    model: str
    evidence: str
    facts: tuple[Fact, ...]


class File:
    """One JSON file; every accessor complains about the exact field (RecordError)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.told = json.loads(path.read_bytes())
        except ValueError as error:
            raise self.error("file", str(error), "JSON", getattr(error, "lineno", 1)) from None
        if not isinstance(self.told, dict):
            raise self.error("file", type(self.told).__name__, "a map")

    def at(self, place: str) -> Any:
        """What stands at a dotted place; None where nothing does."""
        value: Any = self.told
        for name in place.split("."):
            if isinstance(value, dict):
                value = value.get(name)
            else:
                value = value[int(name)] if isinstance(value, list) else None
        return value

    def text(self, place: str) -> str:
        """Text that has to be there."""
        if not isinstance(self.at(place), str) or not self.at(place):
            raise self.error(place, self.at(place), "text")
        return str(self.at(place))

    def number(self, place: str) -> float | None:
        """A number above 0, or None where it is 0 or absent: not measured."""
        return self.given(place) if self.at(place) not in (None, 0) else None

    def given(self, place: str) -> float:
        """A number above 0 that has to be there."""
        value = self.at(place)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value < math.inf
        ):
            raise self.error(place, value, "a number above 0")
        return float(value)

    def levels(self, place: str) -> list[str]:
        """The places of a list's items, of which there has to be one."""
        found = self.at(place)
        if not isinstance(found, list) or not found:
            raise self.error(place, found, "a list of at least one map")
        return [f"{place}.{number}" for number in range(len(found))]

    def error(
        self, field: str, found: object, expected: object, line: int = 1, hint: str = ""
    ) -> RecordError:
        return RecordError(self.path, line, field, found=found, expected=expected, hint=hint)


def summarise(paths: Iterable[Path], metrics: Path, out: Path) -> None:
    """Write published.csv from the result files among `paths`; others are left alone.

    RecordError names file and field of what is not as the original's harness writes it.
    """
    runs = [read(path) for path in sorted(paths) if path.name in READERS]
    titles = {metric.id: metric for metric in catalogue.read(metrics)}
    rows = [row for group in _groups(runs) for row in _rows(group, titles)]
    sheets.write(out, pd.DataFrame(rows, columns=sheets.COSTS["published"], dtype=object))


def read(path: Path) -> Run:
    """Read one result file, of which its name says what is in it."""
    file = File(path)
    if (environment := file.text("environment")) not in SIDES:
        hint = "what a mock measured is no result; take the file out of the folder"
        raise file.error("environment", environment, f"one of {', '.join(SIDES)}", hint=hint)
    facts = tuple(READERS[path.name](file, SIDES[environment]))
    model = file.at("model_id") or file.at("model") or ""
    return Run(
        path.parent.parent.name, path.parent.name, file.text("hardware"), str(model),
        str(file.at(TRANSCRIBED) or "as published"), facts,
    )  # fmt: skip


def _served(file: File, side: str) -> Iterator[Fact]:
    """baseline_results.json, enclave_results.json: inference, stages, memory, round trips."""
    if file.path.name.partition("_")[0] != {"plain": "baseline"}.get(side, side):
        raise file.error("environment", file.at("environment"), "that of the file's name")
    yield from _latency(file, side, "inference.latency_ms", "inference_latency", "")
    rate = file.number("inference.throughput_inferences_per_sec")
    told = [("throughput", "sessions=1", rate)]
    told += [("cold_start", "", file.number("stages.cold_start_total_ms"))]
    told += [("peak_rss", "", file.number("memory.peak_rss_mb"))]
    for field, stage in STAGES.items():
        told.append(("cold_start_stage", f"stage={stage}", file.number(f"stages.{field}")))
    for field, size in PAYLOADS.items():
        trip = file.number(f"vsock.{field}")
        told.append(("transport_round_trip", f"payload_bytes={size}", trip))
    for metric, at, value in told:
        if value is not None:
            yield Fact(metric, side, at, "mean", value)


def _crypto(file: File, side: str) -> Iterator[Fact]:
    for metric, place in CRYPTO.items():
        yield from _latency(file, side, place, metric, "")


def _cose(file: File, side: str) -> Iterator[Fact]:
    yield from _latency(file, side, "full_verification_ms", "evidence_check", "")


def _concurrent(file: File, side: str) -> Iterator[Fact]:
    for place in file.levels("levels"):
        rate = file.given(f"{place}.throughput_inferences_per_sec")
        yield Fact(
            "throughput", side, f"sessions={file.given(f'{place}.concurrency'):g}", "mean", rate
        )


def _scaling(file: File, side: str) -> Iterator[Fact]:
    for place in file.levels("sizes"):
        tokens = f"tokens={file.given(f'{place}.actual_tokens'):g}"
        yield from _latency(file, side, f"{place}.latency_ms", "inference_latency", tokens)


READERS: dict[str, Callable[[File, str], Iterator[Fact]]] = {
    "baseline_results.json": _served,
    "enclave_results.json": _served,
    "crypto_results.json": _crypto,
    "cose_results.json": _cose,
    "concurrent_results.json": _concurrent,
    "input_scaling_results.json": _scaling,
}


def _latency(file: File, side: str, place: str, metric: str, at: str) -> Iterator[Fact]:
    for statistic in STATISTICS:
        yield Fact(metric, side, at, statistic, file.given(f"{place}.{statistic}"))


def _groups(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs of one model in one campaign on one kind of machine."""
    groups: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.campaign, run.hardware, run.model].append(run)
    return list(groups.values())


def _rows(group: Sequence[Run], listed: Mapping[str, catalogue.Metric]) -> Iterator[dict[str, Any]]:
    first = group[0]
    head = {"platform": PLATFORM, "campaign": first.campaign, "hardware": first.hardware}
    head |= {"model": first.model, "evidence": "; ".join(sorted({r.evidence for r in group}))}
    values: dict[tuple[str, str, str, str], dict[str, float]] = defaultdict(dict)
    for run in group:
        for fact in run.facts:
            values[fact.metric, fact.at, fact.statistic, fact.side][run.name] = fact.value
    for (metric, at, statistic, side), by_run in values.items():
        told = head | {"metric": metric, "at": at, "statistic": statistic}
        told |= {"title": listed[metric].title}
        yield told | {"side": side, "unit": listed[metric].unit} | _estimate(by_run.values())
        other = values.get((metric, at, statistic, RATIO[1]), {})
        if side == RATIO[0] and other:
            ratios = [value / other[run] for run, value in by_run.items() if run in other]
            yield told | {"side": "/".join(RATIO), "unit": "ratio"} | _estimate(ratios)


def _estimate(values: Iterable[float]) -> dict[str, Any]:
    """Mean over runs with a t interval: runs are to a campaign what boots are to a repetition."""
    found = stats.nested_median([[[value] for value in values]])
    small = found.value is None
    row = {"value": found.value, "low": found.low, "high": found.high, "runs": found.n}
    detail = f"{found.n} of {found.need} runs" if small else ""
    return row | {"status": SMALL if small else OK, "detail": detail}
