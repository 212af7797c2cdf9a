"""What DistilBERT takes of a config.json, what it does not take, and its published sizes."""

from __future__ import annotations

import math

import pytest

from enclave.models import distilbert
from enclave.wire.errors import RemoteProtocolError
from tests.enclave.tiny import TINY_DISTILBERT, tiny_file

PUBLISHED: dict[str, object] = {
    "model_type": "distilbert",
    "vocab_size": 30522,
    "dim": 768,
    "n_layers": 6,
    "n_heads": 12,
    "hidden_dim": 3072,
    "max_position_embeddings": 512,
    "activation": "gelu",
    "dropout": 0.1,
    "pad_token_id": 0,
    "sinusoidal_pos_embds": False,
}
SENTIMENT = PUBLISHED | {
    "architectures": ["DistilBertForSequenceClassification"],
    "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
}


@pytest.mark.parametrize(
    ("published", "labels", "parameters"),
    [
        (PUBLISHED | {"architectures": ["DistilBertForMaskedLM"]}, 0, 66_362_880),
        (SENTIMENT, 2, 66_955_010),
    ],
    ids=["base", "sentiment"],
)
def test_published_models_are_a_matter_of_configuration(
    published: dict[str, object], labels: int, parameters: int
) -> None:
    found = distilbert.dimensions(published)
    assert found["num_labels"] == labels
    assert sum(map(math.prod, distilbert.shapes(found).values())) == parameters


def test_labels_that_are_not_named_are_two() -> None:
    named = {name: value for name, value in SENTIMENT.items() if name != "id2label"}
    assert distilbert.dimensions(named)["num_labels"] == 2


def test_the_head_keeps_its_precision() -> None:
    found = distilbert.precisions(distilbert.dimensions(SENTIMENT | {"precision": "q8"}))
    assert len(found) == 6 * 6 and set(found.values()) == {"q8"}
    assert not any("classifier" in name for name in found)
    assert distilbert.precisions(distilbert.dimensions(SENTIMENT)) == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_heads": 5}, "multiple of 5 heads"),
        ({"n_layers": 129}, "at most 128"),
        ({"dim": 0}, "1 to"),
        ({"num_labels": -1}, "0 to"),
        ({"activation": "relu"}, "expected gelu"),
        ({"max_seq_length": 41}, "2 to 40 positions"),
        ({"precision": "q4"}, "expected fp32 or q8"),
        ({"hidden_size": 48}, "only vocab_size"),
    ],
)
def test_a_configuration_that_is_not_this_encoders_is_refused(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        distilbert.load(tiny_file("distilbert"), TINY_DISTILBERT | changes)


def test_another_architectures_config_json_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="expected distilbert"):
        distilbert.dimensions(PUBLISHED | {"model_type": "bert"})


@pytest.mark.parametrize(
    ("kind", "labels", "reason"),
    [
        ("distilbert", 3, "no pre_classifier"),
        ("distilbert-classifier", 0, "only those of the architecture"),
        ("distilbert-classifier", 2, r"tensor classifier\.weight"),
    ],
    ids=["no head", "a head too many", "another head"],
)
def test_a_head_that_is_not_configured_is_refused(kind: str, labels: int, reason: str) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        distilbert.check(memoryview(tiny_file(kind)), TINY_DISTILBERT | {"num_labels": labels})
