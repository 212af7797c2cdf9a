"""Compliance bundles: all that a run's sessions left behind, in one file that needs no other.

One map in deterministic CBOR (enclave.wire.cbor), so the same run gives the same bytes and nothing
in the file has a second reading. Its first key, `kind`, says what it is. Whose root, owner and
image these are, no bundle can say of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from bench.verify import IMAGE_PCRS, PCR_BYTES
from bench.verify.sessions import Evidence
from enclave.wire import cbor
from enclave.wire.bounds import Bounds, exactly
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError, VerificationError

KIND = "confbench compliance bundle"
SCHEMA = 1
MAX_BYTES = 1 << 30
MAX_DEPTH = 8  # bundle, runs, run, boots, boot, sessions, session, receipts

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot's sessions, and the digest of its records that the enclave was asked to sign."""

    records: bytes
    sessions: Sequence[Evidence]


@dataclass(frozen=True, slots=True)
class Run:
    """The boots of one measuring job, under a name such as `rep1/tier1`."""

    name: str
    boots: Sequence[Boot]


@dataclass(frozen=True, slots=True)
class Bundle:
    """`root` in DER, `owner` an Ed25519 key, `pcrs` 0 to 2 as the build measured them, `manifest`
    signed; nothing that no check reads.

    `key_policy` (JSON) is what the key service was told of `key_arn`; `sealers` are principals that
    may make data keys without an enclave.
    """

    platform: str
    pcrs: Mapping[int, bytes]
    root: bytes
    owner: bytes
    key_arn: str
    key_policy: str
    sealers: Sequence[str]
    manifest: bytes
    runs: Sequence[Run]

    def encode(self) -> bytes:
        """The file; LocalProtocolError where `decode` would refuse it. Nothing is judged."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {"kind": KIND, "schema": SCHEMA, "sealers": sorted(self.sealers)}
        values["runs"] = [_run_map(run) for run in self.runs]
        try:
            data = cbor.encode(values)
            Bundle.decode(data)
        except VerificationError as error:
            raise LocalProtocolError(f"a bundle that cannot be written: {error}") from error
        return data

    @classmethod
    def decode(cls, data: bytes) -> Bundle:
        """Strictly; VerificationError for anything that `encode` does not write.

        1. deterministic CBOR of the closed set of fields, each of its type and within its bounds
        2. PCR0, 1 and 2, and no other
        3. runs have names of their own; each run has a boot, each boot a session
        """
        try:
            read = cbor.decode(data, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)
            values = _closed(read, {"kind", "schema", *_BOUNDS})
            if (values.pop("kind"), values.pop("schema")) != (KIND, SCHEMA):
                raise RemoteProtocolError(f"no {KIND} of schema {SCHEMA}")
            for name, bounds in _BOUNDS.items():  # 1
                _bounded(name, values[name], bounds)
            for sealer in values["sealers"]:
                _bounded("a sealer", sealer, Bounds(str, 1, 2048))
            for index, value in _closed(values["pcrs"], set(IMAGE_PCRS)).items():  # 2
                _bounded(f"pcr {index}", value, exactly(PCR_BYTES))
            runs = _each(values["runs"], _run)  # 3
            if len({run.name for run in runs}) != len(runs):
                raise RemoteProtocolError("two runs of one name")
        except RemoteProtocolError as error:
            hint = "collect it again from records, evidence and what they were made of"
            raise VerificationError(
                "bundle", found=error, expected="what a collector writes", hint=hint
            ) from None
        return cls(**values | {"runs": runs, "sealers": tuple(values["sealers"])})


_BOUNDS = {
    "platform": Bounds(str, 1, 64),
    "pcrs": Bounds(dict, 0, 32),
    "root": Bounds(bytes, 1, 4096),
    "owner": exactly(32),
    "key_arn": Bounds(str, 1, 2048),
    "key_policy": Bounds(str, 1, 32768),
    "sealers": Bounds(list, 0, 64),
    "manifest": Bounds(bytes, 1, 1 << 16),
    "runs": Bounds(list, 1, 1 << 12),
}


def _run_map(run: Run) -> dict[str, object]:
    boots = [
        {"records": boot.records, "sessions": [session.encode() for session in boot.sessions]}
        for boot in run.boots
    ]
    return {"name": run.name, "boots": boots}


def _run(value: object) -> Run:
    found = _closed(value, {"name", "boots"})
    _bounded("the name of a run", found["name"], Bounds(str, 1, 256))
    return Run(found["name"], _each(found["boots"], _boot))


def _boot(value: object) -> Boot:
    found = _closed(value, {"records", "sessions"})
    _bounded("the digest of a boot's records", found["records"], exactly(32))
    return Boot(found["records"], _each(found["sessions"], Evidence.decode))


def _closed(value: object, names: AbstractSet[Any]) -> dict[Any, Any]:
    if type(value) is not dict or set(value) != names:
        raise RemoteProtocolError(f"no map of {', '.join(sorted(map(str, names)))}")
    return value


def _bounded(name: str, value: object, bounds: Bounds) -> None:
    if fault := bounds.fault(value):
        raise RemoteProtocolError(f"{name}: {fault}")


def _each(values: object, read: Callable[[object], T]) -> tuple[T, ...]:
    if type(values) is not list or not values:
        raise RemoteProtocolError("an empty list, or none, where something was left behind")
    return tuple(read(value) for value in values)
