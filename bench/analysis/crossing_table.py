"""What the page says of enclaves beside confidential GPUs, from crossover.csv and gpus.csv."""

from __future__ import annotations

import math

import pandas as pd

from bench.analysis import cost, tables
from bench.analysis.cost_table import groups
from bench.analysis.facts import OK
from bench.analysis.sheets import Summary, select
from bench.analysis.tables import Row, measured, number, plain

NAMES = {"req/h": "requests", "tokens/h": "tokens"}
MILLION = 1e6


def crossover(summary: Summary) -> str:
    """Where a confidential GPU becomes cheaper: by volume, then by batch."""
    parts = []
    for where, suffix, rows in groups(summary, "crossover"):
        for kind, make in (("volume", _volume), ("batch", _batch)):
            found = select(rows, kind=kind)
            if len(found):
                parts.append(make(found, where, suffix))
    parts.append(_break_even(select(summary["crossover"], kind="break-even")))
    return "\n".join(filter(None, parts)) or "Nothing was measured.\n"


def _volume(rows: pd.DataFrame, where: str, suffix: str) -> str:
    found = rows[rows["gpu"] != ""]
    if found.empty:
        return f"No crossing can be given for {where}: {plain(rows['detail'].iloc[0])}.\n"
    unit = found["unit"].iloc[0]
    columns = {
        "Confidential GPU": found["gpu"].map(plain) + found["gpu_usd_per_hour"].map(_hourly),
        "Instead of": found["priced_as"].map(plain) + found["usd_per_hour"].map(_hourly),
        "Classes": (found["price_class"] + " / " + found["gpu_class"]).map(plain),
        "Busy": found["utilisation"].map(lambda busy: f"{busy * 100:g} %"),
        f"Up to, million {unit}": found.assign(**_millions(found)).apply(measured, axis=1),
    }
    caption = f"Demand up to which no confidential GPU is cheaper, with 95 % intervals; {where}."
    said = ""
    if found["value"].notna().any():
        edges = (found["low"].min() / MILLION, found["high"].max() / MILLION)
        low, high = (f"{float(f'{edge:.2g}'):,g}" for edge in edges)
        said = (
            f"Enclaves on CPUs cost no more than one confidential GPU, however fast that is, up to "
            f"a demand of **{low} to {high} million** {NAMES[unit]} an hour ({where}). The band is "
            "over GPUs, price classes, utilisation and the interval of our rate.\n"
        )
    table = tables.pipe(pd.DataFrame(columns), caption, f"crossover{suffix}")
    return f"{said}\n::: {{.overview}}\n\n{table}\n:::\n"


def _millions(rows: pd.DataFrame) -> dict[str, pd.Series[float]]:
    return {name: rows[name] / MILLION for name in ("value", "low", "high")}


def _hourly(usd: float) -> str:
    return f" ({usd:g}{tables.SPACE}USD/h)"


def _batch(rows: pd.DataFrame, where: str, suffix: str) -> str:
    found = rows[rows["gpu"] != ""]
    if found.empty:
        return f"No batch can be given for {where}: {plain(rows['detail'].iloc[0])}.\n"
    columns = {
        "Confidential GPU": found["gpu"].map(plain) + found["gpu_usd_per_hour"].map(_hourly),
        "Instead of": found["priced_as"].map(plain) + found["usd_per_hour"].map(_hourly),
        "Class": found["price_class"].map(plain),
        "Cheaper from batch": found.apply(_batches, axis=1),
    }
    caption = (
        f"Batch from which the published GPU costs less per token, with 95 % intervals; {where}."
    )
    return tables.pipe(pd.DataFrame(columns), caption, f"crossover-batch{suffix}")


def _batches(row: Row) -> str:
    if row["status"] != OK or math.isnan(row["value"]):
        return plain(row["detail"])
    ends = [f"{end:.0f}" if not math.isnan(end) else "none" for end in (row["low"], row["high"])]
    return f"{row['value']:.0f} [{ends[0]}, {ends[1]}]"


def _break_even(rows: pd.DataFrame) -> str:
    """What a token costs on the GPU by batch, and the rate that an instance needs to match it."""
    if rows.empty:
        return ""
    keys = ["gpu", "at", "gpu_usd"]
    named = rows.assign(
        paid=rows["priced_as"] + " " + rows["price_class"], cell=rows["value"].map(number)
    )
    table = named.drop_duplicates([*keys, "paid"]).pivot(index=keys, columns="paid", values="cell")
    table = table.reindex(pd.MultiIndex.from_frame(rows[keys].drop_duplicates()))
    table.columns = [f"{plain(str(name))}, tokens/s" for name in table.columns]
    places = list(table.index)
    table.insert(0, "Confidential GPU", [plain(gpu) for gpu, *_ in places])
    table.insert(1, "Batch", [at.partition("=")[2] for _, at, _ in places])
    table.insert(2, "USD for 1,000,000 tokens", [number(usd) for *_, usd in places])
    source, model = plain(rows["source"].iloc[0]), plain(rows["detail"].iloc[0])
    caption = (
        f"Output tokens of {model} on a confidential GPU, from {source}, at the snapshot's price, "
        "and the rate from which the instance is cheaper."
    )
    return tables.pipe(table, caption, "break-even")


def published(summary: Summary) -> str:
    """Where the published readings and ours of the same figures differ: both."""
    rows = summary["gpus"]
    if rows.empty:
        return ""
    same = rows[rows["input_tokens"] == rows["output_tokens"]]
    other = rows[rows["input_tokens"] != rows["output_tokens"]]
    low, high = (100 * end for end in (same["loss"].min(), same["loss"].max()))
    batches = same["batch"].astype(int)
    columns = {
        "Batch": other["batch"],
        "Tokens read": other["input_tokens"],
        "Tokens written": other["output_tokens"],
        "As published, per token read": other["usd_per_1m"].map(number),
        "Per token written": other["usd_per_1m_output"].map(number),
    }
    text = f"""\
Two readings of published costs. "Up to 100 % cheaper" (paper 02, and the specification's section
7.3) takes the difference in per cent of the cheaper one: the GPU costs up to twice as much, so the
CPU is up to {cost.cheaper_by(1.0) * 100:g} % cheaper. Its CPUs have spot prices, its GPU a
pay-as-you-go price. And it counts tokens read on the GPU, tokens written on the CPU, which agree
only where both are equally many. From the same figures protection takes {low:.1f} % to {high:.1f} %
of the GPU's throughput at batch {batches.min()} to {batches.max()}; no price enters that.
"""
    caption = "USD for 1,000,000 tokens on a confidential GPU in both ways of counting."
    return f"{text}\n{tables.pipe(pd.DataFrame(columns), caption, 'counted')}"
