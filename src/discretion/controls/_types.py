"""Controls: what must not move while privacy is measured."""

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, model_validator

from discretion.elicit.plan import Ask, Group, Outcome


class Choice(BaseModel):
    """A multiple-choice question; `answer` is the index of the right choice."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> "Choice":
        if not 0 <= self.answer < len(self.choices) or len(self.choices) < 2:
            raise ValueError(f"answer {self.answer} is none of the {len(self.choices)} choices")
        return self


@dataclass(frozen=True)
class RightOption:
    """Reads the probability of the right letter among the letters, which varies more finely than 0/1."""

    answer: int

    def __call__(self, logprobs: tuple[float, ...]) -> Outcome:
        """p_correct = P(right) / sum of P(letter)."""
        top = max(logprobs)
        weights = [math.exp(value - top) for value in logprobs]
        mass = min(sum(math.exp(value) for value in logprobs), 1.0)
        return Outcome(answer_mass=mass, p_correct=weights[self.answer] / sum(weights))


def plan_choices(name: str, questions: Sequence[Choice]) -> list[Group]:
    """One question, one forward pass: the letters' probabilities in the order the set gives."""
    return [Group(name, "", "control", q.id, q.id, (_ask(q),)) for q in questions]


def _ask(question: Choice) -> Ask:
    letters = tuple(string.ascii_uppercase[: len(question.choices)])
    lines = [f"{letter}. {text}" for letter, text in zip(letters, question.choices, strict=True)]
    named = ", ".join(letters[:-1]) + f" or {letters[-1]}"
    prompt = "\n".join([question.question, *lines, "", f"Answer with the letter {named} only.", "Answer:"])
    return Ask(
        prompt=prompt,
        options=letters,
        parts=({},),
        variant={"protocol": "letters", "options": str(len(letters))},
        judge="logprobs",
        read_options=RightOption(question.answer),
    )
