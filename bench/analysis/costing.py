"""Costing: the summary's rates and ratios, priced; one row for one printed cost.

    cost.csv       what inferences and tokens cost, overheads, multiples, instances compared
    crossover.csv  where a confidential GPU becomes cheaper, by volume and by batch
    instances.csv  the comparison of instances as a pivot: instance x model
    gpus.csv       what others published of confidential GPUs, tokens counted in one way
    prices.csv     the prices that all this was made from, with date, digest and source

Nothing is measured here and no price is guessed. A cost whose price is another machine's is marked
hypothetical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from bench import catalogue, prices
from bench.analysis import cost, crossings, gpu, market, sheets
from bench.analysis.cost import Range
from bench.analysis.facts import OK
from bench.analysis.market import COMPARED, Market, Place, Row, absent, carried
from bench.prices import Price

TIER = 2
LATENCIES = (
    *("request_latency", "inference_latency"),
    *("completion_latency", "time_to_first_token", "inter_token_latency"),
)
DIFFERENCE = "difference"  # in the column `side`: enclave less plain
CROWDED = absent("no enclave fits beside its parent")
ALONE = "one instance was measured, so there is nothing to compare it with"


def calculate(
    summary: Path,
    metrics: Path,
    snapshot: Path,
    figures: Path,
    *,
    bought: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[str, str],
    utilisation: Sequence[float],
    out: Path,
) -> None:
    """Write the five CSV files into `out` from the metrics.csv and overhead.csv in `summary`.

    `bought` is what `bench.prices.bought` says of each instance, `kinds` the catalogue's kind of
    each model. ConfigError where a table or the snapshot is wrong.
    """
    sold = Market(prices.read(snapshot), utilisation, gpu.read(figures))
    found = list(market.places(summary, sold, bought, kinds))
    crossed = [row for place in found for row in crossings.rows(place, sold)]
    costs = [row for place in found for row in cost_rows(place, sold)]
    costs += _comparison(costs, found, sold)
    costs += [row for row in crossed if row.get("utilisation") in (sold.busiest, None)]
    crossed += crossings.break_even(found, sold)
    listed = {row.id: row for row in catalogue.read(metrics) if row.tier == TIER}
    sheets_of = {"cost": costs, "crossover": crossed, "gpus": _gpus(sold), "prices": _prices(sold)}
    for name, rows in sheets_of.items():
        frame = pd.DataFrame(rows, columns=sheets.COSTS[name], dtype=object)
        if "title" in frame:
            frame["tier"] = TIER
            frame["title"] = [listed[name].title for name in frame["metric"]]
            units = [listed[name].unit for name in frame["metric"]]
            frame["unit"] = frame["unit"].where(frame["unit"].notna(), units)
        sheets.write(out / f"{name}.csv", frame)
    sheets.write(out / "instances.csv", pivot(costs))


def cost_rows(place: Place, sold: Market) -> Iterator[Row]:
    """T2.1 to T2.4 of one model on one instance."""
    rate = place.workload.rate
    rates = [*place.rates("plain"), *place.rates("enclave")]
    if place.missing or not rates:
        why = absent(place.missing or f"no record holds {rate}")
        yield place.head | {"metric": place.workload.metric} | why
    times = {row["at"]: row for row in place.ratios(rate)}
    for price, basis, busy in product(place.prices, cost.BASES, sold.utilisation):
        head = place.priced(price, metric=place.workload.metric, of=rate, basis=basis)
        head |= {"utilisation": busy}
        for row in rates:
            usd = _usd(place, price, basis, busy, row)
            yield head | {"at": row["at"], "side": row["side"]} | usd
            if row["side"] == "plain" and row["at"] in times:
                more = _difference(place, basis, usd, times[row["at"]])
                yield head | {"at": row["at"], "side": DIFFERENCE} | more
    yield from _overheads(place)
    yield from _multiples(place)


def _usd(place: Place, price: Price, basis: str, busy: float, row: Row) -> Row:
    """USD for the workload's units at a measured rate."""
    servers = place.bought.servers(basis, row["side"])
    if not servers:
        return CROWDED
    usd_per_hour = price.usd_per_hour / servers / busy
    units = place.workload.units
    return carried(row, partial(cost.per_units, usd_per_hour=usd_per_hour, units=units))


def _difference(place: Place, basis: str, plain: Row, times: Row) -> Row:
    """USD that the enclave costs more, from plain's cost and the paired ratio of the rates."""
    if plain["status"] != OK:
        return plain
    if not place.bought.servers(basis, "enclave"):
        return CROWDED
    usd = Range(plain["value"], plain["low"], plain["high"])
    times_as_dear = _multiplier(place, basis)
    return carried(times, lambda ratio: cost.extra(usd, times_as_dear(ratio)), "ratio")


def _overheads(place: Place) -> Iterator[Row]:
    """T2.3: of latencies as they are, of a rate by the time that one unit takes."""
    head = place.head | {"metric": "tee_overhead", "side": COMPARED}
    latencies, rates = place.ratios(*LATENCIES), place.ratios(place.workload.rate)
    for row in latencies:
        found = carried(row, cost.overhead_percent, "ratio")
        yield head | {"of": row["metric"], "at": row["at"]} | found
    for row in rates:
        found = carried(row, lambda ratio: cost.overhead_percent(ratio.inverse()), "ratio")
        yield head | {"of": row["metric"], "at": row["at"]} | found
    if not latencies + rates:
        yield head | absent(f"no ratio {COMPARED} was measured")


def _multiples(place: Place) -> Iterator[Row]:
    """T2.4: whatever the instance costs, it cancels out."""
    head = place.head | {"metric": "cost_multiplier", "side": COMPARED}
    rows = [] if place.missing else place.ratios(place.workload.rate)
    for row, basis in product(rows, cost.BASES):
        found = CROWDED
        if place.bought.servers(basis, "enclave"):
            found = carried(row, _multiplier(place, basis), "ratio")
        yield head | {"of": row["metric"], "at": row["at"], "basis": basis} | found
    if not rows:
        yield head | absent(place.missing or f"no ratio of {place.workload.rate} was measured")


def _multiplier(place: Place, basis: str) -> Callable[[Range], Range]:
    return partial(cost.multiplier, bought=place.bought, basis=basis)


def _comparison(costs: Iterable[Row], found: Sequence[Place], sold: Market) -> list[Row]:
    """T2.5: what the enclave costs on each instance, all of it paid and as busy as can be."""
    points = {(place.head["instance"], place.head["model"]): place.headline for place in found}
    models = [model for _, model in points]
    wanted = ("enclave", "whole", sold.busiest)
    rows = []
    for row in costs:
        told = (row.get("side"), row.get("basis"), row.get("utilisation"))
        if told == wanted and row["at"] == points[row["instance"], row["model"]]:
            alone = models.count(row["model"]) == 1 and row["status"] == OK
            detail = ALONE if alone else row["detail"]
            said = {"metric": "instance_comparison", "of": row["metric"], "detail": detail}
            rows.append(row | said | {"at": f"instance={row['instance']}"})
    return rows


def pivot(costs: Iterable[Row]) -> pd.DataFrame:
    """T2.5 as a table: a row for each cost, class and instance, a column of USD for each model."""
    keys = ["of", "price_class", "instance", "priced_as"]
    rows = [row for row in costs if row["metric"] == "instance_comparison" and row["status"] == OK]
    frame = pd.DataFrame(rows, columns=[*keys, "model", "value"])
    return frame.pivot(index=keys, columns="model", values="value").reset_index()


def _gpus(sold: Market) -> list[Row]:
    """Each published figure as it was counted, and per output token at the same price."""
    return [
        asdict(figure)
        | {"usd_per_1m_output": figure.usd_per_1m_output(figure.usd_per_hour)}
        | {"tokens_per_s": figure.tokens_per_s, "loss": figure.loss}
        for figure in sold.figures
    ]


def _prices(sold: Market) -> list[Row]:
    snapshot = sold.snapshot
    head = {"snapshot": snapshot.date, "sha256": snapshot.sha256, "kind": snapshot.kind}
    return [head | asdict(price) for price in snapshot.prices]
