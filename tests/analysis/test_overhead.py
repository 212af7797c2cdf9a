import pandas as pd
import pytest

from bench.analysis import overhead


def block(number, *, plain, enclave, repetition=1, boot=0):
    sides = (("plain", plain), ("enclave", enclave))
    return [(repetition, boot, number, side, value) for side, values in sides for value in values]


def block_ratios(rows, *pair):
    columns = ["repetition", "boot", "block", "side", "value"]
    return overhead.block_ratios(pd.DataFrame(rows, columns=columns), *pair)


def test_a_ratio_is_of_the_means_of_mirrored_positions():
    found = block_ratios(block(0, plain=[10, 14], enclave=[12, 18]), "enclave", "plain")
    assert found.levels == (((15 / 12,),),)


def test_drift_from_block_to_block_cancels():
    samples = [
        sample
        for number, host in enumerate([1.0, 1.8, 0.7])
        for sample in block(number, plain=[host, host], enclave=[1.1 * host, 1.1 * host])
    ]
    found = block_ratios(samples, "enclave", "plain")
    assert found.levels[0][0] == pytest.approx((1.1, 1.1, 1.1))


def test_ratios_are_kept_by_repetition_and_boot():
    samples = [
        *block(0, plain=[1, 1], enclave=[2, 2], repetition=1, boot=0),
        *block(0, plain=[1, 1], enclave=[3, 3], repetition=1, boot=1),
        *block(0, plain=[1, 1], enclave=[4, 4], repetition=2, boot=0),
    ]
    found = block_ratios(samples, "enclave", "plain")
    assert found.levels == (((2.0,), (3.0,)), ((4.0,),))
    assert (found.repetitions, found.boots, found.count) == (2, 3, 3)


def test_a_block_that_lost_a_position_counts_in_no_ratio():
    samples = [*block(0, plain=[1, 1], enclave=[2, 2]), *block(1, plain=[1, 1], enclave=[9])]
    found = block_ratios(samples, "enclave", "plain")
    assert found.levels == (((2.0,),),)
    assert found.incomplete == 1


def test_a_block_that_lacks_a_side_is_incomplete():
    found = block_ratios(block(0, plain=[1, 1], enclave=[]), "enclave", "plain")
    assert (found.count, found.incomplete) == (0, 1)


def test_a_denominator_of_zero_gives_no_ratio():
    found = block_ratios(block(0, plain=[0, 0], enclave=[1, 1]), "enclave", "plain")
    assert (found.count, found.incomplete) == (0, 1)


def test_sides_outside_the_contrast_have_no_influence():
    samples = [*block(0, plain=[1, 1], enclave=[2, 2]), (1, 0, 0, "null", 99.0)]
    assert block_ratios(samples, "enclave", "plain").levels == (((2.0,),),)


def test_the_specifications_ratio_is_of_medians_of_repetition_medians():
    rows = [
        (repetition, side, value)
        for repetition, plain, enclave in ((1, 10, 30), (2, 20, 22), (3, 40, 44))
        for side, value in (("plain", plain), ("enclave", enclave))
    ]
    samples = pd.DataFrame(rows, columns=["repetition", "side", "value"])
    assert overhead.ratio_of_medians(samples, "enclave", "plain") == 30 / 20
    assert overhead.ratio_of_medians(samples, "bare", "plain") is None


ALIKE = {"threads": {"plain": 2, "bare": 2, "enclave": 2, "null": 2}}


def test_sides_that_are_alike_may_be_compared():
    assert overhead.unlike(ALIKE, "enclave", "plain") is None


def test_a_field_that_differs_is_named_with_both_values():
    parity = {"threads": {"plain": 4, "enclave": 2}}
    found = overhead.unlike(parity, "enclave", "plain")
    assert found == "no parity: threads differs (enclave 2, plain 4)"


def test_a_difference_on_a_third_side_does_not_matter():
    parity = {"threads": {"plain": 2, "enclave": 2, "bare": 4}}
    assert overhead.unlike(parity, "enclave", "plain") is None


def test_a_side_without_an_entry_is_not_alike():
    found = overhead.unlike({"threads": {"plain": 2}}, "enclave", "plain")
    assert found == "parity unknown: no threads recorded for enclave"


def test_a_missing_ledger_is_no_proof():
    assert overhead.unlike({}, "enclave", "plain") == "the records hold no parity ledger"


def test_the_ledger_says_nothing_about_an_echo_over_tcp():
    assert overhead.unlike({}, "enclave", "tcp") is None
