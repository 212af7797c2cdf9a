"""One boot of every side: servers start, probes run, and the enclave signs what they found.

A probe that fails takes nothing with it but its own metrics: each gets a line with the reason, all
sessions are hung up, and the next probe finds new ones. What the probe had found until then stays
in the records, and no statistic counts it. Where a server went down with it the boot begins anew
without that probe, since only a running enclave can sign what the others found.
"""

from __future__ import annotations

import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from weakref import WeakSet

from bench import context, records
from bench.client.channel import TimedChannel
from bench.client.talks import AttestedTalk, PlainTalk
from bench.measure.job import Job, ends_servers, module, needs
from bench.measure.kept import Boot
from bench.platforms import ECHO_PORT, SERVICE_PORT, SIDES, Endpoint, Platform
from bench.probes import PADDED, Bed, Talk, inputs, padded, unheard
from bench.records import EVERY, Failure
from bench.verify.compliance import bundle
from bench.verify.evidence import Expected
from bench.verify.sessions import Evidence
from enclave.wire.frames import Channel

ATTESTED = ("bare", "enclave")
SIGNER = "enclave"  # there in every boot: it signs the records
REASON_CHARACTERS = 240
OWN = "own_s"
NOISE = ("busy_s", OWN, "steal_s")
SECRETIVE = re.compile(r"[A-Za-z0-9+/_=-]{32,}")  # may be a key or a token: no reason needs it


class ServerGoneError(Exception):
    """A probe failed, and a server could not be spoken to after it."""

    def __init__(self, probe: str, reason: str) -> None:
        super().__init__(f"{probe}: {reason}")
        self.probe, self.reason = probe, reason


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, as probes see it. Without `expected` it has nothing to verify.

    `talks` lists the sessions whose evidence is kept, `opened` every channel that is in use.
    """

    endpoint: Endpoint
    expected: Expected | None
    talks: list[AttestedTalk]
    opened: WeakSet[Channel]

    @property
    def start_ns(self) -> Mapping[str, int]:
        """Start-up on the host's clock."""
        return self.endpoint.start_ns

    def talk(
        self,
        mark: Callable[[str], None] = unheard,
        pace: Callable[[int], None] = unheard,
        *,
        kept: bool = True,
    ) -> Talk:
        """A new session; verified, and listed in `talks`, where the server can be attested."""
        stream = self.endpoint.connect(SERVICE_PORT)
        channel = TimedChannel(stream, write_bytes=self.endpoint.write_bytes, pace=pace)
        self.opened.add(channel)
        if self.expected is None:
            return PlainTalk(channel)
        talk = AttestedTalk(channel, self.expected, datetime.now(UTC), mark)
        if kept:
            self.talks.append(talk)
        return talk

    def echo(self) -> Channel:
        """A channel to the server's echo port."""
        stream = self.endpoint.connect(ECHO_PORT)
        channel = Channel(stream, write_bytes=self.endpoint.write_bytes)
        self.opened.add(channel)
        return channel


@dataclass(frozen=True, slots=True)
class Sessions:
    """Every session of a boot: `main` the open ones of the compared sides, which probes share."""

    main: dict[str, Talk]
    talks: list[AttestedTalk]
    opened: WeakSet[Channel]

    def renew(self, sides: Mapping[str, Server]) -> None:
        """Hang up all that are open, without a word, and open the main ones anew."""
        for channel in list(self.opened):
            channel.close()
        self.opened.clear()
        self.main.clear()  # only now: a channel that nobody holds any more is not among `opened`
        for name in SIDES:
            if name in sides:
                self.main[name] = sides[name].talk()

    def close(self) -> None:
        """End the main ones in good order."""
        for talk in self.main.values():
            talk.close()

    def evidence(self) -> list[Evidence]:
        """What enclaves signed, as far as a statement covers it: a session that was hung up has
        receipts after its last statement, or no statement, and then proves nothing."""
        return [
            replace(talk.evidence, receipts=talk.evidence.receipts[: talk.stated])
            for talk in self.talks
            if talk.evidence.statements
        ]


def measured(
    platform: Platform,
    job: Job,
    number: int,
    probes: Sequence[str],
    identity: str,
    say: Callable[[str], None],
) -> Boot:
    """Boot `number` with these probes. PlatformError where a server does not start."""
    failed: dict[str, str] = {}
    while True:
        try:
            return _attempt(platform, job, number, probes, failed, identity, say)
        except ServerGoneError as gone:
            failed[gone.probe] = gone.reason
            say(f"a server went down with {gone.probe}: this boot again without it")


def _attempt(
    platform: Platform,
    job: Job,
    number: int,
    probes: Sequence[str],
    failed: Mapping[str, str],
    identity: str,
    say: Callable[[str], None],
) -> Boot:
    chance = random.Random(f"{job.seed} {job.repetition} {number}")
    before, started, began = context.noise(), datetime.now(UTC), time.monotonic()
    sessions = Sessions({}, [], WeakSet())
    with ExitStack() as stack:
        sides = _start(platform, job, probes, chance, sessions, stack, say)
        stack.callback(sessions.close)
        sessions.renew(sides)
        bed = _bed(platform, job, number, sides, sessions, chance, say)
        ended, lines = _run(bed, probes, failed, lambda: sessions.renew(sides))
        digest = records.digest(identity, lines)
        reports = {name: talk.report(digest) for name, talk in sessions.main.items()}
        # Now: once it is killed, nobody is told how long a server in its namespace has computed.
        after = context.noise()
    facts: dict[str, object] = {
        "boot": number,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 1),
        "probes": ended,
        "sides": list(reports),
        "noise": {
            name: round(after[name] - before[name], 2)
            for name in NOISE
            if name != OWN or not any(map(ends_servers, probes))
        },
        "load_1min": before["load_1min"],
        "parity": {name: report["parity"] for name, report in reports.items()},
        "isolation": {
            name: report["isolation"] for name, report in reports.items() if name in ATTESTED
        },
    }
    return Boot(ended, lines, [left.encode() for left in sessions.evidence()], facts)


def _start(
    platform: Platform,
    job: Job,
    probes: Sequence[str],
    chance: random.Random,
    sessions: Sessions,
    stack: ExitStack,
    say: Callable[[str], None],
) -> dict[str, Server]:
    """The servers that these probes need, started in random order."""
    wanted, sides = _servers(platform, job, probes), {}
    for name in chance.sample(list(wanted), len(wanted)):
        say(f"start of {name}")
        side, machine = wanted[name]
        endpoint = stack.enter_context(machine.serve(side))
        expected = machine.expected() if side in ATTESTED else None
        talks = sessions.talks if name == SIGNER else []
        sides[name] = Server(endpoint, expected, talks, sessions.opened)
    return sides


def _servers(
    platform: Platform, job: Job, probes: Sequence[str]
) -> dict[str, tuple[str, Platform]]:
    """Names in a bed to side and machine."""
    needed = {SIGNER} | {server for name in probes for server in module(name).SERVERS}
    servers = {name: (name, platform) for name in SIDES if name in needed}
    for bucket_bytes in job.workload.padding if PADDED in needed else ():
        servers[padded(bucket_bytes)] = ("enclave", platform.padded(bucket_bytes))
    return servers


def _bed(
    platform: Platform,
    job: Job,
    number: int,
    sides: Mapping[str, Server],
    sessions: Sessions,
    chance: random.Random,
    say: Callable[[str], None],
) -> Bed:
    tokenizer = inputs.tokenizer(platform.model / "tokenizer.json")
    return Bed(
        boot=number,
        sides=sides,
        main=sessions.main,
        workload=job.workload,
        text=lambda tokens: inputs.exactly(tokenizer, tokens, chance),
        random=chance,
        clock_ns=time.perf_counter_ns,
        wait_until_ns=_wait_until_ns,
        progress=say,
        bundle=lambda digest: platform.bundle([_under_way(digest, sessions)]),
        releases=platform.releases,
        strained=platform.strained,
        trial=platform.trial,
        relayed=platform.relayed,
    )


def _under_way(digest: bytes, sessions: Sessions) -> bundle.Run:
    """A boot under way as one run."""
    return bundle.Run("boot", [bundle.Boot(digest, sessions.evidence())])


def _wait_until_ns(due_ns: int) -> None:
    """Return when the probes' clock says so, or at once where it has."""
    time.sleep(max(due_ns - time.perf_counter_ns(), 0) / 1e9)


def _run(
    bed: Bed, probes: Sequence[str], known: Mapping[str, str], renew: Callable[[], None]
) -> tuple[list[str], list[str]]:
    """The probes that ended well, and the lines of all; `known` says which fail, and why."""
    failed: dict[str, str] = {}
    lines: list[str] = []
    for name in probes:
        lost = ", ".join(need for need in needs(name) if need in failed)
        why = f"it measures what {lost} leaves, which failed" if lost else known.get(name)
        why = why or _tried(bed, name, lines, renew)
        if why:
            failed[name] = why
            lines += [
                records.encode(Failure(metric, EVERY, bed.boot, why))
                for metric in module(name).METRICS
            ]
    return [name for name in probes if name not in failed], lines


def _tried(bed: Bed, name: str, lines: list[str], renew: Callable[[], None]) -> str:
    """Run one probe, its lines after the others; why it failed, or ""."""
    try:
        for found in module(name).run(bed):
            lines.append(records.encode(found))
    except Exception as error:  # whatever it is, the other probes go on
        traceback.print_exc(file=sys.stdout)
        why = reason(error)
        bed.progress(f"{name} failed: {why}")
        try:
            renew()
        except Exception as gone:
            raise ServerGoneError(name, why) from gone
        return why
    return ""


def reason(error: Exception) -> str:
    """Type and message in one line of bounded length, without what may be a key or a token."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in words)
    text = SECRETIVE.sub("(left out)", text)
    return text if len(text) <= REASON_CHARACTERS else f"{text[: REASON_CHARACTERS - 3]}..."
