"""What scores say: how well they tell known data apart, where a set stands among them, and what the worst is like."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discretion.mechanism.features import FEATURES
from discretion.mechanism.scoring import RANDOM_DIRECTIONS

Array = NDArray[np.float64]
Columns = Mapping[str, Sequence[float]]
SCORES = ("projection", "projection_prompt", "projection_own", "influence", "loss", "length")
_RESAMPLES, _TOP = 1000, 0.1


def values(columns: Columns, name: str) -> Array:
    """A column's numbers, those that are there."""
    column = np.asarray(columns.get(name, ()), dtype=np.float64)
    return column[~np.isnan(column)]


def auroc(worse: Array, better: Array) -> float:
    """How often a sample of the worse set scores above one of the better set; ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([worse, better]))
    above = ranks[: len(worse)].sum() - len(worse) * (len(worse) + 1) / 2
    return float(above / (len(worse) * len(better)))


def separates(worse: Columns, better: Columns) -> dict[str, dict[str, Any]]:
    """Each score's AUROC between two sets of known effect, with an interval; and what random directions reach."""
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, Any]] = {}
    for name in SCORES:
        one, other = values(worse, name), values(better, name)
        if len(one) and len(other):
            drawn = [auroc(rng.choice(one, len(one)), rng.choice(other, len(other))) for _ in range(_RESAMPLES)]
            low, high = np.percentile(drawn, [2.5, 97.5])
            found[name] = {"auroc": auroc(one, other), "low": float(low), "high": float(high)}
    by_chance = []
    for number in range(RANDOM_DIRECTIONS):
        one, other = values(worse, f"random_{number}"), values(better, f"random_{number}")
        if len(one) and len(other):
            area = auroc(one, other)
            by_chance.append(max(area, 1 - area))  # the sign of a random direction is chosen afterwards
    if by_chance:
        found["random"] = {"auroc": float(np.median(by_chance)), "low": min(by_chance), "high": max(by_chance)}
    return found


def standing(data: Columns, helpful: Columns, control: Columns) -> dict[str, dict[str, float]]:
    """Where the data's mean stands on each score, from 0 (as control) to 1 (as helpful), with an interval.

    Left out are scores that do not tell helpful from control: their scale means nothing.
    """
    rng = np.random.default_rng(0)
    found = {}
    for name in SCORES:
        sets = [values(columns, name) for columns in (data, helpful, control)]
        if not all(len(one) > 1 for one in sets):
            continue
        tells = separates({name: sets[1].tolist()}, {name: sets[2].tolist()})[name]
        if tells["low"] <= 0.5 <= tells["high"]:
            continue
        drawn = [_place(*(rng.choice(one, len(one)).mean() for one in sets)) for _ in range(_RESAMPLES)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        place = _place(*(one.mean() for one in sets))
        found[name] = {"place": place, "low": float(low), "high": float(high)}
    return found


def _place(data: float, helpful: float, control: float) -> float:
    gap = helpful - control
    return float((data - control) / gap) if gap else float("nan")


def worst_features(columns: Columns, by: str = "projection") -> list[dict[str, Any]]:
    """Each feature's mean in the worst tenth and in the rest, with a test (Mann-Whitney, Holm over features)."""
    from scipy.stats import mannwhitneyu
    from statsmodels.stats.multitest import multipletests

    order = ranked(columns, by)
    if len(order) < 20:
        return []
    worst, rest = order[: round(len(order) * _TOP)], order[round(len(order) * _TOP) :]
    found, p_values = [], []
    for name, meaning in FEATURES.items():
        one, other = (np.asarray(columns[name])[side] for side in (worst, rest))
        p_values.append(1.0 if np.ptp(np.concatenate([one, other])) == 0 else float(mannwhitneyu(one, other).pvalue))
        found.append({"feature": name, "meaning": meaning, "worst": float(one.mean()), "rest": float(other.mean())})
    corrected = multipletests(p_values, method="holm")[1]
    return [entry | {"p_value": float(p_value)} for entry, p_value in zip(found, corrected, strict=True)]


def ranked(columns: Columns, by: str) -> NDArray[np.intp]:
    """The samples' numbers, the worst by a score first; without those that have none."""
    column = np.asarray(columns.get(by, ()), dtype=np.float64)
    order = np.argsort(-column, kind="stable")
    return order[~np.isnan(column[order])]
