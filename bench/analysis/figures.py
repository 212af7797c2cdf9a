"""Figures: what the summary's rows look like. A function takes rows and gives a drawing.

Narrow enough for a phone; what a colour says, a label or a shape says again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from bench.analysis.ink import Draw, Ink
from bench.analysis.sheets import select
from bench.analysis.stats import Floats
from bench.analysis.tables import Row, measured, number, point

WIDTH_IN = 5.0
ROW_IN = 0.27

# Where the names of the ratios start, in widths of the panel left of it.
LABELS = -0.58

# A ratio is drawn in its numerator's colour; enclave stands on top twice, so shapes differ too.
SHAPES = {"enclave/plain": "o", "enclave/bare": "D", "bare/plain": "s", "null/plain": "x"}


def overheads(rows: pd.DataFrame) -> Draw:
    """Ratios with intervals, grouped by point; the line at 1 and what A/A cannot tell from it."""
    groups = rows.groupby("at", sort=False)
    lines = len(rows) + len(groups)

    def draw(ink: Ink) -> Figure:
        figure, (axes,) = panelled([lines * ROW_IN + 0.75], left=1.3, right=1.55)
        y = 0
        for at, group in groups:
            if len(groups) > 1 or at:
                axes.text(LABELS, y, point(str(at)), transform=axes.get_yaxis_transform(),
                          weight="bold", va="center")  # fmt: skip
            reach = group["detectable"].iloc[0]
            if reach > 0:
                axes.fill_between([1 - reach, 1 + reach], y + 0.45, y + len(group) + 0.5,
                                  color=ink.muted, alpha=0.22, linewidth=0)  # fmt: skip
            for row in group.to_dict("records"):
                y += 1
                _ratio(axes, y, row, ink)
            y += 1
        axes.axvline(1, color=ink.text, linewidth=1)
        axes.set_ylim(y - 0.3, -0.6)
        axes.set_yticks([])
        axes.set_xlabel("times as long (1 = no difference)")
        grid(axes, ink)
        return figure

    return draw


def _ratio(axes: Axes, y: int, row: Row, ink: Ink) -> None:
    compared = f"{row['numerator']}/{row['denominator']}"
    beside = axes.get_yaxis_transform()
    axes.text(LABELS, y, compared, transform=beside, va="center")
    value = measured(row, "ratio") if row["status"] == "ok" else row["status"]
    axes.text(1.03, y, value, transform=beside, va="center", fontsize=8.5)
    if row["status"] == "ok":
        colour = ink.sides.get(row["numerator"], ink.text)
        axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2)
        axes.plot(row["ratio"], y, SHAPES.get(compared, "o"), color=colour, markersize=6)


def distributions(rows: pd.DataFrame) -> Draw:
    """How long requests took: a density, quartiles and median per side, a panel per point."""
    points, sides = rows["at"].unique(), rows["side"].unique()

    def draw(ink: Ink) -> Figure:
        height = len(sides) * 0.36 + 0.3
        figure, panels = panelled([height] * len(points), left=0.7, right=0.8, gap=0.54)
        for axes, at in zip(panels, points, strict=True):
            here = select(rows, at=at).groupby("side", sort=False)["value"]
            curves = {str(side): curve.to_numpy() for side, curve in here}
            # The axis ends where 99.5 % of the slowest side have been answered.
            end = max(np.quantile(curve, 0.995) for curve in curves.values())
            for y, (side, curve) in enumerate(curves.items()):
                _eye(axes, y, curve, end, ink.sides.get(side, ink.text))
                axes.text(1.02, y - 0.1, f"max {number(float(curve[-1]), digits=3)}",
                          transform=axes.get_yaxis_transform(), va="center", fontsize=8,
                          color=ink.muted)  # fmt: skip
            axes.set_xlim(min(curve[0] for curve in curves.values()), end)
            axes.set_ylim(len(curves) - 0.55, -1.05)
            axes.set_yticks(range(len(curves)), list(curves))
            axes.tick_params(axis="y", length=0)
            axes.set_title(point(at) if at else "")
            grid(axes, ink)
        panels[-1].set_xlabel(rows["unit"].iloc[0])
        return figure

    return draw


def _eye(axes: Axes, y: int, curve: Floats, end: float, colour: str) -> None:
    quartiles = np.quantile(curve, [0.05, 0.25, 0.5, 0.75, 0.95])
    # Silverman's rule with the robust spread: stragglers do not flatten the hill.
    width = 0.9 * (quartiles[3] - quartiles[1]) / 1.34 * len(curve) ** -0.2
    if width > 0:
        x = np.linspace(curve[0], end, 100)
        density = np.exp(-(((x[:, None] - curve) / width) ** 2) / 2).sum(axis=1)
        hill = y - 0.12 - 0.78 * density / density.max()
        axes.fill_between(x, y - 0.12, hill, color=colour, alpha=0.55, linewidth=0)
    axes.plot(quartiles[[0, 4]], [y, y], color=colour, linewidth=1)
    axes.plot(quartiles[[1, 3]], [y, y], color=colour, linewidth=3.5)
    axes.plot(quartiles[2], y, "o", color=colour, markersize=5.5)


def waterfall(rows: pd.DataFrame) -> Draw:
    """The cold start of each side, stage by stage; what confidentiality adds stands out."""
    shared = set(select(rows, side="plain", kind="stage")["stage"])
    drawn = rows[(rows["kind"] == "stage") & rows["start"].notna()]
    bars = {side: select(drawn, side=side) for side in drawn["side"].unique()[::-1]}

    def draw(ink: Ink) -> Figure:
        heights = [len(stages) * 0.2 + 0.15 for stages in bars.values()]
        figure, panels = panelled(heights, left=0.95, right=0.75, gap=0.4, sharex=True)
        for axes, (side, stages) in zip(panels, bars.items(), strict=True):
            for y, row in enumerate(stages.to_dict("records")):
                extra = shared and row["stage"] not in shared
                colour = ink.sides["enclave"] if extra else ink.sides["plain"]
                axes.barh(y, row["value"], left=row["start"], height=0.72, color=colour)
                end = row["start"] + row["value"]
                axes.annotate(number(row["value"], digits=3), (end, y), (4, 0), va="center",
                              textcoords="offset points", fontsize=8)  # fmt: skip
            axes.set_yticks(range(len(stages)), stages["stage"].str.replace("_", " "))
            axes.set_ylim(len(stages) - 0.4, -0.6)
            axes.tick_params(axis="y", length=0)
            axes.set_title(_whole(select(rows, side=side), side))
            grid(axes, ink)
        for axes in panels[:-1]:
            axes.tick_params(labelbottom=False)
        panels[-1].set_xlabel(f"{rows['unit'].iloc[0]} since the start")
        return figure

    return draw


def _whole(rows: pd.DataFrame, side: str) -> str:
    whole = select(rows, kind="whole", status="ok")
    if whole.empty:
        return side
    row = whole.iloc[0]
    return f"{side}: {number(row['value'], digits=3)} {row['unit']} in all"


def curves(rows: pd.DataFrame, *, xlabel: str, log: bool) -> Draw:
    """Medians with intervals against one numeric axis, a line per side named at its end."""
    rows = rows.assign(x=rows["at"].str.split("=").str[1].astype(float))
    ticks = dict(zip(rows["x"], rows["at"].map(point), strict=True))

    def draw(ink: Ink) -> Figure:
        figure, (axes,) = panelled([2.6], left=0.75, right=0.85)
        ends: dict[str, tuple[float, float]] = {}
        for side, found in select(rows, status="ok").groupby("side", sort=False):
            colour = ink.sides.get(str(side), ink.text)
            axes.fill_between(found["x"], found["low"], found["high"], color=colour, alpha=0.25,
                              linewidth=0)  # fmt: skip
            axes.plot(found["x"], found["value"], "o-", color=colour, linewidth=1.6, markersize=4.5)
            ends[str(side)] = (found["x"].iloc[-1], found["value"].iloc[-1])
        if log:
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.set_ylim(0)
        axes.set_xticks(list(ticks), list(ticks.values()) if log else [f"{x:g}" for x in ticks])
        axes.set_xlabel(xlabel)
        axes.set_ylabel(rows["unit"].iloc[0])
        grid(axes, ink, "both")
        _name(axes, ends, ink)
        return figure

    return draw


def fits(rows: pd.DataFrame) -> Draw:
    """Measured and fitted latency against length, and below what the fit leaves, in per cent."""
    points = select(rows, kind="residual")
    points = points.assign(x=points["name"].str.split("=").str[1].astype(float))

    def draw(ink: Ink) -> Figure:
        figure, (axes, below) = panelled([2.2, 0.9], left=0.75, right=0.85, gap=0.25, sharex=True)
        ends: dict[str, tuple[float, float]] = {}
        for side, found in points.groupby("side", sort=False):
            colour = ink.sides.get(str(side), ink.text)
            terms = select(rows, kind="coefficient", side=str(side))["value"].to_numpy()
            x = np.linspace(found["x"].min(), found["x"].max(), 100)
            scaled = terms * np.array([1, 1e-3, 1e-6])[: len(terms)]
            axes.plot(x, np.vander(x, len(terms), increasing=True) @ scaled, color=colour)
            axes.plot(found["x"], found["measured"], "o", color=colour, markersize=4.5)
            below.plot(found["x"], found["percent"], "o-", color=colour, markersize=4.5)
            ends[str(side)] = (found["x"].iloc[-1], found["measured"].iloc[-1])
        below.axhline(0, color=ink.text, linewidth=1)
        axes.set_ylim(0)
        axes.tick_params(labelbottom=False)
        axes.set_ylabel("ms")
        below.set_ylabel("residual, %")
        below.set_xticks(points["x"].unique())
        below.set_xlabel("tokens")
        for panel in (axes, below):
            grid(panel, ink, "both")
        _name(axes, ends, ink)
        return figure

    return draw


def _name(axes: Axes, ends: dict[str, tuple[float, float]], ink: Ink) -> None:
    """Names at the ends of lines, moved apart where lines end close together (in points)."""
    last = -math.inf
    height = axes.transData.transform
    for side, end in sorted(ends.items(), key=lambda item: item[1][1]):
        y = height(end)[1] * 72 / axes.figure.dpi
        shift = max(last + 11 - y, 0)
        last = y + shift
        axes.annotate(side, end, (7, shift), textcoords="offset points", va="center",
                      color=ink.sides.get(side, ink.text), weight="bold")  # fmt: skip


def panelled(
    heights: Sequence[float], *, left: float, right: float, gap: float = 0.0, sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    """Panels of these heights under one another, all margins in inches."""
    top, bottom = 0.28, 0.5
    total = sum(heights) + gap * (len(heights) - 1) + top + bottom
    figure = Figure(figsize=(WIDTH_IN, total))
    panels: list[Axes] = []
    y = total - top
    for height in heights:
        y -= height
        box = (left / WIDTH_IN, y / total, 1 - (left + right) / WIDTH_IN, height / total)
        panels.append(figure.add_axes(box, sharex=panels[0] if sharex and panels else None))
        y -= gap
    return figure, panels


def grid(axes: Axes, ink: Ink, which: Literal["x", "both"] = "x") -> None:
    axes.set_axisbelow(True)
    axes.grid(axis=which, color=ink.grid, linewidth=0.8)
    axes.patch.set_alpha(0)
