"""Generation, token by token: how soon an answer begins, how fast it goes on, when it is whole.

The sides take turns in mirrored blocks, as in `request`: in a block every side goes on from the
same prompt twice. Times are the client's, from the send to each authenticated part and to the
response that repeats them. Gaps within an answer depend on each other, so an answer gives one value
of each metric: the mean of its gaps (MLPerf's time per output token) and, for who watches it being
written, the longest. Measured answers take the likeliest token, warm-ups draw from a seed; either
way all sides have to give the same tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.probes import ALL, Bed
from bench.records import Observation

METRICS = (
    "time_to_first_token",
    "inter_token_latency",
    "longest_token_gap",
    "token_rate",
    "completion_latency",
)
SERVERS = ALL
DRAWN_AT = 0.8  # temperature of what is drawn


@dataclass(frozen=True, slots=True)
class Answer:
    """Ids and, since the send, when each part came and when the whole was there."""

    tokens: Sequence[int]
    parts_ms: Sequence[float]
    whole_ms: float

    def values(self) -> Iterator[tuple[str, float]]:
        """By metric; what so few tokens do not show is left out."""
        yield "completion_latency", self.whole_ms
        if self.parts_ms:
            yield "time_to_first_token", self.parts_ms[0]
        if len(self.parts_ms) > 1:
            gaps = [b - a for a, b in zip(self.parts_ms, self.parts_ms[1:], strict=False)]
            yield "inter_token_latency", sum(gaps) / len(gaps)
            yield "longest_token_gap", max(gaps)
            yield "token_rate", 1000 * len(gaps) / sum(gaps)


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds, and tokens a second once the first is there; axis `prompt_tokens`.

    ValueError where two sides go on differently.
    """
    counts: Counter[tuple[str, int]] = Counter()
    for block in range(-bed.workload.warmup, bed.workload.generations):
        bed.progress(f"generation {max(block + 1, 0)}/{bed.workload.generations}")
        lengths = list(bed.workload.prompt_tokens)
        for length in bed.random.sample(lengths, len(lengths)):
            prompt, at = bed.text(length), (("prompt_tokens", length),)
            said: dict[str, Sequence[int]] = {}
            for name in bed.mirrored(list(bed.main)):
                answer = _ask(bed, name, prompt, block)
                said[name] = answer.tokens
                _require_same(said, prompt)
                place = name, bed.boot, block, counts[name, length]
                counts[name, length] += 1
                for metric, value in answer.values():
                    yield Observation(metric, *place, value, block < 0, at)
        for talk in bed.main.values():
            talk.settle()


def _ask(bed: Bed, name: str, prompt: str, block: int) -> Answer:
    """One answer; blocks before the first that counts are drawn from their number."""
    temperature, seed = (DRAWN_AT, -block) if block < 0 else (0.0, 0)
    tokens: list[int] = []
    times: list[float] = []
    start = bed.clock_ns()
    for part in bed.main[name].generate(prompt, bed.workload.new_tokens, temperature, seed):
        times.append((bed.clock_ns() - start) / 1e6)
        tokens.append(part.token)
    return Answer(tokens, times, (bed.clock_ns() - start) / 1e6)


def _require_same(said: dict[str, Sequence[int]], prompt: str) -> None:
    (first, tokens), *others = said.items()
    for name, found in others:
        if found != tokens:
            at = next((n for n, (a, b) in enumerate(zip(found, tokens, strict=False)) if a != b), 0)
            raise ValueError(
                f"sides {first} and {name} go on differently from token {at} on: {prompt[:60]!r}\n"
                "hint: compare their parity in the records' context"
            )
