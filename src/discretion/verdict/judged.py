"""A judge's known error, carried into rates, differences and intervals.

Rogan and Gladen (1978): with sensitivity se and specificity sp a true rate r is judged r * se + (1 - r) * (1 - sp),
so r = (judged - (1 - sp)) / J with J = se + sp - 1, and differences grow by 1 / J. How well se and sp are known is
taken from their spread between the models that the judge was measured on: a new model is another draw of those.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from scipy import stats

from discretion.judges.acts import STATEMENTS
from discretion.judges.known import Quality
from discretion.judges.match import calibration
from discretion.verdict.paired import Interval


class JudgeError(NamedTuple):
    """How often a judge is right on items that are revealed, and on those that are not; and the spread of both."""

    sensitivity: float
    specificity: float
    sensitivity_sd: float
    specificity_sd: float

    @property
    def youden(self) -> float:
        """J = sensitivity + specificity - 1: by how much the judge shrinks a difference."""
        return self.sensitivity + self.specificity - 1

    def corrected(self, judged: float) -> float:
        """What a judged answer stands for, on average; it lies outside 0 to 1, and so may a scenario's rate."""
        return (judged - (1 - self.specificity)) / self.youden

    def widened(self, interval: Interval | None, mean: float, alpha: float) -> Interval | None:
        """The interval of a corrected difference, with the spread of J in it."""
        if interval is None:
            return None
        spread = math.hypot(self.sensitivity_sd, self.specificity_sd) / self.youden
        more = float(stats.norm.ppf(1 - alpha / 2)) * abs(mean) * spread
        return Interval(
            mean - math.hypot(mean - interval.low, more),
            mean + math.hypot(interval.high - mean, more),
            f"{interval.method}, judge error included",
        )

    def bound(self, rate: float, alpha: float) -> float:
        """How far a difference may be off if the judge errs as differently on base and tuned as between models."""
        rate = min(max(rate, 0.0), 1.0)
        shift = math.sqrt(2) * math.hypot(rate * self.sensitivity_sd, (1 - rate) * self.specificity_sd)
        return float(stats.norm.ppf(1 - alpha / 2)) * shift / self.youden


def known_error(judge: str, models: Mapping[str, Quality | None]) -> JudgeError | None:
    """The error of the judge that records name; None for one that is exact (values, probabilities) or unmeasured.

    `models` are the model judges by that name, with what is known of each.
    """
    known = calibration() if judge == STATEMENTS else models.get(judge)
    if known is None:
        return None
    return JudgeError(known.sensitivity, known.specificity, known.sensitivity_sd, known.specificity_sd)
