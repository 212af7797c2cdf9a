"""Confidential Space tokens: envelope, chain, claims and key sets. The root is the input's own, so
that an input alone is enough to repeat a finding."""

from __future__ import annotations

from contextlib import suppress

from bench.verify import claims, confidential_space, jwks, jwt, x5c
from bench.verify.tokens import Flavour
from enclave.wire.errors import VerificationError
from tests.verify import mint

TOKENS = [mint.token(flavour) for flavour in Flavour]
PAYLOADS = [jwt.unpack(token.split(b".")[1], "seed") for token in TOKENS]
SEEDS = (*TOKENS, *PAYLOADS, mint.attestor().key_set)
POLICY = mint.policy()
HEADER = {"required": frozenset({"alg", "typ", "x5c"}), "optional": frozenset({"kid"})}


def judge(data: bytes) -> None:
    with suppress(VerificationError):
        confidential_space.claimed_time(data)
    with suppress(VerificationError):
        jwks.keys(data)
    with suppress(VerificationError):
        token = claims.read(data, Flavour.PKI, POLICY.anchor)
        confidential_space.accept(token, POLICY, nonce=mint.NONCE, now=mint.NOW)
    with suppress(VerificationError):
        root = x5c.read(jwt.read(data, **HEADER).header["x5c"])[-1]
        confidential_space.authenticate_pki(data, root=root, now=mint.NOW)
