"""Prose: the report's sentences, made from the summary so that no typed word can be wrong.

Every function takes the summary and returns markdown. Where data are missing the sentence says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.analysis import overhead, stats, tables, verdict
from bench.analysis.tables import NONE, Row, code, distinct, measured, number, plain, point, select

HEADLINE = "request_latency"
CSV = ("metrics", "overhead", "stages", "distribution", "context", "parity", "evidence")


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary's rows by file, and what they are about."""

    rows: Mapping[str, Sequence[Row]]

    @classmethod
    def read(cls, folder: Path) -> Summary:
        """Read the CSV files of a summary folder; evidence.csv may be absent."""
        return cls({name: tables.read(folder / f"{name}.csv") for name in CSV})

    def __getitem__(self, name: str) -> Sequence[Row]:
        return self.rows[name]

    def context(self, field: str) -> list[str]:
        """Distinct values of one context field, in order; `*` in it stands for any one part."""
        parts = field.split(".")
        values = [row["value"] for row in self["context"] if _like(row["field"].split("."), parts)]
        return list(dict.fromkeys(values))

    @property
    def emulated(self) -> bool:
        """True unless every record says that nothing was emulated."""
        return self.context("emulated") != ["false"]

    def groups(self) -> list[tuple[str, str]]:
        """(instance, model) pairs, in order."""
        return [(i, m) for i, m in distinct(self["context"], "instance", "model")]

    def where(self, instance: str, model: str) -> str:
        """`minilm on laptop, emulated platform local`."""
        platform = " ".join(self.context("platform"))
        kind = "emulated platform" if self.emulated else "platform"
        return f"{plain(model)} on {plain(instance)}, {kind} {plain(platform)}"


def _like(field: Sequence[str], parts: Sequence[str]) -> bool:
    return len(field) == len(parts) and all(
        p in ("*", f) for f, p in zip(field, parts, strict=True)
    )


def banner(summary: Summary) -> str:
    """What an emulated platform is, in plain words; nothing on hardware."""
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
    for instance, model in summary.groups():
        rows = select(summary["overhead"], metric=HEADLINE, instance=instance, model=model)
        parts += _answer(rows, summary.where(instance, model))
    return "\n\n".join(parts) + "\n"


def _answer(rows: Sequence[Row], where: str) -> list[str]:
    whole = _contrast(rows, *overhead.HEADLINE)
    if not whole:
        return [f"No price of confidentiality can be given for {where}: {_why(rows)}."]
    first = (
        f"A confidential request took {_listed(whole)} as long as the same request to a plain "
        f"process ({where})."
    )
    rest = []
    isolation = _contrast(rows, "enclave", "bare")
    if isolation:
        rest.append(f"Isolation alone made requests take {_listed(isolation)} as long.")
    limits = [float(row["detectable"]) for row in whole if row["detectable"]]
    if limits:
        rest.append(
            "Two identical plain processes, measured in the same way, differ by chance alone so "
            f"that effects below ± {max(limits) * 100:.2g} % could not have been seen."
        )
    words = {row["verdict"] for row in whole}
    if len(words) == 1 and not words & {"", verdict.EMULATED}:
        rest.append(f"In the specification's words: **{plain(words.pop())}**.")
    return [first, " ".join(rest)]


def _contrast(rows: Iterable[Row], numerator: str, denominator: str) -> list[Row]:
    return select(rows, numerator=numerator, denominator=denominator, status="ok")


def _why(rows: Sequence[Row]) -> str:
    reasons = distinct(_pair(rows, *overhead.HEADLINE), "status", "detail")
    return plain("; ".join(": ".join(reason) for reason in reasons)) or "no ratio was measured"


def _pair(rows: Iterable[Row], numerator: str, denominator: str) -> list[Row]:
    return select(rows, numerator=numerator, denominator=denominator)


def _listed(rows: Sequence[Row]) -> str:
    """The one ratio, or the lowest and the highest: each with its interval and its point."""
    ordered = sorted(rows, key=lambda row: float(row["ratio"]))
    if len(ordered) == 1:
        return _one(ordered[0])
    return f"between {_one(ordered[0])} and {_one(ordered[-1])}"


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
        found = _contrast(select(rows, metric=metric), *pair)
        if pair == overhead.NULL:
            found = select(found, at=shown)
        if found:
            row = max(found, key=lambda row: float(row["ratio"]))
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
    if failed:
        header = ["Metric", "At", "Side", "failed", "Reasons"]
        body = [
            [plain(row["title"]), point(row["at"]), row["side"], row["value"],
             plain(row["detail"])]
            for row in failed
        ]  # fmt: skip
        text = tables.pipe(header, body, "Cells that failed; none of them counts as 0.", "failures")
    absent = select(summary["metrics"], status="not measured")
    names = sorted({f"{row['title']} ({row['detail']})" for row in absent})
    if names:
        text += f"\nNot measured: {plain('; '.join(names))}.\n"
    return text


def evidence(summary: Summary) -> str:
    """What the offline check of the evidence found, file by file, or that none was made."""
    rows = summary["evidence"]
    if not rows:
        return """\
::: {.callout-warning title="Evidence not checked"}
No result of an evidence check was there when this page was made. Take its numbers as unsigned.
:::
"""
    header = list(rows[0])
    body = [[_evidence_cell(name, row[name]) for name in header] for row in rows]
    caption = "Each records file walked back to a signature made inside the enclave."
    return tables.pipe(header, body, caption, "evidence")


def _evidence_cell(name: str, value: str) -> str:
    return code(value) if name == "record" else plain(value) or NONE


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
    body = [
        [plain(row["title"]), point(row["at"]), tables.ratio(row),
         measured(row, "ratio"), number(float(row["of_medians"]))]
        for row in summary["overhead"]
        if row["of_medians"] and (row["numerator"], row["denominator"]) == overhead.HEADLINE
    ]  # fmt: skip
    if body:
        header = ["Metric", "At", "Compared", "Ours", "The specification's"]
        caption = (
            "Ratios: ours (median over pairs) and the specification's (of medians of medians)."
        )
        text += "\n" + tables.pipe(header, body, caption, "specification")
    rows = [row for row in summary["metrics"] if row["statistic"]]
    flagged = [_flag_row(found) for found in _by_cell(rows) if int(found["z_flags"]["n"]) > 10]
    if flagged:
        header = ["Metric", "At", "Side", "median of medians", "n", "|Z| > 3", "Tukey", "MAD"]
        caption = "The specification's median, and how many values each rule flags."
        table = tables.pipe([plain(h) for h in header], flagged, caption, "flags")
        text += f"\n<details>\n<summary>Flags, value by value</summary>\n\n{table}\n</details>\n"
    return text


def _by_cell(rows: Sequence[Row]) -> list[dict[str, Row]]:
    cells: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("instance", "model", "metric", "at", "side"))
        cells.setdefault(key, {})[row["statistic"]] = row
    return [cell for cell in cells.values() if "z_flags" in cell]


def _flag_row(cell: Mapping[str, Row]) -> list[str]:
    row = cell["z_flags"]
    n = int(row["n"])
    shares = [
        f"{int(cell[name]['value'])} ({int(cell[name]['value']) / n:.2%})".replace("%", " %")
        for name in ("z_flags", "tukey_flags", "mad_flags")
    ]
    middle = number(float(cell["median_of_medians"]["value"]))
    unit = f"{middle} {plain(row['unit'])}"
    return [plain(row["title"]), point(row["at"]), row["side"], unit, row["n"], *shares]
