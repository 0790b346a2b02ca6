"""How many scenarios would decide what these did not."""

import math

from scipy import stats

_POWER = 0.8
_BEYOND_REACH = 1_000_000


def scenarios_to_decide(distance: float, spread: float, alpha: float, clusters: int, scenarios: int) -> int | None:
    """Scenarios for an interval at 1 - alpha to clear a line at `distance` from the mean, with power 0.8.

    `spread` is the standard deviation of a cluster's mean difference. None where the mean lies on the
    line, so that no number decides.
    """
    if distance == 0 or not math.isfinite(spread):
        return None
    quantiles = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(_POWER))
    units = math.ceil((quantiles * spread / distance) ** 2)
    needed = math.ceil(max(units, 20) * scenarios / clusters)
    return needed if needed < _BEYOND_REACH else None


def questions_for_equivalence(shift: float, spread: float, epsilon: float, alpha: float) -> int | None:
    """Questions for TOST to show |change| < epsilon at the shift seen, with power 0.8; None if it moved."""
    room = epsilon - abs(shift)
    if room <= 0:
        return None
    quantiles = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf((1 + _POWER) / 2))
    needed = math.ceil((quantiles * spread / room) ** 2)
    return max(needed, 2) if needed < _BEYOND_REACH else None


def unseen_to_exclude(share: float, alpha: float) -> int:
    """Units none of which did something, for a share of that many that would to be excluded (exact binomial)."""
    return math.ceil(math.log(alpha) / math.log1p(-share))
