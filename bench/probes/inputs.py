"""Texts to measure with: plain English of an exact number of tokens.

A latency at 128 tokens is one only if the model really saw 128, special tokens included.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from pathlib import Path

from tokenizers import Tokenizer

FILLER = "a"  # one token in every vocabulary that we know

SENTENCES = (
    "The ferry was late again, so we ate our sandwiches on the pier.",
    "Nobody had told the new gardener that the pump freezes in January.",
    "A good map leaves out nearly everything.",
    "My grandmother kept her recipes in the same drawer as her tax papers.",
    "Two of the seven samples were spoiled by a broken seal.",
    "The committee meets on Tuesdays, unless it rains.",
    "He repaired the radio with a paper clip and a great deal of patience.",
    "Interest rates rose by a quarter of a point, which surprised only the newspapers.",
    "From the hill you can see three villages and one very large billboard.",
    "She learned to swim at forty and crossed the lake at forty-one.",
    "The patient reports mild pain in the left knee after climbing stairs.",
    "Please return the blue folder before the end of the month.",
    "Copper conducts heat so well that the handle must be made of wood.",
    "The jury needed nine days, and at the end they still disagreed about the clock.",
    "Our train passed fields of rape, then a quarry, then nothing at all.",
    "When the power failed, the choir simply kept singing.",
    "This contract ends without notice if either side stops paying.",
    "An octopus can open a jar from the inside.",
    "The translator asked what the author had meant, and the author did not know.",
    "Put the dough in a warm place and forget about it for an hour.",
    "They measured the bridge every morning until it stopped moving.",
    "The museum shows only a tenth of what it owns.",
    "I would rather be told the truth late than a story on time.",
    "Heavy snow closed the pass, and the village ran out of coffee by Friday.",
    "The second violin was tuned a little too high.",
    "Every evening the same fox crosses the car park as if it had an appointment.",
    "Our supplier promised four hundred chairs and delivered forty.",
    "The river changed its bed twice while the lawyers argued about the border.",
    "Children under six travel free, but their bicycles do not.",
    "The error appeared only on machines that had been awake for a month.",
    "She wrote the letter in pencil so that she could change her mind.",
    "Three loud knocks, a pause, and then the door opened by itself.",
    "The old lighthouse now sends the temperature of the sea to a server in Bergen.",
    "Most of the budget went into the roof; the rest went into apologies.",
    "If the light turns red, close the valve and call the engineer on duty.",
    "He claims to have read the whole manual, including the index.",
    "The harvest was poor, yet the wine of that year became famous.",
    "Bees find their way home by the sun, even when it is hidden by clouds.",
    "The auction lasted four minutes, and the painting left for another country.",
    "We counted the stars until the batteries of the telescope were empty.",
)


def tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json, cutting nothing off and padding nothing."""
    found = Tokenizer.from_file(str(path))
    found.no_truncation()
    found.no_padding()
    return found


def exactly(tokenizer: Tokenizer, tokens: int, chance: random.Random) -> str:
    """A text of exactly this many tokens, special ones included: sentences in random order.

    The last is cut at a word and, where the next word has too many tokens, filled up with short
    ones. ValueError where no text can have that many. `chance` decides the text.
    """

    def count(words: list[str]) -> int:
        return len(tokenizer.encode(" ".join(words)).ids)

    words: list[str] = []
    while count(words) < tokens:
        words += " ".join(chance.sample(SENTENCES, len(SENTENCES))).split()
    fitting = bisect_right(range(len(words) + 1), tokens, key=lambda n: count(words[:n])) - 1
    chosen = words[: max(fitting, 0)]
    while (found := count(chosen)) < tokens:
        chosen.append(FILLER)
    if found != tokens:
        raise ValueError(f"tokens: found a shortest text of {found}, expected {tokens}")
    return " ".join(chosen)
