"""Compliance bundles of whole runs: collected from files, and what each of them proves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import files
from bench import records as recorded
from bench.analysis import evidence
from bench.image.measurements import read as read_measurements
from bench.verify.compliance import Anchors, bundle, verdict


def collect(
    records: Sequence[Path],
    signed: Sequence[Path],
    *,
    make: Callable[[Sequence[bundle.Run]], bundle.Bundle],
    out: Path,
) -> None:
    """Write the bundle of all sessions behind these records of one model; `signed` is beside them.

    `make` is the model owner's: what else a bundle holds, he knows. VerificationError or
    RecordError for files that are not what a run wrote; nothing is judged.
    """
    runs = [run(path, left) for path, left in zip(records, signed, strict=True)]
    files.replace(out, make(runs).encode())


def run(records: Path, signed: Path) -> bundle.Run:
    """One records file's boots: what enclaves were asked to sign of it, and what they left."""
    identity = str(recorded.read(records).context.get("identity"))
    every = evidence.lines(records)
    boots = [
        bundle.Boot(
            recorded.digest(identity, [line for line, record in every if record.boot == number]),
            sessions,
        )
        for number, sessions in enumerate(evidence.read(signed))
    ]
    return bundle.Run(f"{records.parent.name}/{records.stem}", boots)


def check(bundles: Sequence[Path], *, authority: Path, measurements: Path, out: Path) -> None:
    """Write a row for every property of every bundle, whose path ends in `instance/model.cbor`.

    A property that fails is a row too: what it says is for the page to show. VerificationError for
    a file that is no bundle.
    """
    parties: Mapping[str, str] = json.loads(authority.read_text())
    root, owner = (bytes.fromhex(parties[name]) for name in ("root", "owner"))
    anchors = Anchors(root, owner, read_measurements(measurements).pcrs)
    rows = []
    for path in bundles:
        place = {"instance": path.parent.name, "model": path.stem, "bundle": str(path)}
        for row in verdict.verify(path.read_bytes(), anchors=anchors):
            rows.append(place | asdict(row) | {"result": row.result.value})
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.replace(out, text.getvalue().encode())
