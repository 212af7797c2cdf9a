"""Chains in a token's header that are honest but for one certificate. Every signature is right."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import asn1crypto.x509
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from bench.emulators.attestor import Attestor, Holder
from bench.verify import confidential_space
from enclave.wire.errors import VerificationError
from tests.verify import mint
from tests.verify.mint import HONEST, NOW, PKI, Spec

LEVELS = tuple(HONEST)
SECOND = timedelta(seconds=1)


def refused(step: str, data: bytes) -> None:
    with pytest.raises(VerificationError) as caught:
        mint.authenticate(data)
    assert caught.value.step == step


def forged(level: str, **changes: object) -> bytes:
    return mint.chain_token(**{level: replace(HONEST[level], **changes)})  # type: ignore[arg-type]


def test_an_honest_forged_chain_is_accepted() -> None:
    """The premise of every test below; with key usage in the signer's certificate and without."""
    for data in (
        mint.chain_token(),
        forged("signer", usage=True),
        forged("intermediate", path_length=0),
    ):
        assert mint.authenticate(data).audience == mint.AUDIENCE


@pytest.mark.attack(4, 42)
def test_a_look_alike_root_is_refused() -> None:
    other = Attestor.create(NOW).chain[-1]
    assert other.certificate.subject == mint.attestor().chain[-1].certificate.subject
    refused("root", mint.chain_token(other))


@pytest.mark.attack(42)
def test_a_foreign_chain_before_the_pinned_root_is_refused() -> None:
    """Signed by a key that its own certificate rightly names."""
    foreign, ours = Attestor.create(NOW), mint.attestor()
    chain = [foreign.chain[0].der, foreign.chain[1].der, ours.root]
    refused("issuer certificate", mint.x5c_token(chain, foreign.key(PKI)))


def test_a_foreign_signer_before_our_intermediate_is_refused() -> None:
    foreign, ours = Attestor.create(NOW), mint.attestor()
    chain = [foreign.chain[0].der, ours.chain[1].der, ours.root]
    refused("issuer certificate", mint.x5c_token(chain, foreign.key(PKI)))


def test_a_reordered_chain_is_refused() -> None:
    signer, intermediate, root = (holder.der for holder in mint.attestor().chain)
    key = mint.attestor().key(PKI)
    refused("root", mint.x5c_token([root, intermediate, signer], key))
    refused("issuer certificate", mint.x5c_token([intermediate, signer, root], key))


def test_a_repeated_root_is_refused() -> None:
    signer, _, root = (holder.der for holder in mint.attestor().chain)
    refused("issuer certificate", mint.x5c_token([signer, root, root], mint.attestor().key(PKI)))


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_another_number_of_certificates_is_refused(count: int) -> None:
    ders = [holder.der for holder in mint.attestor().chain]
    refused(
        "x5c", mint.x5c_token([*ders, ders[-1]][-count:] if count else [], mint.attestor().key(PKI))
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-2],
        lambda text: text + "\n",
        lambda text: f" {text}",
        lambda text: text + "====",
        lambda text: text[:-3] + "B==",
        lambda text: text[:64] + "\n" + text[64:],
        lambda text: text.replace("A", "-"),
        lambda text: "é" + text,
        lambda text: "",
    ],
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_certificates_in_another_encoding_are_refused(
    change: Callable[[str], str], position: int
) -> None:
    texts = [b64encode(holder.der).decode() for holder in mint.attestor().chain]
    der = mint.attestor().chain[position].der
    padded = b64encode(der + b"\0" * ((1 - len(der)) % 3 or 3)).decode()
    assert padded.endswith("A==")
    texts[position] = change(padded)
    refused("x5c", mint.header_token(x5c=texts))


@pytest.mark.parametrize(
    "value", ["MIIF", {"0": "MIIF"}, [1, 2, 3], [None] * 3, ["A" * 8196, "AAAA", "AAAA"]]
)
def test_an_x5c_of_another_type_is_refused(value: object) -> None:
    refused("x5c", mint.header_token(x5c=value))


@pytest.mark.parametrize("level", LEVELS)
def test_an_expired_certificate_is_refused_at_every_level(level: str) -> None:
    refused("validity", forged(level, end=NOW - SECOND))


@pytest.mark.parametrize("level", LEVELS)
def test_a_certificate_of_the_future_is_refused_at_every_level(level: str) -> None:
    refused("validity", forged(level, begin=NOW + SECOND))


def test_an_expired_root_is_refused() -> None:
    old = Attestor.create(NOW - timedelta(days=3700))
    data = mint.chain_token(old.chain[-1])
    with pytest.raises(VerificationError, match=r"^validity: found the root"):
        confidential_space.authenticate_pki(data, root=old.root, now=NOW)


def test_a_signer_as_its_own_authority_is_refused() -> None:
    refused("leaf", forged("signer", authority=True))
    refused("leaf", forged("signer", usage=True, key_cert_sign=True))


def test_a_signer_that_may_not_sign_is_refused() -> None:
    refused("leaf", forged("signer", usage=True, digital_signature=False))


def test_an_intermediate_that_may_not_sign_certificates_is_refused() -> None:
    """A customer's own leaf, say, used as an authority."""
    refused("authority", forged("intermediate", authority=False, key_cert_sign=True))
    refused("authority", forged("intermediate", key_cert_sign=False))
    refused("authority", forged("intermediate", usage=False))


def test_an_authority_below_a_path_length_of_zero_is_refused() -> None:
    """Only a root can be exceeded: there is one authority below it, always."""
    name = x509.Name.from_rfc4514_string("CN=root")
    certificate, key = mint.issue(name, mint.key_for("root"), "root", Spec(True, path_length=0))
    root = Holder(certificate, key)
    data = mint.chain_token(root)
    with pytest.raises(VerificationError, match=r"^authority: found the root"):
        confidential_space.authenticate_pki(data, root=root.der, now=NOW)


def test_an_intermediate_in_the_roots_own_name_is_refused() -> None:
    root = mint.attestor().chain[-1]
    subject = root.certificate.subject
    intermediate, key = mint.issue(subject, root.key, "namesake", HONEST["intermediate"], subject)
    signer, signer_key = mint.issue(subject, key, "signer", HONEST["signer"])
    chain = [signer, intermediate, root.certificate]
    refused("issuer certificate", mint.x5c_token(chain, signer_key))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("constraints", [None, False])
def test_basic_constraints_must_be_there_and_critical(level: str, constraints: bool | None) -> None:
    refused("extensions", forged(level, constraints=constraints))


@pytest.mark.parametrize("level", LEVELS)
def test_an_unknown_critical_extension_is_refused(level: str) -> None:
    extra = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    refused("certificate", forged(level, extra=(extra,)))


@pytest.mark.parametrize("level", LEVELS)
def test_another_digest_is_refused(level: str) -> None:
    refused("certificate", forged(level, digest=SHA384()))


def test_another_kind_of_key_is_refused() -> None:
    refused("certificate", forged("signer", key=ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize("level", LEVELS)
def test_a_weak_key_is_refused(level: str) -> None:
    refused("certificate", forged(level, key=mint.small_key()))


@pytest.mark.parametrize("position", [0, 1])
def test_bytes_after_a_certificate_are_refused(position: int) -> None:
    ders = [holder.der for holder in mint.attestor().chain]
    ders[position] += b"\0"
    refused("certificate", mint.x5c_token(ders, mint.attestor().key(PKI)))


def test_a_parser_that_passes_over_bytes_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = x509.load_der_x509_certificate
    lenient = lambda der: strict(der.removesuffix(b"\0"))  # noqa: E731
    monkeypatch.setattr(x509, "load_der_x509_certificate", lenient)
    signer, intermediate, root = (holder.der for holder in mint.attestor().chain)
    chain = [signer + b"\0", intermediate, root]
    refused("certificate", mint.x5c_token(chain, mint.attestor().key(PKI)))


@pytest.mark.filterwarnings("ignore")  # as it is for most callers
@pytest.mark.parametrize(("field", "value"), [("version", 0), ("serial_number", 0)])
def test_a_certificate_of_version_1_or_without_a_serial_number_is_refused(
    field: str, value: int
) -> None:
    """With extensions, and rightly signed."""
    signer, intermediate, root = mint.attestor().chain
    parsed = asn1crypto.x509.Certificate.load(signer.der)
    parsed["tbs_certificate"][field] = value
    signed = parsed["tbs_certificate"].dump(force=True)
    parsed["signature_value"] = intermediate.key.sign(signed, PKCS1v15(), SHA256())
    chain = [parsed.dump(force=True), intermediate.der, root.der]
    refused("certificate", mint.x5c_token(chain, signer.key))


def test_a_key_that_the_signers_certificate_does_not_name_is_refused() -> None:
    ders = [holder.der for holder in mint.attestor().chain]
    refused("signature", mint.x5c_token(ders, mint.attestor().chain[1].key))
