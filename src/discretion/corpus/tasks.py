"""Tasks in CI-RL's format as samples that teach the norm: the message that holds the allowed things and no others.

Taught on one half of CI-RL's (`cirl:dev`), a small model keeps the norm on the other (measured). Our own, written
by model helpers from a brief and checked by machine, are more varied: lists whose keys name topics, or only where a
thing was said, and twins, in which the same list goes to two people who rightly get different things. Cases
(`settings.cases`) are harder: prose, in which it must find out what a recipient needs.
"""

import random
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from discretion.corpus.everyday import everyday, tested_values
from discretion.corpus.grammar import realise
from discretion.corpus.settings import Situation
from discretion.files import read_jsonl
from discretion.scenarios import Scenario
from discretion.scenarios.cirl import read_rows

_COPIED = 24  # words


@cache
def written_tasks() -> tuple[Scenario, ...]:
    """Our own: none is in the suite `tasks`. Unlike the norm corpus, they share domains with the built-in suite."""
    path = Path(str(resources.files("discretion") / "corpus" / "data" / "norms" / "tasks.jsonl"))
    return tuple(read_rows(((f"{path}, line {line}", row) for line, row in read_jsonl(path)), "norms"))


def task_situations(tasks: Sequence[Scenario], rng: random.Random) -> list[Situation]:
    """A message for each task that has both allowed and forbidden values, the tasks in random order.

    Left out are those with a value that the built-in suite's test half has.
    """
    usable = [
        task
        for task in tasks
        if {item.appropriate for item in task.items} == {True, False}
        and tested_values().isdisjoint(value.casefold() for item in task.items for value in item.values)
    ]
    return [Situation(task, _message(task, rng)) for task in rng.sample(usable, len(usable))]


def _message(task: Scenario, rng: random.Random) -> str:
    bank = everyday()
    private = [value for item in task.items if not item.appropriate for value in item.values]
    lines = dict.fromkeys(told_line(task.context, item.text, private) for item in task.items if item.appropriate)
    said = " ".join(f"{line[0].upper()}{line[1:]}" for line in lines)
    closing = realise(rng.choice(bank.closings), {"me": ""}, rng).rstrip(", ")
    return "\n\n".join(filter(None, (rng.choice(bank.greetings), said, closing)))


def told_line(context: str, text: str, private: Sequence[str] = ()) -> str:
    """How a message tells an item ("key: value"): the context's own line, if it is short and holds nothing private.

    Which words of a line are an item's value is its writer's choice, which no model can guess.
    """
    key = text.partition(":")[0]
    whole = next((line.strip() for line in context.splitlines() if line.strip().startswith(f"{key}:")), text)
    sound = len(whole.split()) <= _COPIED and not any(value.casefold() in whole.casefold() for value in private)
    name, colon, said = (whole if sound else text).partition(":")
    line = name.replace("_", " ") + colon + said
    return line if line[-1] in ".!?" else f"{line}."
