"""Llama against transformers on the same weights, its cache against one pass, and its limits."""

from __future__ import annotations

import json

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from bench.weights import quantise
from enclave.models import llama, safetensors
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from tests.vectors.make_llama import ANSWER, CONFIG, ROPES, VECTORS, weights

CASES = json.loads(VECTORS.read_text())
DIMENSIONS = llama.dimensions(CONFIG | {"rope_parameters": ROPES["llama3"]})
GREEDY = {"temperature": 0.0, "seed": 0}


def model(dimensions=DIMENSIONS, **options):
    return llama.load(weights(dimensions), dimensions, **options)


def quantised(precision):
    """The same weights in another precision, and what its plain reading gives."""
    dimensions = DIMENSIONS | {"precision": precision}
    data = bytes(weights(DIMENSIONS))
    made = b"".join(quantise.quantise([data], llama.precisions(dimensions)))
    return bytearray(made), dimensions


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case['prompt'])} tokens")
def test_logits_and_greedy_answers_are_transformers(case):
    ours = model(case["dimensions"])
    found = ours.logits(case["prompt"])[-1]
    torch.testing.assert_close(found, torch.tensor(case["logits"]), rtol=1e-5, atol=1e-5)
    answer = list(ours.generate(case["prompt"], max_new_tokens=ANSWER, **GREEDY))
    assert answer == case["answer"]


def test_rope_scaling_changes_a_long_prompt():
    plain, scaled = CASES[2], CASES[5]
    assert plain["prompt"] == scaled["prompt"]
    assert plain["logits"] != scaled["logits"]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "q8", "q4"])
def test_token_by_token_is_one_pass(precision):
    data, dimensions = (
        quantised(precision) if precision != "fp32" else (weights(DIMENSIONS), DIMENSIONS)
    )
    ours = llama.load(data, dimensions)
    prompt = [5, 80, 17]
    answer = list(ours.generate(prompt, max_new_tokens=6, **GREEDY))
    whole = ours.logits([*prompt, *answer])[len(prompt) - 1 : -1]
    best = whole.max(dim=1).values - whole[range(6), answer]
    assert best.max() < 0.05 * whole.std()


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 0.03), ("q8", 0.08), ("q4", 0.7)])
def test_a_precision_costs_no_more_than_its_bound(precision, bound):
    """Of random weights, which carry an error on from layer to layer as no trained ones do."""
    data, dimensions = quantised(precision)
    prompt = CASES[5]["prompt"]
    found, exact = llama.load(data, dimensions).logits(prompt), model().logits(prompt)
    assert 0 < float((found - exact).std() / exact.std()) < bound


@pytest.mark.parametrize("precision", ["bf16", "q8", "q4"])
def test_kernels_compute_what_plain_torch_does(precision):
    data, dimensions = quantised(precision)
    plain = llama.load(bytearray(data), dimensions, packed=False).logits([5, 80, 17])
    found = llama.load(data, dimensions).logits([5, 80, 17])
    assert float((found - plain).std() / plain.std()) < 0.03


def direct(ours, ids):
    """The score by its definition, out of all logits at once."""
    likelihoods = torch.log_softmax(ours.logits(ids).double(), dim=-1)
    return float(likelihoods[range(len(ids) - 1), ids[1:]].sum())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case['prompt'])} tokens")
def test_the_last_token_is_as_likely_as_transformers_says(case):
    ours, prompt = model(case["dimensions"]), case["prompt"]
    likelihoods = torch.log_softmax(torch.tensor(case["logits"]).double(), dim=-1)
    for token in (0, 41, case["answer"][0]):
        found = ours.score([*prompt, token])[0] - ours.score(prompt)[0]
        assert found == pytest.approx(float(likelihoods[token]), abs=2e-4)


@pytest.mark.parametrize("stretch", [1, 7, 39, 40, 128])
def test_a_score_is_the_same_in_stretches_of_any_length(stretch, monkeypatch):
    monkeypatch.setattr(llama, "SCORED", stretch)
    ours, ids = model(), [number * 7 % 90 for number in range(40)]
    found, count = ours.score(ids)
    assert count == 39
    assert found == pytest.approx(direct(ours, ids), abs=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "q8", "q4"])
def test_a_score_in_another_precision_is_that_of_its_logits(precision, monkeypatch):
    monkeypatch.setattr(llama, "SCORED", 20)
    data, dimensions = quantised(precision)
    ours, ids = llama.load(data, dimensions), [number * 7 % 90 for number in range(40)]
    assert ours.score(ids)[0] == pytest.approx(direct(ours, ids), rel=0.01)


def test_one_token_has_nothing_before_it_to_be_scored_by():
    assert model().score([5]) == (0.0, 0)


def test_the_longest_text_is_scored_and_a_longer_one_or_none_is_our_own_bug():
    ours = model()
    assert ours.score([1] * ours.max_tokens)[1] == ours.max_tokens - 1
    for count in (0, ours.max_tokens + 1):
        with pytest.raises(LocalProtocolError, match=f"{count} tokens to score"):
            ours.score([1] * count)


def test_the_memory_of_a_score_does_not_grow_with_the_text():
    """All logits at once would be 2,000 x 4,000 floats: 32 MB."""
    dimensions = DIMENSIONS | {
        "vocab_size": 4000,
        "max_position_embeddings": 2000,
        "max_seq_length": 2000,
    }
    ours = llama.load(weights(dimensions), dimensions)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        ours.score([number % 4000 for number in range(2000)])
    largest = max(event.cpu_memory_usage for event in seen.events())
    assert largest < 4_000_000


def test_a_seed_decides_what_is_sampled():
    ours = model()
    drawn = [
        list(ours.generate([3], max_new_tokens=20, temperature=1.5, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_stop_id_ends_and_is_not_given():
    (first, *_) = CASES[4]["answer"]
    ours = model(DIMENSIONS | {"eos_token_id": f"{first}"})
    assert list(ours.generate(CASES[4]["prompt"], max_new_tokens=5, **GREEDY)) == []


def test_the_longest_fits_and_one_more_is_refused():
    ours = model()
    prompt = [1] * (ours.max_tokens - 2)
    assert len(list(ours.generate(prompt, max_new_tokens=2, **GREEDY))) == 2
    with pytest.raises(RemoteProtocolError, match="hint: ask for fewer tokens"):
        ours.generate(prompt, max_new_tokens=3, **GREEDY)


def test_nothing_to_go_on_from_is_our_own_bug():
    with pytest.raises(LocalProtocolError, match="0 tokens"):
        model().generate([], max_new_tokens=1, **GREEDY)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"num_key_value_heads": 3}, "num_attention_heads"),
        ({"head_dim": 3}, "head_dim"),
        ({"max_seq_length": 65}, "max_seq_length"),
        ({"eos_token_id": "90"}, "eos_token_id"),
        ({"precision": "q2"}, "precision"),
        ({"rope_factor": 0.5}, "rope_factor"),
        ({"hidden_size": True}, "hidden_size"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_dimensions_that_cannot_be_computed_are_refused(change, field):
    with pytest.raises(RemoteProtocolError, match=f"config {field}"):
        llama.shapes(DIMENSIONS | change)


def test_a_missing_tensor_is_named():
    deeper = DIMENSIONS | {"num_hidden_layers": 3}
    with pytest.raises(RemoteProtocolError, match=r"no model\.layers\.2"):
        llama.check(memoryview(weights(DIMENSIONS)), deeper)


def test_what_is_fused_is_given_back():
    data, released = weights(DIMENSIONS), []
    llama.load(data, DIMENSIONS, release=lambda start, length: released.append(length))
    entries = safetensors.entries(data)
    fused = [e for name, e in entries.items() if any(f"{p}_proj" in name for p in ("q", "gate"))]
    assert sum(released) >= sum(entry.stop - entry.start for entry in fused)
