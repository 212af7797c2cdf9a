"""What is acceptable, rule by rule, on documents that are authentic all the same."""

from __future__ import annotations

import ast
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from bench.emulators import pki
from bench.verify import AWS_ROOT_SHA256, Attested, Document, Policy, nitro
from enclave.tee.nsm import Nsm
from enclave.wire import cose
from enclave.wire.errors import LocalProtocolError, VerificationError
from tests.verify import forge
from tests.verify.forge import NONCE, NOW, PCRS, PUBLIC_KEY

ROOT = Path(__file__).parents[2]
FRESH = Nsm(forge.emulator().transact).attest(
    public_key=PUBLIC_KEY, user_data=b"claims", nonce=NONCE
)
FRESH_DOCUMENT = forge.authenticate(FRESH)


def accept(data: bytes = FRESH, policy: Policy | None = None, **options: object) -> Attested:
    arguments = {"nonce": NONCE, "now": NOW, **options}
    return nitro.accept(forge.authenticate(data), policy or forge.policy(), **arguments)  # type: ignore[arg-type]


def not_acceptable(step: str, data: bytes = FRESH, **options: object) -> VerificationError:
    """Authentic all the same."""
    forge.authenticate(data)
    with pytest.raises(VerificationError) as caught:
        accept(data, **options)  # type: ignore[arg-type]
    assert caught.value.step == step
    return caught.value


def no_policy(step: str, **changes: object) -> None:
    with pytest.raises(VerificationError) as caught:
        forge.policy(**changes)
    assert caught.value.step == step


def test_a_fresh_document_is_authentic_and_acceptable() -> None:
    attested = accept(public_key=PUBLIC_KEY)
    found = attested.document
    assert (found.module_id, found.digest) == (forge.MODULE, "SHA384")
    assert found.timestamp_ms == NOW.timestamp() * 1000
    assert (found.public_key, found.user_data, found.nonce) == (PUBLIC_KEY, b"claims", NONCE)
    assert {index: found.pcrs[index] for index in PCRS} == PCRS
    assert len(found.pcrs) == 16
    assert found.payload_sha256 == sha256(cose.parse(FRESH, tagged=None).payload).digest()


# Nonce replay.


@pytest.mark.attack(1)
def test_a_document_without_a_nonce_is_refused_where_one_was_sent() -> None:
    not_acceptable("nonce", forge.document(nonce=None))


@pytest.mark.attack(1)
@pytest.mark.parametrize("nonce", [NONCE[:-1], NONCE + b"\0", bytes(32), NONCE[::-1], b""])
def test_another_nonce_is_refused(nonce: bytes) -> None:
    not_acceptable("nonce", forge.document(nonce=nonce))


@pytest.mark.attack(1)
def test_a_challenge_too_short_to_prove_anything_is_our_own_bug() -> None:
    with pytest.raises(LocalProtocolError):
        accept(forge.document(nonce=b""), nonce=b"")


def test_no_nonce_is_looked_at_where_none_was_sent() -> None:
    assert accept(forge.document(nonce=b"any"), nonce=None).document.nonce == b"any"


# Stale documents and documents from the future.


@pytest.mark.attack(2, 38)
@pytest.mark.parametrize("off_s", [300.001, 3600, -60.001, -3600])
def test_a_stale_or_future_document_is_refused(off_s: float) -> None:
    then = NOW - timedelta(seconds=off_s)
    not_acceptable("freshness", forge.document(timestamp=int(then.timestamp() * 1000)))


@pytest.mark.attack(2)
@pytest.mark.parametrize("off_s", [300, -60])
def test_both_ends_of_the_freshness_window_are_fresh(off_s: int) -> None:
    then = NOW - timedelta(seconds=off_s)
    timestamp_ms = int(then.timestamp() * 1000)
    attested = accept(forge.document(timestamp=timestamp_ms))
    assert attested.document.timestamp_ms == timestamp_ms


@pytest.mark.attack(2)
@pytest.mark.parametrize("judge", ["authenticate", "accept"])
def test_a_time_without_a_zone_is_our_own_bug(judge: str) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(LocalProtocolError):
        if judge == "authenticate":
            forge.authenticate(FRESH, naive)
        else:
            accept(now=naive)


@pytest.mark.attack(2)
def test_an_authentic_document_is_not_authentic_four_hours_later() -> None:
    with pytest.raises(VerificationError, match="validity"):
        forge.authenticate(FRESH, NOW + timedelta(hours=4))


# Debug mode.


@pytest.mark.attack(3)
def test_a_debug_enclave_is_authentic_and_refused() -> None:
    debug = Nsm(forge.emulator(debug=True).transact).attest(nonce=NONCE)
    pcrs = forge.authenticate(debug).pcrs
    assert not any(any(pcrs[index]) for index in (0, 1, 2))
    assert any(pcrs[4])  # so "all PCRs are zero" would miss it
    not_acceptable("debug mode", debug)


@pytest.mark.attack(3)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_zero_image_pcr_is_debug_mode(index: int) -> None:
    pcrs = {**FRESH_DOCUMENT.pcrs, index: bytes(48)}
    not_acceptable("debug mode", forge.document(pcrs=pcrs))


@pytest.mark.attack(3)
@pytest.mark.parametrize("index", [0, 1, 2, 8])
def test_a_policy_with_a_zero_pcr_is_refused(index: int) -> None:
    no_policy("policy pcrs", pcrs={**PCRS, index: bytes(48)})


def test_a_debug_enclave_is_accepted_where_a_policy_expects_exactly_that() -> None:
    debug = Nsm(forge.emulator(debug=True).transact).attest(nonce=NONCE)
    zeros = dict.fromkeys((0, 1, 2), bytes(48))
    assert accept(debug, forge.policy(pcrs=zeros, allow_debug=True)).emulated
    not_acceptable("pcr 0", debug, policy=forge.policy(allow_debug=True))


# Roots.


@pytest.mark.attack(4, 49)
def test_an_emulators_root_is_refused_as_the_aws_root() -> None:
    no_policy("policy emulated", emulated=False)


@pytest.mark.attack(4)
def test_a_root_other_than_the_pinned_one_is_refused() -> None:
    no_policy("policy root", root_sha256=AWS_ROOT_SHA256, emulated=False)


@pytest.mark.attack(4)
def test_a_document_under_another_root_is_not_acceptable() -> None:
    """Authentic under one root, and shown to a policy that pins another."""
    other = pki.create(NOW).der
    policy = forge.policy(root_der=other, root_sha256=sha256(other).digest())
    not_acceptable("root", policy=policy)


@pytest.mark.attack(49)
def test_what_an_emulator_vouches_for_is_called_emulated() -> None:
    attested = accept()
    assert (attested.emulated, attested.platform) == (True, "local")


@pytest.mark.attack(49)
def test_only_the_verifier_makes_trusted_types() -> None:
    made = {
        (path.relative_to(ROOT).as_posix(), node.func.id)
        for folder in ("bench", "enclave", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in (Attested.__name__, Document.__name__)
    }
    assert made == {
        ("bench/verify/document.py", "Document"),
        ("bench/verify/nitro.py", "Attested"),
    }


# PCRs.


@pytest.mark.attack(14)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_expected_pcr_that_is_missing_is_refused(index: int) -> None:
    pcrs = {key: value for key, value in FRESH_DOCUMENT.pcrs.items() if key != index}
    not_acceptable(f"pcr {index}", forge.document(pcrs=pcrs))


@pytest.mark.attack(14)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_another_pcr_is_refused(index: int) -> None:
    other = bytes([*PCRS[index][:-1], PCRS[index][-1] ^ 1])
    not_acceptable(f"pcr {index}", forge.document(pcrs={**FRESH_DOCUMENT.pcrs, index: other}))


@pytest.mark.attack(14)
def test_a_further_pcr_of_the_policy_is_compared_too() -> None:
    policy = forge.policy(pcrs={**PCRS, 8: b"\x08" * 48})
    not_acceptable("pcr 8", policy=policy)


def test_a_sparse_document_is_accepted() -> None:
    assert set(accept(forge.document(pcrs=PCRS)).document.pcrs) == {0, 1, 2}


@pytest.mark.attack(15)
@pytest.mark.parametrize("index", [-1, 32, "0", True])
def test_a_policy_with_no_such_pcr_is_refused(index: object) -> None:
    pcrs: dict[object, bytes] = {0: PCRS[0], 2: PCRS[2], index: PCRS[1]}
    no_policy("policy pcrs", pcrs=pcrs)


def test_a_policy_with_a_short_pcr_is_refused() -> None:
    no_policy("policy pcrs", pcrs={**PCRS, 0: PCRS[0][:32]})


@pytest.mark.attack(16)
def test_a_signers_pcr_alone_is_no_policy() -> None:
    """It would accept every image that the signer ever signed."""
    no_policy("policy pcrs", pcrs={8: b"\x08" * 48})


@pytest.mark.attack(14, 16)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_policy_without_an_image_pcr_is_refused(index: int) -> None:
    no_policy("policy pcrs", pcrs={key: PCRS[key] for key in PCRS if key != index})


@pytest.mark.parametrize(
    "module_id", ["i-0123456789abcdef1-enc0123456789abcdef", "i-0123456789abcdef0", "no id", "i-"]
)
def test_a_module_id_of_another_instance_than_pcr_4_is_refused(module_id: str) -> None:
    not_acceptable("instance", forge.document(module_id=module_id))


def test_a_zero_pcr_4_is_refused() -> None:
    not_acceptable("instance", forge.document(pcrs={**FRESH_DOCUMENT.pcrs, 4: bytes(48)}))


# Documents of another operation or channel.


@pytest.mark.attack(19, 20)
@pytest.mark.parametrize("public_key", [None, bytes(32), PUBLIC_KEY[:-1]])
def test_a_document_for_another_key_is_refused(public_key: bytes | None) -> None:
    not_acceptable("public key", forge.document(public_key=public_key), public_key=PUBLIC_KEY)
