"""Probes of tier 4 under a clock that is told what everything takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from types import ModuleType

import pytest

from bench.probes import PADDED, compliance, handshake, padded, padding, receipt, release
from bench.records import Axes, Observation
from enclave.wire.frames import HEADER
from tests.probes import bed as fake
from tests.probes.bed import FRAME_BYTES, WORKLOAD

COUNT = 2 * (WORKLOAD.warmup + WORKLOAD.security_blocks)  # two values a block and side
Place = tuple[str, str, Axes]


def values(found: Iterable[Observation]) -> Mapping[Place, set[float]]:
    """All that was seen of every metric, side and point."""
    seen: dict[Place, set[float]] = {}
    for observation in found:
        place = observation.metric, observation.side, observation.at
        seen.setdefault(place, set()).add(observation.value)
    return seen


@pytest.mark.parametrize("probe", [handshake, padding, receipt, release])
def test_every_value_is_numbered_and_warmups_are_marked(probe: ModuleType) -> None:
    found = list(probe.run(fake.make().bed))
    assert {observation.metric for observation in found} == set(probe.METRICS)
    cells = Counter((seen.metric, seen.side, seen.at) for seen in found)
    for metric, side, at in cells:
        cell = [seen for seen in found if (seen.metric, seen.side, seen.at) == (metric, side, at)]
        if metric == "key_release":  # once a boot
            assert [(seen.block, seen.warmup) for seen in cell] == [(0, False)]
            continue
        assert [seen.iteration for seen in cell] == list(range(COUNT))
        assert Counter(seen.block for seen in cell) == dict.fromkeys((-1, 0, 1, 2), 2)
        assert all(seen.warmup == (seen.block < 0) and seen.boot == 1 for seen in cell)


def test_a_handshake_comes_apart_into_its_steps() -> None:
    found = values(handshake.run(fake.make().bed))
    assert found == {
        ("attestation_generation", "enclave", ()): {4.0},
        ("session_setup", "enclave", (("part", "enclave"),)): {2.0},
        ("session_setup", "enclave", (("part", "client"),)): {3.0},
        ("evidence_check", "enclave", ()): {7.0},
        ("evidence_size", "enclave", ()): {4500},
        ("session_establishment", "plain", ()): {1.0},
        ("session_establishment", "bare", ()): {17.0},
        ("session_establishment", "enclave", ()): {17.0},
        ("one_request_session", "plain", (("tokens", 8),)): {11.0},
        ("one_request_session", "null", (("tokens", 8),)): {11.0},
        ("one_request_session", "bare", (("tokens", 8),)): {28.0},
        ("one_request_session", "enclave", (("tokens", 8),)): {29.0},
    }


def test_sessions_of_all_sides_take_turns_and_end() -> None:
    made = fake.make()
    found = [o for o in handshake.run(made.bed) if o.metric == "one_request_session"]
    for start in range(0, len(found), 8):
        order = [observation.side for observation in found[start : start + 8]]
        assert order[4:] == order[3::-1]
        assert sorted(order[:4]) == ["bare", "enclave", "null", "plain"]
    opened = [talk for name in handshake.SERVERS for talk in made.sides[name].talks[1:]]
    assert len(opened) == 4 * COUNT
    assert all(talk.closed and talk.asked == ["8 tokens"] for talk in opened)


def test_a_receipt_is_checked_apart_from_its_request() -> None:
    made = fake.make()
    made.bed.main["enclave"].request("before: in no series")
    assert values(receipt.run(made.bed)) == {
        ("receipt_check", "enclave", ()): {0.5},
        ("receipt_size", "enclave", ()): {600},
        ("receipt_issue", "enclave", ()): {0.3},
    }


def test_receipts_that_the_enclave_did_not_time_are_an_error() -> None:
    made = fake.make()
    talk = made.sides["enclave"].talks[0]
    run = receipt.run(made.bed)
    next(run)
    talk.timed -= 1
    with pytest.raises(ValueError, match="shorter"):
        list(run)


def test_a_release_is_timed_without_its_document() -> None:
    made = fake.make()
    assert values(release.run(made.bed)) == {
        ("key_release", "bare", ()): {20.0},
        ("key_release", "enclave", ()): {20.0},
        ("repeated_key_release", "bare", ()): {9.0},
    }
    assert len(made.attested) == COUNT  # a document of its own for each


def test_padding_stands_beside_its_own_reference() -> None:
    made = fake.make()
    found = values(padding.run(made.bed))
    for size in WORKLOAD.padding:
        at = (("tokens", 8), ("bucket_bytes", size))
        assert found["padded_latency", "enclave", at] == {12.0}
        assert found["padded_latency", PADDED, at] == {14.0}
        for side, body_bytes in FRAME_BYTES.items():
            assert found["answer_size", side, at] == {HEADER.size + body_bytes}
        assert all(talk.closed for talk in made.sides[padded(size)].talks)


def test_a_padded_enclave_that_is_not_otherwise_alike_is_refused() -> None:
    made = fake.make()
    made.sides[padded(4096)].parity = {"threads": 1}
    with pytest.raises(ValueError, match="not alike but for padding"):
        list(padding.run(made.bed))


def test_a_bundle_that_is_refused_has_no_time_of_checking() -> None:
    with pytest.raises(ValueError, match="nothing was checked to the end: attestation: "):
        list(compliance.run(fake.make().bed))


def test_a_bundle_is_collected_and_checked_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake.make()

    def verify(*_: object, **__: object) -> tuple[()]:
        made.clock.advance(30)
        return ()

    monkeypatch.setattr(compliance.verdict, "verify", verify)
    found = list(compliance.run(made.bed))
    at = (("sessions", 1), ("receipts", 0))
    seen = values(found)
    assert seen["compliance_collect", "enclave", at] == {0.0}
    assert seen["compliance_check", "enclave", at] == {30.0}
    (size,) = seen["compliance_size", "enclave", at]
    assert size == len(made.bed.bundle(bytes(32)).encode())
    assert [o.warmup for o in found if o.metric == "compliance_check"] == [True] + [False] * 3
