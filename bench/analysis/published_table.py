"""What the page shows of imported results: the published figure, and ours of the same kind.

They come from other machines, other software and another method, so the table says where each is
from and forms no ratio of the two.
"""

from __future__ import annotations

import pandas as pd

from bench.analysis import tables
from bench.analysis.sheets import Summary, select
from bench.analysis.tables import Row, measured, plain, point

# Metrics worth a row, whose statistic there and here; and which of our models are the same network.
SHOWN = {"inference_latency": "p50", "cold_start": "mean", "peak_rss": "mean"}
OURS = {"p50": ("p50",), "mean": ("median",)}
LIKE = {
    "minilm-l6": ("minilm", "minilm-hub"),
    "minilm-l12": ("minilm-l12-seeded",),
    "bert-base": ("bert-base-hub", "bert-base-seeded"),
}
SIDES = ("plain", "enclave", "enclave/plain")


def section(summary: Summary) -> str:
    """Every campaign's model beside ours, side by side; or that nothing was imported."""
    rows = summary["published"]
    rows = rows[rows["metric"].isin(SHOWN) & rows["side"].isin(SIDES) & (rows["at"] == "")]
    rows = rows[rows["statistic"] == rows["metric"].map(SHOWN)]
    if rows.empty:
        return "No result files of others were imported.\n"
    rows = rows.sort_values(["campaign", "model", "metric"], kind="stable")
    columns = {
        "Campaign": rows["campaign"].map(plain),
        "Model": rows["model"].map(plain),
        "Metric": [plain(f"{row['title']}, {row['unit']}") for row in rows.to_dict("records")],
        "Side": rows["side"],
        "Published": rows.apply(measured, axis=1),
        "runs": rows["runs"],
        "Ours": [_ours(summary, row) for row in rows.to_dict("records")],
    }
    machines = ", ".join(plain(name) for name in rows["hardware"].unique())
    here = "; ".join(summary.where(*group) for group in summary.groups()) or "nothing was measured"
    caption = (
        f"Published ({machines}; {'; '.join(map(plain, rows['evidence'].unique()))}): means over "
        f"runs with 95 % intervals. Ours ({here}): at the point named. Neither machine, software "
        "nor method is the same, so the columns are not for dividing; a published cold start "
        "leaves out the boot."
    )
    made = tables.pipe(pd.DataFrame(columns), caption, "published-runs")
    return f"::: {{.overview}}\n\n{made}\n:::\n"


def _ours(summary: Summary, published: Row) -> str:
    """Our figure of the same metric, side and network at its last point, if there is one."""
    metric, side = published["metric"], published["side"]
    numerator, _, denominator = side.partition("/")
    sheet, name = ("overhead", "ratio") if denominator else ("metrics", "value")
    rows = select(summary[sheet], metric=metric)
    rows = rows[rows["model"].isin(LIKE.get(published["model"], ()))]
    if denominator:
        rows = select(rows, numerator=numerator, denominator=denominator)
    else:
        rows = select(rows, side=side)
        rows = rows[rows["statistic"].isin(OURS[published["statistic"]])]
    if rows.empty:
        return ""
    row = rows.iloc[-1].to_dict()
    at = f" ({point(row['at'])})" if row["at"] else ""
    return f"{measured(row, name)}{at}"
