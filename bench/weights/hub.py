"""Weights from a Hugging Face repository at one commit, over plain HTTPS.

A revision is 40 hex digits: a branch or tag would be another model tomorrow. Settings are the
hub's own: HF_TOKEN for gated repositories, HF_ENDPOINT for a mirror. Large models lie there in
several files, model-00001-of-00004.safetensors and so on; their pins say which, and they are joined
as they stream.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from hashlib import sha256
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NoReturn

from bench.weights import CONFIG, TOKENIZER, WEIGHTS, Row, SourceError, deposit, quantise

ENDPOINT = "https://huggingface.co"
LOCATOR = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)@([0-9a-f]{40})", re.ASCII)
TIMEOUT_S = 60


def fetch(row: Row, folder: Path) -> None:
    """From `owner/repository@revision` of the row's locator.

    The row pins the weights; it should pin tokenizer.json and config.json too, since without a
    pin these are only as good as the connection to the hub.
    """
    pins = deposit.pins(row, required=True)
    match = LOCATOR.fullmatch(row["locator"])
    if match is None:
        expected = "owner/repository@revision, the revision 40 hex digits"
        raise SourceError(row, "locator", found=row["locator"], expected=expected)
    repository, revision = match.groups()
    base = f"{os.environ.get('HF_ENDPOINT') or ENDPOINT}/{repository}/resolve/{revision}"
    published = b"".join(_download(row, f"{base}/{CONFIG}"))
    deposit.verify(row, CONFIG, sha256(published).hexdigest(), pins)
    shards = deposit.shards(row, pins)
    whole = _joined(row, base, shards, pins) if shards else _download(row, f"{base}/{WEIGHTS}")
    deposit.write(
        row,
        folder,
        config=deposit.configuration(row, published),
        contents={TOKENIZER: _download(row, f"{base}/{TOKENIZER}"), WEIGHTS: whole},
        pins=pins,
        provenance={"repository": repository, "revision": revision},
    )


def _joined(row: Row, base: str, shards: list[str], pins: Mapping[str, str]) -> Iterator[bytes]:
    """One safetensors file out of several, each checked against its pin at its end.

    All headers come first, so each file is asked for twice; the first answer is not read on.
    """
    headers = [quantise.header(_download(row, f"{base}/{name}")) for name in shards]
    tensors = [tensor for header in headers for tensor in quantise.tensors(header)]
    yield quantise.head({t.name: (t.dtype, t.shape, t.bytes) for t in tensors})
    for name, header in zip(shards, headers, strict=True):
        chunks = deposit.checked(row, name, _download(row, f"{base}/{name}"), pins, {})
        yield from quantise.body(chunks, header)


def _download(row: Row, url: str) -> Iterator[bytes]:
    request = urllib.request.Request(url, headers={"User-Agent": "confidential-benchmark"})
    if token := os.environ.get("HF_TOKEN"):
        # unredirected: large files redirect to another host, which must not see the token
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            yield from _body(row, url, response)
    except urllib.error.HTTPError as error:
        error.close()
        _refused(row, url, error.code)
    except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
        hint = (
            "the hub cannot be reached: on a machine without a network use source package or seeded"
        )
        raise SourceError(row, "locator", found=error, expected=url, hint=hint) from None


def _body(row: Row, url: str, response: HTTPResponse) -> Iterator[bytes]:
    declared, received = response.headers.get("Content-Length"), 0
    while chunk := response.read(deposit.CHUNK_BYTES):
        received += len(chunk)
        yield chunk
    if declared is not None and received != int(declared):  # read(n) does not tell an early end
        found = f"{received} of {declared} bytes"
        raise SourceError(row, "locator", found=found, expected=url, hint="run it again")


def _refused(row: Row, url: str, status: int) -> NoReturn:
    hint = (
        "the row's repository, revision or file does not exist there; weights in several files "
        "need the digest of each in the row's sha256, as file=digest"
    )
    if status in (401, 403):
        hint = (
            "the repository is gated, private or unknown: accept its terms on its page, then set "
            "HF_TOKEN to a token that may read it"
        )
    elif status == 429 or status >= 500:
        hint = "the hub is busy: run it again later"
    raise SourceError(row, "locator", found=f"HTTP {status}", expected=url, hint=hint)
