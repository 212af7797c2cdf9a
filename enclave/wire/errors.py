"""Errors, sorted by whose fault it is.

Anything else that escapes a decoder, `receive()` or `verify()` is a bug of ours, and a property
test says so. Messages are lower case without a full stop; `hint` says what to do about it.
"""

from __future__ import annotations


class LocalProtocolError(Exception):
    """We broke the protocol: a bug here, let it crash."""


class RemoteProtocolError(Exception):
    """The peer broke the protocol: close the channel, record the failure."""


class VerificationError(Exception):
    """Evidence is not believable.

    `step` names the numbered rule that failed (or an AIR v1 code), `found` and `expected` what
    stood there and what had to, `hint` what a person can do.
    """

    def __init__(self, step: str, *, found: object, expected: object, hint: str = "") -> None:
        self.step = step
        self.found = found
        self.expected = expected
        self.hint = hint
        text = f"{step}: found {found}, expected {expected}"
        super().__init__(f"{text}\nhint: {hint}" if hint else text)
