"""The enclave application: choose the Tee from the measured command line, boot, serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from enclave.boot import boot
from enclave.serve import Service
from enclave.stages import Stages
from enclave.tee import Tee
from enclave.tee.cms import KeyReleaseError
from enclave.tee.nsm import NsmError
from enclave.wire.errors import RemoteProtocolError, VerificationError

READY = b"ready\n"


def main(cmdline: str, arguments: Sequence[str]) -> None:
    """`cmdline` is measured; `arguments` say how the host is reached and are not."""
    measured = parse(cmdline)
    owner = Ed25519PublicKey.from_public_bytes(bytes.fromhex(measured["owner"]))
    try:
        tee = choose(measured["platform"], arguments)
        booted = boot(tee, owner, Stages())
    except (VerificationError, RemoteProtocolError, KeyReleaseError, NsmError, OSError) as error:
        raise SystemExit(f"error: the enclave does not start: {error}") from None
    except MemoryError as error:
        reason = f"out of memory: {error}".removesuffix(": ")
        raise SystemExit(f"error: the enclave does not start: {reason}") from None
    booted.parent.sendall(READY)
    Service(tee, booted).run()


def parse(cmdline: str) -> Mapping[str, str]:
    """`key=value` words; words without `=` belong to the kernel."""
    return dict(word.split("=", 1) for word in cmdline.split() if "=" in word)


def choose(platform: str, arguments: Sequence[str]) -> Tee:
    """The one Tee of this platform; nothing but the measured word decides."""
    if platform == "local":
        from enclave.tee.local import LocalTee

        nsm, *place = arguments
        return LocalTee(int(nsm), *place)
    if platform == "aws-nitro":
        from enclave.tee.aws_nitro import open_tee

        if arguments:
            raise SystemExit("error: on aws-nitro there is nothing that arguments could say")
        return open_tee()
    raise SystemExit(f"error: platform {platform!r} in the kernel command line is not known")
