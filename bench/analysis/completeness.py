"""Completeness: all that the specification and the milestone report ask for, and what this run has.

`config/specification.tsv` lists their rows. A metric of the catalogue says in its column `seed`
which of them it answers, at one value of its axes where a word is `row:value`. Everything else here
is derived from the summary, above all the reasons for what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench import catalogue, plan, tables
from bench.analysis import facts, sheets
from bench.analysis.sheets import select
from bench.catalogue import Metric

COLUMNS = ("row", "source", "asked", "beside")
MEASURED, MISSING = "measured", "missing"
# Where metrics of a run stand; what others published is none of it.
SHEETS = ("metrics", "quality", "cost", "crossover", "instances")
NOTHING = "no metric of the catalogue answers it"
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A row that asks for something; `beside` names what answers it and is no metric: `context:` a
    field of all records, or `compliance:` a security property."""

    row: str
    source: str
    asked: str
    beside: str


@dataclass(frozen=True, slots=True)
class Run:
    """What a run has: rows of the summary about metrics, which tiers each model was measured in,
    of what kind it is, and what stands beside metrics."""

    found: pd.DataFrame
    tiers: Mapping[str, set[int]]
    kinds: Mapping[str, str]
    context: pd.DataFrame
    compliance: pd.DataFrame


def read(path: Path) -> list[Asked]:
    """Rows of config/specification.tsv; ConfigError names the cell that is wrong."""
    rows = tables.read(path, COLUMNS, key=("row",))
    found = []
    for row in rows:
        if row.text("beside").partition(":")[0] not in ("", "context", "compliance"):
            raise row.error("beside", expected="context:field or compliance:property, or -")
        found.append(Asked(**{name: row.text(name) for name in COLUMNS}))
    return found


def check(specification: Path, metrics: Path, models: Path, folder: Path) -> None:
    """Write `completeness.csv` into the summary's folder, after all others."""
    found = pd.concat([_told(folder, name) for name in SHEETS], ignore_index=True)
    context = sheets.read(folder, "context")
    tiers: dict[str, set[int]] = {}
    for model, tier in context[["model", "tier"]].drop_duplicates().itertuples(index=False):
        tiers.setdefault(model, set()).add(int(tier))
    kinds = {row.model: row.kind for row in plan.models(models) if row.model in tiers}
    run = Run(found, tiers, kinds, context, sheets.read(folder, "compliance"))
    rows = list(judged(read(specification), catalogue.read(metrics), run))
    sheets.write(folder / "completeness.csv", pd.DataFrame(rows))


def judged(asked: Iterable[Asked], metrics: Iterable[Metric], run: Run) -> Iterator[Row]:
    """A row for each answer to something asked, and one for what nothing answers."""
    answers = [(*word.partition(":")[::2], m) for m in metrics for word in m.seed.split()]
    for wanted in asked:
        head = {name: getattr(wanted, name) for name in ("row", "source", "asked")}
        rows = [_metric(run, metric, at) for row, at, metric in answers if row == wanted.row]
        if wanted.beside:
            rows.append(_beside(run, *wanted.beside.split(":")))
        for row in rows or [_row(MISSING, why=NOTHING)]:
            yield head | row


def _row(state: str, *, answer: str = "", title: str = "", models: str = "", why: str = "") -> Row:
    return {"answer": answer, "title": title, "state": state, "models": models, "why": why}


def _metric(run: Run, metric: Metric, at: str) -> Row:
    """Measured where it was for any model; `why` says what failed all the same, or what is in the
    way for every model."""
    models = [model for model, kind in run.kinds.items() if kind in metric.models]
    told = {model: _model(run, metric, at, model) for model in models}
    done = [model for model, (state, _) in told.items() if state == MEASURED]
    reasons = dict.fromkeys(why for why in (told[model][1] for model in done or models) if why)
    if not models:
        reasons = {f"no {' or '.join(metric.models)} in this run": None}
    title = f"{metric.title} ({at.replace('_', ' ')})" if at else metric.title
    state = MEASURED if done else MISSING
    answer = f"{metric.id}:{at}" if at else metric.id
    return _row(state, answer=answer, title=title, models=" ".join(done), why="; ".join(reasons))


def _model(run: Run, metric: Metric, at: str, model: str) -> tuple[str, str]:
    """Whether a metric was measured for one model, and what is to be said of it."""
    rows = select(run.found, metric=metric.id, model=model)
    failed = select(rows, status=facts.FAILED)
    if at:
        rows = rows[rows["at"].map(lambda point: at in _values(point)).astype(bool)]
    why = "; ".join(dict.fromkeys(f"failed: {reason}" for reason in failed["detail"]))
    if rows["status"].isin((facts.OK, facts.SMALL)).any():
        return MEASURED, why
    if why:
        return MISSING, why
    if metric.status == "planned":
        return MISSING, "planned"
    if metric.status == "measured" and metric.tier not in run.tiers[model]:
        return MISSING, f"tier {metric.tier} is not asked of {model}"
    told = "; ".join(dict.fromkeys(detail for detail in rows["detail"] if detail))
    if metric.status == "computed":
        return MISSING, told or f"nothing to compute it from for {model}"
    return MISSING, told or f"no record of {model} holds it{f' at {at}' if at else ''}"


def _beside(run: Run, kind: str, name: str) -> Row:
    answer = f"{kind}:{name}"
    if kind == "context":
        said = run.context["field"].str.startswith(name).any()
        state, why = (MEASURED, "") if said else (MISSING, "this machine does not tell it")
        return _row(state, answer=answer, title="stands in the context of all records", why=why)
    rows = select(run.compliance, id=name) if len(run.compliance) else run.compliance
    open_ = rows[rows["result"] != "proven"] if len(rows) else rows
    proven = [model for model in rows.get("model", ()) if model not in set(open_.get("model", ()))]
    title = f"security property: {rows.iloc[0]['property']}" if len(rows) else name
    reasons = dict.fromkeys(open_["detail"]) if len(rows) else {"no bundle was checked": None}
    state = MEASURED if proven else MISSING
    return _row(state, answer=answer, title=title, models=" ".join(proven), why="; ".join(reasons))


def _told(folder: Path, name: str) -> pd.DataFrame:
    """What a sheet says of metrics: metric, model, point, status, detail."""
    columns = ["metric", "model", "at", "status", "detail"]
    return sheets.read(folder, name).reindex(columns=columns).fillna("").astype(str)


def _values(point: str) -> list[str]:
    """`tokens=8;stage=open` to 8 and open."""
    return [part.partition("=")[2] for part in point.split(";")]
