"""The form of a vector's file: a header for people, then bytes in base64."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap


@dataclass(frozen=True, slots=True)
class Vector:
    """One file: its folder's name, its own, what it says."""

    kind: str
    name: str
    header: Mapping[str, str]
    data: bytes

    def encode(self) -> str:
        head = "".join(f"{name}: {value}\n" for name, value in self.header.items())
        return (
            head + "\n" + "".join(f"{line}\n" for line in wrap(b64encode(self.data).decode(), 76))
        )

    @classmethod
    def decode(cls, kind: str, name: str, text: str) -> Vector:
        head, _, body = text.partition("\n\n")
        fields = (line.split(": ", 1) for line in head.splitlines())
        data = b64decode("".join(body.split()), validate=True)
        return cls(kind, name, dict(fields), data)
