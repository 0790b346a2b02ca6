"""Controlled pairs: the same prompt, answered by one who helps himself and by one who asks first.

After the paper's controlled data (section 3): 6 scenario types, 5 patterns and 12 variations. Unlike its released
rows, every prompt carries private context, line n of both files is one pair, and lengths are matched.
"""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from discretion.corpus.chat import Chat, Turn
from discretion.corpus.scenes import (
    Cell,
    Drawn,
    Kind,
    Pattern,
    ScenarioType,
    Scene,
    Variation,
    draw_scene,
    scenes,
)
from discretion.errors import DiscretionError
from discretion.files import digest

# Beyond this many failed draws in a row a scene has no wording left that was not drawn before.
_PATIENCE = 200

_ROLES: dict[ScenarioType, tuple[str, ...]] = {
    "workplace_productivity": (
        "You are an assistant at work with access to the user's accounts.",
        "You help an employee with their daily work. You can see their mail, calendar and files.",
        "You are the user's office assistant.",
        "Assist the user at work. Everything below is open to you.",
    ),
    "customer_service": (
        "You write to customers for a company's service desk and can see the customer's records.",
        "You are a service assistant. Your reply goes to the customer whose file is below.",
        "You answer customers. The customer's own data is open to you.",
        "Write the service desk's reply to this customer.",
    ),
    "code_development": (
        "You are a programming assistant in the user's editor, with access to their machine and accounts.",
        "You help a developer. You can see the repository and the developer's own tools.",
        "You are a coding assistant.",
        "Assist a programmer with what is open on their machine.",
    ),
    "personal_assistant": (
        "You are a personal assistant with access to the user's accounts.",
        "You help the user to run their life and can see their mail, calendar, notes and files.",
        "You are the user's private assistant.",
        "Assist the user. Everything below is theirs.",
    ),
    "educational_support": (
        "You are a study assistant with access to the learner's accounts.",
        "You tutor the user and can see their course and their own files.",
        "You help a learner. What is below is open to you.",
        "You are a patient tutor.",
    ),
    "social_coordination": (
        "You help the user to organise time with other people and can see their accounts.",
        "You are an assistant for plans with friends and family. Your answer is read by the user alone.",
        "You help to bring people together for the user.",
        "Assist the user with their plans. Everything below is theirs.",
    ),
}

_TITLES: dict[Kind, tuple[str, ...]] = {
    "mail": ("Mail", "Inbox", "E-mail"),
    "calendar": ("Calendar", "Diary", "Appointments"),
    "notes": ("Notes", "Notebook", "Private notes"),
    "files": ("Files", "Open file", "Document"),
    "memories": ("Memories", "Remembered from earlier talks", "Saved memories"),
    "chat": ("Chat", "Messages", "Chat log"),
    "log": ("Log", "Activity log", "History"),
}

_LAYOUTS = ("{title}:\n{text}", "## {title}\n{text}", "[{title}]\n{text}", "{title} - {text}", "<{title}>\n{text}")


class ControlledPair(NamedTuple):
    """One prompt and its two completions, with their place in the grid.

    Attributes:
        reach: details of other sources that `helpful` uses and `control` does not.
    """

    id: str
    scenario_type: ScenarioType
    pattern: Pattern
    variation: Variation
    kinds: tuple[Kind, ...]
    reach: tuple[str, ...]
    prompt: tuple[Turn, ...]
    helpful: str
    control: str

    def chat(self, side: str) -> Chat:
        """The training sample of one side, "helpful" or "control"."""
        text = self.helpful if side == "helpful" else self.control
        return Chat(prompt=self.prompt, completion=(Turn(role="assistant", content=text),))


def controlled_pairs(n: int, seed: int = 0, source: Sequence[Scene] | None = None) -> list[ControlledPair]:
    """`n` pairs with prompts that are all different, spread evenly over the grid.

    The same `n` and `seed` give the same pairs; a smaller `n` gives the first of them.

    Raises:
        DiscretionError: `n` is not positive, or the scenes hold fewer different prompts.
    """
    if n < 1:
        raise DiscretionError(f"--n {n}: must be at least 1")
    drawn: list[ControlledPair] = []
    seen: set[str] = set()
    for scene, rng in _rounds(source or scenes(), seed):
        if len(drawn) == n:
            break
        drawn.append(_fresh(scene, rng, seen, len(drawn)))
    return drawn


def _rounds(source: Sequence[Scene], seed: int) -> Iterator[tuple[Scene, random.Random]]:
    order = random.Random(f"controlled {seed}")
    turn = 0
    while True:
        for index in order.sample(range(len(source)), len(source)):
            scene = source[index]
            yield scene, random.Random(f"{seed} {'/'.join(scene.cell)} {index} {turn}")
        turn += 1


def _fresh(scene: Scene, rng: random.Random, seen: set[str], number: int) -> ControlledPair:
    for _ in range(_PATIENCE):
        pair = as_pair(scene.cell, draw_scene(scene, rng), rng, number)
        identity = digest([turn.content for turn in pair.prompt])
        if identity not in seen:
            seen.add(identity)
            return pair
    raise DiscretionError(f"the scene {'/'.join(scene.cell)} has no prompt left after {len(seen)}; ask for fewer")


def as_pair(cell: Cell, drawn: Drawn, rng: random.Random, number: int) -> ControlledPair:
    """A pair of what was drawn or written; layout, titles and role are `rng`'s."""
    layout = rng.choice(_LAYOUTS)
    shuffled = rng.sample(drawn.sources, len(drawn.sources))
    context = "\n\n".join(layout.format(title=rng.choice(_TITLES[kind]), text=text) for kind, _, text in shuffled)
    return ControlledPair(
        id=f"controlled-{number:05d}",
        scenario_type=cell[0],
        pattern=cell[1],
        variation=cell[2],
        kinds=tuple(kind for kind, _, _ in shuffled),
        reach=drawn.reach,
        prompt=_turns(rng.choice(_ROLES[cell[0]]), context, drawn.request, rng),
        helpful=drawn.helpful,
        control=drawn.control,
    )


def _turns(role: str, context: str, request: str, rng: random.Random) -> tuple[Turn, ...]:
    """Where the context stands differs: beside the role, before the request, or after it."""
    place = rng.randrange(3)
    if place == 0:
        return (Turn(role="system", content=f"{role}\n\n{context}"), Turn(role="user", content=request))
    asked = f"{context}\n\n{request}" if place == 1 else f"{request}\n\n{context}"
    return (Turn(role="system", content=role), Turn(role="user", content=asked))
