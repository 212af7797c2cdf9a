"""CMS EnvelopedData as AWS KMS writes it: the writer for `CiphertextForRecipient`.

Rule of the file: the awkward form on purpose. Lengths are indefinite where KMS leaves them so and
the content comes in pieces, so that a reader which only knows DER fails here and not on hardware.
"""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding as asymmetric
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PIECE_BYTES = 1000  # longest octet string of the content
END_OF_CONTENTS = b"\x00\x00"

ENVELOPED_DATA = bytes.fromhex("06092a864886f70d010703")
DATA = bytes.fromhex("06092a864886f70d010701")
AES_256_CBC = bytes.fromhex("060960864801650304012a")
VERSION_2 = bytes.fromhex("020102")
# RFC 4055 4.1: RSAES-OAEP with SHA-256 and MGF1 with SHA-256; the empty label is the default.
OAEP_SHA_256 = bytes.fromhex(
    "303c06092a864886f70d010107302fa00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500"
)


def wrap(plaintext: bytes, recipient: RSAPublicKey, *, content_key: bytes, iv: bytes) -> bytes:
    """Envelope `plaintext` for one recipient (RFC 5652 6); key 32 bytes, IV 16, each used once."""
    hash_ = hashes.SHA256()
    oaep = asymmetric.OAEP(asymmetric.MGF1(hash_), hash_, label=None)
    spki = recipient.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key_transport = _definite(
        0x30,
        VERSION_2,
        _definite(0x80, sha256(spki).digest()),  # [0] subjectKeyIdentifier
        OAEP_SHA_256,
        _definite(0x04, recipient.encrypt(content_key, oaep)),
    )
    ciphertext = _encrypt_cbc(plaintext, content_key, iv)
    pieces = (
        _definite(0x04, ciphertext[start : start + PIECE_BYTES])
        for start in range(0, len(ciphertext), PIECE_BYTES)
    )
    algorithm = _definite(0x30, AES_256_CBC, _definite(0x04, iv))
    content = _indefinite(0x30, DATA, algorithm, _indefinite(0xA0, *pieces))
    enveloped = _indefinite(0x30, VERSION_2, _definite(0x31, key_transport), content)
    return _indefinite(0x30, ENVELOPED_DATA, _indefinite(0xA0, enveloped))


def _encrypt_cbc(plaintext: bytes, content_key: bytes, iv: bytes) -> bytes:
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(content_key), modes.CBC(iv)).encryptor()
    padded = padder.update(plaintext) + padder.finalize()
    return encryptor.update(padded) + encryptor.finalize()


def _definite(identifier: int, *content: bytes) -> bytes:
    """X.690 8.1.3.3 to 8.1.3.5."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes((identifier, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((identifier, 0x80 | len(length))) + length + body


def _indefinite(identifier: int, *content: bytes) -> bytes:
    """X.690 8.1.3.6: no length; two zero bytes end it."""
    return bytes((identifier, 0x80)) + b"".join(content) + END_OF_CONTENTS
