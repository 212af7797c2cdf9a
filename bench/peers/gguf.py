"""Our Llama weights as a GGUF file: `python -m bench.peers.gguf SOURCE FOLDER`.

The values are the same: q4 becomes Q4_0 (`bench.peers.ggml`), bf16 and float32 stay. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. There is no vocabulary in it, since
engines are asked by ids. Runs in the peers' environment, with llama-cpp.lock.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from bench.peers.ggml import Array, blocks, turned

DTYPES: Mapping[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "BF16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TYPES = gguf.GGMLQuantizationType


def main() -> None:
    """model.gguf, then formats.json."""
    source, folder = (Path(argument) for argument in sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "source.json").read_text())["config"]
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    describe(writer, config)
    for name, array, kind in tensors(source / "model.safetensors", config):
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    told = {"libraries": {"gguf": metadata.version("gguf")}}
    (folder / "formats.json").write_text(json.dumps(told) + "\n")


def describe(writer: gguf.GGUFWriter, config: Mapping[str, Any]) -> None:
    """The dimensions, under llama.cpp's names."""
    if config["rope_factor"] != 1:
        raise ValueError(f"rope_factor: found {config['rope_factor']}, expected 1")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("none")


def tensors(
    path: Path, config: Mapping[str, Any]
) -> Iterator[tuple[str, Array, gguf.GGMLQuantizationType]]:
    """Every tensor under its new name, in the type that llama.cpp reads."""
    read = dict(_read(path))
    for name in read:
        if name.endswith(".scale"):
            continue
        array, scale = read[name], read.get(f"{name}.scale")
        heads = _heads(name, config)
        if heads:
            array, scale = turned(array, heads), None if scale is None else turned(scale, heads)
        if scale is not None:
            yield _renamed(name), blocks(array, scale), TYPES.Q4_0
        elif array.dtype == DTYPES["BF16"]:
            yield _renamed(name), array.view("u1"), TYPES.BF16
        else:
            yield _renamed(name), array, TYPES.F32


def _read(path: Path) -> Iterator[tuple[str, Array]]:
    data = np.memmap(path, mode="r")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    for name, entry in json.loads(data[8:start].tobytes()).items():
        if name != "__metadata__":
            first, stop = entry["data_offsets"]
            flat = data[start + first : start + stop].view(DTYPES[entry["dtype"]])
            yield name, flat.reshape(entry["shape"])


def _heads(name: str, config: Mapping[str, Any]) -> int:
    """How many heads a matrix that is rotated has; 0 for all others."""
    if ".q_proj." in name:
        return int(config["num_attention_heads"])
    return int(config["num_key_value_heads"]) if ".k_proj." in name else 0


def _renamed(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in NAMES:
        return f"{NAMES[stem]}.weight"
    _, _, number, part = stem.split(".", 3)
    return f"blk.{number}.{NAMES[part]}.weight"


if __name__ == "__main__":
    main()
