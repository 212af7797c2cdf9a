"""What an enclave asks its security module, and what it makes of the answers."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha384
from pathlib import Path

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.emulators import pki
from bench.emulators.nsm import NsmEmulator
from bench.verify import nitro
from enclave.tee.nsm import (
    ARGUMENT,
    IOCTL,
    MAX_RESPONSE_BYTES,
    Description,
    Nsm,
    NsmError,
    Pcr,
    Transact,
    device,
)
from enclave.wire.errors import LocalProtocolError

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PCRS = {0: b"\xa0" * 48, 1: b"\xa1" * 48, 2: b"\xa2" * 48}
MODULE = "i-0123456789abcdef0-enc0123456789abcdef"
ROOT = pki.create(NOW)


@pytest.fixture
def nsm() -> Nsm:
    return Nsm(emulator().transact)


def emulator() -> NsmEmulator:
    return NsmEmulator(PCRS, ROOT, lambda: NOW, MODULE)


def answering(response: object) -> Nsm:
    """A module that always says the same."""
    return Nsm(lambda request: cbor2.dumps(response))


class Recorder:
    """Keeps what was asked."""

    def __init__(self, response: object) -> None:
        self.requests: list[bytes] = []
        self._response = response

    def __call__(self, request: bytes) -> bytes:
        self.requests.append(request)
        return cbor2.dumps(self._response)


def test_a_document_binds_what_was_given(nsm: Nsm) -> None:
    data = nsm.attest(public_key=b"key", user_data=b"claims", nonce=b"nonce")
    found = nitro.authenticate(data, root=ROOT.der, now=NOW)
    assert (found.public_key, found.user_data, found.nonce) == (b"key", b"claims", b"nonce")


def test_nothing_given_is_nothing_bound(nsm: Nsm) -> None:
    found = nitro.authenticate(nsm.attest(), root=ROOT.der, now=NOW)
    assert (found.public_key, found.user_data, found.nonce) == (None, None, None)


def test_a_module_is_described(nsm: Nsm) -> None:
    locked = frozenset(range(16))
    assert nsm.describe() == Description((1, 0, 0), MODULE, 32, locked, "SHA384")


def test_a_pcr_is_described_extended_and_locked(nsm: Nsm) -> None:
    extended = sha384(bytes(48) + b"settings").digest()
    assert nsm.describe_pcr(0) == Pcr(True, PCRS[0])
    assert nsm.describe_pcr(16) == Pcr(False, bytes(48))
    assert nsm.extend_pcr(16, b"settings") == extended
    nsm.lock_pcr(16)
    assert nsm.describe_pcr(16) == Pcr(True, extended)
    nsm.lock_pcrs(32)
    assert nsm.describe_pcr(31).locked


def test_random_bytes_are_given(nsm: Nsm) -> None:
    first = nsm.random()
    assert len(first) == 256
    assert first != nsm.random()


def test_requests_are_those_of_the_api() -> None:
    asked: list[tuple[Callable[[Nsm], object], object, object]] = [
        (
            lambda nsm: nsm.attest(nonce=b"n"),
            {"Attestation": {"document": b""}},
            {"Attestation": {"user_data": None, "nonce": b"n", "public_key": None}},
        ),
        (lambda nsm: nsm.random(), {"GetRandom": {"random": b""}}, "GetRandom"),
        (
            lambda nsm: nsm.describe_pcr(3),
            {"DescribePCR": {"lock": True, "data": b""}},
            {"DescribePCR": {"index": 3}},
        ),
        (
            lambda nsm: nsm.extend_pcr(16, b"d"),
            {"ExtendPCR": {"data": b""}},
            {"ExtendPCR": {"index": 16, "data": b"d"}},
        ),
        (lambda nsm: nsm.lock_pcr(16), "LockPCR", {"LockPCR": {"index": 16}}),
        (lambda nsm: nsm.lock_pcrs(17), "LockPCRs", {"LockPCRs": {"range": 17}}),
    ]
    for call, response, request in asked:
        recorder = Recorder(response)
        call(Nsm(recorder))
        assert [cbor2.loads(data) for data in recorder.requests] == [request]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda nsm: nsm.describe_pcr(32), "InvalidIndex"),
        (lambda nsm: nsm.extend_pcr(0, b""), "ReadOnlyIndex"),
        (lambda nsm: nsm.lock_pcr(15), "ReadOnlyIndex"),
        (lambda nsm: nsm.lock_pcrs(33), "InvalidIndex"),
        (lambda nsm: nsm.attest(public_key=b""), "InvalidArgument"),
    ],
)
def test_a_refusal_carries_the_modules_word(
    nsm: Nsm, call: Callable[[Nsm], object], code: str
) -> None:
    with pytest.raises(NsmError) as caught:
        call(nsm)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "most"), [("public_key", 1024), ("user_data", 512), ("nonce", 512)]
)
def test_more_than_a_document_holds_is_our_own_bug(nsm: Nsm, name: str, most: int) -> None:
    nsm.attest(**{name: bytes(most)})
    with pytest.raises(LocalProtocolError, match=name):
        nsm.attest(**{name: bytes(most + 1)})


def test_more_than_a_request_holds_is_our_own_bug(nsm: Nsm) -> None:
    with pytest.raises(LocalProtocolError, match="limit 4096"):
        nsm.extend_pcr(16, bytes(0x1000))


@pytest.mark.parametrize(
    "response",
    [
        None,
        [],
        "Attestation",
        {},
        {"Attestation": None},
        {"Attestation": {}},
        {"Attestation": {"document": None}},
        {"Attestation": {"document": "text"}},
        {"Attestation": {"document": [1, 2]}},
        {"DescribeNSM": {"document": b""}},
    ],
)
def test_an_answer_without_a_document_is_refused(response: object) -> None:
    with pytest.raises(NsmError):
        answering(response).attest()


@pytest.mark.parametrize("fields", [{"lock": 1, "data": b""}, {"lock": True}, {"data": b""}])
def test_an_answer_without_a_pcr_is_refused(fields: object) -> None:
    with pytest.raises(NsmError):
        answering({"DescribePCR": fields}).describe_pcr(0)


@pytest.mark.parametrize("locked", [[True], ["0"], [[0]], None, {0: 1}])
def test_a_description_with_odd_indices_is_refused(locked: object) -> None:
    response = cbor2.loads(emulator().transact(cbor2.dumps("DescribeNSM")))
    response["DescribeNSM"]["locked_pcrs"] = locked
    with pytest.raises(NsmError):
        answering(response).describe()


@pytest.mark.parametrize("response", ["LockPCRs", {"LockPCR": {}}, None])
def test_a_lock_that_was_not_confirmed_is_refused(response: object) -> None:
    with pytest.raises(NsmError):
        answering(response).lock_pcr(16)


@pytest.mark.attack(7)
def test_an_answer_with_two_keys_of_one_name_is_refused() -> None:
    random = cbor2.dumps("random") + cbor2.dumps(b"1")
    answer = b"\xa1" + cbor2.dumps("GetRandom") + b"\xa2" + random + random
    with pytest.raises(NsmError):
        Nsm(lambda request: answer).random()


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=64))
def test_any_answer_is_understood_or_refused_by_name(answer: bytes) -> None:
    with pytest.raises(NsmError):
        Nsm(lambda request: answer).random()


class Driver:
    """`ioctl` of a kernel driver with an emulated module behind it."""

    def __init__(self, transact: Transact) -> None:
        self.calls: list[int] = []
        self._transact = transact

    def __call__(self, descriptor: int, request: int, argument: bytearray) -> int:
        self.calls.append(request)
        address, length, answer_address, capacity = ARGUMENT.unpack(argument)
        answer = self._transact(ctypes.string_at(address, length))
        assert len(answer) <= capacity == MAX_RESPONSE_BYTES
        ctypes.memmove(answer_address, answer, len(answer))
        ARGUMENT.pack_into(argument, 0, address, length, answer_address, len(answer))
        return 0


def test_the_request_number_is_the_drivers() -> None:
    """_IOWR(0x0A, 0, struct of 32 bytes), as linux/ioctl.h puts it together."""
    read_and_write, size, kind, number = 3, ARGUMENT.size, 0x0A, 0
    assert IOCTL == read_and_write << 30 | size << 16 | kind << 8 | number == 0xC0200A00


def test_the_device_carries_requests_and_answers(tmp_path: Path) -> None:
    path = tmp_path / "nsm"
    path.touch()
    driver = Driver(emulator().transact)
    nsm = Nsm(device(path, driver))
    data = nsm.attest(nonce=bytes(512), user_data=bytes(512), public_key=bytes(1024))
    assert nitro.authenticate(data, root=ROOT.der, now=NOW).nonce == bytes(512)
    assert nsm.describe_pcr(2).data == PCRS[2]
    assert driver.calls == [IOCTL, IOCTL]


def test_emsgsize_is_a_request_too_large(tmp_path: Path) -> None:
    path = tmp_path / "nsm"
    path.touch()

    def too_large(descriptor: int, request: int, argument: bytearray) -> int:
        raise OSError(errno.EMSGSIZE, "message too long")

    with pytest.raises(NsmError) as caught:
        Nsm(device(path, too_large)).random()
    assert caught.value.code == "InputTooLarge"


def test_another_failure_of_the_driver_is_an_os_error(tmp_path: Path) -> None:
    path = tmp_path / "nsm"
    path.touch()

    def interrupted(descriptor: int, request: int, argument: bytearray) -> int:
        raise OSError(errno.EIO, "input/output error")

    with pytest.raises(OSError, match="input/output error"):
        Nsm(device(path, interrupted)).random()


def test_an_answer_longer_than_the_buffer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nsm"
    path.touch()

    def boasting(descriptor: int, request: int, argument: bytearray) -> int:
        ARGUMENT.pack_into(argument, 0, 0, 0, 0, MAX_RESPONSE_BYTES + 1)
        return 0

    with pytest.raises(NsmError, match="limit 12288"):
        Nsm(device(path, boasting)).random()


def test_a_machine_without_a_module_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Nsm(device(tmp_path / "nsm")).random()


def test_a_plain_file_is_no_security_module(tmp_path: Path) -> None:
    """The real ioctl, refused by the kernel."""
    path = tmp_path / "nsm"
    path.touch()
    with pytest.raises(OSError, match="ioctl"):
        Nsm(device(path)).random()
