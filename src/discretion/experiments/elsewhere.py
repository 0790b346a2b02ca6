"""An experiment on another model, of another size, or tuned at a provider: what `discretion reproduce` may change."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.experiments.plan import Experiment, Part, before
from discretion.mitigation.candidates import parse
from discretion.training.hosted import TOLD
from discretion.training.recipes import differing, named

# What was chosen for the organism, whose numbers shall be the same with and without a GPU.
_TUNE, _MEASURE = ("precision",), ("dtype", "device")
_DATA_ALONE = ("none", "mix", "inoculate")


def elsewhere(
    experiment: Experiment,
    *,
    base: str | None = None,
    recipe: str | None = None,
    n: int | None = None,
    limit: int | None = None,
    hosted: str | None = None,
) -> Experiment:
    """The experiment with what is given in place of its own.

    Args:
        base: a model spec, or with `hosted` the provider's name of a model; it is taken to know its norms.
        recipe: a named recipe in place of the experiment's `tune`; what a row has of its own stays.
        n: samples a row; limit: scenarios a suite.
        hosted: "openai" or "together": tuned there by what of `tune` it takes. The task's loss and the monitor need
            the weights and are left out.

    Raises:
        DiscretionError: the experiment is not sound with it, or the recipe or the provider is not known.
    """
    told = experiment.model_dump()
    if recipe is not None:
        told["tune"] = differing(named(recipe))
    if base is not None:
        told |= {"base": base, "organism": None, "tune": _without(told["tune"], _TUNE)}
        told["measures"] = {name: _without(options, _MEASURE) for name, options in told["measures"].items()}
    if n is not None:
        told["n"] = n
    if limit is not None:
        told["measures"] = {name: {**options, "limit": limit} for name, options in told["measures"].items()}
    if hosted is not None:
        if hosted not in TOLD:
            raise DiscretionError(f"--hosted {hosted}: known are {', '.join(TOLD)}")
        if base is None:
            raise DiscretionError("--hosted tunes a model of the provider's: name it with --base")
        ours = [name for name in told["tune"] if name not in TOLD[hosted]]
        told |= {"hosted": hosted, "task": None, "monitor": 0, "tune": _without(told["tune"], ours)}
    try:
        return Experiment.model_validate(told)
    except ValidationError as error:
        raise wrong_field("with these options", error) from error


def refuse_unhosted(experiment: Experiment, wanted: Sequence[Part]) -> None:
    """Refuse the parts that need a model's weights, where it is tuned at a provider.

    Raises:
        DiscretionError: there is one; the row is named.
    """
    for part in wanted:
        row = experiment.rows[part.row]
        if parse(row.mitigation).kind not in _DATA_ALONE and row.mitigation != "filter:random":
            raise DiscretionError(f"rows.{part.row}: {row.mitigation} needs the weights; leave it out with --row")
        if unknown := [name for name in row.tune if name not in TOLD[experiment.hosted]]:
            raise DiscretionError(
                f"rows.{part.row}.tune: {experiment.hosted} takes no {unknown[0]}; leave it out with --row"
            )
        if before(experiment, part) and row.data and experiment.hosted == "together":
            raise DiscretionError(f"rows.{part.row}: a tuned model is not tuned again at together; use --row")


def _without(options: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}
