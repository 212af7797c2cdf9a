"""The claims of an AIR v1 receipt and their one encoding: a closed, deterministic CBOR map.

CWT (RFC 8392), EAT (RFC 9711) and private claims. Nothing here is signed or judged: receipt.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from enclave.wire import cbor
from enclave.wire.bounds import COUNT, Bounds, exactly
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError

PROFILE = "https://spec.cyntrisec.com/air/v1"


@dataclass(frozen=True, slots=True)
class Measurements:
    """Registers of 48 bytes. Under TDX `pcr0` to `pcr4` hold MRTD and RTMR0 to RTMR3."""

    pcr0: bytes
    pcr1: bytes
    pcr2: bytes
    pcr3: bytes | None = None
    pcr4: bytes | None = None
    pcr8: bytes | None = None
    measurement_type: str = "nitro-pcr"

    def registers(self) -> dict[str, bytes]:
        """Those that are there, by name."""
        found = ((name, getattr(self, name)) for name in _REGISTERS)
        return {name: register for name, register in found if register is not None}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an enclave says about one inference. Hashes are SHA-256."""

    issuer: str
    issued_at: int  # Unix seconds by the enclave's clock, which its host can influence
    receipt_id: bytes  # 16 random bytes
    nonce: bytes | None  # the client's challenge
    model_id: str
    model_version: str
    model_hash: bytes
    request_hash: bytes
    response_hash: bytes
    attestation_hash: bytes
    measurements: Measurements
    policy_version: str
    sequence: int
    execution_time_ms: int
    memory_peak_mb: int
    security_mode: str
    model_hash_scheme: str | None


class ProfileError(RemoteProtocolError):
    """The claims are of another profile than AIR v1."""


_CLAIMS = {  # field: key, bounds
    "issuer": (1, Bounds(str, 1, 256)),
    "issued_at": (6, Bounds(int, 1, COUNT.most)),
    "receipt_id": (7, exactly(16)),
    "nonce": (10, Bounds(bytes, 8, 64)),
    "model_id": (-65537, Bounds(str, 1, 256)),
    "model_version": (-65538, Bounds(str, 1, 128)),
    "model_hash": (-65539, exactly(32)),
    "request_hash": (-65540, exactly(32)),
    "response_hash": (-65541, exactly(32)),
    "attestation_hash": (-65542, exactly(32)),
    "policy_version": (-65544, Bounds(str, 1, 256)),
    "sequence": (-65545, COUNT),
    "execution_time_ms": (-65546, COUNT),
    "memory_peak_mb": (-65547, COUNT),
    "security_mode": (-65548, Bounds(str, 1, 64)),
    "model_hash_scheme": (-65549, Bounds(str, 1, 64)),
}
_OPTIONAL = {"nonce", "model_hash_scheme"}
_EAT_PROFILE, _MEASUREMENTS = 265, -65543
_KEYS = {key for key, _ in _CLAIMS.values()} | {_EAT_PROFILE, _MEASUREMENTS}

_REGISTERS = tuple(field.name for field in fields(Measurements) if field.name.startswith("pcr"))
_REQUIRED = {"pcr0", "pcr1", "pcr2", "measurement_type"}


def encode(receipt: Receipt) -> bytes:
    """The payload that is signed; LocalProtocolError if a claim is out of bounds."""
    claims: dict[int, object] = {_EAT_PROFILE: PROFILE}
    for field, (key, bounds) in _CLAIMS.items():
        value = getattr(receipt, field)
        if value is None and field in _OPTIONAL:
            continue
        if fault := bounds.fault(value):
            raise LocalProtocolError(f"{field}: {fault}")
        claims[key] = value
    claims[_MEASUREMENTS] = _encoded(receipt.measurements)
    return cbor.encode(claims)


@lru_cache(maxsize=8)  # an enclave's are the same in every receipt
def _encoded(measurements: Measurements) -> cbor.Encoded:
    kind = measurements.measurement_type
    found = {"measurement_type": kind, **measurements.registers()}
    if fault := _measurements_fault(found):
        raise LocalProtocolError(fault)
    return cbor.Encoded(cbor.encode(found))


def decode(payload: bytes) -> Receipt:
    """The claims in a payload; ProfileError or another RemoteProtocolError if they are not AIR v1.

    The length of the registers is left to the verifier, as the specification has it.
    """
    claims = cbor.decode(payload, max_depth=2)
    if type(claims) is not dict:
        raise RemoteProtocolError("claims are not a map")
    if claims.get(_EAT_PROFILE) != PROFILE:
        raise ProfileError(f"eat_profile is {claims.get(_EAT_PROFILE)!r:.80}")
    if unknown := claims.keys() - _KEYS:
        raise RemoteProtocolError(f"unknown claim {min(unknown, key=repr)!r:.80}")
    values: dict[str, Any] = {}
    for field, (key, bounds) in _CLAIMS.items():
        values[field] = claims.get(key)
        absent = key not in claims and field in _OPTIONAL
        if not absent and (fault := bounds.fault(values[field])):
            raise RemoteProtocolError(f"{field}: {fault}")
    measurements = claims.get(_MEASUREMENTS)
    if type(measurements) is not dict:
        raise RemoteProtocolError("measurements are missing or not a map")
    if fault := _measurements_fault(measurements):
        raise RemoteProtocolError(fault)
    return Receipt(**values, measurements=Measurements(**measurements))


def _measurements_fault(measurements: Mapping[Any, Any]) -> str:
    """What is wrong with the map, the length of its registers apart; empty if nothing is."""
    if not _REQUIRED <= measurements.keys() <= _REQUIRED.union(_REGISTERS):
        return "measurements are not the closed map of AIR v1"
    for name, value in measurements.items():
        if type(value) is not (bytes if name in _REGISTERS else str):
            return f"{name} has the wrong type"
    return ""
