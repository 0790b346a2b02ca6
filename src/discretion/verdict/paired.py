"""Paired differences and what can be said of their mean: intervals, a permutation test, McNemar's test.

The unit of resampling is the cluster (a matched pair, a profile); a cluster's scenarios stay together.
Statistics come from scipy and statsmodels; what is ours is the pairing, the corner cases and their names.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from discretion.verdict.sequential import betting_interval

Array = NDArray[np.float64]

RESAMPLES = 9_999
MIN_CLUSTERS_FOR_BOOTSTRAP = 20
_STAKE = 0.75  # how boldly is bet: most scenarios do not change


class Interval(NamedTuple):
    """Bounds at a stated level, and how they were found."""

    low: float
    high: float
    method: str


@dataclass(frozen=True, eq=False)
class Paired:
    """One number a scenario before and after: `base`, `tuned` (n,), and each scenario's cluster.

    Attributes:
        binary: the numbers are single yes/no answers (0 or 1).
        looked: they were looked at while they came, in this order, to stop when enough is known; what is said of them
            has to hold at every look.
        most: beyond what no difference can be, in amount.
    """

    base: Array
    tuned: Array
    clusters: Sequence[str]
    binary: bool = False
    looked: bool = False
    most: float = 1.0

    def __len__(self) -> int:
        return len(self.base)

    @cached_property
    def difference(self) -> Array:
        """tuned - base, (n,)."""
        return self.tuned - self.base

    @property
    def mean(self) -> float:
        """The mean difference over scenarios."""
        return float(self.difference.mean())

    @cached_property
    def _index(self) -> tuple[NDArray[np.intp], int]:
        _, index = np.unique(np.asarray(self.clusters), return_inverse=True)
        return index, int(index.max()) + 1

    @property
    def n_clusters(self) -> int:
        """How many independent units there are."""
        return self._index[1]

    def sums(self, values: Array) -> Array:
        """Sum of `values` over each cluster, (clusters,)."""
        index, count = self._index
        return np.bincount(index, weights=values, minlength=count).astype(np.float64)

    @cached_property
    def sizes(self) -> Array:
        """Scenarios in each cluster, (clusters,)."""
        return self.sums(np.ones(len(self)))

    def interval(self, alpha: float, seed: int = 0, resamples: int = RESAMPLES) -> Interval | None:
        """The mean difference's interval at level 1 - alpha; None for a single cluster that changed.

        BCa bootstrap over clusters (Efron 1987; `scipy.stats.bootstrap`). Below 20 clusters a t interval
        over cluster means takes its place. If every difference is d the interval is [d, d]. If the numbers were
        looked at while they came: a betting confidence sequence over cluster means (`verdict.sequential`).
        """
        if self.looked:
            index, _ = self._index
            means = self.sums(self.difference) / self.sizes
            _, first = np.unique(index, return_index=True)  # a cluster comes when its first scenario does
            low, high = betting_interval(means[np.argsort(first)], alpha, -self.most, self.most, most=_STAKE)
            return Interval(low, high, "betting confidence sequence over clusters")
        if np.allclose(self.difference, 0, rtol=0, atol=1e-12):
            return Interval(0.0, 0.0, "all equal")
        return ratio_interval(self.sums(self.difference), self.sizes, alpha, seed, resamples)

    def relative_change(self, alpha: float, seed: int = 0) -> tuple[float | None, Interval | None]:
        """(mean tuned - mean base) / mean base, and its interval; None where base is 0, or it was looked at."""
        if self.base.mean() <= 0:
            return None, None
        value = float(self.difference.mean() / self.base.mean())
        if self.looked:
            return value, None
        bases = self.sums(self.base)
        if np.count_nonzero(bases) < 2:
            return value, None
        return value, ratio_interval(self.sums(self.difference), bases, alpha, seed)

    def sign_flip(self, seed: int = 0) -> float:
        """Two-sided p of the null that cluster differences are symmetric about 0 (exact when small)."""
        sums = self.sums(self.difference)
        if len(sums) < 2 or np.allclose(sums, 0.0, atol=1e-15):
            return 1.0  # a single unit is as extreme the other way round
        result = stats.permutation_test(
            (sums,),
            lambda x, axis: x.sum(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=RESAMPLES,
            rng=np.random.default_rng(seed),
        )
        return float(result.pvalue)

    def mcnemar(self) -> float | None:
        """Exact McNemar p over yes/no answers; None unless each cluster has exactly one."""
        if self.n_clusters != len(self):
            return None
        before, after = self.base > 0.5, self.tuned > 0.5
        return float(exact_mcnemar(int((~before & after).sum()), int((before & ~after).sum())))


def exact_mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p that gained and lost answers are equally likely."""
    from statsmodels.stats.contingency_tables import mcnemar

    if gained + lost == 0:
        return 1.0
    return float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)


def ratio_interval(
    numerators: Array, denominators: Array, alpha: float, seed: int = 0, resamples: int = RESAMPLES
) -> Interval | None:
    """Interval of sum(numerators) / sum(denominators), resampling the two together, (clusters,) each."""
    n = len(numerators)
    ratio = float(numerators.sum() / denominators.sum())
    if n < 2:
        return None  # one unit says nothing about the next
    if np.allclose(numerators, ratio * denominators, rtol=0, atol=1e-12):
        return Interval(ratio, ratio, "all equal")
    if n < MIN_CLUSTERS_FOR_BOOTSTRAP:
        return _t_interval(numerators, denominators, ratio, alpha)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate BCa comes back as NaN and is handled below
        result = stats.bootstrap(
            (numerators, denominators),
            lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=500,
            confidence_level=1 - alpha,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    low, high = map(float, result.confidence_interval)
    if np.isnan(low) or np.isnan(high):
        return _t_interval(numerators, denominators, ratio, alpha)
    return Interval(low, high, "BCa bootstrap over clusters")


def mean_interval(values: Array, alpha: float) -> Interval | None:
    """t interval of a mean over independent units (training seeds); None for fewer than two."""
    return _t_interval(values, np.ones(len(values)), float(values.mean()), alpha) if len(values) > 1 else None


def _t_interval(numerators: Array, denominators: Array, ratio: float, alpha: float) -> Interval | None:
    n = len(numerators)
    if n < 2:
        return None
    # Linearised ratio: equal cluster sizes give the plain t interval of cluster means.
    residuals = (numerators - ratio * denominators) / denominators.mean()
    half = float(stats.t.ppf(1 - alpha / 2, n - 1) * residuals.std(ddof=1) / np.sqrt(n))
    return Interval(ratio - half, ratio + half, f"t over {n} units (too few for a bootstrap)")
