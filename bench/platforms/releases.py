"""Key releases outside an enclave: its own code, run by the parent beside an emulated module.

What a release takes can so be measured as often as a tail needs. Nothing that this code is given
opens to anyone who could not have it otherwise: it runs as whoever owns the emulated root.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.faults import Fault
from bench.platforms import Limits
from enclave.tee import patience
from enclave.tee.aws import KeyServiceBusyError
from enclave.tee.local import LocalTee
from enclave.tee.patience import Patience, UnavailableError
from enclave.wire.manifest import Manifest
from enclave.wire.settings import Settings

Release = Callable[[], bytes]
Attest = Callable[[], Release]


@contextmanager
def outside(
    module: socket.socket, channel: Sequence[str], settings: Settings, manifest: Manifest
) -> Iterator[Attest]:
    """What attests a key and gives what has the data key released to that one.

    `module` leads to a security module, `channel` is what a guest is told of its channel.
    """
    with _outside(module, channel) as tee:
        private_key, public_key = _keypair()

        def attest() -> Release:
            document = tee.attest(public_key=public_key, nonce=secrets.token_bytes(32))
            return partial(tee.release_key, settings, manifest, private_key, document)

        yield attest


@dataclass(frozen=True, slots=True)
class Client:
    """Asks for the key over and over with one document; a KeyClient."""

    ask: Release
    inject: Callable[[Sequence[Fault]], None]
    events: list[tuple[float, str]]

    def release(self) -> str:
        """`answered`, `failed` or `shed`."""
        try:
            self.ask()
        except KeyServiceBusyError as error:
            return "shed" if isinstance(error.__cause__, UnavailableError) else "failed"
        return "answered"


@contextmanager
def strained(
    module: socket.socket,
    channel: Sequence[str],
    settings: Settings,
    manifest: Manifest,
    limits: Limits,
    inject: Callable[[Sequence[Fault]], None],
) -> Iterator[Client]:
    """The same code with other limits, whose service `inject` makes misbehave."""
    events: list[tuple[float, str]] = []
    with _outside(module, channel) as tee:
        tee.patience = Patience(
            patience.Limits(**limits),  # type: ignore[arg-type]
            heard=lambda what: events.append((time.monotonic(), what)),
        )
        private_key, public_key = _keypair()
        document = tee.attest(public_key=public_key, nonce=secrets.token_bytes(32))
        ask = partial(tee.release_key, settings, manifest, private_key, document)
        yield Client(ask, inject, events)


def _outside(module: socket.socket, channel: Sequence[str]) -> closing[LocalTee]:
    kind, *place = channel
    if kind == "unix":  # a descriptor to listen on: the tee closes it, and so does its owner
        place[0] = str(os.dup(int(place[0])))
    return closing(LocalTee(os.dup(module.fileno()), kind, *place))


def _keypair() -> tuple[rsa.RSAPrivateKey, bytes]:
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public_key = private_key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return private_key, public_key
