"""Published documents, genuine and made, must get the verdict that stands beside them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.verify import AWS_ROOT_SHA256, Policy, nitro
from enclave.wire.errors import VerificationError

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
OTHER = dict.fromkeys(range(3), b"\x01" * 48)  # an image that no document here measures
GENUINE, MADE = CORPORA / "nitro-docs", CORPORA / "emulated-nitro-docs"


def index(folder: Path) -> object:
    path = folder / "index.json"
    return json.loads(path.read_text()) if path.exists() else None


def cases(found: object) -> list[object]:
    if isinstance(found, list):
        return [pytest.param(case, id=case["file"]) for case in found]
    skip = pytest.mark.skip(reason=f"the corpora are not here: no folder {CORPORA}")
    return [pytest.param({}, marks=skip, id="absent")]


MADE_INDEX = index(MADE)
MADE_CASES = MADE_INDEX["cases"] if isinstance(MADE_INDEX, dict) else None


def aws_root() -> bytes:
    pem = (GENUINE / "aws-root-g1.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@pytest.mark.attack(2, 3, 8, 12)
@pytest.mark.parametrize("case", cases(index(GENUINE)))
def test_a_genuine_document_gets_its_verdict(case: dict[str, str]) -> None:
    data = (GENUINE / case["file"]).read_bytes()
    now = datetime.fromisoformat(case["validate_at"])
    if case["verdict"].startswith("reject"):
        with pytest.raises(VerificationError, match=r"^signature"):
            nitro.authenticate(data, root=aws_root(), now=now)
        return
    document = nitro.authenticate(data, root=aws_root(), now=now)
    assert nitro.claimed_time(data) == now
    # A debug enclave measures as zero, which no policy may expect.
    pcrs = {i: bytes.fromhex(case[f"pcr{i}"]) for i in range(3)}
    debug = "debug" in case["verdict"]
    policy = Policy(AWS_ROOT_SHA256, aws_root(), OTHER if debug else pcrs)
    if debug:
        with pytest.raises(VerificationError, match=r"^debug mode"):
            nitro.accept(document, policy, nonce=None, now=now)
        return
    attested = nitro.accept(document, policy, nonce=None, now=now)
    assert (attested.platform, attested.emulated) == ("aws-nitro", False)


@pytest.mark.attack(2)
@pytest.mark.parametrize("case", cases(index(GENUINE)))
def test_a_genuine_document_is_refused_four_hours_later(case: dict[str, str]) -> None:
    now = datetime.fromisoformat(case["validate_at"]) + timedelta(hours=4)
    with pytest.raises(VerificationError, match=r"^validity"):
        nitro.authenticate((GENUINE / case["file"]).read_bytes(), root=aws_root(), now=now)


@pytest.mark.attack(49)
def test_a_policy_cannot_call_the_aws_root_emulated() -> None:
    if not GENUINE.exists():
        pytest.skip(f"the corpora are not here: no folder {CORPORA}")
    with pytest.raises(VerificationError, match=r"^policy emulated"):
        Policy(AWS_ROOT_SHA256, aws_root(), OTHER, emulated=True)


@pytest.mark.parametrize("case", cases(MADE_CASES))
def test_a_made_document_gets_its_verdict(case: dict[str, str]) -> None:
    assert isinstance(MADE_INDEX, dict)
    data = (MADE / case["file"]).read_bytes()
    root = (MADE / MADE_INDEX["trusted_root"]).read_bytes()
    now = datetime.fromisoformat(MADE_INDEX["validation_time_utc"])
    if case["verdict"] == "reject":
        with pytest.raises(VerificationError):
            nitro.authenticate(data, root=root, now=now)
        return
    document = nitro.authenticate(data, root=root, now=now)
    pcrs = {int(i): bytes.fromhex(value) for i, value in MADE_INDEX["expected_pcrs"].items()}
    policy = Policy(sha256(root).digest(), root, pcrs, emulated=True)
    nonce: bytes | None = bytes.fromhex(MADE_INDEX["expected_nonce"])
    public_key: bytes | None = bytes.fromhex(MADE_INDEX["expected_public_key"])
    if case["verdict"] == "accept":
        if "null for absent optionals" in case["why"]:  # it binds nothing, and nothing was asked
            nonce = public_key = None
        attested = nitro.accept(document, policy, nonce=nonce, public_key=public_key, now=now)
        assert attested.emulated
        return
    with pytest.raises(VerificationError) as caught:
        nitro.accept(document, policy, nonce=nonce, public_key=public_key, now=now)
    reasons = {"p01": "debug mode", "p02": "pcr 0", "p04": "nonce", "p07": "freshness"}
    assert caught.value.step == reasons.get(case["file"][:3], "public key")
