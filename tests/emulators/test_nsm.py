"""The emulated security module, asked in raw CBOR as a driver would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha384

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.emulators import nsm, pki
from bench.emulators.nsm import NsmEmulator
from bench.verify import Document, nitro

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PCRS = {0: b"\xa0" * 48, 1: b"\xa1" * 48, 2: b"\xa2" * 48}
INSTANCE = "i-0123456789abcdef0"
MODULE = f"{INSTANCE}-enc0123456789abcdef"
ROLE = "arn:aws:iam::123456789012:role/Webserver"
ROOT = pki.create(NOW)


def module(**options: object) -> NsmEmulator:
    return NsmEmulator(PCRS, ROOT, lambda: NOW, MODULE, **options)  # type: ignore[arg-type]


@pytest.fixture
def emulator() -> NsmEmulator:
    return module(role_arn=ROLE)


def ask(emulator: NsmEmulator, request: object) -> object:
    return cbor2.loads(emulator.transact(cbor2.dumps(request)))


def attest(emulator: NsmEmulator, now: datetime = NOW, /, **arguments: object) -> Document:
    response = ask(emulator, {"Attestation": arguments})
    assert isinstance(response, dict)
    data = response["Attestation"]["document"]
    return nitro.authenticate(data, root=ROOT.der, now=now)


def test_it_describes_itself(emulator: NsmEmulator) -> None:
    assert ask(emulator, "DescribeNSM") == {
        "DescribeNSM": {
            "version_major": 1,
            "version_minor": 0,
            "version_patch": 0,
            "module_id": MODULE,
            "max_pcrs": 32,
            "locked_pcrs": list(range(16)),
            "digest": "SHA384",
        }
    }


def test_it_gives_256_random_bytes(emulator: NsmEmulator) -> None:
    first, second = (ask(emulator, "GetRandom") for _ in range(2))
    assert isinstance(first, dict)
    assert len(first["GetRandom"]["random"]) == 256
    assert first != second


def test_image_pcrs_are_there_and_locked(emulator: NsmEmulator) -> None:
    for index, value in PCRS.items():
        found = ask(emulator, {"DescribePCR": {"index": index}})
        assert found == {"DescribePCR": {"lock": True, "data": value}}


def test_pcr_3_measures_the_role(emulator: NsmEmulator) -> None:
    """A published value for this role."""
    expected = (
        "78fce75db17cd4e0a3fb8dad3ad128ca5e77edbb2b2c7f75329dccd99aa5f6ef"
        "4fc1f1a452e315b9e98f9e312e6921e6"
    )
    assert attest(emulator).pcrs[3].hex() == expected
    assert attest(module()).pcrs[3] == bytes(48)


def test_pcr_4_measures_the_instance(emulator: NsmEmulator) -> None:
    assert attest(emulator).pcrs[4] == sha384(bytes(48) + INSTANCE.encode()).digest()


def test_pcr_8_is_the_image_signers() -> None:
    signed = NsmEmulator({**PCRS, 8: b"\x08" * 48}, ROOT, lambda: NOW, MODULE)
    assert attest(signed).pcrs[8] == b"\x08" * 48


@pytest.mark.attack(3)
def test_debug_zeroes_the_image_and_nothing_else() -> None:
    pcrs = attest(module(role_arn=ROLE, debug=True)).pcrs
    assert [any(pcrs[index]) for index in range(5)] == [False, False, False, True, True]


def test_a_document_lists_the_locked_pcrs(emulator: NsmEmulator) -> None:
    assert set(attest(emulator).pcrs) == set(range(16))
    ask(emulator, {"LockPCR": {"index": 20}})
    assert set(attest(emulator).pcrs) == {*range(16), 20}


def test_extending_hashes_old_value_and_data(emulator: NsmEmulator) -> None:
    once = sha384(bytes(48) + b"manifest").digest()
    twice = sha384(once + b"more").digest()
    request = {"ExtendPCR": {"index": 16, "data": b"manifest"}}
    assert ask(emulator, request) == {"ExtendPCR": {"data": once}}
    assert ask(emulator, {"ExtendPCR": {"index": 16, "data": b"more"}}) == {
        "ExtendPCR": {"data": twice}
    }
    assert ask(emulator, {"DescribePCR": {"index": 16}}) == {
        "DescribePCR": {"lock": False, "data": twice}
    }


@pytest.mark.parametrize("index", [0, 3, 4, 15])
def test_boot_pcrs_are_read_only(emulator: NsmEmulator, index: int) -> None:
    request = {"ExtendPCR": {"index": index, "data": b"other"}}
    before = ask(emulator, {"DescribePCR": {"index": index}})
    assert ask(emulator, request) == {"Error": "ReadOnlyIndex"}
    assert ask(emulator, {"DescribePCR": {"index": index}}) == before


@pytest.mark.attack(41)
def test_a_locked_user_pcr_is_read_only(emulator: NsmEmulator) -> None:
    assert ask(emulator, {"LockPCR": {"index": 16}}) == "LockPCR"
    assert ask(emulator, {"LockPCR": {"index": 16}}) == {"Error": "ReadOnlyIndex"}
    extension = {"ExtendPCR": {"index": 16, "data": b"x"}}
    assert ask(emulator, extension) == {"Error": "ReadOnlyIndex"}


def test_a_range_is_locked_up_to_its_end(emulator: NsmEmulator) -> None:
    assert ask(emulator, {"LockPCRs": {"range": 18}}) == "LockPCRs"
    description = ask(emulator, "DescribeNSM")
    assert isinstance(description, dict)
    assert description["DescribeNSM"]["locked_pcrs"] == list(range(18))
    assert ask(emulator, {"LockPCRs": {"range": 32}}) == "LockPCRs"
    assert set(attest(emulator).pcrs) == set(range(32))


@pytest.mark.parametrize(
    "request_",
    [
        {"DescribePCR": {"index": 32}},
        {"ExtendPCR": {"index": 32, "data": b""}},
        {"LockPCR": {"index": 65535}},
        {"LockPCRs": {"range": 33}},
    ],
)
def test_an_index_out_of_range_is_an_invalid_index(emulator: NsmEmulator, request_: object) -> None:
    assert ask(emulator, request_) == {"Error": "InvalidIndex"}


@pytest.mark.parametrize(
    "request_",
    [
        "Describe",
        "Attestation",
        {"DescribeNSM": {}},
        {"DescribePCR": {}},
        {"DescribePCR": {"index": "0"}},
        {"DescribePCR": {"index": True}},
        {"DescribePCR": {"index": 1.0}},
        {"DescribePCR": [0]},
        {"ExtendPCR": {"index": 16}},
        {"ExtendPCR": {"index": 16, "data": [1, 2]}},  # bytes have to be a byte string
        {"ExtendPCR": {"index": 16, "data": "text"}},
        {"LockPCRs": {"range": None}},
        {"Attestation": {"nonce": [1, 2]}},
        {"Attestation": {"user_data": "text"}},
        {"Attestation": {}, "DescribePCR": {"index": 0}},
        {},
        [],
        None,
        7,
    ],
)
def test_a_malformed_request_is_an_invalid_operation(
    emulator: NsmEmulator, request_: object
) -> None:
    assert ask(emulator, request_) == {"Error": "InvalidOperation"}


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x6bDescribeNSM\0", b"\xa1\x6bAttestation"])
def test_bytes_that_are_no_cbor_are_an_invalid_operation(
    emulator: NsmEmulator, data: bytes
) -> None:
    assert cbor2.loads(emulator.transact(data)) == {"Error": "InvalidOperation"}


@pytest.mark.parametrize(
    ("name", "most"), [("user_data", 512), ("nonce", 512), ("public_key", 1024)]
)
def test_each_bound_field_has_its_limit(emulator: NsmEmulator, name: str, most: int) -> None:
    assert getattr(attest(emulator, **{name: bytes(most)}), name) == bytes(most)
    over = {"Attestation": {name: bytes(most + 1)}}
    assert ask(emulator, over) == {"Error": "InputTooLarge"}


def test_an_empty_public_key_is_an_invalid_argument(emulator: NsmEmulator) -> None:
    assert ask(emulator, {"Attestation": {"public_key": b""}}) == {"Error": "InvalidArgument"}


def test_a_request_over_the_limit_is_too_large(emulator: NsmEmulator) -> None:
    def extend(size: int) -> bytes:
        return cbor2.dumps({"ExtendPCR": {"index": 16, "data": bytes(size)}})

    size = nsm.MAX_REQUEST_BYTES - len(extend(nsm.MAX_REQUEST_BYTES)) + nsm.MAX_REQUEST_BYTES
    assert len(extend(size)) == 0x1000
    assert "ExtendPCR" in cbor2.loads(emulator.transact(extend(size)))
    assert cbor2.loads(emulator.transact(extend(size + 1))) == {"Error": "InputTooLarge"}


def test_the_largest_document_fits_the_drivers_buffer(emulator: NsmEmulator) -> None:
    ask(emulator, {"LockPCRs": {"range": 32}})
    bound = {"public_key": bytes(1024), "user_data": bytes(512), "nonce": bytes(512)}
    assert len(emulator.transact(cbor2.dumps({"Attestation": bound}))) < 0x3000


def test_a_chain_is_kept_and_renewed_before_it_ends() -> None:
    clock = [NOW]
    emulator = NsmEmulator(PCRS, ROOT, lambda: clock[0], MODULE)
    first = attest(emulator)
    clock[0] = NOW + timedelta(hours=2, minutes=49)
    assert attest(emulator, clock[0]).certificate == first.certificate
    clock[0] = NOW + timedelta(hours=2, minutes=51)
    assert attest(emulator, clock[0]).certificate != first.certificate
    clock[0] = NOW + timedelta(days=3)
    assert attest(emulator, clock[0]).timestamp_ms == clock[0].timestamp() * 1000


@pytest.mark.parametrize(
    ("pcrs", "module_id", "words"),
    [
        ({0: bytes(48)}, MODULE, "an image has PCR"),
        ({**PCRS, 3: bytes(48)}, MODULE, "an image has PCR"),
        ({**PCRS, 0: bytes(32)}, MODULE, "48 bytes"),
        (PCRS, "local", "module id"),
        (PCRS, "i-xyz-enc0", "module id"),
    ],
)
def test_what_no_enclave_can_be_is_refused(
    pcrs: dict[int, bytes], module_id: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        NsmEmulator(pcrs, ROOT, lambda: NOW, module_id)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=120) | st.text().map(cbor2.dumps))
def test_any_request_gets_an_answer(request_: bytes) -> None:
    answer = cbor2.loads(module().transact(request_))
    assert answer == {"Error": "InvalidOperation"} or request_[:1] in b"\x69\x6b\xa1"
