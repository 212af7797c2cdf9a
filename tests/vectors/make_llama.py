"""Logits and greedy answers of transformers' LlamaForCausalLM on seeded weights, as a JSON file.

Needs transformers, which nothing else here does: `python -m tests.vectors.make_llama` where it is
installed. The weights are made again from their seed, so only inputs and outputs are kept.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from bench.weights import seeded
from enclave.models import llama, safetensors

VECTORS = Path(__file__).parent / "llama-transformers.json"
SEED = 7
CONFIG = {
    "vocab_size": 90,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "eos_token_id": None,
}
ROPES = {
    "default": {"rope_type": "default", "rope_theta": 10000.0},
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}
PROMPTS = ([3], [5, 80, 17, 2, 44], list(range(1, 41)))
ANSWER = 12


def weights(dimensions: dict[str, int | float | str]) -> bytearray:
    """A file of these shapes, spread wide enough that every layer matters."""
    data = bytearray(b"".join(seeded.weights(llama.shapes(dimensions), SEED)))
    chance = torch.Generator().manual_seed(SEED)
    for name, entry in safetensors.entries(data).items():
        noise = torch.rand(entry.shape, generator=chance) - 0.5
        safetensors.view(data, entry).copy_(1 + noise if "norm" in name else noise)
    return data


def main() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM  # type: ignore[import-not-found]

    cases = []
    for rope in ROPES.values():
        config = LlamaConfig(**CONFIG, rope_parameters=rope, tie_word_embeddings=False)
        dimensions = llama.dimensions(config.to_dict())
        data = weights(dimensions)
        state = {n: safetensors.view(data, e).clone() for n, e in safetensors.entries(data).items()}
        model = LlamaForCausalLM(config).eval()
        model.load_state_dict(state)
        for prompt in PROMPTS:
            with torch.inference_mode():
                logits = model(torch.tensor([prompt])).logits[0, -1]
                ids = torch.tensor([prompt])
                for _ in range(ANSWER):
                    following = model(ids, use_cache=False).logits[0, -1].argmax()
                    ids = torch.cat((ids, following.view(1, 1)), dim=1)
            answer = ids[0, len(prompt) :].tolist()
            rounded = [round(value, 7) for value in logits.tolist()]
            cases.append(
                {"dimensions": dimensions, "prompt": prompt, "logits": rounded, "answer": answer}
            )
    VECTORS.write_text(json.dumps(cases, separators=(",", ":")).replace("},{", "},\n{") + "\n")


if __name__ == "__main__":
    main()
