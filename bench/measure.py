"""Measure one tier of one model on one machine, once: all sides side by side, boot after boot.

A boot that is done is kept at once beside the records it will become part of, under a digest of
everything it depends on. A run that is killed goes on where it stopped; a boot measured under other
circumstances is not used.
"""

from __future__ import annotations

import importlib
import random
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType

from bench import context, files, records
from bench.client.channel import TimedChannel
from bench.client.talks import AttestedTalk, PlainTalk
from bench.platforms import ECHO_PORT, SERVICE_PORT, SIDES, Endpoint, Platform
from bench.probes import PADDED, Bed, Talk, Workload, inputs, padded, unheard
from bench.verify.compliance import bundle
from bench.verify.evidence import Expected
from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import Channel

ATTESTED = ("bare", "enclave")
EVIDENCE_SCHEMA = 1
REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure, and where it goes."""

    tier: int
    instance: str
    model: str
    repetition: int
    repetitions: int
    boots: int
    seed: int
    probes: Sequence[str]
    workload: Workload
    records: Path
    evidence: Path

    def plan(self, facts: Mapping[str, object]) -> dict[str, object]:
        """What a boot's observations depend on; `records.identity` of it is signed with them."""
        values = asdict(self) | {"probes": list(self.probes), **facts}
        return {name: values[name] for name in values if name not in ("records", "evidence")}


@dataclass(frozen=True, slots=True)
class Boot:
    """All that one boot of every side left behind."""

    lines: list[str]
    evidence: list[dict[str, object]]
    facts: dict[str, object]


@dataclass(frozen=True, slots=True)
class Left:
    """How far a repetition is: boots measured and to be measured since `began` (monotonic, s)."""

    done: int
    missing: int
    began: float

    def __str__(self) -> str:
        if not self.done:
            return ""
        seconds = (time.monotonic() - self.began) / self.done * self.missing
        return f", about {seconds / 60:.1f} min left in this repetition"


def tier(platform: Platform, job: Job) -> None:
    """Measure every boot that is not kept yet, then write records and evidence."""
    plan = job.plan({**platform.facts(), **context.machine(), **context.revision(REPOSITORY)})
    identity = records.identity(plan)
    parts = job.records.parent / f".tier{job.tier}"
    names = [parts / f"boot{number}.cbor" for number in range(job.boots)]
    kept = [_kept(name, identity) for name in names]
    missing = [number for number, boot in enumerate(kept) if boot is None]
    began = time.monotonic()
    for done, number in enumerate(missing):
        left = Left(done, len(missing) - done, began)
        boot = _measure(platform, job, number, identity, partial(_say, job, number, left))
        _keep(names[number], identity, boot)
        kept[number] = boot
    boots = [boot for boot in kept if boot is not None]
    written = {**plan, "identity": identity, "per_boot": [boot.facts for boot in boots]}
    evidence = {"schema": EVIDENCE_SCHEMA, "boots": [boot.evidence for boot in boots]}
    files.replace(job.evidence, cbor.encode(evidence))
    records.write(job.records, written, [line for boot in boots for line in boot.lines])
    shutil.rmtree(parts)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, as probes see it. Without `expected` it has nothing to verify."""

    endpoint: Endpoint
    expected: Expected | None
    talks: list[AttestedTalk]

    @property
    def start_ns(self) -> Mapping[str, int]:
        """Start-up on the host's clock."""
        return self.endpoint.start_ns

    def talk(
        self, mark: Callable[[str], None] = unheard, pace: Callable[[int], None] = unheard
    ) -> Talk:
        """A new session; verified, and listed in `talks`, where the server can be attested."""
        stream = self.endpoint.connect(SERVICE_PORT)
        channel = TimedChannel(stream, write_bytes=self.endpoint.write_bytes, pace=pace)
        if self.expected is None:
            return PlainTalk(channel)
        talk = AttestedTalk(channel, self.expected, datetime.now(UTC), mark)
        self.talks.append(talk)
        return talk

    def echo(self) -> Channel:
        """A channel to the server's echo port."""
        stream = self.endpoint.connect(ECHO_PORT)
        return Channel(stream, write_bytes=self.endpoint.write_bytes)


def _measure(
    platform: Platform, job: Job, number: int, identity: str, say: Callable[[str], None]
) -> Boot:
    chance = random.Random(f"{job.seed} {job.repetition} {number}")
    tokenizer = inputs.tokenizer(platform.model / "tokenizer.json")
    before, started = context.noise(), datetime.now(UTC)
    talks: list[AttestedTalk] = []
    with ExitStack() as stack:
        wanted = _servers(platform, job)
        sides: dict[str, Server] = {}
        for name in chance.sample(list(wanted), len(wanted)):
            say(f"start of {name}")
            side, machine = wanted[name]
            endpoint = stack.enter_context(machine.serve(side))
            expected = machine.expected() if side in ATTESTED else None
            sides[name] = Server(endpoint, expected, talks if name == "enclave" else [])
        main = {name: sides[name].talk() for name in SIDES if name in sides}
        for talk in main.values():
            stack.callback(talk.close)
        bed = Bed(
            boot=number,
            sides=sides,
            main=main,
            workload=job.workload,
            text=lambda tokens: inputs.exactly(tokenizer, tokens, chance),
            random=chance,
            clock_ns=time.perf_counter_ns,
            progress=say,
            bundle=lambda digest: platform.bundle([_run(digest, talks)]),
            releases=platform.releases,
        )
        observations = [found for probe in _probes(job) for found in probe.run(bed)]
        lines = [records.encode(observation) for observation in observations]
        digest = records.digest(identity, lines)
        reports = {name: talk.report(digest) for name, talk in main.items()}
    after = context.noise()
    facts = {
        "boot": number,
        "started": started.isoformat(timespec="seconds"),
        "noise": {name: round(after[name] - before[name], 2) for name in ("busy_s", "steal_s")},
        "load_1min": before["load_1min"],
        "parity": {name: report["parity"] for name, report in reports.items()},
        "isolation": {
            name: report["isolation"] for name, report in reports.items() if name in ATTESTED
        },
    }
    return Boot(lines, [talk.evidence.encode() for talk in talks], facts)


def _run(digest: bytes, talks: Sequence[AttestedTalk]) -> bundle.Run:
    """A boot under way as one run."""
    return bundle.Run("boot", [bundle.Boot(digest, [talk.evidence for talk in talks])])


def _probes(job: Job) -> list[ModuleType]:
    return [importlib.import_module(f"bench.probes.{name}") for name in job.probes]


def _servers(platform: Platform, job: Job) -> dict[str, tuple[str, Platform]]:
    """What the job's probes need: names in a bed to side and machine."""
    needed = {name for probe in _probes(job) for name in probe.SERVERS}
    servers = {name: (name, platform) for name in SIDES if name in needed}
    for bucket_bytes in job.workload.padding if PADDED in needed else ():
        servers[padded(bucket_bytes)] = ("enclave", platform.padded(bucket_bytes))
    return servers


def _keep(part: Path, identity: str, boot: Boot) -> None:
    files.replace(part, cbor.encode({"identity": identity, **asdict(boot)}))


def _kept(part: Path, identity: str) -> Boot | None:
    """A boot measured under the same circumstances, or None."""
    try:
        fields = cbor.decode(part.read_bytes(), max_bytes=1 << 30)
    except (FileNotFoundError, RemoteProtocolError):
        return None
    if type(fields) is not dict or fields.pop("identity", None) != identity:
        return None
    return Boot(**fields)


def _say(job: Job, number: int, left: Left, what: str) -> None:
    """One line of progress: what, how far, how long yet."""
    done = f"repetition {job.repetition}/{job.repetitions}, boot {number + 1}/{job.boots}"
    line = f"measure {job.model} on {job.instance}: {done}: {what}{left}"
    print(line, file=sys.stderr, flush=True)
