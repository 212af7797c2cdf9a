"""What is counted and estimated from answers that are made up. Nothing here was measured."""

from dataclasses import replace

import numpy as np
import pytest

from bench.analysis import losses, quality
from tests.analysis.answers import KNOWN, SIDES, answers, digests, judged, other, told, written


def counts(rows):
    made = list(quality.determinism(answers(rows)))
    scopes = ("one session", "restarts", "enclave/plain")
    return {scope: (told(made, "answers", scope)["equal"], told(made, "answers", scope)["n"])
            for scope in scopes}  # fmt: skip


def test_alike_answers_are_counted_exactly():
    # 6 boots and 2 sides of 4 further asks; 5 further boots of 4 texts a side; 6 boots of 8 asks
    found = counts(digests())
    assert found == {"one session": (48, 48), "restarts": (40, 40), "enclave/plain": (48, 48)}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param({"block": 3, "iteration": 2}, (47, 40, 47), id="a_repeated_ask"),
        pytest.param({"block": 1, "iteration": 0}, (48, 39, 47), id="a_first_ask"),
    ],
)
def test_one_other_answer_is_seen_where_it_counts(where, expected):
    rows = other(digests(), repetition=2, boot=1, side="enclave", **where)
    assert tuple(equal for equal, _ in counts(rows).values()) == expected


def test_boots_of_another_repetition_are_other_starts():
    rows = [(*row[:-1], row[-1] + (row[0] == 2)) for row in digests(boots=1)]
    assert counts(rows) == {"one session": (16, 16), "restarts": (0, 8), "enclave/plain": (16, 16)}


def test_whole_starts_say_what_they_could_have_missed():
    row = told(quality.determinism(answers(digests())), "starts that gave the same answers",
               "restarts")  # fmt: skip
    assert (row["equal"], row["n"], row["boots"]) == (10, 10, 6)
    assert row["low"] == pytest.approx(100 * 0.05 ** (1 / 10))
    rows = other(digests(), repetition=2, boot=1, side="plain", block=0, iteration=0)
    row = told(quality.determinism(answers(rows)), "starts that gave the same answers", "restarts")
    assert (row["equal"], row["n"], row.get("low")) == (9, 10, None)


def test_one_boot_is_compared_with_none():
    rows = [row for row in digests(boots=1) if row[0] == 1]
    row = told(quality.determinism(answers(rows)), "answers", "restarts")
    assert (row["status"], row["n"], row.get("value")) == ("not estimable", 0, None)


def test_continuations_are_compared_as_wholes():
    rows = [
        (1, boot, "continuation", side, block, position, 5.0 + position)
        for boot in range(2)
        for side in SIDES
        for block in range(3)
        for position in range(4)
    ]
    found = list(quality.determinism(answers(rows)))
    assert told(found, "continuations", "restarts")["n"] == 6
    shorter = rows[:-1]
    found = list(quality.determinism(answers(shorter)))
    assert told(found, "continuations", "restarts")["equal"] == 5
    assert told(found, "continuations", "enclave/plain")["equal"] == 5
    assert told(found, "continuations", "one session")["status"] == "not estimable"


def test_boots_add_no_letters_to_the_sample():
    row = told(quality.accuracy(judged(76)), "accuracy", "enclave")
    assert (row["value"], row["n"], row["unit"]) == (76.0, 100, "%")
    assert (row["low"], row["high"]) == pytest.approx((66.77, 83.31), abs=0.01)  # Wilson


def test_seeded_weights_have_no_accuracy_but_still_agree():
    found = list(quality.accuracy(judged(76, seeded=True)))
    row = told(found, "accuracy", "enclave")
    assert (row["status"], row.get("value")) == ("not given", None)
    assert "seeded" in row["detail"]
    assert told(found, "same class", "enclave/plain")["value"] == 100.0


def test_perplexity_is_that_of_a_token():
    found = list(quality.generation(written(3.0, "llama-trained")))
    likelihood = told(found, "likelihood", "enclave")["value"]
    assert likelihood == pytest.approx(3.0 + 9.5 / 40)
    assert told(found, "perplexity", "enclave")["value"] == pytest.approx(np.exp(likelihood))
    assert told(found, "BERTScore", "plain")["value"] == pytest.approx(0.595)
    assert told(found, "same likelihood", "enclave/plain")["value"] == 100.0


def test_a_loss_is_between_precisions_of_one_origin():
    measured = [written(3.25, "llama-trained-q4", score=0.4), written(3.0, "llama-trained"),
                written(3.05, "llama-trained-q8"), judged(76)]  # fmt: skip
    found = losses.rows(measured, KNOWN)
    row = told(found, "likelihood", "q4 − fp32")
    assert (row["model"], row["metric"]) == ("llama-trained-q4", "quantization_loss")
    assert row["value"] == pytest.approx(0.25)
    assert told(found, "perplexity", "q8 / fp32")["value"] == pytest.approx(np.exp(0.05))
    assert told(found, "BERTScore", "q4 − fp32")["value"] == pytest.approx(-0.1)
    assert {row["model"] for row in found} == {"llama-trained-q4", "llama-trained-q8"}


def test_paired_texts_leave_a_narrow_interval():
    """Texts differ by 0.5 nats a token; the loss is the same in all of them."""
    coarse, fine = written(3.25, "llama-trained-q4"), written(3.0, "llama-trained")
    row = told(losses.rows([coarse, fine], KNOWN), "likelihood", "q4 − fp32")
    assert row["high"] - row["low"] < 1e-9
    own = told(quality.generation(coarse), "likelihood", "enclave")
    assert own["high"] - own["low"] > 0.1


def test_the_finest_that_was_measured_is_the_reference():
    measured = [written(3.2, "llama-trained-q4"), written(3.1, "llama-trained-bf16")]
    (compared, _, _) = [row["compared"] for row in losses.rows(measured, KNOWN)]
    assert compared == "q4 − bf16"


def test_other_texts_are_not_compared():
    measured = [written(3.2, "llama-trained-q4", tokens=41.0), written(3.0, "llama-trained")]
    row = told(losses.rows(measured, KNOWN), "likelihood", "q4 − fp32")
    assert (row["status"], row["detail"]) == ("not given", "the two were asked other texts")


def test_other_machines_are_not_compared():
    coarse = replace(written(3.2, "llama-trained-q4"), instance="other")
    assert losses.rows([coarse, written(3.0, "llama-trained")], KNOWN) == []


def test_models_of_other_origins_are_not_compared():
    assert losses.rows([judged(76, "minilm-q8"), judged(80, "minilm-seeded")], KNOWN) == []


def test_a_loss_of_accuracy_is_in_points():
    found = losses.rows([judged(74, "minilm-q8"), judged(76, "minilm")], KNOWN)
    row = told(found, "accuracy", "q8 − fp32")
    assert (row["value"], row["unit"], row["n"]) == (-2.0, "points", 100)
    assert row["low"] < -2 < row["high"]


def test_seeded_weights_lose_nothing_that_is_printed():
    pair = "distilbert-seeded-q8", "distilbert-seeded"
    found = losses.rows([judged(74, name, seeded=True) for name in pair], KNOWN)
    assert {(row["status"], row.get("value")) for row in found} == {("not given", None)}


def test_cosines_between_precisions_are_of_the_same_texts():
    def kept(model, turn):
        vectors = {0: (1.0, 0.0), 50: (0.0, 2.0), 100: (np.cos(turn), np.sin(turn))}
        return answers(
            [(1, 0, "embedding", "enclave", block, n, value)
             for block, row in vectors.items() for n, value in enumerate(row)], model
        )  # fmt: skip

    found = losses.rows([kept("minilm-q8", 0.3), kept("minilm", 0.0)], KNOWN)
    assert told(found, "lowest cosine", "q8 and fp32")["value"] == pytest.approx(np.cos(0.3))
    assert told(found, "median cosine", "q8 and fp32")["value"] == pytest.approx(1.0)
