"""What every model can be asked, wherever it runs."""

from collections.abc import Sequence
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


class Model(Protocol):
    """A model under test.

    Attributes:
        name: as the user named it.
        fingerprint: hash of weights, tokenizer and chat template: equal only for models that answer alike.
        engine: what else the digits depend on: library, device, number format.
        window: how many tokens it can see.
    """

    name: str
    fingerprint: str
    engine: str
    window: int

    def count_tokens(self, prompt: str) -> int:
        """Length of the prompt in tokens, chat template included."""
        ...

    def option_logprobs(self, questions: Sequence[Question]) -> list[tuple[float, ...]]:
        """Natural-log probability of each option as the first token of the answer, question by question.

        The questions share a context: what their prompts have in common is computed once.

        Raises:
            DiscretionError: the model returned NaN.
        """
        ...

    def generate(self, prompt: str, sampling: Sampling) -> str:
        """The answer to a user message as text, special tokens left out; equal seeds give equal texts."""
        ...
