"""Fragments: the markdown, figures and variables that report.qmd includes.

Whatever the page says about data is written here from the summary; report.qmd holds only what is
true of every run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import records
from bench import tables as config
from bench.analysis import facts, figures, ink, prose, provenance, stats, tables
from bench.analysis.prose import Summary
from bench.analysis.tables import Row, distinct, measured, plain, point, select

LITERATURE = ("group", "platform", "workload", "figure", "source", "evidence", "note")

# Which metrics a section of the page shows; every other metric stands under "other".
SECTIONS = {
    "latency": ("request_latency", "inference_latency", "first_request", "request_stage"),
    "cold-start": ("cold_start", "cold_start_stage"),
    "memory": ("peak_rss",),
    "throughput": ("throughput",),
    "transport": ("transport_round_trip",),
}


# The blank between a number and its unit, once `plain` has escaped a per cent sign.
UNIT = re.compile(r"(?<=\d) (?=\\%|ms\b|s\b|[GMk]B\b)")


@dataclass(slots=True)
class Page:
    """What has been made so far: fragments by name, and figures drawn into the folder."""

    summary: Summary
    folder: Path
    fragments: dict[str, str] = field(default_factory=dict)


def write(summary: Summary, literature: Path, folder: Path) -> None:
    """Write every fragment as `_name.md`, every figure as SVG, and `_variables.yml`."""
    page = Page(summary, folder)
    for name, make in WHOLE.items():
        page.fragments[name] = make(summary)
    page.fragments["answer-figure"] = _headline(page)
    shown: set[str] = {name for names in SECTIONS.values() for name in names}
    listed = [metric for (metric,) in distinct(summary["metrics"], "metric")]
    for section, names in SECTIONS.items():
        page.fragments[section] = _section(page, names)
    others = [name for name in listed if name not in shown]
    page.fragments["other"] = _section(page, others) if others else "There are no others.\n"
    for group, caption in GROUPS.items():
        page.fragments[group] = _published(literature, group, caption)
    for name, text in page.fragments.items():
        records.replace(folder / f"_{name}.md", text.encode())
    records.replace(folder / "_variables.yml", _variables(summary).encode())


WHOLE: dict[str, Callable[[Summary], str]] = {
    "banner": prose.banner,
    "answer": prose.answer,
    "numbers": prose.cards,
    "provenance": provenance.box,
    "isolation": provenance.isolation_facts,
    "failures": prose.failures,
    "evidence": prose.evidence,
    "specification": prose.specification,
    "parity": provenance.parity,
}
GROUPS = {
    "original": "What the original project published.",
    "projected": "What the specification projected, and what was measured since.",
    "literature": "What papers published.",
}


def _variables(summary: Summary) -> str:
    """Values for `var` shortcodes; JSON is YAML too."""
    run = {
        "platform": " ".join(summary.context("platform")),
        "resamples": f"{stats.RESAMPLES:,}",
        "revision": ", ".join(summary.context("revision")) or "not recorded",
    }
    seeds = ", ".join(seed for (seed,) in distinct(summary["overhead"], "seed"))
    need = {name: str(stats.minimum_count(p)) for name, p in facts.QUANTILES.items()}
    values = {"run": run | {"seed": seeds or "none"}, "need": need}
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def _section(page: Page, names: Sequence[str]) -> str:
    """For every model and instance: each metric's figure, table and ratios."""
    groups = page.summary.groups()
    parts = []
    for number, (instance, model) in enumerate(groups):
        suffix = f"-{number + 1}" if number else ""
        where = page.summary.where(instance, model)
        made = [
            _metric(page, name, {"instance": instance, "model": model}, where, suffix)
            for name in names
        ]
        text = "\n".join(part for part in made if part)
        parts.append(text or "Not measured.\n")
    return "\n".join(parts)


def _metric(page: Page, name: str, group: dict[str, str], where: str, suffix: str) -> str:
    rows = select(page.summary["metrics"], metric=name, **group)
    if not any(row["statistic"] for row in rows):
        return ""
    label = f"{name.replace('_', '-')}{suffix}"
    parts = [_picture(page, name, group, label)]
    if name == "cold_start":
        stages = [r for r in select(page.summary["stages"], **group) if r["side"] != "null"]
        parts.append(tables.stages(stages, where, f"{label}-stages"))
    if name != "cold_start_stage":  # the waterfall has them
        parts.append(tables.metric(rows, where, label))
    ratios = select(page.summary["overhead"], metric=name, **group)
    if ratios:
        parts.append(tables.overheads(ratios, where, f"{label}-ratios"))
    return "\n".join(part for part in parts if part)


def _headline(page: Page) -> str:
    parts = []
    for number, (instance, model) in enumerate(page.summary.groups()):
        group = {"instance": instance, "model": model}
        rows = select(page.summary["overhead"], metric=prose.HEADLINE, status="ok", **group)
        if rows:
            where = page.summary.where(instance, model)
            caption = (
                f"Request latency in multiples of another side's, for {where}. Lines are 95 % "
                "intervals. The grey band around 1 is what two identical processes (null/plain) "
                "could not be told apart in."
            )
            alt = f"Ratios of request latency. {_told(rows)}"
            draw = figures.overheads(rows)
            parts.append(
                _figure(page, draw, f"answer{f'-{number + 1}' if number else ''}", caption, alt)
            )
    return "\n".join(parts)


def _told(rows: Sequence[Row]) -> str:
    """Every number of a picture of ratios, for those who cannot see it."""
    said = []
    for row in rows:
        at = f" at {point(row['at'])}" if row["at"] else ""
        said.append(f"{row['numerator']} to {row['denominator']}{at}: {measured(row, 'ratio')}")
    return "; ".join(said) + "."


def _picture(page: Page, name: str, group: dict[str, str], label: str) -> str:
    """The figure that belongs to a metric, if it has one and its rows suffice."""
    summary = page.summary
    shape = select(summary["distribution"], metric=name, **group)
    middle = [
        row
        for row in select(summary["metrics"], metric=name, status="ok", **group)
        if row["statistic"] in ("p50", "median")
    ]
    if name == prose.HEADLINE and shape:
        caption = (
            "How long requests took, side by side. Hill: density; dot: median; thick line: middle "
            "half; thin line: 5 % to 95 %. The axis ends at the slowest side's 99.5 %; the slowest "
            "request of each side stands at the right."
        )
        return _figure(page, figures.distributions(shape), label, caption, _medians(middle))
    stages = [
        row
        for row in select(summary["stages"], metric=name, status="ok", **group)
        if row["side"] != "null"
    ]
    if any(row["start"] for row in stages):
        caption = (
            "The cold start, stage by stage (medians over boots). Orange: stages that only a "
            "confidential server has; grey: stages that a plain one has as well."
        )
        said = "; ".join(
            f"{r['side']} {r['stage'].replace('_', ' ')}: {measured(r)}" for r in stages
        )
        return _figure(page, figures.waterfall(stages), label, caption, f"Waterfall. {said}.")
    if name in ("throughput", "transport_round_trip") and len(distinct(middle, "at")) > 1:
        log = name == "transport_round_trip"
        draw = figures.curves(middle, xlabel="payload each way" if log else "sessions", log=log)
        title = "Round trip by payload" if log else "Throughput by number of sessions"
        axes = ", both axes logarithmic" if log else ""
        caption = f"{title}: medians, bands are 95 % intervals{axes}."
        return _figure(page, draw, label, caption, _medians(middle))
    return ""


def _medians(rows: Sequence[Row]) -> str:
    said = (f"{row['side']}, {point(row['at'])}: {measured(row)} {row['unit']}" for row in rows)
    return f"Medians. {'; '.join(said)}."


def _figure(page: Page, draw: ink.Draw, label: str, caption: str, alt: str) -> str:
    ink.save(draw, page.folder, label)
    alt = alt.replace('"', "'")
    return f"""\
::: {{#fig-{label}}}
::: {{.light-content}}
![]({label}-light.svg){{fig-alt="{alt}"}}
:::

::: {{.dark-content}}
![]({label}-dark.svg){{fig-alt="{alt}"}}
:::

{caption}
:::
"""


def _published(path: Path, group: str, caption: str) -> str:
    """Numbers of others, in a table of their own."""
    rows = config.read(path, LITERATURE, key=("group", "platform", "workload", "figure", "source"))
    header = ["Platform", "Workload", "Published", "Source", "How we know", "Note"]
    body = [
        [UNIT.sub(tables.SPACE, plain(row.text(name))) for name in LITERATURE[1:]]
        for row in rows
        if row.text("group") == group
    ]
    return tables.pipe(header, body, f"{caption} Nothing in this table was measured here.", group)
