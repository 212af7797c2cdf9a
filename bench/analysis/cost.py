"""Costs: pure functions from rates, ratios and prices to what confidentiality costs.

A rate carries the interval that was measured. Every formula is monotone in it, so the ends of the
interval are carried through, and the result holds the truth as often as the rate does. A price is
taken as given: that it may be another one, classes and snapshots say, not an interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SECONDS = 3600  # in an hour, the unit of prices


@dataclass(frozen=True, slots=True)
class Range:
    """A value with its interval; the ends are None where only the value is known."""

    value: float
    low: float | None = None
    high: float | None = None

    def scaled(self, factor: float) -> Range:
        """Times a positive number."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Range(self.value * factor, low, high)

    def minus(self, constant: float) -> Range:
        """Less a constant."""
        low, high = (None if end is None else end - constant for end in (self.low, self.high))
        return Range(self.value - constant, low, high)

    def inverse(self) -> Range:
        """One over it, the ends changing places; ValueError where it reaches 0."""
        if min(end for end in (self.value, self.low) if end is not None) <= 0:
            raise ValueError("the interval reaches 0")
        low, high = (None if end is None else 1 / end for end in (self.low, self.high))
        return Range(1 / self.value, high, low)


def per_units(rate_per_s: Range, usd_per_hour: float, units: float) -> Range:
    """USD for so many units at a sustained rate: P units / (3600 X)."""
    return rate_per_s.inverse().scaled(usd_per_hour * units / SECONDS)


def rate_of(usd_per_hour: float, usd: float, units: float) -> float:
    """Units per second at which so many units cost `usd`: the inverse of `per_units`."""
    return usd_per_hour * units / (SECONDS * usd)


def composed(vcpus: float, usd_per_vcpu: float, gb: float, usd_per_gb: float) -> float:
    """USD per hour of a machine priced by its parts (paper 02, its scripts)."""
    return vcpus * usd_per_vcpu + gb * usd_per_gb


@dataclass(frozen=True, slots=True)
class Bought:
    """What is paid for: the vCPUs that the price buys, those of one server, enclaves that fit."""

    vcpus: int
    server_vcpus: int
    enclaves: int

    def servers(self, basis: str, side: str) -> float:
        """How many servers of a side share the price of one instance.

        whole    one: the instance is paid for, whatever else it could do
        share    as many as its vCPUs hold: each pays for its own
        filled   plain: as `share`, which takes rates to grow with vCPUs and so favours plain;
                 enclave: those that fit beside the parent, whole ones only
        """
        if basis == "whole":
            return 1
        if basis == "filled" and side != "plain":
            return self.enclaves
        return self.vcpus / self.server_vcpus


BASES = ("whole", "share", "filled")


def overhead_percent(ratio: Range) -> Range:
    """(enclave - baseline) / baseline in per cent, from the ratio of their latencies."""
    return ratio.minus(1).scaled(100)


def multiplier(rate_ratio: Range, bought: Bought, basis: str) -> Range:
    """USD per unit in the enclave over USD per unit in plain, from the ratio of their rates."""
    factor = bought.servers(basis, "plain") / bought.servers(basis, "enclave")
    return rate_ratio.inverse().scaled(factor)


def extra(plain_usd: Range, times: Range) -> Range:
    """USD more than plain: plain (m - 1), with the widest ends that both intervals allow."""
    value = plain_usd.value * (times.value - 1)
    edges = [
        usd * (m - 1)
        for usd in (plain_usd.low, plain_usd.high)
        for m in (times.low, times.high)
        if usd is not None and m is not None
    ]
    return Range(value, min(edges), max(edges)) if edges else Range(value)


def fleet(demand_per_s: float, rate_per_s: float) -> int:
    """Whole machines that a demand takes; there is always one."""
    # A demand that fills machines exactly must not take one more for a rounding error.
    return max(math.ceil(demand_per_s / rate_per_s * (1 - 1e-12)), 1)


def crossover_demand(rate_per_s: Range, usd_per_hour: float, gpu_usd_per_hour: float) -> Range:
    """Units per hour beyond which the CPU fleet costs more than one GPU machine.

    floor(G / P) instances cost no more than the GPU; what they serve is the edge. Below it the GPU
    is never cheaper, however fast. Above it the GPU is, if one machine serves that much.
    """
    affordable = math.floor(gpu_usd_per_hour / usd_per_hour * (1 + 1e-12))
    return rate_per_s.scaled(SECONDS * affordable)


def crossover_batch(usd: Range, gpu_usd: Mapping[int, float]) -> tuple[int | None, ...]:
    """Smallest batches at which the GPU costs less than our value, its low and its high end.

    gpu_usd[batch] for the same units; None where no batch suffices. The low end of a cost takes the
    larger batch.
    """
    return tuple(
        None if end is None else _first(batch for batch in sorted(gpu_usd) if gpu_usd[batch] < end)
        for end in (usd.value, usd.low, usd.high)
    )


def _first(batches: Iterable[int]) -> int | None:
    return next(iter(batches), None)


def cheaper_by(dearer_by: float) -> float:
    """If B costs `dearer_by` more than A, A costs this much less than B; both as fractions.

    "Up to 100 % cheaper", where the difference was taken of the cheaper one, is up to 50 %.
    """
    return dearer_by / (1 + dearer_by)
