"""Part of the way from what was before a tune to what came of it: weights between the two, without training."""

from pathlib import Path

from discretion.errors import DiscretionError
from discretion.training.adapters import combine


def interpolated(tuned: Path, out: Path, share: float, before: Path | None = None) -> Path:
    """Write an adapter that goes `share` of the way from `before` (None: the bare base) to `tuned`, into `out`.

    Raises:
        DiscretionError: a share outside 0 to 1, or what `combine` raises.
    """
    if not 0 <= share <= 1:
        raise DiscretionError(f"interpolate:{share:g}: must be from 0 to 1")
    return combine([(share, tuned)] if before is None else [(1 - share, before), (share, tuned)], out)
