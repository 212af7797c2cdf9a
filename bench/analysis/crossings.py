"""Crossings: where a confidential GPU becomes cheaper than enclaves on CPUs (T2.6).

By volume for every model: below the crossing no GPU is cheaper, however fast it is. By batch for
generating models, against rates that others published for a model of their own: a smaller model is
faster on the same GPU, so for it the batch is a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product

from bench.analysis import cost, gpu
from bench.analysis.cost import Range
from bench.analysis.facts import OK
from bench.analysis.market import Market, Place, Row, absent, carried
from bench.prices import Price

METRIC = "gpu_crossover"
VOLUME, BATCH, BREAK_EVEN = "volume", "batch", "break-even"
NEVER = "at no published batch"
RATES = {"rate": "value", "rate_low": "low", "rate_high": "high"}


def rows(place: Place, sold: Market) -> Iterator[Row]:
    """By volume and, where tokens are sold, by batch: one model on one instance."""
    yield from _volumes(place, sold)
    if place.workload.rate == "token_rate":
        yield from _batches(place, sold)


def _volumes(place: Place, sold: Market) -> Iterator[Row]:
    head = {"metric": METRIC, "kind": VOLUME, "side": "enclave", "unit": place.workload.demand}
    found = _enclave(place)
    if reason := _why(place, found, sold.gpus):
        yield place.head | head | absent(reason)
        return
    for row, price, other, busy in product(found, place.prices, sold.gpus, sold.utilisation):
        served = carried(row, partial(Range.scaled, factor=busy * place.bought.enclaves))
        told = head | _against(other) | {"utilisation": busy, "of": row["metric"], "at": row["at"]}
        told |= {rate: served.get(end) for rate, end in RATES.items()}
        crossing = partial(
            cost.crossover_demand,
            usd_per_hour=price.usd_per_hour,
            gpu_usd_per_hour=other.usd_per_hour,
        )
        yield place.priced(price, **told) | carried(served, crossing)


def _batches(place: Place, sold: Market) -> Iterator[Row]:
    """The smallest batch at which the published GPU costs less than our enclave, all of it paid."""
    head = {"metric": METRIC, "kind": BATCH, "side": "enclave", "unit": "sequences"}
    found, gpus = _enclave(place), [other for other in sold.gpus if _published(sold, other)]
    if reason := _why(place, found, gpus):
        yield place.head | head | absent(reason)
        return
    for row, price, other in product(found, place.prices, gpus):
        costs = {
            batch: figure.usd_per_1m_output(other.usd_per_hour)
            for batch, figure in _published(sold, other).items()
        }
        paid, units = price.usd_per_hour / place.bought.enclaves, place.workload.units
        usd = carried(row, partial(cost.per_units, usd_per_hour=paid, units=units))
        told = head | _against(other) | {"of": row["metric"], "at": row["at"]}
        yield place.priced(price, **told) | _batch(usd, costs)


def _batch(usd: Row, costs: Mapping[int, float]) -> Row:
    if usd["status"] != OK:
        return usd
    value, low, high = cost.crossover_batch(Range(usd["value"], usd["low"], usd["high"]), costs)
    # A high cost is undercut by a small batch: the ends change places.
    found = usd | {"value": value, "low": high, "high": low}
    # That no batch suffices is an answer, too.
    return found if value else found | {"detail": NEVER}


def break_even(found: Iterable[Place], sold: Market) -> Iterator[Row]:
    """Tokens per second that an instance needs for each batch of the GPU to be no cheaper.

    From published figures and prices alone, so a row for each instance and none for a model.
    """
    seen = {place.head["instance"]: place for place in found}
    for place, other in product(seen.values(), sold.gpus):
        head = place.head | {"model": "", "metric": METRIC, "kind": BREAK_EVEN, "unit": "tokens/s"}
        for price, (batch, figure) in product(place.prices, _published(sold, other).items()):
            usd = figure.usd_per_1m_output(other.usd_per_hour)
            value = cost.rate_of(price.usd_per_hour, usd, gpu.MILLION)
            told = _against(other) | {"at": f"batch={batch}", "gpu_usd": usd}
            told |= {"price_class": price.price_class, "usd_per_hour": price.usd_per_hour}
            told |= {"gpu_rate": figure.tokens_per_s, "source": figure.source}
            yield head | told | {"value": value, "status": OK, "detail": figure.model}


def _enclave(place: Place) -> list[Row]:
    """The enclave's rate where most sessions ask."""
    return [row for row in place.rates("enclave") if row["at"] == place.headline]


def _why(place: Place, found: Sequence[Row], gpus: Sequence[Price]) -> str:
    if place.missing:
        return place.missing
    if not found:
        return f"no record holds {place.workload.rate}"
    if not place.bought.enclaves:
        return "no enclave fits beside its parent"
    return "" if gpus else "no confidential GPU has a price and a published rate"


def _published(sold: Market, other: Price) -> dict[int, gpu.Figure]:
    """By batch: what was published for a GPU, where as many tokens are read as written.

    Only there do the two ways of counting tokens agree.
    """
    return {
        figure.batch: figure
        for figure in sold.figures
        if figure.instance == other.instance and figure.input_tokens == figure.output_tokens
    }


def _against(other: Price) -> Row:
    return {
        "gpu": other.instance,
        "gpu_class": other.price_class,
        "gpu_usd_per_hour": other.usd_per_hour,
    }
