"""Fragments: the markdown, figures and variables that report.qmd includes.

Whatever the page says about data is written here from the summary; report.qmd holds only what is
true of every run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench import files
from bench.analysis import (
    certainty,
    completeness_table,
    compliance_table,
    cost_figures,
    cost_table,
    crossing_table,
    facts,
    figures,
    growth,
    ink,
    literature_tables,
    prose,
    provenance,
    published_table,
    quality_table,
    scaling,
    scaling_tables,
    stats,
    tables,
    timelines,
)
from bench.analysis.sheets import Summary, select
from bench.analysis.tables import measured, point

# Which metrics a section of the page shows, each with tables of its own, or all in one table; and
# whose section the rest of a tier is. Every other metric stands under "other".
SECTIONS = {
    "latency": ("request_latency", "inference_latency", "first_request", "request_stage"),
    "cold-start": ("cold_start", "cold_start_stage", "cold_start_begin"),
    "memory": ("peak_rss",),
    "throughput": ("throughput",),
    "scaling": ("scaling_latency",),
    "open-loop": ("open_loop_latency",),
    "transport": ("transport_round_trip",),
    "stress": ("memory_under_load", "session_leak", "kms_recovery"),
}
TOGETHER = {
    "load": ("open_loop_rate", "goodput", "open_loop_wait", "lost_requests"),
    "saturation": ("saturation_throughput", "saturation_resolution", "unloaded_latency"),
    "long-load": (
        *("long_load_latency", "long_load_rate", "long_load_failures"),
        "long_load_receipts",
    ),
    "relay": ("relay_throughput",),
    "alike": ("embedding_cosine", "max_abs_difference"),
    "limits": (
        *("max_sessions", "session_refusal", "place_recovery", "peak_under_load"),
        *("churned_sessions", "kms_time_to_open", "kms_amplification", "kms_calls"),
        *("memory_given", "memory_limit", "memory_refused"),
    ),
}
TIERS = {"4": "security"}


@dataclass(frozen=True, slots=True)
class Page:
    """What the page is made of, and the folder that its figures are drawn into."""

    summary: Summary
    folder: Path

    def groups(self) -> Iterator[tuple[dict[str, str], str, str]]:
        """Every model on every instance: fields, how they read, what ends its labels."""
        for number, (instance, model) in enumerate(self.summary.groups()):
            fields = {"instance": instance, "model": model}
            yield fields, self.summary.where(**fields), f"-{number + 1}" if number else ""


def write(summary: Summary, literature: Path, folder: Path) -> None:
    """Write every fragment as `_name.md`, every figure as SVG, and `_variables.yml`."""
    page = Page(summary, folder)
    shown = {name for names in (*SECTIONS.values(), *TOGETHER.values()) for name in names}
    metrics = summary["metrics"]
    rest = metrics[~metrics["metric"].isin(shown) & (metrics["statistic"] != "recorded")]
    others = list(rest.loc[~rest["tier"].isin(TIERS), "metric"].unique())
    texts = {name: make(summary) for name, make in WHOLE.items()}
    pictures = [_figure(page, *picture) for picture in cost_figures.pictures(summary)]
    texts |= {"answer-figure": _headline(page), "cost-figure": "\n".join(pictures)}
    texts |= {section: _section(page, names) for section, names in SECTIONS.items()}
    texts |= {section: _together(page, names, section) for section, names in TOGETHER.items()}
    texts |= {
        section: _together(page, list(select(rest, tier=tier)["metric"].unique()), section)
        for tier, section in TIERS.items()
    }
    texts |= {"other": _section(page, others) if others else "There are no others.\n"}
    texts |= literature_tables.sections(literature)
    for name, text in texts.items():
        files.replace(folder / f"_{name}.md", text.encode())
    files.replace(folder / "_variables.yml", _variables(summary).encode())


WHOLE: dict[str, Callable[[Summary], str]] = {
    "banner": prose.banner,
    "answer": prose.answer,
    "numbers": prose.cards,
    "provenance": provenance.box,
    "isolation": provenance.isolation_facts,
    "failures": prose.failures,
    "evidence": prose.evidence,
    "compliance": compliance_table.section,
    "completeness": completeness_table.section,
    "specification": prose.specification,
    "certainty": certainty.section,
    "parity": provenance.parity,
    "quality": quality_table.section,
    "cost": cost_table.section,
    "cost-instances": cost_table.instances,
    "cost-crossover": crossing_table.crossover,
    "cost-published": crossing_table.published,
    "cost-prices": cost_table.prices,
    "published-runs": published_table.section,
}


def _variables(summary: Summary) -> str:
    """Values for `var` shortcodes; JSON is YAML too."""
    revision = ", ".join(summary.context("revision"))
    run = {
        "platform": " ".join(summary.context("platform")),
        "checkout": f"a checkout of revision {revision}" if revision else "a copy of this code",
    }
    need = {name: str(stats.minimum_count(p)) for name, p in facts.QUANTILES.items()}
    need |= {"boots": str(stats.MINIMUM_BOOTS), "prevailing": f"{stats.PREVAILING:g}"}
    values = {"run": run, "need": need}
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def _section(page: Page, names: Sequence[str]) -> str:
    """For every model and instance that has any: each metric's figure, table and ratios."""
    made = [
        _metric(page, name, group, where, suffix)
        for group, where, suffix in page.groups()
        for name in names
    ]
    return "\n".join(filter(None, made)) or "Not measured.\n"


def _together(page: Page, names: Sequence[str], section: str) -> str:
    """For every model and instance: all of these metrics in one table, all ratios in another."""
    parts = []
    for group, where, suffix in page.groups():
        rows = select(page.summary["metrics"], **group)
        rows = rows[rows["metric"].isin(names)]
        if not rows["statistic"].any():
            continue
        parts.append(tables.overview(rows, where, f"{section}{suffix}"))
        ratios = select(page.summary["overhead"], **group)
        ratios = ratios[ratios["metric"].isin(names)]
        if len(ratios):
            parts.append(tables.overheads(ratios, where, f"{section}{suffix}-ratios"))
    return "\n".join(parts) or "Not measured.\n"


def _metric(page: Page, name: str, group: dict[str, str], where: str, suffix: str) -> str:
    rows = select(page.summary["metrics"], metric=name, **group)
    if not rows["statistic"].any():
        return ""
    label = f"{name.replace('_', '-')}{suffix}"
    parts = [_picture(page, name, group, label)]
    if name == "cold_start":
        stages = select(page.summary["stages"], **group).query("side != 'null'")
        parts.append(tables.stages(stages, where, f"{label}-stages"))
    if name == scaling.METRIC:
        fits = select(page.summary["scaling"], **group)
        parts.append(scaling_tables.coefficients(fits, where, f"{label}-fit"))
        parts.append(scaling_tables.residuals(fits, where, f"{label}-residuals"))
    if name != "cold_start_stage":  # the waterfall has them
        parts.append(tables.metric(rows, where, label))
    if name == growth.METRIC:
        parts.append(growth.told(rows))
    ratios = select(page.summary["overhead"], metric=name, **group)
    if len(ratios):
        parts.append(tables.overheads(ratios, where, f"{label}-ratios"))
    return "\n".join(filter(None, parts))


def _headline(page: Page) -> str:
    parts = []
    for group, where, suffix in page.groups():
        rows = select(page.summary["overhead"], metric=prose.HEADLINE, status="ok", **group)
        if rows.empty:
            continue
        caption = (
            f"Request latency in multiples of another side's, for {where}. Lines are 95 % "
            "intervals. The grey band around 1 is what two identical processes (null/plain) "
            "could not be told apart in."
        )
        alt = f"Ratios of request latency. {_told(rows)}"
        parts.append(_figure(page, figures.overheads(rows), f"answer{suffix}", caption, alt))
    return "\n".join(parts)


def _told(rows: pd.DataFrame) -> str:
    """Every number of a picture of ratios, for those who cannot see it."""
    said = []
    for row in rows.to_dict("records"):
        at = f" at {point(row['at'])}" if row["at"] else ""
        said.append(f"{row['numerator']} to {row['denominator']}{at}: {measured(row, 'ratio')}")
    return "; ".join(said) + "."


def _picture(page: Page, name: str, group: dict[str, str], label: str) -> str:
    """The figure that belongs to a metric, if it has one and its rows suffice."""
    summary = page.summary
    shape = select(summary["distribution"], metric=name, **group)
    middle = select(summary["metrics"], metric=name, status="ok", **group)
    middle = middle[middle["statistic"].isin(["p50", "median"])]
    if name == scaling.METRIC:
        fits = select(summary["scaling"], status="ok", **group)
        caption = (
            "How a request grows with its text: boots' medians (dots), their fit (line), and what "
            "the fit leaves, in per cent."
        )
        alt = scaling_tables.told(fits)
        return _figure(page, figures.fits(fits), label, caption, alt) if len(fits) else ""
    if name in (prose.HEADLINE, "open_loop_latency") and len(shape):
        caption = (
            "How long requests took, side by side. Hill: density; dot: median; thick line: middle "
            "half; thin line: 5 % to 95 %. The axis ends at the slowest side's 99.5 %; the slowest "
            "request of each side stands at the right."
        )
        return _figure(page, figures.distributions(shape), label, caption, _medians(middle))
    stages = select(summary["stages"], metric=name, status="ok", **group).query("side != 'null'")
    if stages["start"].notna().any():
        caption = (
            "The cold start, stage by stage (medians over boots). Orange: stages that only a "
            "confidential server has; grey: stages that a plain one has as well."
        )
        said = "; ".join(
            f"{row['side']} {row['stage'].replace('_', ' ')}: {measured(row)}"
            for row in stages.to_dict("records")
        )
        return _figure(page, figures.waterfall(stages), label, caption, f"Waterfall. {said}.")
    if name in timelines.PICTURES:
        points, rows = (select(summary[of], **group) for of in ("timeline", "metrics"))
        if points.empty:
            return ""
        draw, caption = timelines.picture(name, points)
        known = select(rows, metric=name, status="ok", statistic="value")
        told = growth.told(select(rows, metric=name)) if known.empty else _medians(known)
        return _figure(page, draw, label, caption, f"{caption} {told.strip()}")
    if name in ("throughput", "transport_round_trip") and middle["at"].nunique() > 1:
        log = name == "transport_round_trip"
        draw = figures.curves(middle, xlabel="payload each way" if log else "sessions", log=log)
        title = "Round trip by payload" if log else "Throughput by number of sessions"
        axes = ", both axes logarithmic" if log else ""
        caption = f"{title}: medians, bands are 95 % intervals{axes}."
        return _figure(page, draw, label, caption, _medians(middle))
    return ""


def _medians(rows: pd.DataFrame) -> str:
    said = (
        f"{row['side']}, {point(row['at'])}: {measured(row)} {row['unit']}"
        for row in rows.to_dict("records")
    )
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
