"""The emulator's certificates: the structure of the real ones, and names that hide nothing."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from bench.emulators import pki
from bench.verify import chain

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MODULE = "i-0123456789abcdef0-enc0123456789abcdef"


@pytest.fixture(scope="module")
def root() -> pki.Authority:
    return pki.create(NOW)


@pytest.fixture(scope="module")
def issued(root: pki.Authority) -> pki.Chain:
    return pki.chain(root, MODULE, NOW)


@pytest.fixture(scope="module")
def certificates(issued: pki.Chain) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der) for der in (*issued.cabundle, issued.certificate)]


def common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_the_verifier_accepts_the_chain(root: pki.Authority, issued: pki.Chain) -> None:
    key = chain.verify(issued.cabundle, issued.certificate, root=root.der, now=NOW)
    assert key == issued.key.public_key()


def test_lives_path_lengths_and_usages_are_those_of_the_real_chain(
    certificates: list[x509.Certificate],
) -> None:
    def facts(certificate: x509.Certificate) -> tuple[object, ...]:
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        signs = usage.digital_signature, usage.key_cert_sign, usage.crl_sign
        return life, limits.ca, limits.path_length, signs

    assert [facts(certificate) for certificate in certificates] == [
        (timedelta(days=30 * 365), True, None, (True, True, True)),
        (timedelta(days=20), True, 2, (True, True, True)),
        (timedelta(days=6), True, 1, (True, True, True)),
        (timedelta(days=1), True, 0, (False, True, False)),
        (timedelta(hours=3, seconds=3), False, None, (True, False, False)),
    ]


def test_the_leaf_starts_three_seconds_before_its_document(
    certificates: list[x509.Certificate], issued: pki.Chain
) -> None:
    assert certificates[-1].not_valid_before_utc == NOW - timedelta(seconds=3)
    assert certificates[-1].not_valid_after_utc == issued.not_after == NOW + timedelta(hours=3)


def test_everything_is_p384_with_sha384(certificates: list[x509.Certificate]) -> None:
    for certificate in certificates:
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP384R1)
        assert certificate.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA384


@pytest.mark.attack(49)
def test_every_name_says_emulated_and_none_says_aws(certificates: list[x509.Certificate]) -> None:
    assert common_name(certificates[0]) == "confbench emulated root"
    for certificate in certificates:
        for name in (certificate.subject, certificate.issuer):
            text = name.rfc4514_string().lower()
            assert "emulated" in text
            assert not any(word in text for word in ("aws", "amazon", "nitro"))


def test_certificates_fit_the_document_syntax(issued: pki.Chain) -> None:
    assert all(len(der) <= 1024 for der in (*issued.cabundle, issued.certificate))


def test_a_long_module_id_still_makes_a_valid_name(root: pki.Authority) -> None:
    found = pki.chain(root, f"i-{'0' * 32}-enc{'1' * 32}", NOW)
    chain.verify(found.cabundle, found.certificate, root=root.der, now=NOW)


def test_no_two_chains_share_a_key(root: pki.Authority, issued: pki.Chain) -> None:
    again = pki.chain(root, MODULE, NOW)
    assert again.cabundle[0] == issued.cabundle[0]
    assert not {*again.cabundle[1:], again.certificate} & {*issued.cabundle, issued.certificate}


def test_a_root_is_made_once_and_kept(tmp_path: Path) -> None:
    first = pki.load_or_create(tmp_path / "state", NOW)
    second = pki.load_or_create(tmp_path / "state", NOW + timedelta(days=400))
    assert second.der == first.der
    assert second.key.private_numbers() == first.key.private_numbers()


def test_the_key_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        pki.load_or_create(tmp_path, NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / pki.STATE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [pki.STATE_NAME]


def test_a_write_that_fails_leaves_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        pki.load_or_create(tmp_path, NOW)
    assert not (tmp_path / pki.STATE_NAME).exists()


def test_a_damaged_root_is_refused_by_name(tmp_path: Path) -> None:
    pki.load_or_create(tmp_path, NOW)
    path = tmp_path / pki.STATE_NAME
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"root\.pem is no emulator root.*\nhint: "):
        pki.load_or_create(tmp_path, NOW)


def test_a_key_of_another_root_is_refused(tmp_path: Path) -> None:
    for name in ("one", "other"):
        pki.load_or_create(tmp_path / name, NOW)
    one, other = (tmp_path / name / pki.STATE_NAME for name in ("one", "other"))
    begin = "-----BEGIN CERTIFICATE"
    key, certificate = one.read_text().split(begin)[0], other.read_text().split(begin)[1]
    one.write_text(key + begin + certificate)
    with pytest.raises(ValueError, match="do not belong together"):
        pki.load_or_create(tmp_path / "one", NOW)


def test_private_keys_are_not_printed(root: pki.Authority, issued: pki.Chain) -> None:
    assert "key" not in repr(root) + repr(issued)
