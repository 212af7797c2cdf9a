"""The driver for Nitro Enclaves, with a module in software behind the driver's ioctl.

What is not tested here, for want of hardware: the real /dev/nsm, and a parent behind AF_VSOCK.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import cbor2
import pytest

from bench.emulators import pki
from bench.emulators.nsm import NsmEmulator
from bench.verify import nitro
from enclave import __main__ as application
from enclave.conversation import SECURITY_MODES, Identity
from enclave.tee import aws_nitro, tls
from enclave.tee.aws_nitro import NitroTee
from enclave.tee.channels import HybridVsock, Vsock
from enclave.tee.nsm import Nsm, NsmError, Transact, device, timestamp_ms
from enclave.wire.errors import LocalProtocolError, VerificationError
from tests.emulators.parties import MODULE, PCRS
from tests.enclave.test_nsm import Driver

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ROOT = pki.create(NOW)


def module(debug: bool = False) -> Transact:
    return NsmEmulator(PCRS, ROOT, lambda: NOW, MODULE, debug=debug).transact


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., NitroTee]]:
    """A function that starts the driver on a machine in good order, but for what it is given."""
    (tmp_path / "nsm").touch()
    listener = socket.socket(socket.AF_UNIX)

    def start(
        *,
        entropy: str | None = "nsm-hwrng\n",
        transact: Transact | None = None,
        now: datetime = NOW,
    ) -> NitroTee:
        source = tmp_path / "rng_current"
        if entropy is not None:
            source.write_text(entropy)
        behind = device(tmp_path / "nsm", Driver(transact or module()))
        listen = partial(HybridVsock, listener, tmp_path, aws_nitro.PORTS)
        return NitroTee(behind, listen, tls.context(), entropy_source=source, now_s=now.timestamp)

    with listener:
        yield start


def test_a_machine_in_good_order_is_attested(machine: Callable[..., NitroTee]) -> None:
    tee = machine()
    data = tee.attest(public_key=b"key", user_data=b"claims", nonce=b"nonce")
    found = nitro.authenticate(data, root=ROOT.der, now=NOW)
    assert (found.public_key, found.user_data, found.nonce) == (b"key", b"claims", b"nonce")
    assert tee.measurements() == PCRS == {index: found.pcrs[index] for index in PCRS}
    assert tee.platform == "aws-nitro"


# Randomness


@pytest.mark.attack(39)
@pytest.mark.parametrize("source", ["virtio_rng.0", "none", "", "nsm-hwrng2", "tpm-rng-0"])
def test_a_machine_with_another_source_of_randomness_does_not_start(
    machine: Callable[..., NitroTee], source: str
) -> None:
    with pytest.raises(VerificationError, match=r"entropy: .*expected nsm-hwrng"):
        machine(entropy=source)


@pytest.mark.attack(39)
def test_a_machine_without_a_source_of_randomness_does_not_start(
    machine: Callable[..., NitroTee],
) -> None:
    with pytest.raises(FileNotFoundError):
        machine(entropy=None)


@pytest.mark.attack(39)
def test_the_source_is_where_linux_says(tmp_path: Path) -> None:
    """On this machine, which has another one or none, the real file is read and refused."""

    def never(_: bytes) -> bytes:
        raise AssertionError("the module was asked first")

    expected = VerificationError if aws_nitro.ENTROPY_SOURCE.exists() else FileNotFoundError
    with pytest.raises(expected):
        aws_nitro.examine(Nsm(never))


# The module


@pytest.mark.attack(46)
def test_a_debug_enclave_does_not_start(machine: Callable[..., NitroTee]) -> None:
    """Its console can be read by the host; its PCRs 0 to 2 are zero."""
    with pytest.raises(VerificationError, match=r"zero PCRs \[0, 1, 2\]"):
        machine(transact=module(debug=True))


@pytest.mark.attack(41)
def test_every_register_is_locked_before_the_first_document(
    machine: Callable[..., NitroTee],
) -> None:
    asked: list[object] = []
    behind = module()

    def transact(request: bytes) -> bytes:
        asked.append(cbor2.loads(request))
        return behind(request)

    machine(transact=transact)
    names = [next(iter(each)) if isinstance(each, dict) else each for each in asked]
    assert names.index("LockPCRs") < names.index("Attestation")
    assert Nsm(behind).describe().locked_pcrs == frozenset(range(32))


@pytest.mark.attack(41)
def test_a_lock_that_does_not_hold_is_noticed(machine: Callable[..., NitroTee]) -> None:
    behind = module()

    def transact(request: bytes) -> bytes:
        if cbor2.loads(request) == {"LockPCRs": {"range": 32}}:
            return cbor2.dumps("LockPCRs")
        return behind(request)

    with pytest.raises(VerificationError, match=r"unlocked PCRs \[16, .*, 31\]"):
        machine(transact=transact)


def test_a_machine_without_a_module_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "rng_current").write_text("nsm-hwrng\n")
    with pytest.raises(FileNotFoundError, match="nsm"):
        aws_nitro.examine(Nsm(device(tmp_path / "nsm")), tmp_path / "rng_current")


# The clock


@pytest.mark.attack(38)
@pytest.mark.parametrize("minutes", [-6, 6, 60 * 24 * 365])
def test_a_clock_that_the_module_contradicts_is_not_believed(
    machine: Callable[..., NitroTee], minutes: int
) -> None:
    """It decides whether a server's certificate has expired, and stands in receipts."""
    with pytest.raises(VerificationError, match=f"clock: found {minutes * 60} s off"):
        machine(now=NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_clock_may_be_five_minutes_off(machine: Callable[..., NitroTee], minutes: int) -> None:
    machine(now=NOW + timedelta(minutes=minutes))


def test_a_document_says_when_it_was_made() -> None:
    assert timestamp_ms(Nsm(module()).attest()) == NOW.timestamp() * 1000


@pytest.mark.parametrize(
    "document",
    [
        b"",
        cbor2.dumps([b"", {}, b"", b""]),
        cbor2.dumps([b"", {}, cbor2.dumps({}), b""]),
        cbor2.dumps([b"", {}, cbor2.dumps({"timestamp": "noon"}), b""]),
        cbor2.dumps([b"", {}, cbor2.dumps({"timestamp": True}), b""]),
        cbor2.dumps([b"", {}, cbor2.dumps([1]), b""]),
        cbor2.dumps({"timestamp": 1}),
    ],
)
def test_a_document_without_a_time_is_none(document: bytes) -> None:
    with pytest.raises(NsmError):
        timestamp_ms(document)


# The way in


@pytest.mark.attack(39, 49)
def test_the_measured_word_starts_this_driver_and_no_other() -> None:
    """On a machine that is no Nitro Enclave it refuses; nothing falls back to an emulator."""
    with pytest.raises((VerificationError, OSError)):
        application.choose("aws-nitro", [])


@pytest.mark.attack(40)
def test_a_host_has_nothing_to_say_to_it() -> None:
    with pytest.raises(SystemExit, match="nothing that arguments could say"):
        application.choose("aws-nitro", ["3", "unix"])


@pytest.mark.attack(49)
def test_its_receipts_are_not_those_of_an_emulation() -> None:
    assert {NitroTee.platform: "production", "local": "evaluation"} == SECURITY_MODES


def test_nothing_is_said_of_a_platform_that_is_not_known() -> None:
    with pytest.raises(LocalProtocolError, match="no security mode is known of platform 'moon'"):
        Identity("moon", None, None, None)  # type: ignore[arg-type]


def test_channels_are_of_vsock_where_the_kernel_has_it() -> None:
    """Listening works anywhere; a parent answers only inside an enclave."""
    try:
        channels = Vsock(aws_nitro.PORTS, offset=40_000)
    except OSError as error:
        pytest.skip(f"this kernel has no AF_VSOCK: {error}")
    try:
        assert channels.write_bytes == 16 * 1024
        with pytest.raises(OSError):
            channels.dial(7000)
        with pytest.raises(OSError, match="in use"):  # and lets go of the port it had
            Vsock((4999, *aws_nitro.PORTS), offset=40_000)
    finally:
        channels.close()
