"""The file format of compliance bundles: one encoding, a closed set of fields, nothing vacuous."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.verify.compliance import Result, bundle, verdict
from bench.verify.compliance.bundle import Boot, Bundle, Run
from enclave.wire import cbor
from enclave.wire.errors import LocalProtocolError, VerificationError
from tests.verify import forge, runs

HONEST = runs.make()
DATA = HONEST.encode()
SESSIONS = HONEST.runs[0].boots[0].sessions


def test_what_was_collected_is_read_back_and_written_again() -> None:
    read = Bundle.decode(DATA)
    assert (read.platform, read.pcrs) == ("local", forge.PCRS)
    assert read.encode() == DATA


def test_the_same_run_gives_the_same_bytes() -> None:
    ahead, behind = [runs.SEALER, "arn:z"], ["arn:z", runs.SEALER]
    assert replace(HONEST, sealers=ahead).encode() == replace(HONEST, sealers=behind).encode()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"runs": []}, "runs: 0, not 1 to"),
        ({"runs": [Run("rep1/tier1", [])]}, "an empty list"),
        ({"runs": [Run("rep1/tier1", [Boot(bytes(32), [])])]}, "an empty list"),
        ({"runs": [Run("", HONEST.runs[0].boots)]}, "the name of a run: 0, not 1"),
        ({"runs": [*HONEST.runs, *HONEST.runs]}, "two runs of one name"),
        ({"runs": [Run("a", [Boot(b"short", SESSIONS)])]}, "the digest of a boot's records: 5"),
        ({"owner": b"short"}, "owner: 5, not 32"),
        ({"root": b""}, "root: 0, not 1"),
        ({"platform": ""}, "platform: 0, not 1"),
        ({"pcrs": {}}, "no map of 0, 1, 2"),
        ({"pcrs": {**forge.PCRS, 3: bytes(48)}}, "no map of 0, 1, 2"),
        ({"pcrs": {**forge.PCRS, 2: bytes(47)}}, "pcr 2: 47, not 48"),
        ({"sealers": [""]}, "a sealer: 0, not 1"),
    ],
)
def test_what_nothing_could_be_concluded_from_is_no_bundle(
    changes: dict[str, Any], found: str
) -> None:
    with pytest.raises(LocalProtocolError, match=found):
        replace(HONEST, **changes).encode()


def over(**changes: Any) -> bytes:
    fields = cbor.decode(DATA, max_bytes=bundle.MAX_BYTES, max_depth=bundle.MAX_DEPTH)
    assert type(fields) is dict
    return cbor.encode({k: v for k, v in (fields | changes).items() if v is not None})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DATA[:-1],
        DATA + b"\0",
        over(kind="another"),
        over(schema=2),
        over(schema=None),
        over(further=1),
        over(sealers=[1]),
        over(runs={}),
        over(runs=[1]),
        over(runs=[{"name": 1, "boots": [1]}]),
        over(runs=[{"name": "a", "boots": [{"records": bytes(32), "sessions": [{}]}]}]),
        over(owner="text"),
    ],
)
def test_anything_else_is_refused_with_a_hint(data: bytes) -> None:
    with pytest.raises(VerificationError, match=r"(?s)^bundle: .*\nhint: collect it again"):
        Bundle.decode(data)


@settings(max_examples=200, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_proves_less_or_means_the_same(place: float, bit: int) -> None:
    """Names of runs and of a policy's statements are names; all else is held by some row."""
    data = bytearray(DATA)
    data[int(place * len(DATA))] ^= 1 << bit
    try:
        rows = verdict.verify(bytes(data), anchors=runs.anchors())
        found = Bundle.decode(bytes(data))
    except VerificationError:
        return
    if all(row.result is not Result.FAILED for row in rows):
        runs_named = [replace(found.runs[0], name=HONEST.runs[0].name)]
        alike = replace(found, runs=runs_named, key_policy=HONEST.key_policy)
        assert alike.encode() == DATA


@settings(max_examples=100, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_bundle_cut_short_is_refused(place: float) -> None:
    with pytest.raises(VerificationError, match="bundle: found"):
        verdict.verify(DATA[: int(place * len(DATA))])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_as_declared(data: bytes) -> None:
    with pytest.raises(VerificationError):
        verdict.verify(data)
