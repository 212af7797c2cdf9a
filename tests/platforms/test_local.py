"""The local platform, whole: what runs, and what each party refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.client.channel import TimedChannel
from bench.client.talks import AttestedTalk
from bench.image import ImageError
from bench.platforms import SERVICE_PORT, Endpoint, PlatformError, local
from bench.verify.evidence import Expected
from enclave.wire.errors import RemoteProtocolError, VerificationError
from tests.platforms.conftest import SESSIONS, SHAPE


def talk(
    machine: local.Machine, endpoint: Endpoint, expected: Expected | None = None
) -> AttestedTalk:
    channel = TimedChannel(endpoint.connect(SERVICE_PORT))
    return AttestedTalk(channel, expected or machine.expected(), datetime.now(UTC))


@pytest.fixture(scope="module")
def enclave(machine: local.Machine):  # type: ignore[no-untyped-def]
    with machine.serve("enclave") as endpoint:
        yield endpoint


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_verified_session_answers_with_receipts(
    machine: local.Machine, enclave: Endpoint
) -> None:
    session = talk(machine, enclave)
    session.request("one")
    session.request("two")
    report = session.report()
    session.close()
    assert len(session.evidence.receipts) == 2
    stages = {name: (elapsed, begin) for name, elapsed, begin in report["boot_ns"]}  # type: ignore[attr-defined]
    assert list(stages)[-1] == "first_inference"
    assert stages["manifest"][1] < sum(stages["import"])  # the model comes while torch is imported


def test_the_enclave_says_from_inside_how_isolated_it_is(
    machine: local.Machine, enclave: Endpoint
) -> None:
    session = talk(machine, enclave)
    isolation = session.report()["isolation"]
    session.close()
    assert isolation["level"] == machine.level.value  # type: ignore[index,call-overload]


@pytest.mark.attack(28)
def test_one_session_too_many_is_refused_and_a_freed_one_is_not(
    machine: local.Machine, enclave: Endpoint
) -> None:
    sessions = [talk(machine, enclave) for _ in range(SESSIONS)]
    with pytest.raises(RemoteProtocolError, match="alert"):
        talk(machine, enclave)
    sessions.pop().close()
    for _ in range(100):
        try:
            sessions.append(talk(machine, enclave))
            break
        except RemoteProtocolError:
            continue
    assert len(sessions) == SESSIONS
    for session in sessions:
        session.close()


@pytest.mark.attack(19, 31, 40)
@pytest.mark.parametrize(
    ("field", "step"),
    [("settings_digest", "settings digest"), ("manifest_digest", "manifest digest")],
)
def test_another_host_choice_or_model_is_refused(
    machine: local.Machine, enclave: Endpoint, field: str, step: str
) -> None:
    expected = replace(machine.expected(), **{field: bytes(32)})
    with pytest.raises(VerificationError, match=step):
        talk(machine, enclave, expected)


@pytest.mark.attack(14)
def test_another_image_is_refused(machine: local.Machine, enclave: Endpoint) -> None:
    expected = machine.expected()
    pcrs = dict(expected.policy.pcrs) | {2: b"\x01" * 48}
    with pytest.raises(VerificationError, match="pcr"):
        talk(machine, enclave, replace(expected, policy=replace(expected.policy, pcrs=pcrs)))


@pytest.mark.attack(49)
def test_the_emulated_root_has_to_be_named(machine: local.Machine) -> None:
    with pytest.raises(VerificationError, match="emulated"):
        replace(machine.expected().policy, emulated=False)


@pytest.mark.attack(2)
def test_evidence_is_refused_a_day_later(machine: local.Machine, enclave: Endpoint) -> None:
    channel = TimedChannel(enclave.connect(SERVICE_PORT))
    with pytest.raises(VerificationError):
        AttestedTalk(channel, machine.expected(), datetime.now(UTC) + timedelta(days=1))


@pytest.mark.attack(36)
@pytest.mark.parametrize("name", ["weights.sealed", "tokenizer.json", "manifest.cose"])
def test_a_flipped_byte_of_a_sealed_model_is_named(copied: local.Files, name: str) -> None:
    flip(copied.sealed / name, 100)
    expected = {
        "weights.sealed": "chunk authentication",
        "tokenizer.json": "tokenizer digest",
        "manifest.cose": "manifest signature",
    }
    with (
        pytest.raises((PlatformError, VerificationError), match=expected[name]),
        local.lease(copied, SHAPE, sessions=1, require=None) as machine,
        machine.serve("enclave"),
    ):
        pass


@pytest.mark.parametrize("name", ["image.eif", "measurements.json"])
def test_a_flipped_byte_of_the_image_is_named(copied: local.Files, name: str) -> None:
    flip(copied.image.parent / name, 2000 if name == "image.eif" else 300)
    with (
        pytest.raises(ImageError, match=name),
        local.lease(copied, SHAPE, sessions=1, require=None),
    ):
        pass


def test_no_key_for_an_image_that_the_policy_does_not_name(
    machine: local.Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = replace(machine.built, pcrs=dict(machine.built.pcrs) | {0: b"\x02" * 48})
    with (
        pytest.raises(PlatformError, match="AccessDeniedException"),
        replace(machine, built=built).serve("enclave"),
    ):
        pass


def test_vsock_runs_where_it_works_and_says_so_where_not(files: local.Files) -> None:
    try:
        with (
            local.lease(files, SHAPE, sessions=1, require=None, transport="vsock") as machine,
            machine.serve("enclave") as endpoint,
        ):
            session = talk(machine, endpoint)
            session.request("over vsock")
            session.close()
    except PlatformError as error:
        assert "transport vsock does not work on this machine" in str(error)
        assert "hint: modprobe vsock_loopback" in str(error)
        pytest.skip("no vsock loopback on this machine: only the refusal was tested")
