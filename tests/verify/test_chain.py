"""Chains that are honest but for one certificate. Every document here has a right signature."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import asn1crypto.x509
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from bench.emulators import pki
from bench.verify import nitro
from enclave.wire.errors import VerificationError
from tests.verify import forge
from tests.verify.forge import HONEST, NOW, Spec

LEVELS = tuple(HONEST)
AUTHORITIES = LEVELS[:-1]


def refused(step: str, chain: pki.Chain) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        forge.authenticate(forge.document(chain))
    assert caught.value.step == step
    return caught.value


def forged(level: str, **changes: object) -> pki.Chain:
    return forge.forged_chain(**{level: replace(HONEST[level], **changes)})  # type: ignore[arg-type]


def test_an_honest_forged_chain_is_accepted() -> None:
    """The premise of every test below."""
    assert forge.authenticate(forge.document(forge.forged_chain())).module_id == forge.MODULE


@pytest.mark.attack(4)
def test_a_look_alike_root_is_refused() -> None:
    """Same names, another key."""
    other = pki.create(NOW)
    assert other.certificate.subject == forge.root().certificate.subject
    refused("root", pki.chain(other, forge.MODULE, NOW))


@pytest.mark.attack(4, 5)
def test_a_foreign_chain_behind_the_pinned_root_is_refused() -> None:
    foreign = forge.path_to(pki.create(NOW), HONEST)
    refused("issuer", replace(foreign, cabundle=(forge.root().der, *foreign.cabundle[1:])))


@pytest.mark.attack(5)
@pytest.mark.parametrize("position", [1, 2, 3])
def test_a_missing_authority_is_refused(position: int) -> None:
    honest = forge.chain()
    bundle = honest.cabundle[:position] + honest.cabundle[position + 1 :]
    refused("issuer", replace(honest, cabundle=bundle))


@pytest.mark.attack(5)
def test_a_reordered_chain_is_refused() -> None:
    root, region, zonal, instance = forge.chain().cabundle
    refused("issuer", replace(forge.chain(), cabundle=(root, zonal, region, instance)))


@pytest.mark.attack(5)
def test_a_chain_with_the_leaf_first_is_refused() -> None:
    bundle = forge.chain().cabundle[::-1]
    refused("root", replace(forge.chain(), cabundle=bundle))


@pytest.mark.attack(5)
def test_an_issuer_of_the_right_name_with_another_key_is_refused() -> None:
    root, region, *rest = forge.chain().cabundle
    subject = x509.load_der_x509_certificate(region).subject.rfc4514_string()
    namesake = forge.issue(forge.root(), subject, HONEST["region"]).der
    assert x509.load_der_x509_certificate(namesake).subject.rfc4514_string() == subject
    refused("issuer", replace(forge.chain(), cabundle=(root, namesake, *rest)))


@pytest.mark.attack(5)
def test_a_repeated_root_is_refused() -> None:
    """Self-issued certificates would not count for path lengths, so the chain could be padded."""
    root, *rest = forge.chain().cabundle
    refused("issuer", replace(forge.chain(), cabundle=(root, root, *rest)))


@pytest.mark.attack(5)
@pytest.mark.parametrize("level", LEVELS)
def test_an_expired_certificate_is_refused_at_every_level(level: str) -> None:
    error = refused("validity", forged(level, end=NOW - timedelta(seconds=1)))
    where = "the enclave" if level == "enclave" else f"certificate {LEVELS.index(level) + 1}"
    assert where in str(error.found)


@pytest.mark.attack(5)
@pytest.mark.parametrize("level", LEVELS)
def test_a_certificate_of_the_future_is_refused_at_every_level(level: str) -> None:
    refused("validity", forged(level, begin=NOW + timedelta(seconds=1)))


@pytest.mark.attack(5)
def test_an_expired_root_is_refused() -> None:
    old = pki.create(NOW - timedelta(days=31 * 365))
    document = forge.document(forge.path_to(old, HONEST))
    with pytest.raises(VerificationError) as caught:
        nitro.authenticate(document, root=old.der, now=NOW)
    assert caught.value.step == "validity"


def test_both_ends_of_a_validity_are_valid() -> None:
    first, last = NOW, NOW + timedelta(seconds=1)
    document = forge.document(forged("enclave", begin=first, end=last))
    assert forge.authenticate(document, first) == forge.authenticate(document, last)


@pytest.mark.attack(5)
@pytest.mark.parametrize(("level", "length"), [("region", 1), ("region", 0), ("zonal", 0)])
def test_an_exceeded_path_length_is_refused(level: str, length: int) -> None:
    refused("authority", forged(level, path_length=length))


@pytest.mark.attack(5)
def test_an_authority_below_a_path_length_of_zero_is_refused() -> None:
    specs = {**HONEST, "more": Spec(True, 0), "leaf": Spec(False, None)}
    del specs["enclave"]
    refused("authority", forge.path_to(forge.root(), specs))


@pytest.mark.attack(5)
@pytest.mark.parametrize("level", AUTHORITIES)
def test_an_authority_without_the_ca_flag_is_refused(level: str) -> None:
    refused("authority", forged(level, authority=False, path_length=None, key_cert_sign=True))


@pytest.mark.attack(5)
@pytest.mark.parametrize("level", AUTHORITIES)
def test_an_authority_without_key_cert_sign_is_refused(level: str) -> None:
    refused("authority", forged(level, key_cert_sign=False))


@pytest.mark.attack(5)
def test_a_leaf_that_is_an_authority_is_refused() -> None:
    refused("leaf", forged("enclave", authority=True, key_cert_sign=False))


@pytest.mark.attack(5)
def test_a_leaf_that_may_sign_certificates_is_refused() -> None:
    refused("leaf", forged("enclave", key_cert_sign=True))


@pytest.mark.attack(5)
def test_a_leaf_that_may_not_sign_documents_is_refused() -> None:
    refused("leaf", forged("enclave", digital_signature=False))


@pytest.mark.attack(5)
@pytest.mark.parametrize("level", LEVELS)
def test_a_certificate_without_basic_constraints_is_refused(level: str) -> None:
    refused("extensions", forged(level, constraints=None))


@pytest.mark.attack(5)
@pytest.mark.parametrize("level", LEVELS)
def test_basic_constraints_that_are_not_critical_are_refused(level: str) -> None:
    refused("extensions", forged(level, constraints=False))


@pytest.mark.attack(5)
@pytest.mark.parametrize("level", LEVELS)
def test_a_certificate_without_key_usage_is_refused(level: str) -> None:
    refused("extensions", forged(level, usage=False))


@pytest.mark.attack(5)
@pytest.mark.parametrize("level", LEVELS)
def test_an_unknown_critical_extension_is_refused(level: str) -> None:
    extra = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    refused("certificate", forged(level, extra=(extra,)))


@pytest.mark.attack(5, 11)
@pytest.mark.parametrize("level", LEVELS)
def test_a_p256_certificate_is_refused(level: str) -> None:
    refused("certificate", forged(level, curve=ec.SECP256R1()))


@pytest.mark.attack(5, 11)
@pytest.mark.parametrize("level", LEVELS)
def test_a_sha256_signature_is_refused(level: str) -> None:
    refused("certificate", forged(level, digest=SHA256()))


@pytest.mark.attack(6)
def test_bytes_after_the_leaf_are_refused() -> None:
    refused("certificate", replace(forge.chain(), certificate=forge.chain().certificate + b"\0"))


@pytest.mark.attack(6)
def test_bytes_after_an_authority_are_refused() -> None:
    root, region, *rest = forge.chain().cabundle
    refused("certificate", replace(forge.chain(), cabundle=(root, region + b"\0", *rest)))


@pytest.mark.attack(6)
def test_a_der_boolean_other_than_ff_is_refused() -> None:
    refused("certificate", in_ber(forge.chain()))


@pytest.mark.attack(6)
def test_a_parser_that_reads_ber_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = x509.load_der_x509_certificate
    lenient = lambda der: strict(der.replace(BER_TRUE, DER_TRUE))  # noqa: E731
    monkeypatch.setattr(x509, "load_der_x509_certificate", lenient)
    refused("certificate", in_ber(forge.chain()))


DER_TRUE = bytes.fromhex("30060101ff020102")  # SEQUENCE, BOOLEAN TRUE, INTEGER 2: CA:TRUE
BER_TRUE = bytes.fromhex("3006010101020102")  # another way to write it, in BER


def in_ber(chain: pki.Chain) -> pki.Chain:
    root, region, *rest = chain.cabundle
    assert region.count(DER_TRUE) == 1
    return replace(chain, cabundle=(root, region.replace(DER_TRUE, BER_TRUE), *rest))


@pytest.mark.attack(6)
@pytest.mark.filterwarnings("ignore")  # as it is for most callers
@pytest.mark.parametrize(("field", "value"), [("version", 0), ("serial_number", 0)])
def test_a_certificate_of_version_1_or_without_a_serial_number_is_refused(
    field: str, value: int
) -> None:
    """With extensions, and rightly signed."""
    region, key = forge.issue(forge.root(), "CN=region", HONEST["region"]), forge.root().key
    parsed = asn1crypto.x509.Certificate.load(region.der)
    parsed["tbs_certificate"][field] = value
    signature = key.sign(parsed["tbs_certificate"].dump(force=True), ec.ECDSA(SHA384()))
    parsed["signature_value"] = signature
    rest = forge.path_to(region, {name: HONEST[name] for name in LEVELS[1:]})
    bundle = (forge.root().der, parsed.dump(force=True), *rest.cabundle[1:])
    refused("certificate", replace(rest, cabundle=bundle))


@pytest.mark.attack(6)
def test_unused_bits_in_a_certificates_signature_are_refused() -> None:
    """A last bit of zero may be called unused, and the library reads the same signature."""
    chains = (pki.chain(forge.root(), forge.MODULE, NOW) for _ in range(64))
    honest = next(chain for chain in chains if chain.certificate[-1] & 1 == 0)
    leaf = honest.certificate
    signature = x509.load_der_x509_certificate(leaf).signature
    changed = leaf.removesuffix(b"\0" + signature) + b"\1" + signature
    refused("certificate", replace(honest, certificate=changed))


@pytest.mark.attack(6)
def test_a_certificate_that_is_none_is_refused() -> None:
    refused("certificate", replace(forge.chain(), certificate=b"\x30\x03\x02\x01\x01"))
