"""Key releases outside an enclave: its own code, run by the parent beside an emulated module.

What a release takes can so be measured as often as a tail needs. Nothing that this code is given
opens to anyone who could not have it otherwise: it runs as whoever owns the emulated root.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from enclave.tee.local import LocalTee
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
    kind, *place = channel
    if kind == "unix":  # a descriptor to listen on: the tee closes it, and so does its owner
        place[0] = str(os.dup(int(place[0])))
    tee = LocalTee(os.dup(module.fileno()), kind, *place)
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public_key = private_key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )

    def attest() -> Release:
        document = tee.attest(public_key=public_key, nonce=secrets.token_bytes(32))
        return partial(tee.release_key, settings, manifest, private_key, document)

    with closing(tee):
        yield attest
