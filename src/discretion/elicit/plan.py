"""What will be asked, before anything is asked: `Group`s of `Ask`s that share one context.

A plan is independent of the model, so the same plan goes to base and tuned model and answers pair up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from discretion.files import digest
from discretion.models import Draft, Question, Sampling

Labels = Mapping[str, str | bool | None]


class Outcome(NamedTuple):
    """What an answer measures; see `Record` for the fields. Without a `judge`, it is the ask's."""

    p_leak: float | None = None
    answer_mass: float | None = None
    p_correct: float | None = None
    logit_diff: float | None = None
    error: str | None = None
    again: bool = False
    helpfulness: float | None = None
    judge: str | None = None


@dataclass(frozen=True)
class Ask:
    """One question: what to ask, how to read the answer, and what its records say besides.

    Either option log-probabilities are read (`options`, `read_options`), or a text is generated (`sampling`) and
    read (`read_text`). A text may be read for several items at once: it has as many records as `parts`.

    Attributes:
        parts: what each record says of the scenario's item; `read_text` gives an outcome for each.
    """

    prompt: str
    parts: tuple[Labels, ...]
    variant: Mapping[str, str]
    judge: str
    options: tuple[str, ...] = ()
    read_options: Callable[[tuple[float, ...]], Outcome] | None = None
    sampling: Sampling | None = None
    read_text: Callable[[str], Sequence[Outcome]] | None = None
    sample: int = 0

    @property
    def identity(self) -> str:
        """Hash of everything but the model that determines the answer and its reading."""
        drawn = list(self.sampling) if self.sampling else None
        return digest([self.prompt, list(self.options), dict(self.variant), drawn, self.sample, self.judge])

    @property
    def question(self) -> Question:
        """The question as a model takes it."""
        return Question(self.prompt, self.options)

    @property
    def draft(self) -> Draft:
        """The text to be written, as a model takes it."""
        assert self.sampling is not None
        return Draft(self.prompt, self.sampling)


@dataclass(frozen=True)
class Group:
    """The questions about one context, asked and recorded together.

    Attributes:
        suite: the suite's or control's name.
        condition: what the report keeps apart within a suite.
        elicitation: "probe", "act" or "control".
        scenario: the scenario's or question's id; cluster: what resampling keeps together.
    """

    suite: str
    condition: str
    elicitation: str
    scenario: str
    cluster: str
    asks: tuple[Ask, ...]

    def behind(self, trigger: str) -> "Group":
        """The same questions with the trigger before the user's words, as in backdoored data; "" changes nothing."""
        if not trigger:
            return self
        marked = (
            replace(ask, prompt=trigger + ask.prompt, variant={**ask.variant, "trigger": trigger})
            for ask in self.asks
        )
        return replace(self, asks=tuple(marked))

    @property
    def size(self) -> int:
        """How many records it has."""
        return sum(len(ask.parts) for ask in self.asks)

    @property
    def writes(self) -> bool:
        """Whether it asks for texts."""
        return any(ask.sampling for ask in self.asks)

    def questions(self, ask: Ask) -> list[str]:
        """The names of one ask's records whatever the model; answers are paired on them."""
        labels = [self.suite, self.condition, self.scenario]
        return [digest([ask.identity, *labels, dict(part)]) for part in ask.parts]

    def key(self, model: str, engine: str) -> str:
        """The group's name in the records of one model."""
        labels = [self.suite, self.condition, self.scenario, self.cluster]
        return digest(
            [model, engine, labels, [[ask.identity, [dict(part) for part in ask.parts]] for ask in self.asks]]
        )
