"""Claims of another type than theirs, in rightly signed tokens."""

from __future__ import annotations

import pytest

from enclave.wire.errors import VerificationError
from tests.verify import mint
from tests.verify.mint import NOW


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iss", None),
        ("aud", None),
        ("sub", 1),
        ("iat", True),
        ("iat", str(int(NOW.timestamp()))),
        ("nbf", -1),
        ("exp", 0),
        ("exp", 1 << 62),
        ("secboot", 1),
        ("secboot", "true"),
        ("oemid", True),
        ("oemid", "11129"),
        ("hwmodel", ["GCP_INTEL_TDX"]),
        ("swname", None),
        ("dbgstat", True),
        ("eat_nonce", 1),
        ("eat_nonce", [1]),
        ("eat_nonce", {"0": "n"}),
        ("submods", []),
        ("swversion", "250800"),
        ("google_service_accounts", "someone"),
        ("google_service_accounts", [None]),
        ("tdx", {"gcp_attester_tcb_status": 1}),
    ],
)
def test_a_claim_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(VerificationError, match=f"^claim ({name}|tdx.gcp_attester_tcb_status)"):
        mint.authenticate(mint.token(**{name: value}))


@pytest.mark.parametrize(
    ("module", "changes"),
    [
        ("container", {"image_digest": None}),
        ("container", {"image_digest": ["sha256:"]}),
        ("container", {"env_override": ["A=1"]}),
        ("container", {"env_override": {"A": 1}}),
        ("container", {"cmd_override": "sh"}),
        ("container", {"cmd_override": [["sh"]]}),
        ("confidential_space", {"support_attributes": "STABLE"}),
        ("nvidia_gpu", {"cc_mode": True}),
        ("nvidia_gpu", {"cc_mode": "ON", "gpus": "all"}),
        ("nvidia_gpu", {"cc_mode": "ON", "gpus": ["H100"]}),
        ("nvidia_gpu", {"cc_mode": "ON", "gpus": [{}]}),
    ],
)
def test_an_inner_claim_of_another_type_is_refused(module: str, changes: dict[str, object]) -> None:
    submods = mint.submodule(module, **changes)
    with pytest.raises(VerificationError, match=rf"^claim submods\.{module}\."):
        mint.authenticate(mint.token(submods=submods))
