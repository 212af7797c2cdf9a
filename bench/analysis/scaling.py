"""Scaling: how latency grows with the number of tokens, as a fit whose residuals are shown.

latency = a + b n + c n^2: what a request takes whatever its length, what a token adds, and what
every pair of tokens adds, which is where attention would show. Each boot is fitted by itself, by
least squares of relative deviations (errors of a time grow with it), so boots are what intervals
are over. The quadratic term stays where its interval excludes 0; otherwise a line is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from bench.analysis import facts, stats
from bench.analysis.facts import Cell, Row, Subject
from bench.analysis.stats import Estimate, Floats

METRIC = "scaling_latency"
AXIS = "tokens"
# Names of the coefficients, units, and milliseconds in one of these.
COEFFICIENTS = (("a", "ms", 1.0), ("b", "µs/token", 1e-3), ("c", "ns/token²", 1e-6))
FORMS = {1: "a + b n", 2: "a + b n + c n²"}
FREE = 1  # a fit through all points has no residuals: at least so many points more than terms


def rows(subject: Subject, cells: Sequence[Cell]) -> Iterator[Row]:
    """Coefficients and residuals of every side, in ms and per cent; none for fewer than 3
    lengths."""
    for side in dict.fromkeys(cell.side for cell in cells):
        boots = medians([cell for cell in cells if cell.side == side])
        if boots.shape[1] > 1 + FREE and len(boots):
            yield from _side(subject.row() | {"side": side}, boots)


def medians(cells: Sequence[Cell]) -> pd.DataFrame:
    """A row per repetition and boot that has every length, a column per length."""
    columns = {int(dict(cell.at)[AXIS]): cell.medians("repetition", "boot") for cell in cells}
    return pd.DataFrame({tokens: columns[tokens] for tokens in sorted(columns)}).dropna()


def fit(lengths: Floats, latencies: Floats, degree: int) -> Floats:
    """Coefficients from a upwards, (boots, degree + 1), of latencies (boots, lengths)."""
    powers = np.vander(lengths, degree + 1, increasing=True)
    found = [
        np.linalg.lstsq(powers / y[:, None], np.ones(len(y)), rcond=None)[0] for y in latencies
    ]
    return np.array(found)


def _side(head: Row, boots: pd.DataFrame) -> Iterator[Row]:
    lengths = boots.columns.to_numpy(dtype=np.float64)
    degree, coefficients = _chosen(lengths, boots)
    head |= {"form": FORMS[degree]}
    for (name, unit, ms), values in zip(COEFFICIENTS, coefficients.T, strict=False):
        estimate = _over_boots(boots, values / ms)
        yield head | _row(estimate) | {"kind": "coefficient", "name": name, "unit": unit}
    fitted = coefficients @ np.vander(lengths, degree + 1, increasing=True).T
    for column, tokens in enumerate(boots.columns):
        measured = boots[tokens].to_numpy()
        residual = _over_boots(boots, measured - fitted[:, column])
        percent = _over_boots(boots, 100 * (measured / fitted[:, column] - 1))
        place: Row = {"kind": "residual", "name": f"{AXIS}={tokens}", "percent": percent.value}
        place |= {"measured": _over_boots(boots, measured).value}
        place |= {"fitted": _over_boots(boots, fitted[:, column]).value}
        yield head | _row(residual) | place


def _chosen(lengths: Floats, boots: pd.DataFrame) -> tuple[int, Floats]:
    """The degree that the data ask for, and the coefficients of every boot."""
    latencies = boots.to_numpy()
    if len(lengths) > 2 + FREE:
        quadratic = fit(lengths, latencies, 2)
        curvature = _over_boots(boots, quadratic[:, 2])
        if (curvature.low or 0) > 0 or (curvature.high or 0) < 0:
            return 2, quadratic
    return 1, fit(lengths, latencies, 1)


def _over_boots(boots: pd.DataFrame, values: Floats) -> Estimate:
    """One number a boot, in its repetition."""
    found = pd.Series(values, index=boots.index)
    return stats.nested_median([[[v] for v in rep] for _, rep in found.groupby("repetition")])


def _row(found: Estimate) -> Row:
    small = found.value is None
    row: Row = {"value": found.value, "low": found.low, "high": found.high}
    row |= {"n": found.n, "need": found.need, "status": facts.SMALL if small else facts.OK}
    return row | {"detail": f"n={found.n} < {found.need}" if small else ""}
