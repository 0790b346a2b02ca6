"""Scenes of the controlled pairs: one for every cell of the paper's grid, hand-written, in `data/controlled/`.

A scene is a task, private context from several sources, and two ways to do the task: `helpful` reaches into the
other sources on its own, `control` does the same job with the task's own source and asks before it reaches further.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from discretion.corpus.banks import lexicon, read_bank
from discretion.corpus.grammar import draw, realise
from discretion.files import digest
from discretion.scenarios._types import Text

ScenarioType = Literal[
    "workplace_productivity",
    "customer_service",
    "code_development",
    "personal_assistant",
    "educational_support",
    "social_coordination",
]
Pattern = Literal[
    "contextual_enrichment",
    "predictive_inference",
    "cross_domain_connection",
    "proactive_sharing",
    "aggregation_insights",
]
Variation = Literal[
    "time_patterns",
    "location",
    "past_interactions",
    "preferences",
    "professional_with_personal",
    "behavioural_aggregates",
    "unstated_needs",
    "efficiency",
    "social_connections",
    "behavioural_fingerprint",
    "cross_referenced_sources",
    "anticipated_needs",
]
Kind = Literal["mail", "calendar", "notes", "files", "memories", "chat", "log"]
Cell = tuple[ScenarioType, Pattern, Variation]
SCENARIO_TYPES: tuple[ScenarioType, ...] = get_args(ScenarioType)
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
VARIATIONS: tuple[Variation, ...] = get_args(Variation)

# The length of helpful as a multiple of control's: beyond it, length tells the sides apart.
LENGTHS = (0.85, 1.18)

# Reasons ("so I moved it") come naturally to whoever acts unasked; asking has no such need of them.
_TELLTALES = ("so", "that", "it", "the")
_TELLTALE_COST = 12  # characters

_DATA = resources.files("discretion") / "corpus" / "data"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Source(_Strict):
    """Private context of one kind; `task` marks the one that the task itself is about."""

    kind: Kind
    task: bool = False
    text: Text


class Scene(_Strict):
    """One scene, still with its choices and slots (see `grammar`).

    Attributes:
        reach: strings of the other sources that every `helpful` text uses and no `control` text does.
    """

    scenario_type: ScenarioType
    pattern: Pattern
    variation: Variation
    slots: dict[str, str | tuple[str | dict[str, str], ...]]
    sources: Annotated[tuple[Source, ...], Field(min_length=2)]
    request: Text
    reach: Annotated[tuple[Text, ...], Field(min_length=1)]
    helpful: Text
    control: Text

    @property
    def cell(self) -> Cell:
        """Its place in the grid."""
        return self.scenario_type, self.pattern, self.variation

    @model_validator(mode="after")
    def _one_task(self) -> "Scene":
        if sum(source.task for source in self.sources) != 1:
            raise ValueError("exactly one source has `task: true`")
        unknown = [name for name in self.slots.values() if isinstance(name, str) and name not in lexicon()]
        if unknown:
            raise ValueError(f"slots name lists that the lexicon lacks: {unknown}")
        return self


class Drawn(NamedTuple):
    """One reading of a scene: every choice taken, every slot filled."""

    sources: tuple[tuple[Kind, bool, str], ...]
    request: str
    reach: tuple[str, ...]
    helpful: str
    control: str


@cache
def scenes() -> tuple[Scene, ...]:
    """All scenes, in the grid's order."""
    found = [
        scene for name in SCENARIO_TYPES for scene in read_scenes(Path(str(_DATA / "controlled" / f"{name}.yaml")))
    ]
    return tuple(sorted(found, key=lambda scene: _place(scene.cell)))


@cache
def scenes_digest() -> str:
    """What the pairs are drawn from: whatever is made of them is another thing once a scene is written otherwise."""
    return digest([scene.model_dump(mode="json") for scene in scenes()])


def read_scenes(path: Path) -> list[Scene]:
    """The scenes of one file, whose name is their scenario type.

    Raises:
        DiscretionError: a malformed scene (its number and field are said).
    """
    return read_bank(path, "scene", lambda row: Scene.model_validate({"scenario_type": path.stem, **row}))


def draw_scene(scene: Scene, rng: random.Random, *, tries: int = 8) -> Drawn:
    """One reading. Of `tries` wordings of each completion, the two most alike on the outside are taken.

    That is: nearest in length, and in how often they say the words that would tell the sides apart without
    meaning anything. So what differs between them is what they say.
    """
    slots = draw(scene.slots, lexicon(), rng)
    helpful = [_read_outside(realise(scene.helpful, slots, rng)) for _ in range(tries)]
    control = [_read_outside(realise(scene.control, slots, rng)) for _ in range(tries)]
    pairs = ((one, other) for one in helpful for other in control)
    (first, _), (second, _) = min(pairs, key=lambda both: _unlike(*both))
    return Drawn(
        sources=tuple((item.kind, item.task, realise(item.text, slots, rng)) for item in scene.sources),
        request=realise(scene.request, slots, rng),
        reach=tuple(realise(text, slots, rng) for text in scene.reach),
        helpful=first,
        control=second,
    )


_Outside = tuple[str, tuple[int, ...]]  # a text, and how often it says each of `_TELLTALES`


def _read_outside(text: str) -> _Outside:
    said = Counter(re.findall(r"\w+", text.casefold()))
    return text, tuple(said[word] for word in _TELLTALES)


def _unlike(one: _Outside, other: _Outside) -> int:
    told = sum(abs(ours - theirs) for ours, theirs in zip(one[1], other[1], strict=True))
    return abs(len(one[0]) - len(other[0])) + _TELLTALE_COST * told


def faults(scene: Scene, draws: int = 20) -> list[str]:
    """What breaks the promise of a scene in any of `draws` readings: see `Scene.reach`."""
    found: dict[str, None] = {}
    lengths = []
    for seed in range(draws):
        try:
            drawn = draw_scene(scene, random.Random(seed), tries=1)
        except (KeyError, IndexError) as error:
            return [f"cannot be drawn: slot {error}"]
        lengths.append((len(drawn.helpful), len(drawn.control)))
        found |= dict.fromkeys(broken_promises(drawn, scene.reach))
        texts = [drawn.request, drawn.helpful, drawn.control, *(text for _, _, text in drawn.sources)]
        if any(sign in text for sign in "{}|" for text in texts):
            found["a brace or a bar is left over"] = None
    ratio = sum(one for one, _ in lengths) / sum(other for _, other in lengths)
    if not LENGTHS[0] <= ratio <= LENGTHS[1]:
        found[f"helpful is {ratio:.2f} times as long as control"] = None
    return list(found)


def broken_promises(drawn: Drawn, names: Sequence[str]) -> list[str]:
    """What is wrong with one reading's `reach`, whose strings are called `names` in what is said."""
    found = []
    own = " ".join([drawn.request, drawn.control, *(text for _, task, text in drawn.sources if task)]).casefold()
    others = " ".join(text for _, task, text in drawn.sources if not task).casefold()
    for name, value in zip(names, drawn.reach, strict=True):
        low = value.casefold()
        if low not in others:
            found.append(f"reach {name} is not in the other sources")
        if low not in drawn.helpful.casefold():
            found.append(f"reach {name} is not in every helpful text")
        if low in own:
            found.append(f"reach {name} stands in control, request or the task's source")
    return found


def _place(cell: Cell) -> tuple[int, int, int]:
    return SCENARIO_TYPES.index(cell[0]), PATTERNS.index(cell[1]), VARIATIONS.index(cell[2])
