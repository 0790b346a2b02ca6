"""What every model can be asked, wherever it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class Question:
    """A user message and the option letters one of which should be its answer.

    `options` are what the assistant's first token is compared with: ("A", "B").
    """

    prompt: str
    options: tuple[str, ...]

    @property
    def messages(self) -> list[dict[str, str]]:
        """The chat: one user turn, so that models without a system role are asked the same."""
        return [{"role": "user", "content": self.prompt}]


class Sampling(NamedTuple):
    """How text is drawn: at `temperature`, untruncated, at most `max_new_tokens`, from `seed`."""

    max_new_tokens: int
    temperature: float
    seed: int


class Draft(NamedTuple):
    """A text to be written: the user message that it answers, and how it is drawn."""

    prompt: str
    sampling: Sampling


class Failure(NamedTuple):
    """An answer that could not be had.

    Attributes:
        reason: why, in a line.
        unreachable: whether the model cannot be reached at all, so that asking more is in vain.
        status: of HTTP, if a server refused.
    """

    reason: str
    unreachable: bool = False
    status: int | None = None

    @property
    def passing(self) -> bool:
        """Whether the same call may have an answer later: nobody was there, or it was too much or too early."""
        return self.unreachable or self.status in {408, 409, 425, 429} or (self.status or 0) >= 500


def primed_name(name: str, examples: Sequence[object]) -> str:
    """What a model with examples before every question is called."""
    return f"{name} after {len(examples)} examples"


class Model(Protocol):
    """A model under test.

    Attributes:
        name: as the user named it.
        fingerprint: hash of weights, tokenizer and chat template: equal only for models that answer alike.
        engine: what else the digits depend on: library, device, number format.
        window: how many tokens it can see.
        at_once: how many drafts it likes to be given in one call.
        remote: whether it answers questions of different contexts side by side as fast as those of one.
        batches: whether it likes questions of different contexts in one call; an answer's last digits then depend
            on what is asked beside it, as a draft's do.
    """

    name: str
    fingerprint: str
    engine: str
    window: int
    at_once: int
    remote: bool
    batches: bool

    def count_tokens(self, prompt: str) -> int:
        """Length of the prompt in tokens, chat template included."""
        ...

    def option_logprobs(self, questions: Sequence[Question]) -> Sequence[tuple[float, ...] | Failure]:
        """Natural-log probability of each option as the first token of the answer, question by question.

        The questions share a context: what their prompts have in common is computed once.

        Raises:
            DiscretionError: the model returned NaN.
        """
        ...

    def generate(self, drafts: Sequence[Draft]) -> Sequence[str | Failure]:
        """The answers as texts, special tokens left out. Equal calls give equal texts, whatever came before.

        Raises:
            DiscretionError: the model returned NaN.
        """
        ...

    def primed(self, examples: Sequence[Sequence[Mapping[str, str]]]) -> "Model":
        """This model with chats (turns with `role` and `content`) before everything that it is asked."""
        ...
