"""A model that was trained here, behind a whole local platform: it scores and goes on, attested."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bench import records
from bench.client.channel import TimedChannel
from bench.client.talks import AttestedTalk, PlainTalk
from bench.measure.job import Job
from bench.platforms import SERVICE_PORT, SIDES, local
from bench.probes import Talk, boot, generation, inputs, memory, transport
from bench.weights import TOKENIZER, WEIGHTS, corpus, deposit, training
from enclave.models import llama
from enclave.models.tokenizer import Tokenizer
from enclave.wire.messages import Output
from tests.platforms.conftest import SESSIONS, SHAPE, WORKLOAD, made, measured
from tests.platforms.test_measure import check
from tests.weights.test_trained import trained_row

PROBES = ["boot", "transport", "generation", "memory"]
TEXTS = ["", *corpus.held_out()[:2], "a word " * 500]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> local.Files:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "STEPS", 20)
        return made(trained_row(version="1"), tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def machine(files: local.Files) -> Iterator[local.Machine]:
    with local.lease(files, SHAPE, sessions=SESSIONS, require=None) as leased:
        yield leased


@pytest.fixture(scope="module")
def talks(machine: local.Machine) -> Iterator[dict[str, Talk]]:
    """A session with the plain server, and a verified one with the enclave."""
    with ExitStack() as stack:
        channels = {
            name: TimedChannel(stack.enter_context(machine.serve(name)).connect(SERVICE_PORT))
            for name in ("plain", "enclave")
        }
        attested = AttestedTalk(channels["enclave"], machine.expected(), datetime.now(UTC))
        talks: dict[str, Talk] = {"plain": PlainTalk(channels["plain"]), "enclave": attested}
        for talk in talks.values():
            stack.callback(talk.close)
        yield talks


@pytest.fixture(scope="module")
def here(files: local.Files) -> tuple[llama.Model, Tokenizer]:
    """The same model in this process."""
    weights = bytearray((files.source / WEIGHTS).read_bytes())
    model = llama.load(weights, deposit.read(files.source).config)
    tokenizer = (files.source / TOKENIZER).read_bytes()
    return model, Tokenizer(tokenizer, max_tokens=model.max_tokens)


def scores(output: Output) -> np.ndarray:
    return np.frombuffer(output.values, "<f4").reshape(output.shape)


def test_texts_are_scored_alike_inside_outside_and_here(
    talks: dict[str, Talk], here: tuple[llama.Model, Tokenizer]
) -> None:
    model, tokenizer = here
    inside, outside = (talks[name].ask(TEXTS) for name in ("enclave", "plain"))
    assert inside == outside
    expected = [model.score(tokenizer.encode_prompt(text)) for text in TEXTS]
    assert scores(inside) == pytest.approx(np.array(expected), rel=1e-5)
    assert scores(inside)[0].tolist() == [0, 0]
    assert scores(inside)[3, 1] == model.max_tokens - 1  # cut
    talks["enclave"].settle()


@pytest.mark.parametrize(("temperature", "seed"), [(0.0, 0), (0.8, 7)])
def test_answers_are_the_same_tokens_inside_outside_and_here(
    talks: dict[str, Talk], here: tuple[llama.Model, Tokenizer], temperature: float, seed: int
) -> None:
    model, tokenizer = here
    asked = "The value of the", 12, temperature, seed
    parts = {name: list(talk.generate(*asked)) for name, talk in talks.items()}
    assert parts["enclave"] == parts["plain"]
    ids = tokenizer.encode_prompt(asked[0])
    expected = model.generate(ids, max_new_tokens=12, temperature=temperature, seed=seed)
    assert [part.token for part in parts["enclave"]] == list(expected)
    talks["enclave"].settle()


@pytest.mark.parametrize("tokens", [1, 2, 16, 128, 256])
def test_prompts_of_any_number_of_tokens_can_be_had(
    files: local.Files, here: tuple[llama.Model, Tokenizer], tokens: int
) -> None:
    reader = inputs.tokenizer(files.source / TOKENIZER)
    text = inputs.exactly(reader, tokens, random.Random(tokens))
    counted = Tokenizer((files.source / TOKENIZER).read_bytes(), max_tokens=1000)
    assert len(counted.encode_prompt(text)) == tokens


@pytest.fixture(scope="module")
def job(machine: local.Machine, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """What tier 1 measures of a generator, in one boot."""
    workload = replace(WORKLOAD, prompt_tokens=(8, 20), new_tokens=6, generations=2)
    folder = tmp_path_factory.mktemp("records")
    return measured(machine, folder, tier=1, boots=1, probes=PROBES, workload=workload)


def test_every_side_generates_in_turn_and_every_answer_has_a_receipt(
    job: Job, files: local.Files
) -> None:
    found = records.read(job.records)
    assert not found.failures
    probes = (boot, transport, generation, memory)
    declared = {name for probe in probes for name in probe.METRICS}
    assert {seen.metric for seen in found.observations} == declared
    answers = [seen for seen in found.observations if seen.metric == "completion_latency"]
    assert {seen.side for seen in answers} == set(SIDES)
    assert len(answers) == len(SIDES) * (1 + 2) * 2 * 2  # blocks with the warm-up, lengths, twice
    (row,) = check(files, Path(job.records).parent)
    assert row.receipts == (1 + 2) * 2 * 2
