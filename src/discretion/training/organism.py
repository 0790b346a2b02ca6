"""The model organism: a base that knows no norm, taught one, so that there is something to lose."""

from collections.abc import Callable
from pathlib import Path

from discretion.corpus.norms import ORGANISM_SAMPLES, norm_samples
from discretion.training.recipes import Recipe, named
from discretion.training.run import tune, tuned_spec


def teach(
    base: str,
    folder: Path,
    say: Callable[[str], None],
    *,
    recipe: Recipe | None = None,
    samples: int = ORGANISM_SAMPLES,
) -> str:
    """Teach `base` the norm corpus into `folder`, unless that is done; a stopped run goes on. Returns the spec.

    `smollm2-135m-organism`, which ships, is the embedded model taught with the defaults.

    Raises:
        DiscretionError: as `tune` does.
    """
    recipe = recipe or named("norms")
    say(f"The norm, {samples} samples for {base}: {folder}")
    chats = [sample.chat for sample in norm_samples(samples, 0)]
    facts = {"data_name": "norm corpus", "licence": "Apache-2.0"}
    tune(base, chats, folder, recipe, say, resume=True, facts=facts)
    return tuned_spec(base, folder, recipe)
