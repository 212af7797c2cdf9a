"""Provenance: where, when, on what and how often was measured, as the records tell it."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis import tables
from bench.analysis.prose import HEADLINE, Summary
from bench.analysis.tables import Row, code, distinct, plain, select

PROVENANCE = (
    ("Isolation set up outside", "isolation_level"),
    ("Transport", "transport"),
    ("vCPUs of a server", "vcpus"),
    ("Enclave memory, MiB", "enclave_memory_mib"),
    ("CPU", "cpu_model_name"),
    ("Microcode", "cpu_microcode"),
    ("CPUs online", "cpus_online"),
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


def box(summary: Summary) -> str:
    """Where, when, on what and how often, as the records tell it."""
    emulated = "emulated: no hardware isolation" if summary.emulated else "hardware"
    platform = plain(" ".join(summary.context("platform")))
    lines = [("Platform", f"{platform}, **{emulated}**")]
    groups = "; ".join(f"{plain(m)} on {plain(i)}" for i, m in summary.groups())
    lines += [("Model and instance", groups), ("Weights from", _all(summary, "model_source"))]
    lines += [("Measured", _dates(summary)), ("Repetitions", _counts(summary))]
    lines.append(("Isolation found inside", isolation(summary)))
    lines += [(name, _range(summary, field)) for name, field in PROVENANCE]
    lines += [(name, _digest(summary, field)) for name, field in DIGESTS]
    body = "\n".join(f"{name}\n:   {value}\n" for name, value in lines)
    return f"::: {{.provenance}}\n{body}:::\n"


def _all(summary: Summary, field: str) -> str:
    return ", ".join(plain(value) for value in summary.context(field)) or "not recorded"


def _range(summary: Summary, field: str) -> str:
    """All values, or their range where they are many numbers."""
    values = summary.context(field)
    if len(values) > 3:
        try:
            found = sorted(float(value) for value in values)
        except ValueError:
            return _all(summary, field)
        return f"{found[0]:g} to {found[-1]:g}"
    return _all(summary, field)


def _digest(summary: Summary, field: str) -> str:
    return ", ".join(code(value) for value in summary.context(field)) or "not recorded"


def _dates(summary: Summary) -> str:
    started = sorted(summary.context("per_boot.*.started"))
    if not started:
        return "not recorded"
    first, last = started[0][:10], started[-1][:10]
    return plain(first if first == last else f"{first} to {last}")


def _counts(summary: Summary) -> str:
    repetitions = len({row["repetition"] for row in summary["context"]})
    boots = _all(summary, "boots")
    asked = select(summary["metrics"], metric=HEADLINE, statistic="p50")
    sampled = [int(row["n"]) for row in asked]
    times = f", {min(sampled)} to {max(sampled)}" if sampled else ""
    if sampled and min(sampled) == max(sampled):
        times = f", {sampled[0]}"
    return f"{repetitions}, each of {boots} boots of every side" + (
        f"{times} requests a side and length" if sampled else ""
    )


def isolation(summary: Summary) -> str:
    """The level of isolation that the enclave itself found around it, over all boots."""
    found = _isolation(summary, "enclave")
    return _tally(found["level"]) if "level" in found else "not recorded"


def isolation_facts(summary: Summary) -> str:
    """What the confidential sides found around them, fact by fact, folded away."""
    sides = {side: _isolation(summary, side) for side in ("bare", "enclave")}
    names = list(dict.fromkeys(name for found in sides.values() for name in found))
    if not names:
        return "No side reported what isolation it found.\n"
    body = [
        [code(name), *(_tally(found.get(name, [])) for found in sides.values())] for name in names
    ]
    caption = "Isolation, read from inside by the servers themselves."
    table = tables.pipe(["Fact", *sides], body, caption, "isolation")
    summary_line = "<summary>Isolation that the servers found, fact by fact</summary>"
    return f"<details>\n{summary_line}\n\n{table}\n</details>\n"


def _isolation(summary: Summary, side: str) -> dict[str, list[str]]:
    """Values of every fact, one for each boot; the members of a list are joined."""
    found: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for row in summary["context"]:
        head, _, rest = row["field"].partition(f".isolation.{side}.")
        if rest and head.startswith("per_boot."):
            boot = (row["instance"], row["model"], row["repetition"], head)
            name = rest.partition(".")[0]
            found.setdefault(name, {}).setdefault(boot, []).append(row["value"])
    return {name: [", ".join(v) for v in boots.values()] for name, boots in found.items()}


def _tally(values: Sequence[str]) -> str:
    """`bwrap in all 12 boots`, or how many boots found what."""
    counts = {value: values.count(value) for value in dict.fromkeys(values)}
    if len(counts) == 1:
        return f"{plain(values[0])} (all {len(values)} boots)"
    return ", ".join(f"{plain(value)} ({n} boots)" for value, n in counts.items())


def parity(summary: Summary) -> str:
    """In what the sides were alike: a row per field that all boots agree on, else per boot."""
    rows = summary["parity"]
    if not rows:
        return "The records hold no parity ledger, so no ratio is printed.\n"
    sides = ("plain", "bare", "enclave", "null")
    body = []
    for instance, model, name in distinct(rows, "instance", "model", "field"):
        found = select(rows, instance=instance, model=model, field=name)
        values = distinct(found, *sides, "equal")
        for value in values:
            count = sum(_same(row, value) for row in found)
            boots = "all boots" if len(values) == 1 else f"{count} of {len(found)} boots"
            alike = "yes" if value[-1] == "True" else "**no**"
            cells = [plain(cell) or "not recorded" for cell in value[:-1]]
            body.append([plain(name), *cells, boots, alike])
    header = ["Field", *sides, "In", "Alike"]
    return tables.pipe(header, body, "What the sides reported about themselves.", "parity")


def _same(row: Row, value: tuple[str, ...]) -> bool:
    return tuple(row[name] for name in ("plain", "bare", "enclave", "null", "equal")) == value
