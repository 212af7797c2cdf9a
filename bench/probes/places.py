"""How many sessions a server holds at once, how it refuses one more, and that a place comes back.

The limit is a setting of the server; what is shown is that it holds: up to it everyone is answered,
beyond it one is turned away by the protocol's alert, and a place that was freed can be had again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bench.probes import Bed, Talk
from bench.records import Observation
from enclave.wire.errors import RemoteProtocolError

METRICS = ("max_sessions", "session_refusal", "place_recovery")
SERVERS = ("enclave",)
SIDE = "enclave"
ALERT = "the peer ended the session with an alert"
PAUSE_NS = 20_000_000
REFUSALS = 3  # in a row: what other probes closed may still be on its way back
RECOVERY_NS = 5_000_000_000


def run(bed: Bed) -> Iterator[Observation]:
    """Sessions open and answering at once; milliseconds of refusals, and until a place is back."""
    bed.progress("sessions until one is refused")
    text = bed.text(bed.workload.tokens[0])
    with _closing([]) as opened:
        refusals_ms = _fill(bed, opened)
        held = [bed.main[SIDE], *opened]
        for talk in held:
            talk.request(text)
        yield Observation("max_sessions", SIDE, bed.boot, 0, 0, len(held))
        for number, refusal_ms in enumerate(refusals_ms):
            yield Observation("session_refusal", SIDE, bed.boot, number, number, refusal_ms)
        began_ns = bed.clock_ns()
        opened.pop().close()
        opened.append(_again(bed, began_ns))
        opened[-1].request(text)
        recovered_ms = (bed.clock_ns() - began_ns) / 1e6
        yield Observation("place_recovery", SIDE, bed.boot, 0, 0, recovered_ms)


def _fill(bed: Bed, opened: list[Talk]) -> list[float]:
    """Open sessions until none is to be had; how long the last refusals took, in ms."""
    refusals_ms: list[float] = []
    while len(refusals_ms) < REFUSALS:
        began_ns = bed.clock_ns()
        talk = _open(bed)
        if talk is None:
            refusals_ms.append((bed.clock_ns() - began_ns) / 1e6)
            bed.wait_until_ns(bed.clock_ns() + PAUSE_NS)
        else:
            opened.append(talk)
            refusals_ms.clear()
    return refusals_ms


def _again(bed: Bed, began_ns: int) -> Talk:
    """A session in the place that was freed; RemoteProtocolError if there is none for long."""
    while (talk := _open(bed)) is None:
        if bed.clock_ns() - began_ns > RECOVERY_NS:
            raise RemoteProtocolError("a place that was freed could not be had again")
    return talk


def _open(bed: Bed) -> Talk | None:
    """One more session, or None where it was turned away in the declared manner."""
    try:
        return bed.sides[SIDE].talk(kept=False)
    except RemoteProtocolError as error:
        if str(error) != ALERT:
            raise
        return None


@contextmanager
def _closing(opened: list[Talk]) -> Iterator[list[Talk]]:
    """Sessions that end with the context, however it ends."""
    try:
        yield opened
    finally:
        for talk in opened:
            with suppress(OSError, RemoteProtocolError):
                talk.close()
