"""Prose: the report's sentences, made from the summary so that no typed word can be wrong.

Every function takes the summary and returns markdown. Where data are missing the sentence says so.
"""

from __future__ import annotations

import pandas as pd

from bench.analysis import certainty, overhead, stats, tables, verdict
from bench.analysis.sheets import Summary, select
from bench.analysis.tables import Row, code, measured, number, plain, point

HEADLINE = "request_latency"
ISOLATION = ("enclave", "bare")
FLAGS = {"z_flags": "|Z| > 3", "tukey_flags": "Tukey", "mad_flags": "MAD"}


def banner(summary: Summary) -> str:
    """What an emulated platform is, in plain words, and which boots were noisy."""
    return _emulated(summary) + certainty.callout(summary)


def _emulated(summary: Summary) -> str:
    """Nothing on hardware."""
    if not summary.emulated:
        return ""
    platform = plain(" ".join(summary.context("platform")))
    return f"""\
::: {{.callout-warning title="Emulated platform"}}
No hardware protected this run. The platform {platform} runs the real image, enclave code, key
policy, verifier and client, but the security module, the key service and the hypervisor are
emulated on one machine. Ratios here are the price of the software on that machine. They are no
measurement of a TEE, and no verdict on one is given.
:::
"""


def answer(summary: Summary) -> str:
    """The first sentence: what a confidential request takes in multiples of a plain one."""
    parts = [] if summary.groups() else ["There are no records, so there is no answer."]
    found = {
        place: select(summary["overhead"], metric=HEADLINE, instance=place[0], model=place[1])
        for place in summary.groups()
    }
    asked = {place: rows for place, rows in found.items() if len(rows)} or found
    for place, rows in asked.items():
        parts += _answer(rows, summary.where(*place))
    return "\n\n".join(parts) + "\n"


def _answer(rows: pd.DataFrame, where: str) -> list[str]:
    whole = _pair(rows, overhead.HEADLINE, status="ok")
    if whole.empty:
        return [f"No price of confidentiality can be given for {where}: {_why(rows)}."]
    first = (
        f"A confidential request took {_listed(whole)} as long as the same request to a plain "
        f"process ({where})."
    )
    rest = []
    isolation = _pair(rows, ISOLATION, status="ok")
    if len(isolation):
        rest.append(f"Isolation alone made requests take {_listed(isolation)} as long.")
    limit = whole["detectable"].max()
    if limit >= 0:
        rest.append(
            "Two identical plain processes, measured in the same way, differ by chance alone so "
            f"that effects below ± {limit * 100:.2g} % could not have been seen."
        )
    words = set(whole["verdict"])
    if len(words) == 1 and not words & {"", verdict.EMULATED}:
        rest.append(f"In the specification's words: **{plain(words.pop())}**.")
    return [first, " ".join(rest)]


def _pair(rows: pd.DataFrame, pair: tuple[str, str], **wanted: str) -> pd.DataFrame:
    return select(rows, numerator=pair[0], denominator=pair[1], **wanted)


def _why(rows: pd.DataFrame) -> str:
    asked = _pair(rows, overhead.HEADLINE)
    reasons = (asked["status"] + ": " + asked["detail"]).unique()
    return plain("; ".join(reasons)) or "no ratio was measured"


def _listed(rows: pd.DataFrame) -> str:
    """The one ratio, or the lowest and the highest: each with its interval and its point."""
    said = [_one(row) for row in rows.sort_values("ratio", kind="stable").to_dict("records")]
    return said[0] if len(said) == 1 else f"between {said[0]} and {said[-1]}"


def _one(row: Row) -> str:
    value, _, interval = measured(row, "ratio").partition(" ")
    at = f" ({point(row['at'])})" if row["at"] else ""
    return f"**{value}{tables.SPACE}times** {interval}{at}"


def cards(summary: Summary) -> str:
    """The few numbers that most readers came for, each with its interval and denominator.

    Where a metric has several points the one with the highest price is shown, and the A/A run at
    that same point.
    """
    instance, model = (summary.groups() or [("", "")])[0]
    rows = select(summary["overhead"], instance=instance, model=model)
    made, shown = [], ""
    for metric, pair, name in CARDS:
        found = _pair(rows, pair, metric=metric, status="ok")
        if pair == overhead.NULL:
            found = select(found, at=shown)
        if len(found):
            row = found.nlargest(1, "ratio").to_dict("records")[0]
            shown = row["at"] if metric == HEADLINE else shown
            made.append(_card(row, name))
    return f":::: {{.numbers}}\n{''.join(made)}::::\n" if made else ""


CARDS = (
    (HEADLINE, overhead.HEADLINE, "request"),
    ("cold_start", overhead.HEADLINE, "cold start"),
    ("peak_rss", overhead.HEADLINE, "peak memory"),
    (HEADLINE, overhead.NULL, "two identical sides (A/A)"),
)


def _card(row: Row, name: str) -> str:
    value, _, interval = measured(row, "ratio").partition(" ")
    at = f", {point(row['at'])}" if row["at"] else ""
    return f"""\
::: {{.card-number}}
[{value} ×]{{.big}}
[{interval}]{{.interval}}
[{name}{at}: {tables.ratio(row)}]{{.label}}
:::
"""


def failures(summary: Summary) -> str:
    """Every cell that failed, and every metric that no record holds."""
    failed = select(summary["metrics"], statistic="failures")
    text = "Every cell that was tried was measured.\n"
    if len(failed):
        columns = {
            "Metric": failed["title"].map(plain),
            "At": failed["at"].map(point),
            "Side": failed["side"],
            "failed": failed["value"].map("{:.0f}".format),
            "Reasons": failed["detail"].map(plain),
        }
        caption = "Cells that failed; none of them counts as 0."
        text = tables.pipe(pd.DataFrame(columns), caption, "failures")
    absent = select(summary["metrics"], status="not measured")
    names = sorted(set(absent["title"] + " (" + absent["detail"] + ")"))
    if names:
        text += f"\nNot measured: {plain('; '.join(names))}.\n"
    return text


def evidence(summary: Summary) -> str:
    """What the offline check of the evidence found, file by file, or that none was made."""
    table = summary["evidence"]
    if table.empty:
        return """\
::: {.callout-warning title="Evidence not checked"}
No result of an evidence check was there when this page was made. Take its numbers as unsigned.
:::
"""
    table = table.apply(lambda column: column.map(code if column.name == "record" else plain))
    caption = "Each records file walked back to a signature made inside the enclave."
    return tables.pipe(table, caption, "evidence")


def specification(summary: Summary) -> str:
    """The specification's own statistics beside ours."""
    share = stats.z_flag_probability() * 100
    text = f"""\
The specification (5.1) reports the median of the repetitions' medians and flags values with
|Z| > 3. In a normal sample {share:.2f} % of all values do that; the specification says 0.64 %,
which is the share beyond |Z| = 2.73. Latencies are not normal, and one straggler widens the
deviation it is judged by, so two robust rules stand beside it: Tukey's (beyond the quartiles by
three interquartile ranges) and the modified Z-score (beyond 3.5 median absolute deviations,
scaled). All three only flag: every value counts in every number of this page.
"""
    rows = _pair(summary["overhead"], overhead.HEADLINE)
    rows = rows[rows["of_medians"].notna()]
    if len(rows):
        columns = {
            "Metric": rows["title"].map(plain),
            "At": rows["at"].map(point),
            "Compared": rows.apply(tables.ratio, axis=1),
            "Ours": rows.apply(measured, axis=1, name="ratio"),
            "The specification's": rows["of_medians"].map(number),
        }
        caption = (
            "Ratios: ours (median over pairs) and the specification's (of medians of medians)."
        )
        text += "\n" + tables.pipe(pd.DataFrame(columns), caption, "specification")
    return text + _flags(summary["metrics"])


def _flags(rows: pd.DataFrame) -> str:
    """The specification's median and how many values each rule flags, of more than ten values."""
    rows = rows[rows["statistic"].isin(["median_of_medians", *FLAGS]) & (rows["n"] > 10)]
    body = []
    for _, cell in rows.groupby(["instance", "model", "metric", "at", "side"], sort=False):
        row, values = cell.iloc[0], cell.set_index("statistic")["value"]
        middle = f"{number(values['median_of_medians'])} {plain(row['unit'])}"
        flagged = [f"{values[flag]:.0f} ({values[flag] / row['n'] * 100:.2f} %)" for flag in FLAGS]
        place = [plain(row["title"]), point(row["at"]), row["side"]]
        body.append([*place, middle, row["n"], *flagged])
    if not body:
        return ""
    header = ["Metric", "At", "Side", "median of medians", "n", *map(plain, FLAGS.values())]
    caption = "The specification's median, and how many values each rule flags."
    table = tables.pipe(pd.DataFrame(body, columns=header), caption, "flags")
    return f"\n<details>\n<summary>Flags, value by value</summary>\n\n{table}\n</details>\n"
