import math

import numpy as np
import pytest
from scipy import stats

from discretion.verdict.equivalence import tost
from discretion.verdict.paired import Paired, exact_mcnemar, mean_interval
from discretion.verdict.power import questions_for_equivalence, scenarios_to_decide


def paired(difference, clusters=None, base=0.5, binary=False):
    difference = np.asarray(difference, dtype=float)
    names = clusters or [str(index) for index in range(len(difference))]
    return Paired(np.full(len(difference), base), base + difference, names, binary)


@pytest.mark.parametrize("value", [0.0, 0.3])
@pytest.mark.parametrize("n", [2, 5, 50])
def test_equal_differences_give_a_point_not_nan(value, n):
    interval = paired([value] * n).interval(0.05)
    assert interval[:2] == pytest.approx((value, value))
    assert interval.method == "all equal"


def test_a_single_scenario_that_changed_has_no_interval():
    assert paired([0.3]).interval(0.05) is None
    assert paired([0.0]).interval(0.05)[:2] == (0.0, 0.0)


def test_bca_agrees_with_scipy_when_every_scenario_is_a_cluster():
    difference = np.random.default_rng(0).exponential(0.1, 80)
    ours = paired(difference).interval(0.05, seed=3)
    theirs = stats.bootstrap((difference,), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(9))
    assert ours[:2] == pytest.approx(tuple(theirs.confidence_interval), abs=0.003)
    assert ours == paired(difference).interval(0.05, seed=3)


def test_clusters_widen_the_interval_of_dependent_scenarios():
    rng = np.random.default_rng(1)
    shared = np.repeat(rng.normal(0, 0.2, 40), 5)
    names = [str(index // 5) for index in range(200)]
    alone, together = paired(shared).interval(0.05), paired(shared, names).interval(0.05)
    assert together.high - together.low > 1.8 * (alone.high - alone.low)


def test_few_clusters_take_a_t_interval_and_say_so():
    difference = [0.1, 0.2, 0.4, 0.0]
    interval = paired(difference).interval(0.05)
    low, high = stats.t.interval(0.95, 3, np.mean(difference), stats.sem(difference))
    assert interval[:2] == pytest.approx((low, high))
    assert "too few" in interval.method
    assert paired([0.1, 0.3], ["one", "one"]).interval(0.05) is None


def test_relative_change_is_a_ratio_of_means_with_its_interval():
    rng = np.random.default_rng(2)
    base = rng.uniform(0.4, 0.9, 60)
    sample = Paired(base, base * 0.5, [str(index) for index in range(60)])
    value, interval = sample.relative_change(0.05)
    assert value == pytest.approx(-0.5)
    assert interval[:2] == pytest.approx((-0.5, -0.5))
    assert Paired(np.zeros(30), np.ones(30), list("x" * 30)).relative_change(0.05) == (None, None)


def test_sign_flip_is_exact_when_small():
    assert paired([0.1] * 6).sign_flip() == pytest.approx(2 / 2**6)
    assert paired([0.0] * 6).sign_flip() == 1.0
    assert paired(np.random.default_rng(0).normal(0, 1, 50)).sign_flip() > 0.05


def test_mcnemar_is_exact_and_only_for_one_answer_a_cluster():
    assert exact_mcnemar(9, 1) == pytest.approx(stats.binomtest(9, 10).pvalue)
    assert exact_mcnemar(0, 0) == 1.0
    before, after = np.array([0.0] * 10), np.array([1.0] * 9 + [0.0])
    assert Paired(before, after, [str(i) for i in range(10)], True).mcnemar() == pytest.approx(2 / 2**9)
    assert Paired(before, after, ["x"] * 10, True).mcnemar() is None


def test_tost():
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 1, 1200)
    still = tost(base, base + rng.normal(0, 0.05, 1200), 0.02, 0.05)
    assert still.equivalent
    assert still.p_value < 0.05
    moved = tost(base, base - 0.05 + rng.normal(0, 0.05, 1200), 0.02, 0.05)
    assert moved.moved
    assert not moved.equivalent
    unsure = tost(base[:20], base[:20] + rng.normal(0, 0.2, 20), 0.02, 0.05)
    assert not unsure.moved
    assert not unsure.equivalent
    point = tost(base, base, 0.02, 0.05)
    assert point.equivalent
    assert point.interval[:2] == (0.0, 0.0)
    assert tost(base[:1], base[:1] + 0.5, 0.02, 0.05) is None  # one question says nothing of the next
    assert tost(base[:1], base[:1], 0.02, 0.05, same=True).equivalent


@pytest.mark.parametrize(("n", "shown"), [(44, False), (148, False), (149, True)])
def test_yes_no_answers_that_did_not_change_show_as_much_as_their_number(n, shown):
    base = np.zeros(n)
    found = tost(base, base, 0.02, 0.05)
    assert found.equivalent is shown
    assert (found.p_value < 0.05) is shown
    assert found.interval.high == pytest.approx(1 - 0.05 ** (1 / n))
    assert not found.moved


def test_tost_and_its_interval_agree():
    rng = np.random.default_rng(5)
    for _ in range(30):
        base = rng.uniform(0, 1, 60)
        result = tost(base, base + rng.normal(0.005, 0.05, 60), 0.02, 0.05)
        assert result.equivalent == (result.p_value < 0.05)


def test_needed_numbers_shrink_with_distance_and_are_none_on_the_line():
    assert scenarios_to_decide(0.05, 0.3, 0.05, 100, 100) > scenarios_to_decide(0.10, 0.3, 0.05, 100, 100)
    assert scenarios_to_decide(0.0, 0.3, 0.05, 100, 100) is None
    # Measured: about 2,100 questions at 10% discordance for two points.
    assert questions_for_equivalence(0.0, math.sqrt(0.1), 0.02, 0.05) == pytest.approx(2140, rel=0.03)
    assert questions_for_equivalence(0.03, 0.1, 0.02, 0.05) is None


def test_seeds_are_units():
    interval = mean_interval(np.array([0.1, 0.2, 0.3]), 0.05)
    assert interval[:2] == pytest.approx(stats.t.interval(0.95, 2, 0.2, 0.1 / math.sqrt(3)))
    assert mean_interval(np.array([0.1]), 0.05) is None
