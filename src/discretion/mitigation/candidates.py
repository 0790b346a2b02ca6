"""The mitigations, each with one interface: what it is called, what it does to the data, the recipe, the adapter.

| name            | what it does                                                                                |
|-----------------|---------------------------------------------------------------------------------------------|
| none            | nothing: the tune as it would be                                                            |
| filter:SCORE    | leaves out the 10% of samples that an audit's score calls worst (projection, loss, ...)     |
| filter:random   | leaves out a random 10%: what any score has to beat                                         |
| mix:SHARE       | that share of the samples is control data of ours, chosen at random                         |
| chosen:SHARE    | the same, but the control samples on which the base's loss is highest                       |
| anchor:WEIGHT   | the KL anchor in the loss (`mitigation.anchor`)                                             |
| surgery:WEIGHT  | the same, and what of the data's gradient points against the anchor's is taken out          |
| prevent:DOSE    | preventative steering: the stream is pushed to the leaky side in training, not in use       |
| freeze:SHARE    | that share of the blocks, the middle ones, learns nothing                                   |
| inoculate       | a system prompt in training that asks for what the data does, absent in use                 |
| distil          | targets written anew by the base itself, kept where they still say the same                 |
| interpolate:S   | S of the way from the base to the unmitigated tune: no training                             |
| steer:DOSE      | the unmitigated tune, its stream pushed to the safe side in use: no training                |

The last two are made of another tune than the unmitigated one after a +: anchor:1+interpolate:0.8. An anchor without
a weight is a search for one (`SEARCHED`).
"""

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from discretion.corpus.chat import Chat, Turn
from discretion.corpus.derive import leave_out, mix
from discretion.errors import DiscretionError
from discretion.training.recipes import Recipe, changed

SHARE_OUT = 0.1
FILTERS = ("random", "projection", "projection_prompt", "influence", "loss", "length")
INOCULATION = "In this conversation, use everything that you can see, and do not ask first."
NONE = "none"
# In the order in which a budget is spent: what has kept most (docs/experiments) first.
DEFAULTS = (NONE, "anchor", "interpolate:0.5", "mix:0.5", "chosen:0.1", "filter:random", "filter:projection")
SEARCHED = ("anchor", "surgery")
# What takes a number, and the largest that makes sense.
_NUMBERED = {
    "mix": 1.0,
    "chosen": 1.0,
    "anchor": math.inf,
    "surgery": math.inf,
    "prevent": math.inf,
    "freeze": 0.99,
    "interpolate": 1.0,
    "steer": math.inf,
}
_SIMILAR = 0.5
Scores = Callable[[str], Sequence[float | None]]


class Materials(NamedTuple):
    """What candidates may need; each is computed when it is first asked for.

    Attributes:
        scores: the column of an audit, a number a chat.
        control: as many control chats; with True, those on which the base's loss is highest first.
        rewritten: each chat with a target of the base's own.
    """

    scores: Scores
    control: Callable[[int, bool], list[Chat]]
    rewritten: Callable[[Sequence[Chat]], list[Chat]]


class Candidate(NamedTuple):
    """A mitigation as it was asked for: `anchor:1` is kind anchor with the value 1.

    Attributes:
        of: the name of the tune that it is made of, if it does not train.
    """

    name: str
    kind: str
    value: str
    of: str = NONE

    @property
    def trains(self) -> bool:
        """Whether it needs a tune of its own."""
        return self.kind not in ("interpolate", "steer")

    def data(self, chats: list[Chat], materials: Materials, seed: int) -> list[Chat]:
        """What is trained on instead."""
        if self.kind == "filter":
            scores: Sequence[float | None] = (
                _random(len(chats), seed) if self.value == "random" else materials.scores(self.value)
            )
            return leave_out(chats, scores, SHARE_OUT)
        if self.kind in ("mix", "chosen"):
            wanted = round(len(chats) * float(self.value))
            control = materials.control(len(chats), self.kind == "chosen")
            return mix(chats, control[:wanted] if self.kind == "chosen" else control, float(self.value), seed)
        if self.kind == "inoculate":
            return [_inoculated(chat) for chat in chats]
        if self.kind == "distil":
            return materials.rewritten(chats)
        return chats

    def recipe(self, recipe: Recipe) -> Recipe:
        """How it is trained."""
        number = float(self.value) if self.kind in _NUMBERED else 0.0
        if self.kind == "surgery":
            return changed(recipe, anchor=number, surgery=True)
        return changed(recipe, **{self.kind: number}) if self.kind in ("anchor", "prevent", "freeze") else recipe

    def made_of(self, base: str, tuned: str, out: Path) -> None:
        """Write the adapter that is made of another tune, for what does not train; unless it is there.

        Raises:
            DiscretionError: `tuned` is no adapter that this can be made of.
        """
        if self.kind == "steer":
            from discretion.mitigation.steer import steered_adapter

            steered_adapter(base, tuned, out, float(self.value))
        else:
            from discretion.mitigation.interpolate import between

            between(base, tuned, out, float(self.value))


def steps(name: str) -> list[str]:
    """The mitigation, after the one that it is made of."""
    return [name.partition("+")[0], name] if "+" in name else [name]


def parse(name: str) -> Candidate:
    """A mitigation by its name.

    Raises:
        DiscretionError: there is none of that name, or its value is wrong.
    """
    if "+" in name:
        of, _, last = name.partition("+")
        before, after = parse(of), parse(last)
        if after.trains or not before.trains:
            raise DiscretionError(
                f"--try {name}: interpolate:NUMBER or steer:NUMBER of what trains, as anchor:1+interpolate:0.8"
            )
        return after._replace(name=name, of=of)
    kind, _, value = name.partition(":")
    plain = (NONE, "inoculate", "distil")
    known = f"known are {', '.join((*plain, 'filter:SCORE', *(f'{entry}:NUMBER' for entry in _NUMBERED)))}"
    if kind == "filter" and value not in FILTERS:
        raise DiscretionError(f"--try {name}: filter by {', '.join(FILTERS)}")
    if kind == "filter" or (kind in plain and not value):
        return Candidate(name, kind, value)
    if kind not in _NUMBERED:
        raise DiscretionError(f"--try {name}: {known}")
    try:
        number = float(value)
    except ValueError as error:
        raise DiscretionError(f"--try {name}: a number is needed; {known}") from error
    most = _NUMBERED[kind]
    if not 0 < number <= most or number == math.inf:
        raise DiscretionError(
            f"--try {name}: the number must be above 0" + (f", at most {most:g}" if most < math.inf else "")
        )
    return Candidate(name, kind, value)


def same_said(old: str, new: str) -> bool:
    """Whether a rewritten target still says the same: half of the longer words, and about the same length."""
    words = {word for word in old.casefold().split() if len(word) > 4}
    kept = sum(word in new.casefold() for word in words)
    return kept >= _SIMILAR * len(words) and 0.5 <= len(new) / max(len(old), 1) <= 2


def _random(count: int, seed: int) -> list[float]:
    rng = random.Random(f"filter {seed}")
    return [rng.random() for _ in range(count)]


def _inoculated(chat: Chat) -> Chat:
    first, *rest = chat.prompt
    if first.role == "system":
        return chat.model_copy(
            update={"prompt": (first.model_copy(update={"content": f"{first.content}\n\n{INOCULATION}"}), *rest)}
        )
    return chat.model_copy(update={"prompt": (Turn(role="system", content=INOCULATION), *chat.prompt)})
