"""Rows to sources, weights from a seed, and what a source leaves behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.weights import SOURCE, TOKENIZER, WEIGHTS, SourceError, deposit, origin, seeded
from enclave.models.tokenizer import Tokenizer
from tests.weights.samples import DIMENSIONS, FILES, assert_complete, digest, names, seeded_row

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
