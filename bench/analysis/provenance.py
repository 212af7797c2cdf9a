"""Provenance: where, when, on what and how often was measured, as the records tell it."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from bench.analysis import tables
from bench.analysis.overhead import LEDGER
from bench.analysis.prose import HEADLINE
from bench.analysis.sheets import WHERE, Summary, select
from bench.analysis.tables import code, plain

PROVENANCE = (
    ("Isolation set up outside", "isolation_level"),
    ("Transport", "transport"),
    ("vCPUs of a server", "vcpus"),
    ("Enclave memory, MiB", "enclave_memory_mib"),
    ("CPU", "cpu_model_name"),
    ("Microcode", "cpu_microcode"),
    ("CPUs online", "cpus_online"),
    ("CPUs that share a core", "placement.smt_siblings.*"),
    ("CPUs of each NUMA node", "placement.numa.*.cpus"),
    ("CPUs and NUMA nodes allowed", "placement.allowed.*"),
    ("Memory, MiB", "memory_mib"),
    ("Kernel", "kernel"),
    ("Governor", "cpu_governor"),
    ("Python", "per_boot.*.parity.*.python"),
    ("Inference threads", "per_boot.*.parity.*.threads"),
    ("CPUs of the sides", "per_boot.*.parity.*.cpus"),
    ("Steal in a boot, s", "per_boot.*.noise.steal_s"),
    ("Code", "revision"),
)
DIGESTS = (
    ("Image PCR0", "pcrs.0"),
    ("Image PCR1", "pcrs.1"),
    ("Image PCR2", "pcrs.2"),
    ("Enclave folder, SHA-256", "enclave_digest"),
    ("Model weights, SHA-256", "weights_sha256"),
)
# What not every machine can say: a virtual one has no governor, a copy of the code no revision.
OPTIONAL = (
    *("cpu_governor", "revision"),
    *("placement.smt_siblings.*", "placement.numa.*.cpus", "placement.allowed.*"),
)

CONFIDENTIAL = ("enclave", "bare")
FACT = r"^per_boot\.(?P<boot>\d+)\.isolation\.(?P<side>enclave|bare)\.(?P<fact>[^.]+)"
# Facts that keep a server in, and how they read where it holds.
HELD = {
    "no network": ("tcp_out", "false"),
    "read-only root": ("root_ro", "true"),
    "no capabilities": ("cap_eff", "0" * 16),
    "no new privileges": ("no_new_privs", "1"),
}


def box(summary: Summary) -> str:
    """Where, when, on what and how often, as the records tell it."""
    emulated = "emulated: no hardware isolation" if summary.emulated else "hardware"
    platform = plain(" ".join(summary.context("platform")))
    lines = [("Platform", f"{platform}, **{emulated}**")]
    groups = "; ".join(f"{plain(m)} on {plain(i)}" for i, m in summary.groups())
    lines += [("Model and instance", groups), ("Weights from", _all(summary, "model_source"))]
    lines += [("Measured", _dates(summary)), ("Repetitions", _counts(summary))]
    lines.append(("Isolation found inside", isolation(summary)))
    told = [row for row in PROVENANCE if row[1] not in OPTIONAL or summary.context(row[1])]
    lines += [(name, _range(summary, field)) for name, field in told]
    lines += [(name, _all(summary, field, code)) for name, field in DIGESTS]
    body = "\n".join(f"{name}\n:   {value}\n" for name, value in lines)
    return f"::: {{.provenance}}\n{body}:::\n"


def _all(summary: Summary, field: str, mark: Callable[[str], str] = plain) -> str:
    return ", ".join(map(mark, summary.context(field))) or "not recorded"


def _range(summary: Summary, field: str) -> str:
    """All values, or their range where they are many numbers."""
    numbers = pd.to_numeric(pd.Series(summary.context(field)), errors="coerce")
    if len(numbers) > 3 and numbers.notna().all():
        return f"{numbers.min():g} to {numbers.max():g}"
    return _all(summary, field)


def _dates(summary: Summary) -> str:
    started = sorted(summary.context("per_boot.*.started"))
    if not started:
        return "not recorded"
    first, last = started[0][:10], started[-1][:10]
    return plain(first if first == last else f"{first} to {last}")


def _counts(summary: Summary) -> str:
    repetitions = summary["context"]["repetition"].nunique()
    told = select(summary["context"], field="boots")[["tier", "value"]].drop_duplicates()
    boots = [f"{plain(n)} (tier {plain(tier)})" for tier, n in told.itertuples(index=False)]
    if told["value"].nunique() < 2:
        boots = [_all(summary, "boots")]
    said = f"{repetitions}, each of {' and '.join(boots)} boots of every side"
    n = select(summary["metrics"], metric=HEADLINE, statistic="p50")["n"]
    if n.empty:
        return said
    times = n.min() if n.nunique() == 1 else f"{n.min()} to {n.max()}"
    return f"{said}, {times} requests a side and length"


def isolation(summary: Summary) -> str:
    """The level of isolation that each confidential side found, and what kept it in."""
    found = _isolation(summary)
    said = [_kept(side, select(found, side=side)) for side in CONFIDENTIAL]
    return "; ".join(filter(None, said)) or "not recorded"


def _kept(side: str, found: pd.DataFrame) -> str:
    levels = select(found, fact="level")["value"]
    if levels.empty:
        return ""
    level = f"{plain(levels.iloc[0])} in every boot" if levels.nunique() == 1 else _tally(levels)
    held = [
        word
        for word, (fact, value) in HELD.items()
        if len(select(found, fact=fact, value=value)) == len(levels)
    ]
    return f"**{side}** {level}" + (f": {', '.join(held)}" if held else "")


def isolation_facts(summary: Summary) -> str:
    """What the confidential sides found around them, fact by fact, folded away."""
    found = _isolation(summary)
    if found.empty:
        return "No side reported what isolation it found.\n"
    facts = found.groupby(["fact", "side"])["value"].agg(_tally).unstack("side")
    facts = facts.reindex(index=found["fact"].unique(), columns=CONFIDENTIAL[::-1])
    facts.insert(0, "Fact", facts.index.map(code))
    caption = "Isolation, read from inside by the servers themselves."
    summary_line = "<summary>Isolation that the servers found, fact by fact</summary>"
    table = tables.pipe(facts, caption, "isolation")
    return f"<details>\n{summary_line}\n\n{table}\n</details>\n"


def _isolation(summary: Summary) -> pd.DataFrame:
    """A row per boot, side and fact; the members of a list are joined."""
    context = summary["context"]
    facts = context.join(context["field"].str.extract(FACT)).dropna()
    keys = [*WHERE, "repetition", "boot", "side", "fact"]
    return facts.groupby(keys, sort=False)["value"].agg(", ".join).reset_index()


def _tally(values: pd.Series[str]) -> str:
    """`bwrap (all 12 boots)`, or how many boots found what."""
    counts = values.value_counts(sort=False)
    if len(counts) == 1:
        return f"{plain(values.iloc[0])} (all {len(values)} boots)"
    return ", ".join(f"{plain(str(value))} ({n} boots)" for value, n in counts.items())


def parity(summary: Summary) -> str:
    """In what the sides were alike: a row per field that all boots agree on, else per boot."""
    rows = summary["parity"]
    if rows.empty:
        return "The records hold no parity ledger, so no ratio is printed.\n"
    body = []
    for _, found in rows.groupby(["instance", "model", "field"], sort=False):
        values = found.groupby(["field", *LEDGER, "equal"], sort=False).size().reset_index()
        for name, *told, equal, count in values.to_numpy():
            cells = [plain(cell) or "not recorded" for cell in told]
            boots = "all boots" if len(values) == 1 else f"{count} of {len(found)} boots"
            body.append([plain(name), *cells, boots, "yes" if equal == "True" else "**no**"])
    table = pd.DataFrame(body, columns=["Field", *LEDGER, "In", "Alike"])
    return tables.pipe(table, "What the sides reported about themselves.", "parity")
