"""Findings as numbers for a file: means over units with intervals, and nothing that JSON cannot hold."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from discretion.mechanism.direction import Cosines, Differences
from discretion.mechanism.lens import Lens
from discretion.verdict.paired import MIN_CLUSTERS_FOR_BOOTSTRAP

Array = NDArray[np.float64]
_RESAMPLES = 2000


def by_unit(values: Array, units: Sequence[str]) -> Array:
    """Rows of one unit averaged: (units, columns)."""
    names = list(dict.fromkeys(units))
    return np.stack(
        [values[[place for place, unit in enumerate(units) if unit == name]].mean(axis=0) for name in names]
    )


def interval(values: Array) -> dict[str, Any]:
    """Mean over units and its 95% interval, a number a column: a bootstrap, or a t interval below 20 units."""
    count = len(values)
    mean = values.mean(axis=0)
    if count < MIN_CLUSTERS_FOR_BOOTSTRAP:
        reach = stats.t.ppf(0.975, count - 1) * values.std(axis=0, ddof=1) / math.sqrt(count)
        low, high, method = mean - reach, mean + reach, f"t over {count} units (too few for a bootstrap)"
    else:
        rng = np.random.default_rng(0)
        weights = rng.multinomial(count, [1 / count] * count, size=_RESAMPLES) / count
        low, high = np.percentile(weights @ values, [2.5, 97.5], axis=0)
        method = "percentile bootstrap over units"
    return {"mean": plain(mean), "low": plain(low), "high": plain(high), "method": method}


def mean_of_known(values: Array) -> float | None:
    """The mean of the numbers that are there; None if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def told_lens(lens: Lens, units: Sequence[str]) -> dict[str, Any]:
    """A lens: differences with intervals over units, mean mass, median rank, a number a layer."""
    return interval(by_unit(lens.difference, units)) | {
        "mass": plain(lens.mass.mean(axis=0)),
        "rank": plain(np.median(lens.rank, axis=0)),
    }


def told_cosines(found: Cosines) -> dict[str, Any]:
    """Cosines, a number a layer."""
    return {name: plain(values) for name, values in found._asdict().items()}


def plane(found: Mapping[str, Differences], layer: int) -> list[dict[str, Any]]:
    """Every unit's difference in the plane of the first two principal components of the base's, for a picture."""
    base = found["base"].values[:, layer]
    _, _, axes = np.linalg.svd(base - base.mean(axis=0), full_matrices=False)
    return [
        {"model": name, "unit": unit, "x": float(point[0]), "y": float(point[1])}
        for name, part in found.items()
        for unit, point in zip(part.units, part.values[:, layer] @ axes[:2].T, strict=True)
    ]


def plain(values: Array) -> list[float | None]:
    """Numbers rounded to six decimals; None for NaN."""
    return [None if math.isnan(value) else round(float(value), 6) for value in np.atleast_1d(values)]
