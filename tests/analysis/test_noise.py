import pandas as pd
import pytest

from bench.analysis import noise

PLACE = {"platform": "local", "instance": "laptop", "model": "minilm", "tier": "1"}
QUIET = {"seconds": 50, "noise.busy_s": 62.0, "noise.own_s": 60.0, "noise.steal_s": 0.1}


def context(*boots, cpus=2):
    rows = [("1", "cpus_online", str(cpus))]
    for number, boot in enumerate(boots):
        facts = {"boot": number, "load_1min": 0.5, **QUIET, **boot}
        rows += [
            ("1", f"per_boot.{number}.{name}", str(value))
            for name, value in facts.items()
            if value is not None
        ]
    frame = pd.DataFrame(rows, columns=["repetition", "field", "value"])
    return frame.assign(**PLACE)


def reasons(*boots, **rest):
    return noise.boots(context(*boots, **rest))["reason"].tolist()


def test_a_quiet_boot_has_no_reason():
    assert reasons({}, {}) == ["", ""]


@pytest.mark.parametrize(
    ("boot", "reason"),
    [
        ({"noise.steal_s": 1.1}, "its host stole 1% of the CPU time"),
        ({"noise.busy_s": 65.2}, "other processes took 5% of the CPU time"),
        ({"noise.own_s": None, "load_1min": 3.1}, "a load of 3.1 on 2 CPUs"),
    ],
)
def test_a_noisy_boot_is_named_with_its_one_reason(boot, reason):
    assert reasons({}, boot) == ["", reason]


def test_thresholds_are_shares_of_all_cpus():
    """Of 100 CPU seconds: 1.0 stolen and 5.0 of others are not yet too much."""
    assert reasons({"noise.steal_s": 1.0, "noise.busy_s": 66.0}) == [""]
    assert reasons({"noise.steal_s": 1.1, "noise.busy_s": 66.0}, cpus=4) == [""]


def test_our_own_load_is_no_noise():
    assert reasons({"load_1min": 9.0}) == [""]


def test_a_context_that_says_nothing_has_no_boots():
    frame = context().query("field != 'cpus_online'")
    assert noise.boots(frame).empty
    assert noise.counted(frame, "laptop", "minilm") == ""


def test_noisy_boots_of_one_model_are_counted():
    frame = context({}, {"noise.steal_s": 5.0}, {})
    assert noise.counted(frame, "laptop", "minilm") == "noisy in 1 of 3 boots"
    assert noise.counted(frame, "laptop", "distilbert") == ""
