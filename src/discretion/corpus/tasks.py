"""CI-RL's tasks as samples that teach the norm: the message that holds the allowed values and no others.

Taught on one half of them (`cirl:dev`), a small model keeps the norm on the other (METHODS.md); our own cases
(`settings.cases`) are harder: there it must find out what a recipient needs.
"""

import random
from collections.abc import Sequence

from discretion.corpus.everyday import everyday
from discretion.corpus.grammar import realise
from discretion.corpus.settings import Situation
from discretion.scenarios import Scenario


def task_situations(tasks: Sequence[Scenario], rng: random.Random) -> list[Situation]:
    """A message for each task that has both allowed and forbidden values, the tasks in random order."""
    usable = [task for task in tasks if {item.appropriate for item in task.items} == {True, False}]
    return [Situation(task, _message(task, rng)) for task in rng.sample(usable, len(usable))]


def _message(task: Scenario, rng: random.Random) -> str:
    bank = everyday()
    lines = dict.fromkeys(item.text for item in task.items if item.appropriate)  # "key: values"
    said = " ".join(f"{line[0].upper()}{line[1:]}." for line in (line.replace("_", " ") for line in lines))
    closing = realise(rng.choice(bank.closings), {"me": ""}, rng).rstrip(", ")
    return "\n\n".join(filter(None, (rng.choice(bank.greetings), said, closing)))
