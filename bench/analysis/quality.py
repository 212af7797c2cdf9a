"""Quality: whether answers are the same, right, and as good as those of finer weights.

From what tier 3 recorded to rows of quality.csv, one row for one printed fact. Answers that should
be equal are counted, exactly; what is estimated has texts as its units. Seeded weights mean
nothing, so what their answers would be worth is not given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis import shares
from bench.analysis.facts import OK, SMALL, Row
from bench.analysis.stats import Estimate

DETERMINISM = "output_determinism"  # of the catalogue
PER_BOOT = ["repetition", "boot"]
SIDES = ("enclave", "plain")
REFUSED = "not given"
SEEDED = "the weights are seeded: what they say is noise"
UNITS = {"accuracy": "%", "perplexity": "1", "likelihood": "nat/token", "BERTScore": "1"}


@dataclass(frozen=True, slots=True)
class Answers:
    """All that tier 3 recorded of one model on one instance.

    found: repetition, boot, metric, side, block, iteration, value; warm-ups and failures left out.
    """

    platform: str
    instance: str
    model: str
    seeded: bool
    found: pd.DataFrame

    def of(self, metric: str, side: str | None = None) -> pd.DataFrame:
        """The values of one metric, on one side or all."""
        chosen = self.found["metric"] == metric
        return self.found[chosen & (self.found["side"] == side)] if side else self.found[chosen]

    def by_text(self, metric: str, side: str) -> pd.Series[float]:
        """One value a text: its mean over boots, which differ in nothing as a rule."""
        return self.of(metric, side).groupby("block")["value"].mean()

    def row(self, metric: str, quantity: str, compared: str, unit: str) -> Row:
        """What every row of quality.csv about these answers begins with."""
        boots = len(self.found[PER_BOOT].drop_duplicates())
        head: Row = {"platform": self.platform, "instance": self.instance, "model": self.model}
        head |= {"tier": 3, "metric": metric, "quantity": quantity, "compared": compared}
        return head | {"unit": unit, "boots": boots, "status": OK, "detail": ""}


def rows(answers: Answers) -> list[Row]:
    """Every fact about one model's answers."""
    return [*determinism(answers), *accuracy(answers), *generation(answers)]


# Same input, same bytes


def determinism(answers: Answers) -> Iterator[Row]:
    """How many answers equal the one they should: in a session, across restarts, across sides."""
    for metric, what in (("output_digest", "answers"), ("continuation", "continuations")):
        told = _told(answers, metric)
        if told.empty:
            continue
        compared = {
            "one session": _repeated(told),
            "restarts": _restarted(told),
            "enclave/plain": _across(told),
        }
        boots: Row = {"boots": len(told[PER_BOOT].drop_duplicates())}
        for scope, alike in compared.items():
            row = answers.row(DETERMINISM, what, scope, "%")
            yield row | boots | counted(alike)
        row = answers.row(DETERMINISM, f"starts that gave the same {what}", "restarts", "%")
        yield row | boots | _starts(told, compared["restarts"])


def _starts(told: pd.DataFrame, alike: pd.Series[bool]) -> Row:
    """Further starts of a side that answered every text as its first did; a start is a unit."""
    whole = alike.groupby([told.loc[alike.index, name] for name in (*PER_BOOT, "side")]).all()
    row = counted(whole)
    if row.get("equal") == len(whole) > 0:
        row |= {"low": 100 * shares.least_share(len(whole)), "high": 100.0}
    return row


def _told(answers: Answers, metric: str) -> pd.DataFrame:
    """What was answered each time a text was asked; a continuation is all of its tokens."""
    found = answers.of(metric)
    if metric == "continuation":
        keys = [*PER_BOOT, "side", "block"]
        found = found.sort_values("iteration").groupby(keys)["value"].agg(tuple).reset_index()
        found["iteration"] = 0
    return found


def _repeated(told: pd.DataFrame) -> pd.Series[bool]:
    """Each further answer of a session against the first to the same text."""
    keys = [*PER_BOOT, "side", "block"]
    ordered = told.sort_values("iteration", kind="stable")
    first = ordered.groupby(keys)["value"].transform("first")
    return (ordered["value"] == first)[ordered["iteration"] > 0]


def _restarted(told: pd.DataFrame) -> pd.Series[bool]:
    """The first answers of each further boot against those of the first boot, side by side."""
    ordered = told[told["iteration"] == 0].sort_values(PER_BOOT, kind="stable")
    texts = ordered.groupby(["side", "block"])["value"]
    return (ordered["value"] == texts.transform("first"))[texts.cumcount() > 0]


def _across(told: pd.DataFrame) -> pd.Series[bool]:
    """The enclave's answer against the plain server's to the same question."""
    keys = [*PER_BOOT, "block", "iteration"]
    wide = told.pivot(index=keys, columns="side", values="value").reindex(columns=SIDES).dropna()
    return wide["enclave"] == wide["plain"]


def counted(alike: pd.Series[bool]) -> Row:
    """So many of so many; a count has no interval."""
    n = len(alike)
    if not n:
        return {"n": 0, "status": SMALL, "detail": "nothing to compare with"}
    equal = int(alike.sum())
    return {"value": 100 * equal / n, "equal": equal, "n": n}


# Right answers


def accuracy(answers: Answers) -> Iterator[Row]:
    """Letters in their right class, by side; and in the same class on both sides."""
    metric = "classification_accuracy"
    for side in SIDES:
        right = answers.by_text(metric, side) / 100
        if len(right):
            found = shares.share(float(right.sum()), len(right))
            yield estimated(answers, metric, "accuracy", side, found, per=100)
    yield from _same(answers, "predicted_class", "same class")


# What generators make of held-out text


def generation(answers: Answers) -> Iterator[Row]:
    """Held-out text: its likelihood and perplexity on each side, and BERTScore of what follows."""
    for side in SIDES:
        nats = answers.by_text("negative_log_likelihood", side)
        if len(nats):
            tokens = answers.by_text("scored_tokens", side)
            found = shares.ratio_of_totals(nats, tokens)
            metric = "negative_log_likelihood"
            yield estimated(answers, metric, "likelihood", side, found)
            yield estimated(answers, metric, "perplexity", side, found, change=np.exp)
        scores = answers.by_text("bert_score", side)
        if len(scores):
            found = shares.ratio_of_totals(scores, np.ones(len(scores)))
            yield estimated(answers, "bert_score", "BERTScore", side, found)
    yield from _same(answers, "negative_log_likelihood", "same likelihood")


def _same(answers: Answers, metric: str, quantity: str) -> Iterator[Row]:
    """How often both sides say the very same."""
    if len(told := answers.of(metric)):
        yield answers.row(metric, quantity, "enclave/plain", "%") | counted(_across(told))


def estimated(
    answers: Answers,
    metric: str,
    quantity: str,
    compared: str,
    found: Estimate,
    *,
    per: float = 1,
    change: Callable[[float], float] = float,
    unit: str = "",
) -> Row:
    """An estimate, times `per` and as `change` has it; none for weights that mean nothing."""
    row = answers.row(metric, quantity, compared, unit or UNITS[quantity]) | {"n": found.n}
    if answers.seeded:
        return row | {"status": REFUSED, "detail": SEEDED}
    if found.value is None:
        return row | {"status": SMALL, "detail": "no text was asked"}
    edges = {"value": found.value, "low": found.low, "high": found.high}
    told = {name: None if v is None else change(per * v) for name, v in edges.items()}
    small = f"n={found.n} < {found.need}, so no interval" if found.low is None else ""
    return row | told | {"detail": small}
