"""One way to run the enclave folder under attestation, per platform.

Rule of the folder: only here may an emulator be reached, so nothing emulated can slip into a run on
hardware.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.faults import Fault
from bench.verify.compliance.bundle import Bundle, Run
from bench.verify.evidence import Expected

# plain: nothing confidential. null: a second plain process, for the A/A run. bare: the confidential
# server outside isolation. enclave: the same inside.
SIDES = ("plain", "null", "bare", "enclave")

Limits = Mapping[str, float]  # fields of enclave.tee.patience.Limits

SERVICE_PORT, ECHO_PORT = 5000, 5001  # of every server, as enclave/tee has them


class PlatformError(Exception):
    """The machine or cloud said no."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a server may use: CPUs (inference threads and affinity) and memory."""

    vcpus: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class DataKey:
    """A 256-bit key, plain and wrapped by the platform's key `arn` under `context`."""

    plaintext: bytes = field(repr=False)
    wrapped: bytes
    arn: str
    context: Mapping[str, str]


class KeyClient(Protocol):
    """A client of a key service that can be made to misbehave."""

    @property
    def events(self) -> Sequence[tuple[float, str]]:
        """Each attempt and each new state of its breaker, in seconds of the monotonic clock."""

    def inject(self, schedule: Sequence[Fault]) -> None:
        """From now on the service misbehaves as the schedule says."""

    def release(self) -> str:
        """Ask for the model's key: `answered`, `failed`, or `shed` where it was not even asked."""


class Endpoint(Protocol):
    """A running server, seen from its host.

    `start_ns` is on the host's monotonic clock: `launch` from process start to the first sign of
    life, `whole` from process start to a model that answers.
    """

    @property
    def start_ns(self) -> Mapping[str, int]: ...

    @property
    def write_bytes(self) -> int | None:
        """The most that one write may carry."""

    def connect(self, port: int) -> socket.socket:
        """A stream to one of the server's ports."""


class Platform(Protocol):
    """A leased machine that can run every side of a measurement."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> Path:
        """Folder of the plaintext model: model.safetensors, tokenizer.json, source.json."""

    def facts(self) -> Mapping[str, object]:
        """What every record says about platform, image and model; the same for all boots."""

    def expected(self) -> Expected:
        """What a client of this platform's confidential servers has to insist on."""

    def serve(self, side: str) -> AbstractContextManager[Endpoint]:
        """A fresh server of this side, ready; gone when the context ends."""

    def padded(self, bucket_bytes: int) -> Platform:
        """This machine with enclaves that round the size of what they answer up."""

    def bundle(self, runs: Sequence[Run]) -> Bundle:
        """What a reviewer is handed of runs on this machine."""

    def trial(self, layers: int, memory_mib: int) -> tuple[int, str]:
        """Whether a model of so many layers of 48 MiB starts in an enclave of so much memory.

        The size of its weights in bytes, and why the enclave refused it: "" where it did not.
        PlatformError where it ended in any other way.
        """

    def strained(self, limits: Limits) -> AbstractContextManager[KeyClient]:
        """A client of the key service that asks as an enclave does, within other limits, and makes
        the service misbehave. PlatformError where nobody can be asked to.
        """

    def releases(self) -> AbstractContextManager[Callable[[], Callable[[], object]]]:
        """The enclave's code outside of it: called, it attests a key, and gives what has the
        model's key released to that one. PlatformError where only an enclave can be attested.
        """

    def relayed(self) -> AbstractContextManager[Mapping[str, Callable[[], socket.socket]]]:
        """Ways to one endless source of bytes: `relay`, as a guest's fetches go, and `direct`."""
