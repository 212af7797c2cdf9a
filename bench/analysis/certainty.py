"""Certainty: what the page says about how sure its numbers are, made from the summary.

Which boots were noisy, whether identical sides came out alike, what spreads a ratio and what a
narrow interval takes, whether warm-ups were long enough, how much neighbours have in common.
"""

from __future__ import annotations

import pandas as pd

from bench.analysis import noise, overhead, planning, tables
from bench.analysis.sheets import Summary, select
from bench.analysis.tables import measured, number, plain, point

HEADLINE = "request_latency"
CELL = ["instance", "model", "metric", "title", "at", "side"]
SHOWN = 12


def callout(summary: Summary) -> str:
    """Which boots were measured on a noisy machine, for the top of the page; empty where none."""
    boots = noise.boots(summary["context"])
    loud = boots[boots["reason"] != ""]
    if loud.empty:
        return ""
    named = [
        f"{plain(boot['model'])}, tier {boot['tier']}, repetition {boot['repetition']}, "
        f"boot {boot['boot']:.0f}: {plain(boot['reason'])}"
        for boot in loud.head(SHOWN).to_dict("records")
    ]
    more = f"\n\nand {len(loud) - SHOWN} more." if len(loud) > SHOWN else ""
    listed = "\n".join(f"- {line}" for line in named)
    return f"""\
::: {{.callout-warning title="Noisy machine"}}
Somebody else had this machine in {len(loud)} of {len(boots)} boots. Their values count like all
others. Latencies and above all their tails are those of a busy machine; ratios suffer less, since
sides take turns, but expect to find others on a quiet one.

{listed}{more}
:::
"""


def section(summary: Summary) -> str:
    """All of it, each part with what it rests on."""
    parts = [_quiet(summary), _null(summary), _needed(summary), _steady(summary)]
    return "\n".join(part for part in parts if part)


def _quiet(summary: Summary) -> str:
    boots = noise.boots(summary["context"])
    if boots.empty:
        return "The records say nothing of how busy the machine was.\n"
    told = boots.dropna(subset="others_share")
    if told.empty:
        return "The records do not say what CPU time other processes took.\n"
    return (
        f"In {len(told)} boots, others took {_range(told['others_share'])} of the CPU time "
        f"and the host stole {_range(told['steal_share'])}. A boot is called noisy above "
        f"{noise.OTHERS:.0%} and {noise.STEAL:.0%}: a p95 is made of the slowest twentieth of all "
        "requests and a p99 of the slowest hundredth, so as large a share of somebody else's work "
        "could be all there is in it.\n"
    ).replace("%", r"\%")


def _range(shares: pd.Series[float]) -> str:
    return f"{shares.median():.1%} (at most {shares.max():.1%})"


def _null(summary: Summary) -> str:
    rows = select(summary["overhead"], status="ok", numerator=overhead.NULL[0])
    if rows.empty:
        return "No two identical sides were compared, so nobody knows what chance alone does.\n"
    missed = rows[(rows["low"] > 1) | (rows["high"] < 1)]
    held = len(rows) - len(missed)
    text = (
        f"Of {len(rows)} intervals of two identical plain processes (A/A), {held} hold 1; "
        f"{0.95 * len(rows):.1f} would be expected. By what such an interval misses, every other "
        "ratio of the same blocks has been made wider, on both sides."
    )
    named = [f"{_place(row)} {measured(row, 'ratio')}" for row in missed.to_dict("records")]
    return f"{text} Missed by: {'; '.join(named)}.\n" if named else f"{text}\n"


def _place(row: tables.Row) -> str:
    at = f" ({point(row['at'])})" if row["at"] else ""
    return f"{plain(row['title'])}{at}"


def _needed(summary: Summary) -> str:
    """What the headline's ratios are spread by, and what a narrow interval of them takes."""
    rows = select(summary["overhead"], metric=HEADLINE, status="ok")
    rows = rows[(rows["numerator"] == "enclave") & (rows["denominator"] == "plain")]
    if rows.empty:
        return ""
    repetitions = rows["repetitions"].astype(float)
    columns = {
        "Model": rows["model"].map(plain),
        "At": rows["at"].map(point),
        "Width, points": (100 * (rows["high"] - rows["low"])).map("{:.2f}".format),
        "Blocks": rows["blocks"],
        "Boots": rows["boots"],
        "Spread of a block, %": _percent(rows["block_spread"]),
        "of boots, %": _percent(rows["boot_spread"]),
        "of repetitions, %": _percent(rows["repetition_spread"]),
        f"Boots for {100 * planning.WIDTH:g} points": [
            f"{int(count) * each:.0f}" if count else f"more than {planning.MOST_BOOTS * each:.0f}"
            for count, each in zip(rows["boots_needed"], repetitions, strict=True)
        ],
    }
    caption = (
        "Enclave / plain, requests: what spreads the ratio, and how many boots an interval of that "
        "width usually takes with as many blocks in each and as many repetitions."
    )
    return tables.pipe(pd.DataFrame(columns), caption, "needed")


def _percent(spread: pd.Series[float]) -> pd.Series[str]:
    return (100 * spread).map(lambda value: number(value, digits=2) if value else "not seen")


def _steady(summary: Summary) -> str:
    """Whether the marked warm-ups were enough, and what values in a row are worth."""
    rows = summary["metrics"]
    wanted = rows[rows["statistic"].isin(["effective", "slow_start", "warmups"])]
    cells = wanted.pivot_table(
        index=[*CELL, "boots", "n"], columns="statistic", values="value", sort=False
    ).reset_index()
    if "slow_start" not in cells:
        return ""
    cells = cells.dropna(subset="slow_start")
    marked = cells["warmups"] / cells["boots"].astype(float)
    short = cells["slow_start"] > marked
    columns = {
        "Metric": cells["title"].map(plain),
        "At": cells["at"].map(point),
        "Side": cells["side"],
        "Warm-ups marked": marked.map("{:.0f}".format),
        "slower at first": cells["slow_start"].map("{:.0f}".format),
        "enough": short.map({True: "**no**", False: "yes"}),
        "n": cells["n"],
        "worth": cells["effective"].map("{:.0f}".format),
    }
    caption = (
        "How many first answers of a boot were slower than the rest (one change of the mean, by "
        "least squares, counted by Schwarz' criterion), and how many independent values all are "
        "worth by their autocorrelation (Geyer's initial sequence, on ranks)."
    )
    table = tables.pipe(pd.DataFrame(columns), caption, "steady")
    said = (
        f"The marked warm-ups were enough in {int((~short).sum())} of {len(cells)} cells"
        + (": in the others a few slow answers count among the rest." if short.any() else ".")
        + " Values in a row have something in common: in the median cell "
        f"{(cells['effective'] / cells['n'].astype(float)).median() * 100:.0f} independent ones "
        "would tell as much as 100 of them. No interval rests on their independence."
    )
    summary_line = "<summary>Warm-up and autocorrelation, cell by cell</summary>"
    return f"{said}\n\n<details>\n{summary_line}\n\n{table}\n</details>\n"
