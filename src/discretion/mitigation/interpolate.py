"""Part of the way from what was before a tune to what came of it: weights between the two, without training."""

from pathlib import Path

from discretion.errors import DiscretionError
from discretion.models.loading import adapter_folder
from discretion.models.weights import parse_spec
from discretion.training.adapters import CONFIG, combine


def interpolated(tuned: Path, out: Path, share: float, before: Path | None = None) -> Path:
    """Write an adapter that goes `share` of the way from `before` (None: the bare base) to `tuned`, into `out`.

    Raises:
        DiscretionError: a share outside 0 to 1, or what `combine` raises.
    """
    if not 0 <= share <= 1:
        raise DiscretionError(f"interpolate:{share:g}: must be from 0 to 1")
    return combine([(share, tuned)] if before is None else [(1 - share, before), (share, tuned)], out)


def between(base: str, tuned: str, out: Path, share: float) -> None:
    """The same for two specs of one base, unless `out` is there already.

    Raises:
        DiscretionError: `tuned` is no adapter, or what `interpolated` raises.
    """
    before, after = parse_spec(base).adapter, parse_spec(tuned).adapter
    if after is None:
        raise DiscretionError(f"interpolate:{share:g}: {tuned} is a whole model; only adapters are interpolated")
    if not (out / CONFIG).is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        interpolated(Path(after), out, share, None if before is None else adapter_folder(before))
