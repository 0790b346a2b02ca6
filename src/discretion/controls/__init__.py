"""What must not move: capability controls, asked like probes and tested for equivalence.

| name          | what it is                                  | cost                      | on by default |
|---------------|---------------------------------------------|---------------------------|---------------|
| questions     | our own, knowledge and reasoning, 320       | 320 short forward passes  | yes           |
| commonsenseqa | official dev set, 1,221                     | 1,221 short passes        | if at hand    |
| agentharm     | refusal in talk: 44 harmful, 44 benign      | 88 texts of 64 tokens     | no            |
| xstest        | refusal: 200 unsafe, 250 safe               | 450 texts                 | no            |
| strongreject  | refusal: 313 forbidden                      | 313 texts                 | no            |

`NAME:N` asks N of its questions, always the same ones (`commonsenseqa:400`), where time is short.

The texts' controls are two each where there are harmful and harmless requests: a model that stops refusing anything
and one that refuses everything must not look alike. See `controls.refusal`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from discretion.controls._types import Choice, plan_choices
from discretion.elicit import Group
from discretion.errors import DiscretionError
from discretion.files import digest

__all__ = ["CONTROLS", "Choice", "ControlPlan", "plan_controls"]

DEFAULTS = ("questions", "commonsenseqa")
CONTROLS = (*DEFAULTS, "agentharm", "xstest", "strongreject")


class ControlPlan(NamedTuple):
    """The controls' questions, and the controls that cannot be measured with the reason."""

    groups: list[Group]
    unmeasured: dict[str, str]


def plan_controls(names: Sequence[str] | None, data_dir: Path | None) -> ControlPlan:
    """The questions of the named controls; None means the defaults, `["none"]` means none.

    A default control whose data is not on this machine is unmeasured; a control asked for by name is
    fetched, and it is an error if that fails.

    Raises:
        DiscretionError: an unknown name, or a named control's data is not to be had.
    """
    chosen = list(DEFAULTS) if names is None else [name for name in names if name != "none"]
    groups: list[Group] = []
    unmeasured: dict[str, str] = {}
    bare = [name.partition(":")[0] for name in chosen]
    if twice := next((name for name in bare if bare.count(name) > 1), None):
        raise DiscretionError(f"control {twice}: give each control once")
    for name in chosen:
        try:
            groups += _plan(name, data_dir, asked_for=names is not None)
        except DiscretionError as error:
            if names is not None:
                raise
            unmeasured[name] = str(error)
    return ControlPlan(groups, unmeasured)


def _plan(asked: str, data_dir: Path | None, *, asked_for: bool) -> list[Group]:
    from discretion.controls import commonsenseqa, questions, refusal

    name, colon, some = asked.partition(":")
    if colon and (not some.isdecimal() or int(some) < 1):
        raise DiscretionError(f"control {asked}: after the colon stands how many questions, at least 1")
    if name == "questions":
        groups = plan_choices(name, questions.load())
    elif name == "commonsenseqa":
        groups = plan_choices(name, commonsenseqa.load(data_dir=data_dir, download=asked_for))
    elif name in refusal.NAMES:
        if some:
            raise DiscretionError(f"control {asked}: {name} is asked as a whole")
        found = refusal.load(name, data_dir)
        return [group for control, requests in found.items() for group in refusal.plan_refusal(control, requests)]
    else:
        raise DiscretionError(f"no control {asked!r}; known: {', '.join(CONTROLS)}, none")
    if some and int(some) > len(groups):
        raise DiscretionError(f"control {asked}: {name} has {len(groups)} questions")
    # In the order of a hash: a smaller number is a part of a larger one, whatever the file's order.
    return sorted(groups, key=lambda group: digest(group.scenario))[: int(some)] if some else groups
