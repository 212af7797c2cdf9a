"""A token's payload, read strictly: bytes to `Token`, or VerificationError.

Claims that are judged must be there with their exact type. Names that are not known are passed
over, unlike in a Nitro document: Google adds claims, and says so. What a value should be is not for
this file to say.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, TypeVar

from bench.verify import jwt
from bench.verify.tokens import Container, Flavour, Gpu, Token
from enclave.wire.errors import VerificationError

MAX_NONCES = 6
MAX_ITEMS = 64
MAX_TIME_S = 253402300800  # the year 10000

T = TypeVar("T")


class Members:
    """The members of one JSON object, by name and type. `path` says where it stands."""

    def __init__(self, values: dict[str, object], path: str = "") -> None:
        self._values: Final = values
        self._path: Final = path

    def take(self, name: str, kind: type[T]) -> T:
        """A member that must be there; true is no number (`type() is`)."""
        value = self._values.get(name)
        if type(value) is not kind:
            raise self.error(name, type(value).__name__, kind.__name__)
        return value

    def text(self, name: str) -> str:
        return self.take(name, str)

    def optional_text(self, name: str) -> str | None:
        return self.take(name, str) if name in self else None

    def texts(self, name: str, most: int = MAX_ITEMS) -> tuple[str, ...]:
        """A list of texts; where it is absent or null, an empty one."""
        items = self.take(name, list) if name in self else []
        if len(items) > most or any(type(item) is not str for item in items):
            raise self.error(name, "a long list, or items of other types", f"{most} texts at most")
        return tuple(items)

    def time_s(self, name: str) -> int:
        value = self.take(name, int)
        if not 0 < value < MAX_TIME_S:
            raise self.error(name, value, "seconds since 1970, before the year 10000")
        return value

    def inner(self, name: str) -> Members:
        """An object inside; where it is absent or null, an empty one."""
        values: dict[str, object] = self.take(name, dict) if name in self else {}
        return Members(values, f"{self._path}{name}.")

    def text_map(self, name: str) -> dict[str, str]:
        inner = self.inner(name)
        return {key: inner.text(key) for key in inner._values}

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def error(self, name: str, found: object, expected: str) -> VerificationError:
        return VerificationError(f"claim {self._path}{name}"[:200], found=found, expected=expected)


def read(payload: bytes, flavour: Flavour, anchor: bytes) -> Token:
    """The claims of a payload whose signature `anchor` vouches for."""
    claims = Members(jwt.read_object(payload, "payload"))
    submodules = claims.inner("submods")
    return Token(
        flavour=flavour,
        anchor_sha256=sha256(anchor).digest(),
        issuer=claims.text("iss"),
        audience=claims.text("aud"),  # one text: a token for several parties is for none
        subject=claims.text("sub"),
        issued_at_s=claims.time_s("iat"),
        not_before_s=claims.time_s("nbf"),
        expires_at_s=claims.time_s("exp"),
        nonces=_nonces(claims),
        secure_boot=claims.take("secboot", bool),
        oem_id=claims.take("oemid", int),
        hardware=claims.text("hwmodel"),
        attester_tcb=claims.texts("attester_tcb"),
        tcb_status=claims.inner("tdx").optional_text("gcp_attester_tcb_status"),
        software=claims.text("swname"),
        software_version=claims.texts("swversion"),
        debug_status=claims.text("dbgstat"),
        support_attributes=submodules.inner("confidential_space").texts("support_attributes"),
        container=_container(submodules),
        service_accounts=claims.texts("google_service_accounts"),
        gpu=_gpu(submodules),
        payload_sha256=sha256(payload).digest(),
    )


def _nonces(claims: Members) -> tuple[str, ...]:
    """A text where one was asked for, a list of them where more were."""
    if "eat_nonce" not in claims:
        return ()
    try:
        return (claims.text("eat_nonce"),)
    except VerificationError:
        return claims.texts("eat_nonce", MAX_NONCES)


def _container(submodules: Members) -> Container | None:
    if "container" not in submodules:
        return None
    container = submodules.inner("container")
    return Container(
        image_reference=container.text("image_reference"),
        image_digest=container.text("image_digest"),
        restart_policy=container.text("restart_policy"),
        args=container.texts("args"),
        env_override=container.text_map("env_override"),
        cmd_override=container.texts("cmd_override"),
    )


def _gpu(submodules: Members) -> Gpu | None:
    if "nvidia_gpu" not in submodules:
        return None
    gpu = submodules.inner("nvidia_gpu")
    items = gpu.take("gpus", list) if "gpus" in gpu else []
    if len(items) > MAX_ITEMS or any(type(item) is not dict for item in items):
        raise gpu.error("gpus", "a long list, or items of other types", "objects")
    models = tuple(Members(item, "submods.nvidia_gpu.gpus.").text("hwmodel") for item in items)
    return Gpu(gpu.text("cc_mode"), models)
