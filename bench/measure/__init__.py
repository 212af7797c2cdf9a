"""Measure one tier of one model on one machine, once: all sides side by side, boot after boot.

A job is done when every probe has ended well in as many boots as it is asked for. Where one failed
the records are written all the same, with the reason, and the next run starts further boots, under
new numbers, with only the probes that lack some. Nothing that was measured is measured again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import context, files, records
from bench.measure import boot, kept, progress
from bench.measure.job import Job, needs
from bench.platforms import Platform
from enclave.wire import cbor

EVIDENCE_SCHEMA = 1
REPOSITORY = Path(__file__).parents[2]


def tier(platform: Platform, job: Job) -> None:
    """Measure every boot that is lacking, then write records and evidence."""
    plan = job.plan({**platform.facts(), **context.machine(), **context.revision(REPOSITORY)})
    identity = records.identity(plan)
    place = kept.folder(job.records)
    boots = kept.read(place, identity)
    further = _lacking(job, boots)
    told = progress.read(job, len(further))
    for probes in further:
        boots.append(boot.measured(platform, job, len(boots), probes, identity, told.say))
        kept.keep(place, len(boots) - 1, identity, boots[-1])
        told.end_boot()
    _write(job, {**plan, "identity": identity}, boots)
    lacking = _lacking(job, boots)
    kept.finish(place, complete=not lacking)
    for name in dict.fromkeys(name for probes in lacking for name in probes):
        told.note(f"{name} failed: the report says why, and the next run measures it again")


def _lacking(job: Job, boots: Sequence[kept.Boot]) -> list[list[str]]:
    return kept.lacking(boots, job.boots, job.probes, {name: needs(name) for name in job.probes})


def _write(job: Job, plan: Mapping[str, object], boots: Sequence[kept.Boot]) -> None:
    evidence = {"schema": EVIDENCE_SCHEMA, "boots": [boot.evidence for boot in boots]}
    files.replace(job.evidence, cbor.encode(evidence))
    written = {**plan, "per_boot": [boot.facts for boot in boots]}
    records.write(job.records, written, [line for boot in boots for line in boot.lines])
