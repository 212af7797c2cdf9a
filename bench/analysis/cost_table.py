"""What the page says of costs: sentences and tables from cost.csv and prices.csv.

Dollars are written as USD behind the number. A cost names its reading: whose price, how much of the
instance pays, how busy it is.
"""

from __future__ import annotations

import pandas as pd

from bench.analysis import tables
from bench.analysis.facts import OK
from bench.analysis.sheets import Summary, select
from bench.analysis.tables import Row, measured, plain, point

UNITS = {"cost_per_1k_inferences": "1,000 requests", "cost_per_1m_tokens": "1,000,000 tokens"}
# In tables of the readings, where costs of 1,000 requests would be mostly zeros: times, of what.
SHOWN = {
    "cost_per_1k_inferences": (1e3, "1,000,000 requests (a thousand times that of 1,000)"),
    "cost_per_1m_tokens": (1, "1,000,000 tokens"),
}
READINGS = {"whole": "whole instance", "share": "own vCPUs", "filled": "filled instance"}
SIDES = {"plain": "plain", "enclave": "enclave", "difference": "enclave − plain"}


def section(summary: Summary) -> str:
    """For every model on every instance: the answer, what it stands on, and the readings of it."""
    parts = []
    for where, suffix, rows in groups(summary, "cost"):
        units = _headline(rows)
        if units.empty:
            reasons = rows.loc[rows["metric"].isin(UNITS), "detail"].unique()
            why = plain("; ".join(reasons)) or "nothing was measured"
            parts.append(f"No cost can be given for {where}: {why}.\n")
            continue
        parts += [_answer(units, where), _readings(units, rows, where, suffix)]
        parts.append(_overheads(select(rows, metric="tee_overhead"), where, suffix))
    return "\n".join(filter(None, parts)) or "Nothing was measured, so nothing has a cost.\n"


def groups(summary: Summary, sheet: str) -> list[tuple[str, str, pd.DataFrame]]:
    """Every model on every instance: how it reads, what ends its labels, its rows of a sheet."""
    return [
        (
            summary.where(instance, model),
            f"-{place + 1}" if place else "",
            select(summary[sheet], instance=instance, model=model),
        )
        for place, (instance, model) in enumerate(summary.groups())
    ]


def _headline(rows: pd.DataFrame) -> pd.DataFrame:
    """Costs at the point of the comparison of instances."""
    found = rows[rows["metric"].isin(UNITS) & rows["side"].isin(list(SIDES))]
    return found[found["at"] == _last(found)]


def _last(rows: pd.DataFrame) -> str:
    """The last point that is swept; the rows are in its order."""
    points = rows.loc[rows["side"] == "enclave", "at"]
    return str(points.iloc[-1]) if len(points) else ""


def _answer(units: pd.DataFrame, where: str) -> str:
    """What confidentiality costs more, and on which price and reading that rests."""
    shown = select(units, basis="whole").drop_duplicates("side").set_index("side")
    if "enclave" not in shown.index or shown.loc["enclave", "status"] != OK:
        why = units["detail"].iloc[0]
        return f"No cost can be given for {where}: {plain(why) or 'no value of the enclave'}.\n"
    first = shown.loc["enclave"].to_dict()
    unit = UNITS[first["metric"]]
    told = f"In the enclave {unit} cost **{_usd(first)}** ({where})"
    if "difference" in shown.index and shown.loc["difference", "status"] == OK:
        more, plain_ = (shown.loc[side].to_dict() for side in ("difference", "plain"))
        told = (
            f"Confidential inference costs {_more(more)} per {unit} than plain: {_usd(first)} "
            f"instead of {_usd(plain_)} ({where})"
        )
    said = (
        f"{told}. One server pays for the whole instance, {first['usd_per_hour']:g} USD an hour "
        f"({plain(first['price_class'])}), and has work {first['utilisation'] * 100:g} % of the "
        f"time ({point(first['at'])})."
    )
    if first["hypothetical"] == "True":
        said += (
            " **These costs are hypothetical**: the rate is that of this machine, the price that "
            f"of {plain(first['priced_as'])}."
        )
    return f"{said}\n"


def _more(row: Row) -> str:
    """How much more or less a difference is, and that it may be none where its interval holds 0."""
    if row["low"] <= 0 <= row["high"]:
        return f"{_usd(row)} more, which is no difference that could be told from none,"
    if row["low"] > 0:
        return f"**{_usd(row)} more**"
    ends = {"value": -row["value"], "low": -row["high"], "high": -row["low"]}
    return f"**{_usd(dict(row) | ends)} less**"


def _usd(row: Row) -> str:
    value, _, interval = measured(row).partition(" ")
    return f"{value}{tables.SPACE}USD {interval}".rstrip()


def _readings(units: pd.DataFrame, rows: pd.DataFrame, where: str, suffix: str) -> str:
    """Every reading, class and utilisation; multiples do not depend on the latter two."""
    times = select(rows, metric="cost_multiplier", at=units["at"].iloc[0]).set_index("basis")
    keys = ["basis", "price_class", "utilisation"]
    times_more, unit = SHOWN[units["metric"].iloc[0]]
    scaled = {name: units[name] * times_more for name in ("value", "low", "high")}
    cells = units.assign(cell=units.assign(**scaled).apply(measured, axis=1))
    table = cells.pivot(index=keys, columns="side", values="cell")
    table = table.reindex(pd.MultiIndex.from_frame(units[keys].drop_duplicates()))
    table = table[[side for side in SIDES if side in table]].rename(columns=SIDES)
    places = [dict(zip(keys, place, strict=True)) for place in table.index]
    table["times"] = [
        measured(times.loc[p["basis"]].to_dict()) if p["basis"] in times.index else ""
        for p in places
    ]
    table.insert(0, "Who pays", [READINGS[place["basis"]] for place in places])
    table.insert(1, "Price", [plain(place["price_class"]) for place in places])
    table.insert(2, "Busy", [f"{place['utilisation'] * 100:g} %" for place in places])
    caption = f"USD for {unit}, with 95 % intervals of the rates; {where}."
    made = tables.pipe(table, caption, f"cost{suffix}")
    return f"::: {{.overview}}\n\n{made}\n:::\n"


def _overheads(rows: pd.DataFrame, where: str, suffix: str) -> str:
    rows = rows[rows["of"] != ""]
    if rows.empty:
        return ""
    columns = {
        "Of": rows["of"].map(lambda name: plain(name.replace("_", " "))),
        "At": rows["at"].map(point),
        "Overhead": rows.apply(measured, axis=1),
        "n": rows["n"],
    }
    caption = f"Overhead of the TEE in per cent of plain, with 95 % intervals; {where}."
    return tables.pipe(pd.DataFrame(columns), caption, f"tee-overhead{suffix}")


def instances(summary: Summary) -> str:
    """The comparison of instances: instance x model, or that there is nothing to compare."""
    rows = select(summary["cost"], metric="instance_comparison")
    if rows["instance"].nunique() < 2:
        return "One instance was measured, so there is none to compare it with.\n"
    keys = ["of", "instance", "price_class"]
    cells = rows.assign(cell=rows.apply(measured, axis=1))
    table = cells.pivot(index=keys, columns="model", values="cell")
    places = list(table.index)
    table.columns = [plain(str(name)) for name in table.columns]
    table.insert(0, "Instance", [plain(instance) for _, instance, _ in places])
    table.insert(1, "Class", [plain(name) for *_, name in places])
    table.insert(2, "USD for", [UNITS[of] for of, *_ in places])
    caption = (
        "What the enclave costs on each instance, with 95 % intervals: one server pays for it."
    )
    return tables.pipe(table, caption, "instances")


def prices(summary: Summary) -> str:
    """Which prices, of which day, with the digest of the file."""
    rows = summary["prices"]
    if rows.empty:
        return "No prices were read.\n"
    first = rows.iloc[0]
    columns = {
        "Instance": rows["instance"].map(plain),
        "Class": rows["price_class"].map(plain),
        "USD/h": rows["usd_per_hour"].map("{:g}".format),
        "Region": (rows["provider"] + ", " + rows["region"]).map(plain),
        "As of": rows["as_of"].map(plain),
        "Source": rows["source"].map(plain),
        "Note": rows["note"].map(plain),
    }
    kind = "estimates: no provider was asked" if first["kind"] == "estimate" else "quoted"
    text = (
        f"Prices are those of the snapshot of {plain(first['snapshot'])} ({kind}), SHA-256 "
        f"{tables.code(first['sha256'])}. A class that is not in it was not priced."
    )
    made = tables.pipe(pd.DataFrame(columns), "Prices, and where they are from.", "prices")
    return f"{text}\n\n::: {{.overview}}\n\n{made}\n:::\n"
