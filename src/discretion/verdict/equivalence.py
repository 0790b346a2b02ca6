"""Did a control stay where it was? Two one-sided tests (TOST): "not significant" never means "unchanged"."""

from dataclasses import dataclass

import numpy as np

from discretion.verdict.paired import Array, Interval


@dataclass(frozen=True)
class Equivalence:
    """TOST of paired differences against +-epsilon.

    Attributes:
        interval: the 1 - 2 alpha interval, which lies inside +-epsilon exactly when TOST rejects.
        p_value: the larger of the two one-sided p values (null: the change is at least epsilon).
    """

    interval: Interval
    p_value: float
    epsilon: float

    @property
    def equivalent(self) -> bool:
        """The change is shown to be smaller than epsilon."""
        return -self.epsilon < self.interval.low and self.interval.high < self.epsilon

    @property
    def moved(self) -> bool:
        """The change is shown to be larger than epsilon."""
        return self.interval.low > self.epsilon or self.interval.high < -self.epsilon


def tost(base: Array, tuned: Array, epsilon: float, alpha: float, *, same: bool = False) -> Equivalence | None:
    """Test paired answers (n,) for equivalence; None for a single pair, unless it is of the `same` model.

    `statsmodels.stats.weightstats.DescrStatsW.ttost_mean`, which `ttost_paired` is; equal differences, where it
    divides by zero, give a point. Of n yes/no answers none of which changed, a share of 1 - alpha^(1/n) may be of
    those that would (exact binomial).
    """
    difference = tuned - base
    n, mean = len(difference), float(difference.mean())
    if n < 2 and not same:
        return None
    if np.allclose(difference, mean, rtol=0, atol=1e-12):
        if not same and not difference.any() and np.isin(base, (0.0, 1.0)).all():
            unseen = 1 - alpha ** (1 / n)
            bounds = Interval(-unseen, unseen, "exact binomial, none changed")
            return Equivalence(bounds, (1 - epsilon) ** n, epsilon)
        return Equivalence(Interval(mean, mean, "all equal"), 0.0 if abs(mean) < epsilon else 1.0, epsilon)
    from statsmodels.stats.weightstats import DescrStatsW

    described = DescrStatsW(difference)
    p_value = float(described.ttost_mean(-epsilon, epsilon)[0])
    low, high = map(float, described.tconfint_mean(alpha=2 * alpha))
    return Equivalence(Interval(low, high, "TOST, t interval at 1 - 2 alpha"), p_value, epsilon)
