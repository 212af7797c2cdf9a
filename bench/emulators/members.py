"""The members of a KMS request, read strictly: types, base64 and the limits of the API."""

from __future__ import annotations

from base64 import b64decode, b64encode

from bench.emulators.aws_json import Members, ServiceError

MAX_RANDOM_BYTES = 1024
MAX_CONTEXT_BYTES = 8192


def read_blob(members: Members, name: str, limit: int) -> bytes:
    """A required blob of 1 to `limit` bytes."""
    try:
        data = b64decode(members[name], validate=True)
    except (KeyError, TypeError, ValueError):
        raise invalid(f"{name} is missing or not base64") from None
    if not 1 <= len(data) <= limit:
        raise invalid(f"{name} of {len(data)} bytes, expected 1 to {limit}")
    return data


def read_context(members: Members) -> dict[str, str]:
    """The encryption context; empty where there is none."""
    context = members.get("EncryptionContext", {})
    if not isinstance(context, dict) or not all(isinstance(text, str) for text in context.values()):
        raise invalid("EncryptionContext is not a map of texts")
    if sum(len(name) + len(text) for name, text in context.items()) > MAX_CONTEXT_BYTES:
        raise invalid("EncryptionContext is too long")
    return context


def read_count(members: Members) -> int:
    """NumberOfBytes, 1 to 1024."""
    count = members.get("NumberOfBytes")
    if type(count) is not int or not 1 <= count <= MAX_RANDOM_BYTES:
        raise invalid(f"NumberOfBytes is not 1 to {MAX_RANDOM_BYTES}")
    return count


def write_blob(data: bytes) -> str:
    """A blob as it stands in a reply."""
    return b64encode(data).decode()


def invalid(message: str) -> ServiceError:
    """The error for a request that breaks the API's rules."""
    return ServiceError("ValidationException", message)
