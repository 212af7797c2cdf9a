"""The command line of `python -m bench.verify`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from bench.verify.report import Outcome

EXITS = """\
exit codes; of several files the gravest decides, in the order 1, 3, 4, 2, 0:
  0  verified: every file is authentic and acceptable
  1  not authentic: changed, forged, or of another root
  2  wrong use, or not judged: something that a verdict needs was not given
  3  not acceptable: genuine as far as it was read, but of another image, model, time or session
     than asked for, or a key policy that lets others in
  4  unreadable: no such file, or none of the known kinds

without --at everything is judged as archived, at its own time, and the output says so
"""


class Parser(argparse.ArgumentParser):
    """Errors in this project's voice."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\nhint: python -m bench.verify --help", file=sys.stderr)
        sys.exit(Outcome.INCOMPLETE)


def parser() -> Parser:
    """Options and exit codes."""
    made = Parser(
        prog="python -m bench.verify",
        description="judge attestation documents, receipts, manifests, evidence, measurements\n"
        "and key policies, each recognised by content; offline",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("files", nargs="+", type=Path, metavar="FILE")
    add("--measurements", type=Path, metavar="FILE", help="measurements.json of the image")
    add("--authority", type=Path, metavar="FILE", help="public.json: root and model owner to trust")
    add("--at", type=_time, metavar="TIME", help="judge at this time: ISO 8601 with zone, or now")
    add("--nonce", type=_nonce, metavar="HEX", help="the challenge a document was made for")
    add("--key", type=_key, metavar="HEX", help="Ed25519 key of receipts without a document")
    add("--sealer", action="append", default=[], metavar="ARN", help="may seal: make data keys")
    add("--json", action="store_true", help="one object for machines")
    return made


def _time(text: str) -> datetime:
    try:
        moment = datetime.now(UTC) if text == "now" else datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in ISO 8601") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("a time needs its zone, as in 2026-11-23T12:00:00Z")
    return moment.astimezone(UTC)


def _nonce(text: str) -> bytes:
    return _hex(text, 16, 512)


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
