"""What the encoder does not take: configurations, weights and input of something else."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from enclave.models import bert
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from tests.enclave.tiny import TINY, tiny, tiny_file


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_attention_heads": 5}, "multiple of 5 heads"),
        ({"num_hidden_layers": True}, "expected int"),
        ({"num_hidden_layers": "2"}, "expected int"),
        ({"num_hidden_layers": 0}, "1 to"),
        ({"num_hidden_layers": 129}, "at most 128"),
        ({"vocab_size": 1 << 25}, "1 to"),
        ({"layer_norm_eps": 0.0}, "more than 0"),
        ({"layer_norm_eps": math.nan}, "more than 0"),
        ({"layer_norm_eps": 1}, "expected float"),
        ({"hidden_act": "gelu_new"}, "expected gelu"),
        ({"max_seq_length": 41}, "2 to 40 positions"),
        ({"hidden_sizes": 48}, "only vocab_size"),
    ],
)
def test_a_configuration_that_is_not_this_encoders_is_refused(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        bert.load(tiny_file(), TINY | changes)


def test_dimensions_are_what_counts_of_a_config_json() -> None:
    published = TINY | {"model_type": "bert", "hidden_dropout_prob": 0.1, "architectures": ["Bert"]}
    found = bert.dimensions(published)
    assert found == TINY | {"type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"} | {
        "precision": "fp32"
    }


@pytest.mark.parametrize(
    "foreign", [{"model_type": "roberta"}, {"position_embedding_type": "relative_key"}]
)
def test_another_architectures_config_json_is_refused(foreign: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError, match=r"expected (bert|absolute)"):
        bert.dimensions(TINY | foreign)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_size": 96}, "expected F32"),
        ({"num_hidden_layers": 3}, r"no encoder\.layer\.2"),
        ({"num_hidden_layers": 1}, "only those of the architecture"),
    ],
    ids=["other shapes", "too few tensors", "too many tensors"],
)
def test_weights_of_another_model_are_refused(changes: dict[str, object], reason: str) -> None:
    for act in (bert.load, bert.check):
        with pytest.raises(RemoteProtocolError, match=reason):
            act(memoryview(tiny_file()), TINY | changes)


def test_weights_of_another_type_are_refused() -> None:
    data = bytes(tiny_file()).replace(b'"F32"', b'"I32"', 1)
    with pytest.raises(RemoteProtocolError, match="I32"):
        bert.load(bytearray(data), TINY)


@pytest.mark.parametrize(
    ("ids", "mask", "reason"),
    [
        (torch.tensor([[5, 90]]), torch.ones(1, 2), "token ids 5 to 90"),
        (torch.tensor([[-1, 5]]), torch.ones(1, 2), "token ids -1 to 5"),
        (torch.ones(1, 2, dtype=torch.int32), torch.ones(1, 2), "int32"),
        (torch.ones(2, dtype=torch.int64), torch.ones(2), "ids"),
        (torch.ones(2, 3, dtype=torch.int64), torch.ones(1, 3), "mask"),
        (torch.ones(2, 0, dtype=torch.int64), torch.ones(2, 0), "0 tokens"),
        (torch.ones(1, 41, dtype=torch.int64), torch.ones(1, 41), "41 tokens"),
        (torch.ones(2, 2, dtype=torch.int64), torch.tensor([[1, 1], [0, 0]]), "padding alone"),
    ],
)
def test_input_that_no_tokenizer_makes_is_our_own_mistake(
    ids: Tensor, mask: Tensor, reason: str
) -> None:
    with pytest.raises(LocalProtocolError, match=reason):
        tiny().embed(ids, mask)
