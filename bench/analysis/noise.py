"""Noise: which boots were measured while somebody else had the machine.

The kernel says how much CPU time all processes took in a boot and how much other machines on the
same host; the records say what our own took. Nothing is left out for it: a noisy boot is named.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

# A p99 is made of the slowest hundredth of the requests, a p95 of the slowest twentieth. Where a
# host stole, or other processes took, as large a share of the CPU time, such a tail may be theirs.
STEAL = 0.01
OTHERS = 0.05

FACTS = {
    "boot": "boot", "seconds": "seconds", "noise.busy_s": "busy", "noise.own_s": "own",
    "noise.steal_s": "steal", "load_1min": "load",
}  # fmt: skip
FIELD = r"^per_boot\.(?P<place>\d+)\.(?P<fact>[a-z0-9_.]+)$"
SAID = ("boot", "load", "steal_share", "others_share", "reason")
KEYS = ("instance", "model", "tier", "repetition")


def boots(context: pd.DataFrame) -> pd.DataFrame:
    """A row per boot: KEYS, boot, shares of the CPU time (steal, others), load, and `reason`.

    context: the summary's context.csv. `reason` is empty where a boot was quiet. Records that do
    not say what our own processes took are judged by their load: one process more than CPUs.
    """
    told = context.join(context["field"].str.extract(FIELD))
    told = told[told["fact"].isin(FACTS)].assign(fact=lambda rows: rows["fact"].map(FACTS))
    if told.empty:
        return pd.DataFrame(columns=[*KEYS, *SAID])
    found = told.pivot(index=[*KEYS, "place"], columns="fact", values="value")
    found = found.reindex(columns=list(FACTS.values())).astype(float)
    online = context[context["field"] == "cpus_online"].drop_duplicates(KEYS)
    cpus = online.set_index(list(KEYS))["value"].astype(float).rename("cpus")
    found = found.join(cpus).reset_index()
    whole = found["seconds"] * found["cpus"]
    found["steal_share"] = found["steal"] / whole
    found["others_share"] = (found["busy"] - found["steal"] - found["own"]) / whole
    found["reason"] = [_reason(boot) for boot in found.to_dict("records")]
    return found[[*KEYS, *SAID]]


def _reason(boot: Mapping[Hashable, Any]) -> str:
    reasons = []
    if boot["steal_share"] > STEAL:
        reasons.append(f"its host stole {boot['steal_share']:.0%} of the CPU time")
    if boot["others_share"] > OTHERS:
        reasons.append(f"other processes took {boot['others_share']:.0%} of the CPU time")
    if pd.isna(boot["others_share"]) and boot["load"] > boot["cpus"] + 1:
        reasons.append(f"a load of {boot['load']:.1f} on {boot['cpus']:.0f} CPUs")
    return ", ".join(reasons)


def counted(context: pd.DataFrame, instance: str, model: str) -> str:
    """`noisy in 2 of 12 boots`, or nothing where all were quiet."""
    found = boots(context)
    own = found[(found["instance"] == instance) & (found["model"] == model)]
    loud = int((own["reason"] != "").sum())
    return f"noisy in {loud} of {len(own)} boots" if loud else ""
