from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from functools import partial
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire import cbor, cose
from enclave.wire.errors import RemoteProtocolError, VerificationError

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PROTECTED = cbor.encode({cose.ALGORITHM: cose.EDDSA})
MESSAGE = cose.sign_ed25519(b"payload", KEY, protected=PROTECTED)
SIGNATURE = cose.parse(MESSAGE, tagged=True).signature


def corpus(name: str) -> Path:
    folder = CORPORA / name
    if not folder.is_dir():
        pytest.skip(f"the corpus {name} is not beside this checkout")
    return folder


def test_round_trip() -> None:
    message = cose.parse(MESSAGE, tagged=True)
    assert message == cose.Sign1(PROTECTED, b"payload", SIGNATURE)
    assert cose.verify_ed25519(message, KEY.public_key()) == b"payload"


def test_signature_input_is_the_sig_structure() -> None:
    assert cose.signature_input(b"\xa1\x01\x27", b"xyz").hex() == (
        "846a5369676e61747572653143a10127404378797a"
    )


@pytest.mark.parametrize("has_tag", [True, False])
@pytest.mark.parametrize("tagged", [True, False, None])
def test_tag(has_tag: bool, tagged: bool | None) -> None:
    data = cose.sign_ed25519(b"payload", KEY, protected=PROTECTED, tagged=has_tag)
    if tagged in (has_tag, None):
        assert cose.parse(data, tagged=tagged).payload == b"payload"
    else:
        with pytest.raises(RemoteProtocolError, match="tag 18"):
            cose.parse(data, tagged=tagged)


REFUSED: dict[str, tuple[object, str]] = {
    "three elements": ([PROTECTED, {}, b"payload"], "array of four"),
    "five elements": ([PROTECTED, {}, b"payload", SIGNATURE, 0], "array of four"),
    "a map": ({0: 0}, "array of four"),
    "protected header as a map": ([{1: -8}, {}, b"payload", SIGNATURE], "headers"),
    "unprotected header as a string": ([PROTECTED, b"", b"payload", SIGNATURE], "headers"),
    "unprotected header": ([PROTECTED, {4: b"11"}, b"payload", SIGNATURE], "not empty"),
    "payload as text": ([PROTECTED, {}, "payload", SIGNATURE], "not a byte string"),
    "signature as null": ([PROTECTED, {}, b"payload", None], "not a byte string"),
    "detached payload": ([PROTECTED, {}, None, SIGNATURE], "detached or empty"),
    "empty payload": ([PROTECTED, {}, b"", SIGNATURE], "detached or empty"),
}


@pytest.mark.attack(11)
@pytest.mark.parametrize(("fields", "fault"), REFUSED.values(), ids=REFUSED)
def test_refused(fields: object, fault: str) -> None:
    with pytest.raises(RemoteProtocolError, match=fault):
        cose.parse(b"\xd2" + cbor.encode(fields), tagged=True)


@pytest.mark.attack(10)
@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (MESSAGE + b"\x00", "more follow"),
        (b"\xd2" + MESSAGE, "tag"),
        (b"\xd8\x12" + MESSAGE[1:], "shortest form"),
        (b"\xd9\x03\xe6" + MESSAGE[1:], "tag"),
        (b"\x9f" + MESSAGE[2:] + b"\xff", "indefinite"),
        (MESSAGE[:-1], "too early"),
        (b"", "too early"),
    ],
    ids=["trailing", "tag twice", "long tag", "tag 998", "indefinite", "cut", "nothing"],
)
def test_refused_encoding(data: bytes, fault: str) -> None:
    with pytest.raises(RemoteProtocolError, match=fault):
        cose.parse(data, tagged=None)


def test_size_is_bounded() -> None:
    with pytest.raises(RemoteProtocolError, match="limit"):
        cose.parse(MESSAGE, tagged=True, max_bytes=len(MESSAGE) - 2)  # the tag is not counted


def test_64_kib_unless_said_otherwise() -> None:
    sign = partial(cose.sign_ed25519, key=KEY, protected=PROTECTED, tagged=False)
    largest = 65_536 - (len(sign(bytes(65_000))) - 65_000)
    assert len(cose.parse(sign(bytes(largest)), tagged=False).payload) == largest
    with pytest.raises(RemoteProtocolError, match="limit 65536"):
        cose.parse(sign(bytes(largest + 1)), tagged=False)


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        cose.parse(data, tagged=None)


@given(st.integers(0, len(MESSAGE) * 8 - 1))
def test_no_flipped_bit_goes_unseen(bit: int) -> None:
    changed = bytearray(MESSAGE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((RemoteProtocolError, VerificationError)):
        cose.verify_ed25519(cose.parse(bytes(changed), tagged=True), KEY.public_key())


def test_another_key_is_refused_by_the_name_of_the_step() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    with pytest.raises(VerificationError) as caught:
        cose.verify_ed25519(cose.parse(MESSAGE, tagged=True), other, step="who")
    assert caught.value.step == "who"


# Published vectors.


def test_working_group_vectors_have_unprotected_headers_and_are_refused() -> None:
    files = sorted(corpus("cose-wg").glob("*/*.json"))
    assert files
    for file in files:
        data = bytes.fromhex(json.loads(file.read_text())["output"]["cbor"])
        in_shape = data[:1] in (b"\xd2", b"\x84")
        fault = cose.UnprotectedHeaderError if in_shape else RemoteProtocolError
        with pytest.raises(fault):
            cose.parse(data, tagged=None)


def test_working_group_vectors_without_the_unprotected_header() -> None:
    """With that header emptied (nothing covers it), the verdicts are those in the files."""
    verdicts = {}
    for file in sorted(corpus("cose-wg").glob("sign1-tests/*.json")):
        vector = json.loads(file.read_text())
        data = bytes.fromhex(vector["output"]["cbor"])
        if file.stem == "sign-fail-01":
            continue  # the wrong tag
        array = cbor.decode(data[1:] if data[:1] == b"\xd2" else data)
        assert type(array) is list
        array[1] = {}
        verdicts[file.stem] = verifies_es256(
            cose.parse(cbor.encode(array), tagged=False), vector["input"]["sign0"]["key"]
        )
    for name, accepted in verdicts.items():
        # 01 has no protected header at all and 02 external data: outside the profile.
        outside = name in ("sign-pass-01", "sign-pass-02")
        assert accepted is (name.startswith("sign-pass") and not outside), name


def verifies_es256(message: cose.Sign1, jwk: dict[str, str]) -> bool:
    d = int.from_bytes(_base64url(jwk["d"]), "big")
    key = ec.derive_private_key(d, ec.SECP256R1()).public_key()
    r, s = (int.from_bytes(message.signature[at : at + 32], "big") for at in (0, 32))
    try:
        key.verify(
            encode_dss_signature(r, s),
            cose.signature_input(message.protected, message.payload),
            ec.ECDSA(SHA256()),
        )
    except InvalidSignature:
        return False
    return cbor.decode(message.protected) == {1: -7}


def _base64url(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_working_group_vectors_sign_the_same_bytes() -> None:
    for file in sorted(corpus("cose-wg").glob("sign1-tests/*.json")):
        vector = json.loads(file.read_text())
        expected = bytes.fromhex(vector["intermediates"]["ToBeSign_hex"])
        structure = cbor.decode(expected)
        assert type(structure) is list
        _, protected, external, payload = structure
        if not external:
            assert cose.signature_input(protected, payload) == expected


def test_real_attestation_documents_are_in_the_profile() -> None:
    files = sorted(corpus("nitro-docs").glob("*.cbor"))
    assert files
    for file in files:
        message = cose.parse(file.read_bytes(), tagged=False)
        assert message.protected.hex() == "a1013822", file.name
        assert len(message.signature) == 96
