"""The envelope reader: one profile, one error, whatever is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which

import pytest
from asn1crypto import algos, cms, core, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.emulators.cms import wrap
from enclave.tee.cms import MAX_BYTES, UNREADABLE, KeyReleaseError, unwrap

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpora" / "kms-cms"
DATA_KEY = bytes(range(32))
CONTENT_KEY = b"k" * 32
IV = b"i" * 16
ENVELOPED = bytes.fromhex("2a864886f70d010703")
SIGNED = bytes.fromhex("2a864886f70d010702")

PRIVATE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ENVELOPE = wrap(DATA_KEY, PRIVATE_KEY.public_key(), content_key=CONTENT_KEY, iv=IV)


def refused(blob: bytes) -> None:
    with pytest.raises(KeyReleaseError) as caught:
        unwrap(blob, PRIVATE_KEY)
    assert str(caught.value) == UNREADABLE
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("length", [0, 1, 15, 16, 32, 999, 1000, 1001, 4096])
def test_what_the_emulated_service_wraps_is_unwrapped(length: int) -> None:
    secret = bytes(index % 251 for index in range(length))
    blob = wrap(secret, PRIVATE_KEY.public_key(), content_key=CONTENT_KEY, iv=IV)
    assert unwrap(blob, PRIVATE_KEY) == secret


def test_writer_uses_the_awkward_form() -> None:
    """Indefinite lengths outside, pieces of at most 1000 bytes inside."""
    blob = wrap(bytes(4096), PRIVATE_KEY.public_key(), content_key=CONTENT_KEY, iv=IV)
    assert blob.startswith(b"\x30\x80\x06\x09") and blob.endswith(bytes(10))
    content = cms.ContentInfo.load(blob)["content"]["encrypted_content_info"]["encrypted_content"]
    assert content.contents.count(b"\x04\x82\x03\xe8") == 4


@pytest.mark.skipif(which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_what_the_emulated_service_wraps(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", str(key)]
    done = subprocess.run(command, input=ENVELOPE, capture_output=True, check=True, timeout=30)
    assert done.stdout == DATA_KEY


def build(
    *,
    version: str = "v2",
    recipients: int = 1,
    recipient_version: str = "v2",
    identifier_bytes: int = 32,
    issuer: bool = False,
    oaep: algos.RSAESOAEPParams | None = None,
    cipher: str = "aes256_cbc",
    content_key: bytes = CONTENT_KEY,
    padding_byte: int | None = None,
    inner_type: str = "data",
    unprotected: bool = False,
) -> bytes:
    """An envelope by another writer (DER, asn1crypto's own), with one thing changed."""
    hash_ = hashes.SHA256()
    wrapped = PRIVATE_KEY.public_key().encrypt(
        content_key, padding.OAEP(padding.MGF1(hash_), hash_, label=None)
    )
    if issuer:
        name = x509.Name.build({"common_name": "someone"})
        rid = cms.RecipientIdentifier(
            "issuer_and_serial_number", {"issuer": name, "serial_number": 1}
        )
    else:
        rid = cms.RecipientIdentifier("subject_key_identifier", bytes(identifier_bytes))
    sha256 = {"algorithm": "sha256", "parameters": core.Null()}
    parameters = oaep or algos.RSAESOAEPParams(
        {
            "hash_algorithm": sha256,
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": sha256},
        }
    )
    transport = cms.KeyTransRecipientInfo(
        {
            "version": recipient_version,
            "rid": rid,
            "key_encryption_algorithm": {"algorithm": "rsaes_oaep", "parameters": parameters},
            "encrypted_key": wrapped,
        }
    )
    padded = DATA_KEY + bytes((padding_byte if padding_byte is not None else 16,)) * 16
    aes = Cipher(algorithms.AES(CONTENT_KEY), modes.CBC(IV)).encryptor()
    enveloped = {
        "version": version,
        "recipient_infos": [cms.RecipientInfo("ktri", transport)] * recipients,
        "encrypted_content_info": {
            "content_type": inner_type,
            "content_encryption_algorithm": {"algorithm": cipher, "parameters": IV},
            "encrypted_content": aes.update(padded) + aes.finalize(),
        },
    }
    if unprotected:
        enveloped["unprotected_attrs"] = [
            {"type": "content_type", "values": [cms.ContentType("data")]}
        ]
    blob: bytes = cms.ContentInfo(
        {"content_type": "enveloped_data", "content": cms.EnvelopedData(enveloped)}
    ).dump()
    return blob


def test_der_with_primitive_content_is_read_too() -> None:
    assert unwrap(build(), PRIVATE_KEY) == DATA_KEY


def oaep_with(**changes: object) -> algos.RSAESOAEPParams:
    sha256 = {"algorithm": "sha256", "parameters": core.Null()}
    parameters = {
        "hash_algorithm": sha256,
        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": sha256},
    }
    return algos.RSAESOAEPParams(parameters | changes)


SHA1 = {"algorithm": "sha1", "parameters": core.Null()}


@pytest.mark.attack(35)
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"version": "v0"}, id="version 0"),
        pytest.param({"version": "v3"}, id="version 3"),
        pytest.param({"recipients": 0}, id="no recipient"),
        pytest.param({"recipients": 2}, id="two recipients"),
        pytest.param({"recipient_version": "v0"}, id="recipient version 0"),
        pytest.param({"identifier_bytes": 20}, id="short identifier"),
        pytest.param({"issuer": True}, id="recipient by issuer"),
        pytest.param({"oaep": oaep_with(hash_algorithm=SHA1)}, id="oaep with sha-1"),
        pytest.param(
            {"oaep": oaep_with(mask_gen_algorithm={"algorithm": "mgf1", "parameters": SHA1})},
            id="mgf1 with sha-1",
        ),
        pytest.param(
            {
                "oaep": oaep_with(
                    p_source_algorithm={"algorithm": "p_specified", "parameters": b"x"}
                )
            },
            id="oaep with a label",
        ),
        pytest.param({"cipher": "aes128_cbc"}, id="aes-128"),
        pytest.param({"content_key": b"k" * 16}, id="short content key"),
        pytest.param({"padding_byte": 0}, id="padding of zeros"),
        pytest.param({"padding_byte": 17}, id="padding longer than a block"),
        pytest.param({"inner_type": "signed_data"}, id="content that is no data"),
        pytest.param({"unprotected": True}, id="unprotected attributes"),
    ],
)
def test_envelope_outside_the_profile_is_refused(changes: dict[str, object]) -> None:
    refused(build(**changes))  # type: ignore[arg-type]


@pytest.mark.attack(35)
@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(ENVELOPE + b"\x00", id="a byte after the end"),
        pytest.param(ENVELOPE + ENVELOPE, id="two envelopes"),
        pytest.param(ENVELOPE[:-2], id="no end of contents"),
        pytest.param(b"\x30\x80" * 3000 + b"\x00\x00" * 3000, id="deep nesting"),
        pytest.param(b"\x30" * 20, id="lengths beyond the end"),
        pytest.param(b"\x30\x84\xff\xff\xff\xff", id="a huge length"),
        pytest.param(ENVELOPE.replace(ENVELOPED, SIGNED), id="another content type"),
        pytest.param(ENVELOPE.replace(b"\x04\x30", b"\x24\x30"), id="pieces within pieces"),
        pytest.param(
            ENVELOPE.replace(b"\xa0\x80\x04\x30", b"\xa0\x80\x02\x30"), id="integer piece"
        ),
    ],
)
def test_malformed_blob_is_refused(blob: bytes) -> None:
    refused(blob)


def test_envelope_over_the_api_limit_is_refused() -> None:
    refused(wrap(bytes(MAX_BYTES), PRIVATE_KEY.public_key(), content_key=CONTENT_KEY, iv=IV))


@pytest.mark.attack(35)
def test_envelope_for_another_key_is_refused() -> None:
    refused(wrap(DATA_KEY, OTHER_KEY.public_key(), content_key=CONTENT_KEY, iv=IV))


@pytest.mark.attack(35, 44)
def test_key_that_stands_in_for_an_unreadable_one_opens_nothing() -> None:
    refused(wrap(DATA_KEY, OTHER_KEY.public_key(), content_key=bytes(32), iv=IV))


@pytest.mark.attack(35)
@given(st.integers(0, len(ENVELOPE) - 1), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_changed_byte_is_refused_with_the_one_error_or_garbles_the_key(at: int, flip: int) -> None:
    """CBC has no integrity: a change may go through, but never another exception."""
    changed = ENVELOPE[:at] + bytes((ENVELOPE[at] ^ flip,)) + ENVELOPE[at + 1 :]
    try:
        unwrap(changed, PRIVATE_KEY)
    except KeyReleaseError as error:
        assert str(error) == UNREADABLE


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_are_refused_with_the_one_error(blob: bytes) -> None:
    refused(blob)


VERDICTS = {
    "e01-good.der": DATA_KEY,
    "e03-other-recipient.der": None,
    "e04-oaep-sha1.der": None,
    "e10-two-recipients.der": None,
    "e16-bad-padding.der": None,
    "e20-trailing.der": None,
}


@pytest.mark.attack(35)
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus kms-cms is not here")
@pytest.mark.parametrize("name", VERDICTS)
def test_corpus_verdict(name: str) -> None:
    key = load_pem_private_key((CORPUS / "emu-recipient-key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    blob, expected = (CORPUS / name).read_bytes(), VERDICTS[name]
    if expected is None:
        with pytest.raises(KeyReleaseError, match=UNREADABLE):
            unwrap(blob, key)
    else:
        assert unwrap(blob, key) == expected


@pytest.mark.attack(35)
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus kms-cms is not here")
def test_corpus_flipped_block_opens_garbled() -> None:
    key = load_pem_private_key((CORPUS / "emu-recipient-key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    garbled = unwrap((CORPUS / "e17-first-block-flip.der").read_bytes(), key)
    assert garbled[17:] == DATA_KEY[17:] and garbled != DATA_KEY


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus kms-cms is not here")
def test_envelopes_of_the_real_service_have_the_profile() -> None:
    from enclave.tee.cms import _parse

    wrapped, iv, ciphertext = _parse((CORPUS / "input_ber.bin").read_bytes())
    assert wrapped == (CORPUS / "encrypted_key_out.bin").read_bytes()
    assert iv == (CORPUS / "iv_out.bin").read_bytes()
    assert ciphertext == (CORPUS / "ciphertext_out.bin").read_bytes()
    wrapped, iv, ciphertext = _parse((CORPUS / "rustcrypto_kms_1.ber").read_bytes())
    assert (len(wrapped), len(iv), len(ciphertext)) == (256, 16, 16)
