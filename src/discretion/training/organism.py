"""The model organism: a base that knows no norm, taught one, so that there is something to lose."""

from collections.abc import Callable
from pathlib import Path

from discretion.corpus.chat import Chat
from discretion.corpus.norms import ORGANISM_SAMPLES, norm_samples
from discretion.corpus.tasks import written_tasks
from discretion.scenarios import cirl, tasks
from discretion.training.recipes import Recipe, named
from discretion.training.run import tune, tuned_spec


def lessons(samples: int, data_dir: Path | None) -> tuple[list[Chat], dict[str, str]]:
    """What teaches the norm: the norm corpus, tasks, and the dev halves of two suites of them; and what to say of it.

    Raises:
        DiscretionError: CI-RL is not in `data_dir`, or cannot be fetched.
    """
    borrowed = cirl.load("dev", data_dir=data_dir)
    chats = [
        sample.chat for sample in norm_samples(samples, 0, tasks=[*written_tasks(), *tasks.load("dev"), *borrowed])
    ]
    return chats, {"data_name": f"norm corpus and {len(borrowed)} tasks of CI-RL", "licence": "Apache-2.0"}


def teach(
    base: str,
    folder: Path,
    say: Callable[[str], None],
    *,
    recipe: Recipe | None = None,
    samples: int = ORGANISM_SAMPLES,
    data_dir: Path | None = None,
) -> str:
    """Teach `base` the norm into `folder`, unless that is done; a stopped run goes on. Returns the spec.

    `smollm2-135m-organism`, which ships, is the embedded model taught with the defaults.

    Raises:
        DiscretionError: as `tune` does, or CI-RL is not to be had.
    """
    recipe = recipe or named("norms")
    say(f"The norm, {samples} samples for {base}: {folder}")
    chats, facts = lessons(samples, data_dir)
    tune(base, chats, folder, recipe, say, resume=True, facts=facts)
    return tuned_spec(base, folder, recipe)
