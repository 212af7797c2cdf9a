"""CMS EnvelopedData as AWS KMS answers it: the reader for `CiphertextForRecipient`.

Rule of the file: one profile (RFC 5652 with RFC 8017 OAEP), in BER because KMS uses indefinite
lengths, and one error with one message whatever is wrong, so that a caller can be no oracle.

CBC has no integrity and anyone who knows the public key can make a valid envelope. What comes out
is therefore only a candidate key: TLS to KMS and the model's AEAD decide whether it is the key.
"""

from __future__ import annotations

from asn1crypto import parser
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding as asymmetric
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

MAX_BYTES = 6144  # CiphertextForRecipient of the KMS API
MAX_DEPTH = 12
CONTENT_KEY_BYTES = 32
BLOCK_BYTES = 16
SUBJECT_KEY_IDENTIFIER_BYTES = 32

# A value is its identifier octet (class, form, tag) and its content: which of the length forms
# of BER it came in is forgotten, and nothing else is.
Value = tuple[int, "bytes | tuple[Value, ...]"]

INTEGER, OCTET_STRING, NULL, OBJECT = 0x02, 0x04, 0x05, 0x06
SEQUENCE, SET = 0x30, 0x31
CONTEXT_0, CONTEXT_0_CONSTRUCTED, CONTEXT_1_CONSTRUCTED = 0x80, 0xA0, 0xA1

ENVELOPED_DATA: Value = (OBJECT, bytes.fromhex("2a864886f70d010703"))
DATA: Value = (OBJECT, bytes.fromhex("2a864886f70d010701"))
VERSION_2: Value = (INTEGER, b"\x02")
AES_256_CBC: Value = (OBJECT, bytes.fromhex("60864801650304012a"))
SHA_256: Value = (SEQUENCE, ((OBJECT, bytes.fromhex("608648016503040201")), (NULL, b"")))
MGF1_SHA_256: Value = (SEQUENCE, ((OBJECT, bytes.fromhex("2a864886f70d010108")), SHA_256))
# RFC 4055 4.1: the label is empty by default, and a default is not written.
OAEP_SHA_256: Value = (
    SEQUENCE,
    (
        (OBJECT, bytes.fromhex("2a864886f70d010107")),
        (SEQUENCE, ((CONTEXT_0_CONSTRUCTED, (SHA_256,)), (CONTEXT_1_CONSTRUCTED, (MGF1_SHA_256,)))),
    ),
)


class KeyReleaseError(Exception):
    """The key was not released. The envelope's reader raises it with `UNREADABLE` alone."""


UNREADABLE = "the envelope for this enclave cannot be opened"


def unwrap(blob: bytes, key: RSAPrivateKey) -> bytes:
    """Open an envelope made for `key` (RFC 5652 6); KeyReleaseError for every failure.

    1. At most 6144 bytes of BER, one value, nothing after it.
    2. ContentInfo of EnvelopedData version 2: recipients and content, no more.
    3. One KeyTransRecipientInfo version 2 by subject key identifier, RSAES-OAEP with SHA-256.
    4. Content of type data under AES-256-CBC, whole or in pieces.
    5. The wrapped key is for `key` and the padding is right: judged together, at the end.
    """
    try:
        wrapped, iv, ciphertext = _parse(blob)
        content_key, released = _content_key(wrapped, key)
        padded = _decrypt_cbc(content_key, iv, ciphertext)
        unpadder = PKCS7(BLOCK_BYTES * 8).unpadder()
        plaintext = unpadder.update(padded) + unpadder.finalize()
    except (ValueError, TypeError):
        raise KeyReleaseError(UNREADABLE) from None
    if not released:  # 5
        raise KeyReleaseError(UNREADABLE)
    return plaintext


def _parse(blob: bytes) -> tuple[bytes, bytes, bytes]:
    """(wrapped content key, IV, ciphertext); ValueError unless the blob has the profile."""
    if len(blob) > MAX_BYTES:  # 1
        raise ValueError(len(blob))
    content_type, explicit = _children(_read(blob), SEQUENCE, 2)  # 2
    (enveloped,) = _children(explicit, CONTEXT_0_CONSTRUCTED, 1)
    version, recipients, content = _children(enveloped, SEQUENCE, 3)
    _require(content_type == ENVELOPED_DATA and version == VERSION_2)
    (recipient,) = _children(recipients, SET, 1)  # 3
    version, identifier, algorithm, wrapped = _children(recipient, SEQUENCE, 4)
    _require(version == VERSION_2 and algorithm == OAEP_SHA_256)
    _require(len(_bytes(identifier, CONTEXT_0)) == SUBJECT_KEY_IDENTIFIER_BYTES)
    content_type, algorithm, pieces = _children(content, SEQUENCE, 3)  # 4
    cipher, iv = _children(algorithm, SEQUENCE, 2)
    _require(content_type == DATA and cipher == AES_256_CBC)
    return _bytes(wrapped, OCTET_STRING), _bytes(iv, OCTET_STRING), _join(pieces)


def _read(data: bytes, depth: int = 0) -> Value:
    """One BER value that fills `data` exactly."""
    parsed: tuple[int, int, int, bytes, bytes, bytes] = parser.parse(data, strict=True)
    class_, constructed, tag, _, content, _ = parsed
    _require(tag < 31 and depth < MAX_DEPTH)
    identifier = class_ << 6 | constructed << 5 | tag
    if not constructed:
        return identifier, content
    children = []
    while content:
        consumed: int = parser.peek(content)
        children.append(_read(content[:consumed], depth + 1))
        content = content[consumed:]
    return identifier, tuple(children)


def _join(value: Value) -> bytes:
    """[0] IMPLICIT OCTET STRING, primitive or in pieces (X.690 8.7)."""
    if value[0] == CONTEXT_0:
        return _bytes(value, CONTEXT_0)
    pieces = _children(value, CONTEXT_0_CONSTRUCTED)
    return b"".join(_bytes(piece, OCTET_STRING) for piece in pieces)


def _children(value: Value, identifier: int, count: int | None = None) -> tuple[Value, ...]:
    found, content = value
    if found != identifier or not isinstance(content, tuple) or count not in (None, len(content)):
        raise ValueError(found)
    return content


def _bytes(value: Value, identifier: int) -> bytes:
    found, content = value
    if found != identifier or not isinstance(content, bytes):
        raise ValueError(found)
    return content


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


def _content_key(wrapped: bytes, key: RSAPrivateKey) -> tuple[bytes, bool]:
    """The content key and True, or zeros and False: the time that follows is the same."""
    sha256 = hashes.SHA256()
    try:
        content_key = key.decrypt(
            wrapped, asymmetric.OAEP(asymmetric.MGF1(sha256), sha256, label=None)
        )
    except ValueError:
        return bytes(CONTENT_KEY_BYTES), False
    return content_key, True


def _decrypt_cbc(content_key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES256(content_key), modes.CBC(iv)).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()
