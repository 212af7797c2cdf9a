"""The command line of `python -m bench.verify`."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from bench.verify.report import Outcome

EXITS = """\
exit codes; of several files the gravest decides, in the order 1, 3, 4, 2, 0:
  0  verified: every file is authentic and acceptable
  1  not authentic: changed, forged, malformed, or of another root
  2  wrong use, or not judged: something that a verdict needs was not given
  3  not acceptable: genuine as far as it was read, but of another image, model, time or session
     than asked for, or a key policy that lets others in
  4  unreadable: no such file, or none of the known kinds

without --at everything is judged as archived, at its own time, and the output says so

a compliance bundle holds all that its rows need; only whose root, owner and image it should be, it
cannot say: without --authority and --measurements every row is walked, and the code is 2

a token needs --audience, --image-digest, --hardware and --service-account; its root is google's
unless --root says otherwise, and one without certificates (oidc) needs --jwks
"""

# What launchers take as a nonce: 22 characters hold 16 random bytes in base64url.
TOKEN_NONCE = re.compile(r"[A-Za-z0-9_-]{22,88}")


class Parser(argparse.ArgumentParser):
    """Errors in this project's voice."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\nhint: python -m bench.verify --help", file=sys.stderr)
        sys.exit(Outcome.INCOMPLETE)


def parser() -> Parser:
    """Options and exit codes."""
    made = Parser(
        prog="python -m bench.verify",
        description="judge attestation documents and tokens, receipts, statements, manifests,\n"
        "evidence, compliance bundles, measurements and key policies, each recognised by content;\n"
        "offline",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("files", nargs="+", type=Path, metavar="FILE")
    add("--measurements", type=Path, metavar="FILE", help="measurements.json of the image")
    add("--authority", type=Path, metavar="FILE", help="public.json: root and model owner to trust")
    add("--at", type=_time, metavar="TIME", help="judge at this time: ISO 8601 with zone, or now")
    add("--nonce", type=_nonce, metavar="NONCE", help="a document's challenge in hex, or a token's")
    add("--key", type=_key, metavar="HEX", help="Ed25519 key of what has no document with it")
    add("--sealer", action="append", default=[], metavar="ARN", help="may seal: make data keys")
    add("--json", action="store_true", help="one object for machines")
    _add_tokens(made.add_argument_group("confidential space tokens"))
    return made


def _add_tokens(group: argparse._ArgumentGroup) -> None:
    """What a token has to say; from --hardware on, options may be given several times."""
    add = group.add_argument
    add("--root", type=Path, metavar="FILE", help="root certificate (PEM or DER), if not Google's")
    add("--jwks", type=Path, metavar="FILE", help="the issuer's key set, for OIDC tokens")
    add("--audience", default="", metavar="TEXT", help="whom it was made for")
    add("--image-digest", default="", metavar="sha256:HEX", help="digest of the container")
    _add_several(group, "--hardware", "NAME", "a model that will do: GCP_INTEL_TDX")
    _add_several(group, "--service-account", "NAME", "an account that may run it")
    _add_several(group, "--support-attribute", "NAME", "has to be supported (default: STABLE)")
    _add_several(group, "--gpu-model", "NAME", "needs a GPU in confidential mode, of such")
    _add_several(group, "--allow-env", "NAME=VALUE", "may be overridden so", _assignment)
    _add_several(group, "--allow-command", "TEXT", "may be the command", _command)


def _add_several(
    group: argparse._ArgumentGroup,
    name: str,
    metavar: str,
    text: str,
    read: Callable[[str], object] = str,
) -> None:
    group.add_argument(name, action="append", default=[], type=read, metavar=metavar, help=text)


def _time(text: str) -> datetime:
    try:
        moment = datetime.now(UTC) if text == "now" else datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in ISO 8601") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("a time needs its zone, as in 2026-11-23T12:00:00Z")
    return moment.astimezone(UTC)


def _nonce(text: str) -> str:
    if not TOKEN_NONCE.fullmatch(text):
        _hex(text, 16, 512)
    return text


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no NAME=VALUE")
    return name, value


def _command(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no command: {error}") from None


def _key(text: str) -> bytes:
    return _hex(text, 32, 32)


def _hex(text: str, least: int, most: int) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if not least <= len(data) <= most:
        bounds = f"{least} to {most}" if least < most else f"{least}"
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {bounds} bytes in hexadecimal")
    return data
