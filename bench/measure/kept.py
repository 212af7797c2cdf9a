"""Boots that are done, kept at once beside the records that they become part of.

They lie in a folder of the job, each under the identity of everything that it depends on. A run
that is killed goes on where it stopped; a boot measured under other circumstances is not used. They
stay until every probe has ended well as often as it has to, and then only the number of runs that
ended short of that stays, if there were any: the rule of the job takes it as a parameter, so a run
that ended short is followed by one more, and one that did not is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import files
from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError

SHORT = "short"  # the file that holds the number; bench.jobs reads it, too


@dataclass(frozen=True, slots=True)
class Boot:
    """All that one boot of every side left behind; `probes` are those that ended well."""

    probes: list[str]
    lines: list[str]
    evidence: list[dict[str, object]]
    facts: dict[str, object]


def folder(records: Path) -> Path:
    """The folder of a job by its records file."""
    return records.parent / f".{records.stem}"


def keep(place: Path, number: int, identity: str, boot: Boot) -> None:
    """Write one boot whole."""
    files.replace(_part(place, number), cbor.encode({"identity": identity, **asdict(boot)}))


def read(place: Path, identity: str) -> list[Boot]:
    """Boots from 0 on, up to the first that is not there or not of this identity."""
    boots: list[Boot] = []
    while True:
        try:
            fields = cbor.decode(_part(place, len(boots)).read_bytes(), max_bytes=1 << 30)
        except (FileNotFoundError, RemoteProtocolError):
            return boots
        if type(fields) is not dict or fields.pop("identity", None) != identity:
            return boots
        boots.append(Boot(**fields))


def lacking(
    kept: Sequence[Boot], boots: int, probes: Sequence[str], needs: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """For each boot that is still to be started, the probes to run in it, in order.

    A probe that did not end well in `boots` boots runs again, and what it needs runs before it.
    """
    missing = {name: boots - sum(name in boot.probes for boot in kept) for name in probes}
    further = []
    for number in range(max(missing.values(), default=0)):
        asked = {name for name in probes if missing[name] > number}
        asked |= {need for name in asked for need in needs[name]}
        further.append([name for name in probes if name in asked])
    return further


def finish(place: Path, *, complete: bool) -> None:
    """Let go of the boots, which stand in the records now; or count a run that ended short."""
    short = place / SHORT
    if not complete:
        before = int(short.read_text()) if short.is_file() else 0
        files.replace(short, f"{before + 1}\n".encode())
        return
    for path in place.iterdir():
        if path != short:
            path.unlink()
    if not short.is_file():
        place.rmdir()


def _part(place: Path, number: int) -> Path:
    return place / f"boot{number}.cbor"
