"""Weights from a hub, which here is a server on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from bench.weights import CONFIG, SOURCE, TOKENIZER, WEIGHTS, SourceError, origin, quantise
from tests.weights.samples import FILES, assert_complete, digest, names, row

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """An HTTP server on loopback: answers by path, and what it was asked."""

    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append((self.path, self.headers["Authorization"]))
            status, headers, body = hub.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hubs(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hub, Hub]]:
    """A hub and the host it sends large files from."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as stack:
        hub, store = stack.enter_context(serving()), stack.enter_context(serving())
        for name in (TOKENIZER, CONFIG):
            hub.answers[path(name)] = (200, {}, FILES[name])
        hub.answers[path(WEIGHTS)] = (302, {"Location": f"{store.url}/blob"}, b"")
        store.answers["/blob"] = (200, {}, FILES[WEIGHTS])
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub, store


def path(name: str) -> str:
    return f"/someone/tiny-model/resolve/{REVISION}/{name}"


def hub_row(**cells: str) -> dict[str, str]:
    return row("hub", **{"locator": f"someone/tiny-model@{REVISION}"} | cells)


def test_a_repository_at_a_revision(tmp_path: Path, hubs: tuple[Hub, Hub]) -> None:
    origin.fetch(hub_row(), tmp_path)
    found = assert_complete(tmp_path, "hub")
    assert found.provenance == {"repository": "someone/tiny-model", "revision": REVISION}
    hub, store = hubs
    assert sorted(hub.asked) == sorted((path(name), None) for name in FILES)
    assert store.asked == [("/blob", None)]


def test_a_token_is_sent_to_the_hub_and_not_where_it_redirects(
    tmp_path: Path, hubs: tuple[Hub, Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    origin.fetch(hub_row(), tmp_path)
    hub, store = hubs
    assert {token for _, token in hub.asked} == {"Bearer hf_secret"}
    assert store.asked == [("/blob", None)]


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "does not exist"), (429, "busy"), (503, "busy")],
)
@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_refusal_says_what_to_do(
    tmp_path: Path, hubs: tuple[Hub, Hub], name: str, status: int, hint: str
) -> None:
    hubs[0].answers[path(name)] = (status, {}, b"no")
    with pytest.raises(
        SourceError, match=f"found HTTP {status}, expected http.*{name}\nhint: .*{hint}"
    ):
        origin.fetch(hub_row(), tmp_path)
    assert not names(tmp_path) & {WEIGHTS, SOURCE}


def test_a_download_cut_short_is_refused(tmp_path: Path, hubs: tuple[Hub, Hub]) -> None:
    whole = FILES[TOKENIZER]
    hubs[0].answers[path(TOKENIZER)] = (200, {"Content-Length": str(len(whole))}, whole[:-1])
    with pytest.raises(SourceError, match=rf"found {len(whole) - 1} of {len(whole)} bytes"):
        origin.fetch(hub_row(), tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER, CONFIG])
def test_a_downloaded_file_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, hubs: tuple[Hub, Hub], name: str
) -> None:
    pins = ",".join(f"{known}={digest(known)}" for known in FILES)
    hub, store = hubs
    for answers in (hub.answers, store.answers):
        for place, (status, headers, body) in answers.items():
            if body == FILES[name]:
                answers[place] = (status, headers, body[:-1] + b" ")
    with pytest.raises(SourceError, match=f"in {name}"):
        origin.fetch(hub_row(sha256=pins), tmp_path)
    assert name not in names(tmp_path)
    assert SOURCE not in names(tmp_path)


def test_without_a_network_another_source_is_named(
    tmp_path: Path, hubs: tuple[Hub, Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(SourceError, match=r"hint: the hub cannot be reached.*seeded"):
            origin.fetch(hub_row(), tmp_path)


@pytest.mark.parametrize(
    "locator",
    [
        "someone/tiny-model",
        "someone/tiny-model@main",
        f"tiny-model@{REVISION}",
        f"someone/../tiny@{REVISION}",
        f"../tiny@{REVISION}",
        f"someone/tiny?x@{REVISION}",
        f"someone/tiny@{REVISION}\n",
    ],
)
def test_a_locator_without_a_fixed_revision_is_refused(tmp_path: Path, locator: str) -> None:
    with pytest.raises(SourceError, match="owner/repository@revision"):
        origin.fetch(hub_row(locator=locator), tmp_path)


# Weights in several files, as large models lie there.


def shards() -> dict[str, bytes]:
    """The tiny model's weights in two files, each one of safetensors itself."""
    whole = FILES[WEIGHTS]
    begin = quantise.header([whole])
    tensors, body = quantise.tensors(begin), b"".join(quantise.body([whole], begin))
    found, offset = {}, 0
    for number, part in enumerate((tensors[:5], tensors[5:]), start=1):
        size = sum(tensor.bytes for tensor in part)
        head = quantise.head({t.name: (t.dtype, t.shape, t.bytes) for t in part})
        found[f"model-0000{number}-of-00002.safetensors"] = head + body[offset : offset + size]
        offset += size
    return found


def pinned(parts: dict[str, bytes]) -> str:
    return ",".join(f"{name}={sha256(data).hexdigest()}" for name, data in parts.items())


@pytest.fixture
def split(hubs: tuple[Hub, Hub]) -> dict[str, bytes]:
    """A hub that has the weights in two files and not in one."""
    hub, _ = hubs
    del hub.answers[path(WEIGHTS)]
    for name, data in (parts := shards()).items():
        hub.answers[path(name)] = (200, {}, data)
    return parts


def test_weights_in_several_files_become_one(tmp_path: Path, split: dict[str, bytes]) -> None:
    origin.fetch(hub_row(sha256=pinned(split)), tmp_path)
    assert_complete(tmp_path, "hub")
    joined, whole = (tmp_path / WEIGHTS).read_bytes(), FILES[WEIGHTS]
    assert quantise.tensors(quantise.header([joined])) == quantise.tensors(quantise.header([whole]))
    bodies = [b"".join(quantise.body([data], quantise.header([data]))) for data in (joined, whole)]
    assert bodies[0] == bodies[1]


def test_a_file_of_several_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, split: dict[str, bytes], hubs: tuple[Hub, Hub]
) -> None:
    last = list(split)[-1]
    hubs[0].answers[path(last)] = (200, {}, split[last][:-1] + b"\1")
    with pytest.raises(SourceError, match=f"sha256: found [0-9a-f]{{64}} in {last}"):
        origin.fetch(hub_row(sha256=pinned(split)), tmp_path)
    assert not names(tmp_path) & {WEIGHTS, SOURCE}


def test_a_file_of_several_without_a_pin_is_missed(tmp_path: Path, split: dict[str, bytes]) -> None:
    split.pop(next(iter(split)))
    with pytest.raises(SourceError, match="expected a digest for each file of the weights"):
        origin.fetch(hub_row(sha256=pinned(split)), tmp_path)


def test_several_files_whose_row_pins_one_say_what_the_row_needs(
    tmp_path: Path, split: dict[str, bytes]
) -> None:
    with pytest.raises(SourceError, match=r"HTTP 404(.|\n)*hint: .*weights in several files need"):
        origin.fetch(hub_row(), tmp_path)
