"""Figures of costs: what a fleet of enclaves and a confidential GPU cost against each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.analysis import cost
from bench.analysis.cost_table import groups
from bench.analysis.figures import WIDTH_IN
from bench.analysis.ink import Draw, Ink
from bench.analysis.sheets import Summary, select
from bench.analysis.stats import Floats
from bench.analysis.tables import Row, measured, number

STEPS = 400
HEIGHT_IN = 3.3
BOX = (0.13, 0.16, 0.84, 0.8)  # left, bottom, width, height, in shares of the figure
FADED = (1.0, 0.7, 0.5)  # each lower utilisation fades a little more
HOURLY = {"req/h": "requests an hour", "tokens/h": "tokens an hour"}
GPUS = ("bare", "tcp", "null")  # whose colours the GPUs take, in order


def pictures(summary: Summary) -> Iterator[tuple[Draw, str, str, str]]:
    """Every picture with its label, its caption and what it shows in words."""
    for where, suffix, rows in groups(summary, "crossover"):
        crossed = select(rows, kind="volume", status="ok")
        crossed = crossed[crossed["price_class"] == crossed["price_class"].min()]
        if len(crossed):
            caption = (
                f"What enclaves on CPUs cost an hour, by demand, for {where}: as many instances as "
                "are needed, each busy for the given share of its time. Dashed: one confidential "
                "GPU, whatever it can do. Dots: up to there no GPU is cheaper. Axes logarithmic."
            )
            said = (
                f"{row['gpu']}, {row['utilisation'] * 100:g} % busy: {measured(row)} {row['unit']}"
                for row in crossed.to_dict("records")
            )
            yield volume(crossed), f"crossover{suffix}", caption, f"Crossings. {'; '.join(said)}."
    even = select(summary["crossover"], kind="break-even", status="ok")
    ours = select(
        summary["cost"], metric="instance_comparison", of="cost_per_1m_tokens", status="ok"
    )
    if len(even) and len(ours):
        caption = (
            "What tokens cost on a confidential GPU by batch, as published for another model, and "
            "in our enclaves at any batch; bands are 95 % intervals. Axes logarithmic."
        )
        said = (f"{row['model']}: {measured(row)} USD" for row in ours.to_dict("records"))
        alt = f"Costs of 1,000,000 tokens by batch. Ours: {'; '.join(said)}."
        yield batches(even, ours), "crossover-batch-curve", caption, alt


def volume(rows: pd.DataFrame) -> Draw:
    """USD an hour by demand: enclaves one by one as they are needed, a GPU from the start.

    rows: crossings by volume of one model on one instance in one price class.
    """
    busy = rows.drop_duplicates("utilisation").nlargest(len(FADED), "utilisation")
    gpus = rows.drop_duplicates("gpu")
    start, end = rows["value"].min() / 100, rows["value"].max() * 3
    top = rows["gpu_usd_per_hour"].max() * 3
    demand = np.geomspace(start, end, STEPS)

    def draw(ink: Ink) -> Figure:
        figure, axes = _frame(ink)
        for faded, row in zip(FADED, busy.to_dict("records"), strict=False):
            middle, low, high = (
                _hourly(demand, row, f"rate{end}") for end in ("", "_low", "_high")
            )
            axes.fill_between(demand, low, high, color=ink.sides["enclave"], alpha=0.3 * faded,
                              linewidth=0)  # fmt: skip
            axes.plot(demand, middle, color=ink.sides["enclave"], alpha=faded, linewidth=1.6)
            near, shift = demand[middle <= 0.1 * top][-1], 7 if faded == FADED[0] else -36
            share = f"{row['utilisation'] * 100:g} %"
            _label(axes, near, 0.1 * top, share, ink.sides["enclave"], (shift, 0))
        for side, row in zip(GPUS, gpus.to_dict("records"), strict=False):
            usd, colour = row["gpu_usd_per_hour"], ink.sides[side]
            axes.axhline(usd, color=colour, linewidth=1.6, linestyle="--")
            _label(axes, start, usd, row["gpu"], colour, (3, 6))
        for row in rows.to_dict("records"):
            axes.plot(row["value"], row["gpu_usd_per_hour"], "o", color=ink.text, markersize=4.5)
        axes.set_xlim(start, end)
        axes.set_ylim(rows["usd_per_hour"].min() / 1.5, top)
        axes.set_xlabel(HOURLY[rows["unit"].iloc[0]])
        axes.set_ylabel("USD an hour")
        return figure

    return draw


def _hourly(demand: Floats, row: Row, rate: str) -> Floats:
    served = row[rate] * cost.SECONDS
    return np.array([cost.fleet(asked, served) * row["usd_per_hour"] for asked in demand])


def batches(rows: pd.DataFrame, ours: pd.DataFrame) -> Draw:
    """USD for 1,000,000 output tokens by batch on a GPU, and on the instance at any batch.

    rows: break-even rows, `at` a batch; ours: costs of generators, a row for each.
    """
    shown = rows.drop_duplicates(["gpu", "at"])
    shown = shown.assign(batch=shown["at"].str.partition("=")[2].astype(int))

    def draw(ink: Ink) -> Figure:
        figure, axes = _frame(ink)
        for side, (gpu, found) in zip(GPUS, shown.groupby("gpu", sort=False), strict=False):
            axes.plot(found["batch"], found["gpu_usd"], "o-", color=ink.sides[side], markersize=4)
            first = found.iloc[0]
            _label(axes, first["batch"], first["gpu_usd"], str(gpu), ink.sides[side], (9, 3))
        for row in ours.to_dict("records"):
            axes.axhspan(row["low"], row["high"], color=ink.sides["enclave"], alpha=0.3)
            axes.axhline(row["value"], color=ink.sides["enclave"], linewidth=1.6)
            name = f"{row['model']}, enclave"
            _label(axes, shown["batch"].min(), row["value"], name, ink.sides["enclave"], (3, 6))
        axes.set_xticks(sorted(shown["batch"].unique()))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda batch, _: f"{batch:g}"))
        axes.set_xlabel("sequences in a batch on the GPU")
        axes.set_ylabel("USD for 1,000,000 tokens")
        return figure

    return draw


def _frame(ink: Ink) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN))
    axes = figure.add_axes(BOX)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, digits=1)))
    axes.set_axisbelow(True)
    axes.grid(color=ink.grid, linewidth=0.8)
    axes.patch.set_alpha(0)
    return figure, axes


def _label(
    axes: Axes, x: float, y: float, text: str, colour: str, shift: tuple[float, float]
) -> None:
    axes.annotate(text, (x, y), shift, textcoords="offset points", color=colour, va="center",
                  fontsize=8.5, weight="bold")  # fmt: skip
