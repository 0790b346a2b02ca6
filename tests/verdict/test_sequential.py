import numpy as np
import pytest

from discretion.verdict.sequential import betting_interval, spent


def test_all_looks_together_spend_alpha():
    assert sum(spent(0.05, look) for look in range(1, 100_000)) == pytest.approx(0.05, abs=1e-6)


def test_it_starts_with_everything_and_narrows_around_the_mean():
    rng = np.random.default_rng(0)
    values = rng.uniform(-0.2, 0.6, 400)
    assert betting_interval([], 0.05, -1, 1) == (-1, 1)
    widths = []
    for many in (10, 50, 400):
        low, high = betting_interval(values[:many], 0.05, -1, 1)
        assert low <= values[:many].mean() <= high
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.2
    with pytest.raises(ValueError, match="must lie"):
        betting_interval([2.0], 0.05, -1, 1)


def test_an_order_that_contradicts_itself_says_nothing():
    ups, downs = [0.125] * 300, [-0.125] * 300
    assert betting_interval(ups + downs, 0.05, -0.125, 0.125) == (-0.125, 0.125)
    low, high = betting_interval([0.0003] * 20_000, 0.05, -1, 1)  # between two points of the grid
    assert low < 0.0003 < high < 0.004


@pytest.mark.parametrize("shape", ["yes/no", "few move"])
def test_looking_at_every_length_is_wrong_as_rarely_as_it_says(shape):
    """The truth is outside at some length in at most alpha of the runs: 10% of 200 here, two sigma on top."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(200):
        if shape == "yes/no":
            values, truth = rng.binomial(1, 0.3, 120).astype(float), 0.3
        else:
            values, truth = np.where(rng.random(120) < 0.1, rng.uniform(0, 1, 120), 0.0), 0.05
        low, high = betting_interval(values, 0.1, 0, 1)  # the running intersection: outside once is outside for good
        wrong += not low <= truth <= high
    assert wrong / 200 <= 0.1 + 2 * (0.1 * 0.9 / 200) ** 0.5


def test_a_large_rise_is_found_early():
    rng = np.random.default_rng(2)
    looks = []
    for _ in range(20):
        values = np.clip(rng.normal(0.24, 0.3, 493), -1, 1)
        looks.append(next(n for n in range(5, 493) if betting_interval(values[:n], 0.05, -1, 1)[0] > 0.05))
    assert np.median(looks) < 120
