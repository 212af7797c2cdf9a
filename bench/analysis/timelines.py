"""Timelines: raw points in the order they came, for pictures of what happened when.

Only of metrics whose values say nothing by themselves: samples of memory and when they were taken,
faults, calls and states of a breaker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis import growth
from bench.analysis.facts import Cell, Row, Subject, place
from bench.analysis.figures import grid, panelled
from bench.analysis.ink import Draw, Ink
from bench.analysis.sheets import select

FAULT, CALL, EVENT = "kms_fault", "kms_call", "kms_event"
DRAWN = (growth.RSS, growth.ELAPSED, FAULT, CALL, EVENT)
OUTCOMES = {"answered": "plain", "failed": "enclave", "shed": "bare"}  # a colour each


def picture(name: str, found: pd.DataFrame) -> tuple[Draw, str]:
    """The drawing that belongs to a metric, and what it shows."""
    make, caption = PICTURES[name]
    return make(found), caption


def rows(subject: Subject, cells: Sequence[Cell]) -> Iterator[Row]:
    """Every value with its repetition, boot and number; warm-ups are left out."""
    for cell in cells:
        head = subject.row() | {"side": cell.side, "at": place(cell.at)}
        for sample in cell.samples.to_dict("records"):
            where = {name: sample[name] for name in ("repetition", "boot", "value")}
            yield head | where | {"number": sample["block"]}


def memory(found: pd.DataFrame) -> Draw:
    """How far resident memory lay above a boot's first sample, a line per boot."""
    wide = found[found["metric"].isin([growth.RSS, growth.ELAPSED])].pivot_table(
        index=["side", "repetition", "boot", "number"], columns="metric", values="value"
    )

    def draw(ink: Ink) -> Figure:
        figure, (axes,) = panelled([2.2], left=0.75, right=0.4)
        for number, (side, own) in enumerate(wide.groupby("side", sort=False)):
            colour = ink.sides[str(side)]
            for _, boot in own.groupby(["repetition", "boot"]):
                above = boot[growth.RSS] - boot[growth.RSS].iloc[0]
                axes.plot(boot[growth.ELAPSED], above, color=colour, linewidth=1.2)
            axes.text(0.02, 0.95 - 0.1 * number, str(side), transform=axes.transAxes, color=colour,
                      weight="bold", va="top")  # fmt: skip
        low, high = axes.get_ylim()  # less than the kernel's count is exact for looks like nothing
        axes.set_ylim(min(low, -growth.RESOLUTION_MIB), max(high, growth.RESOLUTION_MIB))
        axes.set_xlabel("s since sessions began to come and go")
        axes.set_ylabel("MiB above the first sample")
        grid(axes, ink, "both")
        return figure

    return draw


def breaker(found: pd.DataFrame) -> Draw:
    """One boot's faults (grey), breaker (bar: open, hatched: half-open) and calls (dots)."""
    first = found[found["metric"].isin([FAULT, CALL, EVENT])]
    first = first[(first["repetition"] == first["repetition"].min())]
    first = first[first["boot"] == first["boot"].min()]
    told = first["at"].str.extract(r"fault=(?P<kind>[^;]+);\w+=(?P<what>.+)")
    first = first.join(told)

    def draw(ink: Ink) -> Figure:
        kinds = list(first["kind"].unique())
        figure, panels = panelled([1.0] * len(kinds), left=0.95, right=0.25, gap=0.35, sharex=True)
        for axes, kind in zip(panels, kinds, strict=True):
            _outage(axes, select(first, kind=kind), ink)
            axes.set_title(kind)
            grid(axes, ink)
        for axes in panels[:-1]:
            axes.tick_params(labelbottom=False)
        panels[-1].set_xlabel("s since the schedule began")
        return figure

    return draw


def _outage(axes: Axes, found: pd.DataFrame, ink: Ink) -> None:
    edges = select(found, metric=FAULT).pivot_table(index="number", columns="what", values="value")
    for begin, end in edges[["begin", "end"]].itertuples(index=False):
        axes.axvspan(begin, end, color=ink.muted, alpha=0.2, linewidth=0)
    calls = select(found, metric=CALL)
    for y, (outcome, colour) in enumerate(OUTCOMES.items()):
        times = select(calls, what=outcome)["value"]
        axes.plot(times, [y] * len(times), "o", color=ink.sides[colour], markersize=3.5)
    states = select(found, metric=EVENT).query("what != 'attempt'").sort_values("value")
    until = [*states["value"].iloc[1:], calls["value"].max()]
    for (since, state), end in zip(
        states[["value", "what"]].itertuples(index=False), until, strict=False
    ):
        if state != "closed":
            hatch = "////" if state == "half-open" else None
            axes.barh(3, max(end - since, 0.0), left=since, height=0.5, color=ink.sides["null"],
                      hatch=hatch, linewidth=0)  # fmt: skip
    axes.set_yticks(range(4), [*OUTCOMES, "breaker open"])
    axes.set_ylim(3.6, -0.6)
    axes.tick_params(axis="y", length=0)


PICTURES = {
    growth.METRIC: (
        memory,
        "Resident memory while sessions came and went, from a boot's first sample after warm-up; "
        "a line for each boot.",
    ),
    "kms_recovery": (
        breaker,
        "A misbehaving key service (grey) and a client with a circuit breaker, in the first boot: "
        "calls by when they were to be made, and when the breaker was open, or half-open "
        "(hatched).",
    ),
}
