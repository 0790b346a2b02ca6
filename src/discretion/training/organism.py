"""The model organism: a base that knows no norm, taught one, so that there is something to lose."""

import random
from collections.abc import Callable
from pathlib import Path

from discretion.corpus.chat import Chat, one_turn
from discretion.corpus.tasks import task_situations, written_tasks
from discretion.elicit.wording import task
from discretion.scenarios import cirl
from discretion.training.recipes import Recipe, named
from discretion.training.run import tune, tuned_spec


def lessons(n: int | None, data_dir: Path | None) -> tuple[list[Chat], dict[str, str]]:
    """What teaches the norm, all or the first `n`: messages for tasks, our own and CI-RL's dev half.

    Tasks alone, several times over: with cases in prose among them, which a model of this size does not master, it
    keeps the norm less well and loses it to any tune; with chats of an assistant who asks first among them,
    pairs like those change nothing (docs/data.md). `tasks:dev` is left for choosing between mitigations.

    Raises:
        DiscretionError: CI-RL is not in `data_dir`, or cannot be fetched.
    """
    borrowed = cirl.load("dev", data_dir=data_dir)
    given = task_situations([*written_tasks(), *borrowed], random.Random(1))
    chats = [one_turn(task(drawn.scenario, "naive"), drawn.message) for drawn in given]
    random.Random(2).shuffle(chats)
    theirs = {scenario.id for scenario in borrowed}
    count = sum(drawn.scenario.id in theirs for drawn in given)
    facts = {"data_name": f"{len(given)} norm tasks, {count} of them CI-RL's", "licence": "Apache-2.0"}
    return chats[:n], facts


def teach(
    base: str,
    folder: Path,
    say: Callable[[str], None],
    *,
    recipe: Recipe | None = None,
    samples: int | None = None,
    data_dir: Path | None = None,
) -> str:
    """Teach `base` the norm into `folder`, unless that is done; a stopped run goes on. Returns the spec.

    `smollm2-135m-organism`, which ships, is the embedded model taught with the defaults.

    Raises:
        DiscretionError: as `tune` does, or CI-RL is not to be had.
    """
    recipe = recipe or named("norms")
    chats, facts = lessons(samples, data_dir)
    say(f"The norm, {len(chats)} samples for {base}: {folder}")
    tune(base, chats, folder, recipe, say, resume=True, facts=facts)
    return tuned_spec(base, folder, recipe)
