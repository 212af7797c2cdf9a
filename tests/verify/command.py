"""Running `python -m bench.verify` in this process, and transcripts of what it prints.

A transcript is a command after `$`, its output, its errors after `!`, and the exit code. `[..]`
stands for any text within a line.
"""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from bench.verify import __main__ as command

TRUST = "--measurements measurements.json --authority public.json"
OLD_IMAGE = "ab" * 48

# Files that others published.
CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
needs_corpora = pytest.mark.skipif(
    not CORPORA.is_dir(), reason="the public corpora are not beside this checkout"
)


def run(line: str) -> tuple[int, list[str], list[str]]:
    """(exit code, lines of output, lines of error) of one command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = command.main(shlex.split(line))
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue().splitlines(), err.getvalue().splitlines()


def plays(transcript: str) -> None:
    """Whether a command does what its transcript says, to the line."""
    first, *expected = transcript.strip("\n").splitlines()
    code, out, err = run(first.removeprefix("$ "))
    found = [*out, *(f"! {line}" for line in err), f"exit {code}"]
    assert len(found) == len(expected), "\n".join(found)
    for line, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(re.escape(pattern).replace(r"\[\.\.\]", ".*"), line), (line, pattern)
