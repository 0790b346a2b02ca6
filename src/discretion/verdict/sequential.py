"""A confidence sequence for a mean of bounded numbers, by betting: valid however often one looks and when one stops.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B 2023, arXiv 2010.09686),
the hedged capital process: for every candidate mean two gamblers bet that the numbers are larger, or smaller; a
candidate that makes one of them rich is out. It speaks of new scenarios of this kind (sampling with replacement).
Several looks at several checkpoints share one alpha: look k (from 1) is given alpha * 6 / (pi^2 k^2).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_GRID = 1001


def spent(alpha: float, look: int) -> float:
    """The part of alpha that the `look`-th look may use, counted from 1; those of all looks sum to alpha."""
    return alpha * 6 / (math.pi * look) ** 2


def betting_interval(
    values: Sequence[float] | Array, alpha: float, low: float, high: float, *, most: float = 0.5
) -> tuple[float, float]:
    """Bounds of the mean of numbers in [low, high] after all of `values`, in the order in which they came.

    At level 1 - alpha at every length at once: the running intersection of what is left. Without values: (low, high).
    The order must tell nothing of the numbers. `most`: of what a gambler may stake without risking ruin (1/2 and 3/4
    are usual; the bolder one is sooner sure where most numbers are near their mean).
    """
    scaled = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    if len(scaled) == 0:
        return low, high
    if scaled.min() < -1e-9 or scaled.max() > 1 + 1e-9:
        raise ValueError(f"values must lie in [{low}, {high}]")
    # The mean itself beside the grid: what is left of many numbers may lie between two of its points.
    grid = np.append(np.linspace(0, 1, _GRID), scaled.mean())
    stakes = _stakes(scaled, alpha)
    with np.errstate(divide="ignore"):
        most_up, most_down = most / grid, most / (1 - grid)
    up, down = np.zeros(len(grid)), np.zeros(len(grid))
    best = np.full(len(grid), -np.inf)
    for value, stake in zip(scaled, stakes, strict=True):
        up += np.log1p(np.minimum(stake, most_up) * (value - grid))
        down += np.log1p(-np.minimum(stake, most_down) * (value - grid))
        best = np.maximum(best, np.maximum(up, down))
    kept = grid[best < math.log(2 / alpha)]  # each gambler has half of the stake
    if len(kept) == 0:  # what came later contradicts what came before: such an order says nothing
        return low, high
    step = 1 / (_GRID - 1)
    left, right = max(0.0, float(kept.min()) - step), min(1.0, float(kept.max()) + step)
    return low + left * (high - low), low + right * (high - low)


def _stakes(scaled: Array, alpha: float) -> Array:
    """The predictable plug-in stake of each round, from what came before it (section 4.3 there)."""
    count = np.arange(1, len(scaled) + 1)
    means = (0.5 + np.cumsum(scaled)) / (count + 1)
    variances = (0.25 + np.cumsum((scaled - means) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    stakes: Array = np.sqrt(2 * math.log(2 / alpha) / (before * count * np.log1p(count)))
    return stakes
