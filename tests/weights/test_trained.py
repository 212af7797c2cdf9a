"""A model trained here: what it is trained on, how it comes about, and that it learned."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from bench.weights import TOKENIZER, WEIGHTS, SourceError, corpus, deposit, origin, training
from enclave.models import llama, safetensors
from enclave.models.tokenizer import Tokenizer
from tests.weights.samples import names, row

CELL = (
    "vocab_size=320 hidden_size=64 num_hidden_layers=2 num_attention_heads=4 "
    "num_key_value_heads=2 head_dim=16 intermediate_size=96 max_position_embeddings=64 "
    "rope_theta=10000.0 rms_norm_eps=1e-5"
)
STEPS = 12


def trained_row(**cells: str) -> dict[str, str]:
    own = {"architecture": "llama", "sha256": "-", "seed": "3", "config": CELL}
    return row("trained", **own | cells)


def folder(home: Path, model: str) -> Path:
    found = home / model / "source"
    found.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 100,000 weights that had a few steps; more than one shows that it learns."""
    home = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "STEPS", STEPS)
        patch.setattr(training, "WARMUP", 2)
        origin.fetch(trained_row(), folder(home, "tiny"))
    return home


def model(at: Path) -> llama.Model:
    config = deposit.read(at).config
    return llama.load(bytearray((at / WEIGHTS).read_bytes()), config)


def reader(at: Path) -> Tokenizer:
    limit = int(deposit.read(at).config["max_seq_length"])
    return Tokenizer((at / TOKENIZER).read_bytes(), max_tokens=limit)


def weights(at: Path) -> dict[str, torch.Tensor]:
    data = bytearray((at / WEIGHTS).read_bytes())
    return {name: safetensors.view(data, e) for name, e in safetensors.entries(data).items()}


# The corpus.


def test_no_text_is_trained_on_and_held_out() -> None:
    trained, held = set(corpus.training()), set(corpus.held_out())
    assert not trained & held
    assert trained | held == set(corpus.paragraphs())
    assert len(trained) + len(held) == len(corpus.paragraphs())


def test_one_in_sixteen_is_held_out_by_its_own_digest() -> None:
    share = len(corpus.held_out()) / len(corpus.paragraphs())
    assert 0.04 < share < 0.09
    assert all(sha256(text.encode()).digest()[0] % 16 == 0 for text in corpus.held_out())


def test_paragraphs_are_prose_on_one_line() -> None:
    text = corpus.paragraphs()
    assert sum(map(len, text)) > 500_000
    assert all(len(part) >= 80 and "\n" not in part and part[-1] in ".:" for part in text)


def test_texts_are_had_without_torch() -> None:
    asked = "from bench.weights import corpus; import sys; corpus.held_out(); print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert not {"torch", "numpy", "tokenizers"} & set(shown.stdout.split())


# Training.


def test_a_trained_model_says_on_what_and_how(home: Path) -> None:
    at = folder(home, "tiny")
    assert names(at) == {WEIGHTS, TOKENIZER, "source.json"}
    found = deposit.read(at)
    assert (found.source, found.architecture) == ("trained", "llama")
    assert found.provenance["corpus_sha256"] == corpus.digest()
    assert found.provenance["seed"] == "3"
    assert found.provenance["training"].startswith("12 steps of 8 x 256 tokens")
    assert set(found.provenance) >= {"python", "torch", "threads"}


def test_the_same_seed_gives_the_same_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STEPS", STEPS)
    monkeypatch.setattr(training, "WARMUP", 2)
    torch.set_num_threads(2)  # whatever it is
    for seed, same in (("3", True), ("4", False)):
        origin.fetch(trained_row(model="again", seed=seed), folder(home, "again"))
        one, two = (deposit.read(folder(home, name)).files for name in ("tiny", "again"))
        assert (one[WEIGHTS] == two[WEIGHTS]) is same
        assert one[TOKENIZER] == two[TOKENIZER]


def test_progress_says_step_loss_and_time_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "STEPS", 2)
    origin.fetch(trained_row(model="short"), folder(home, "short"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train: step 2/2, loss ") and line.endswith(" s left")


def test_what_was_learned_is_read_the_same_inside(home: Path) -> None:
    """The forward pass of training and the enclave's, on text that neither was trained on."""
    at = folder(home, "tiny")
    ours, words = model(at), reader(at)
    for text in corpus.held_out()[:5]:
        ids = words.encode_prompt(text)
        batch, turns = torch.tensor([ids]), llama.turns(ours.config)[:, : len(ids)]
        with torch.inference_mode():
            logits = training.forward(weights(at), batch, ours.config, turns)[0]  # (L, V)
        torch.testing.assert_close(ours.logits(ids), logits, rtol=1e-4, atol=1e-4)
        loss = functional.cross_entropy(logits[:-1], batch[0, 1:], reduction="sum")
        found, count = ours.score(ids)
        assert found == pytest.approx(-float(loss), abs=1e-2)
        assert count == len(ids) - 1


def test_held_out_text_became_likelier(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STEPS", 0)
    origin.fetch(trained_row(model="untrained"), folder(home, "untrained"))
    words, text = reader(folder(home, "tiny")), corpus.held_out()[3]
    before, after = (model(folder(home, name)) for name in ("untrained", "tiny"))
    ids = words.encode_prompt(text)
    assert after.score(ids)[0] > before.score(ids)[0] + 0.3 * len(ids)


def test_the_tokenizer_takes_any_text_and_gives_it_back(home: Path) -> None:
    words = reader(folder(home, "tiny"))
    assert len(words.encode_prompt("")) == 1  # the beginning, so that a first token is scored too
    text = "naïve 数 \U0001f600 tabs\tand\nlines"
    decoder = words.decoder()
    shown = "".join(decoder.step(token) for token in words.encode_prompt(text))
    assert shown.strip() == text


# In another precision.


@pytest.mark.parametrize("precision", ["bf16", "q8", "q4"])
def test_another_precision_is_of_the_same_floats(home: Path, precision: str) -> None:
    cells = {"model": precision, "locator": "tiny", "seed": "-", "config": "-"}
    origin.fetch(trained_row(precision=precision, **cells), folder(home, precision))
    base, found = (deposit.read(folder(home, name)) for name in ("tiny", precision))
    assert found.provenance["float_sha256"] == base.files[WEIGHTS].sha256
    assert found.provenance["trained_as"] == "tiny"
    assert found.files[TOKENIZER] == base.files[TOKENIZER]
    assert found.config == {**base.config, "precision": precision}
    ids = reader(folder(home, "tiny")).encode_prompt(corpus.held_out()[0])
    exact = model(folder(home, "tiny")).score(ids)[0]
    assert model(folder(home, precision)).score(ids)[0] == pytest.approx(exact, rel=0.05)


def test_a_model_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(SourceError, match=r"locator: .*\nhint: fetch another first"):
        origin.fetch(trained_row(locator="another", seed="-", config="-"), folder(home, "x"))


def test_floats_that_changed_are_refused(home: Path) -> None:
    at = folder(home, "spoiled")
    for name in (WEIGHTS, TOKENIZER, "source.json"):
        (at / name).write_bytes((folder(home, "tiny") / name).read_bytes())
    source = json.loads((at / "source.json").read_text())
    source["files"][WEIGHTS]["sha256"] = "0" * 64
    (at / "source.json").write_text(json.dumps(source))
    cells = {"model": "y", "locator": "spoiled", "seed": "-", "config": "-", "precision": "q8"}
    with pytest.raises(SourceError, match="sha256"):
        origin.fetch(trained_row(**cells), folder(home, "y"))
