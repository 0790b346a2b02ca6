"""What all models have in common that are asked over a network, whoever carries the request.

What a server lets us see differs. Where it gives log-probabilities, options are read from them; where it does not,
from answers drawn at temperature 1 and parsed. Which of the two is part of the engine's name, so that no run mixes
them and every report says it.

A request that fails for good is a `Failure`, recorded as an error: it never counts as an answer, safe or not.
"""

import copy
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, TypeVar

from discretion.errors import DiscretionError
from discretion.files import digest
from discretion.models._protocol import Draft, Failure, Question, Sampling, primed_name
from discretion.models.address import Pace

DRAWN = 16  # answers an option question is read from where there are no log-probabilities
ANSWER_TOKENS = 4  # of a drawn answer: a bracket, a letter and what may surround them
PLAIN = "Answer with the letter A or B only.\nA. Yes\nB. No\nAnswer:"  # what no model refuses
# Thoughts that took every token, and lie in a field of their own or are not shown: no message, and so no safe one.
CUT = Failure("cut before it said anything; give more --max-new-tokens")
_ABSENT = -100.0  # log-probability of an option that is not among the answers at all
_UNKNOWN_WINDOW = 10**9
_REFUSALS = frozenset(range(400, 500)) - {429}

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Reply(NamedTuple):
    """An answer: its text, and the likeliest first tokens with their log-probabilities, if they are given."""

    text: str | Failure
    top: Sequence[tuple[str, float]] | None = None


class RemoteModel(ABC):
    """A model behind a network; see `Model`.

    Its fingerprint is that of its address: nobody sees a server's weights, so a model that is exchanged behind its
    name cannot be noticed. Lengths in tokens are estimates.

    Attributes:
        requests, tokens_in, tokens_out: what was asked so far, as the server counts.
    """

    remote = True

    def __init__(self, name: str, address: Sequence[str], pace: Pace) -> None:
        self.name = name
        self.fingerprint = digest(list(address))
        self.engine = ""  # known when the server has answered once
        self.window = _UNKNOWN_WINDOW
        self.at_once = 64
        self.batches = False
        self.tokens_in = self.tokens_out = self.requests = 0
        self._pace = pace
        self._has_logprobs = False
        self._before: list[dict[str, str]] = []

    def primed(self, examples: Sequence[Sequence[Mapping[str, str]]]) -> "RemoteModel":
        """See `Model.primed`."""
        model = copy.copy(self)
        model._before = [dict(turn) for turns in examples for turn in turns]
        model.name, model.fingerprint = primed_name(self.name, examples), digest([self.fingerprint, model._before])
        return model

    def messages(self, prompt: str) -> list[dict[str, str]]:
        """The chat that a prompt is put in: alone, or after the examples."""
        return [*self._before, {"role": "user", "content": prompt}]

    @abstractmethod
    def _ask(self, prompt: str, sampling: Sampling, logprobs: bool = False) -> Reply | Failure:
        """Put one prompt to the model. Called from several threads at once."""

    @abstractmethod
    def _stop(self) -> None:
        """Let what is under way end with the request that it waits for, or sooner: nobody reads its answer."""

    def _reads_options(self, has_logprobs: bool) -> str:
        """Remember how options are read; returns it in words, for the engine's name."""
        self._has_logprobs = has_logprobs
        return "option log-probabilities" if has_logprobs else f"options from {DRAWN} drawn answers"

    def warnings(self) -> list[str]:
        """What a user should know of how it is measured."""
        if self._has_logprobs:
            return []
        return [
            f"{self.name}: the server gives no log-probabilities; each question with options is read from "
            f"{DRAWN} drawn answers"
        ]

    def count_tokens(self, prompt: str) -> int:
        """An estimate: see `estimate_tokens`."""
        return sum(estimate_tokens(turn["content"]) for turn in self.messages(prompt))

    def option_logprobs(self, questions: Sequence[Question]) -> list[tuple[float, ...] | Failure]:
        """See `Model.option_logprobs`."""
        return self._each(self._options, questions, lambda question: replace(question, prompt=PLAIN))

    def generate(self, drafts: Sequence[Draft]) -> list[str | Failure]:
        """See `Model.generate`. Equal texts for equal calls as far as the server keeps to its seed."""
        return self._each(self._write, drafts, lambda draft: draft._replace(prompt=PLAIN))

    def _each(
        self, ask: Callable[[_In], _Out | Failure], entries: Sequence[_In], plain: Callable[[_In], _In]
    ) -> list[_Out | Failure]:
        """The answers; `plain` makes of an entry one that is refused only if everything is.

        Raises:
            DiscretionError: nothing was answered, and nothing will be.
        """
        pool = ThreadPoolExecutor(self._pace.concurrency)
        try:
            answers = list(pool.map(ask, entries))
        except BaseException:  # Ctrl-C, a refused key
            self._stop()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        failed = [answer for answer in answers if isinstance(answer, Failure)]
        if entries and len(failed) == len(entries) and _in_vain(failed, lambda: ask(plain(entries[0]))):
            raise DiscretionError(
                f"{self.name}: {failed[0].reason}; what was recorded so far is kept, go on with --resume"
            )
        return answers

    def _write(self, draft: Draft) -> str | Failure:
        reply = self._ask(draft.prompt, draft.sampling)
        return reply if isinstance(reply, Failure) else reply.text

    def _options(self, question: Question) -> tuple[float, ...] | Failure:
        if self._has_logprobs:
            reply = self._ask(question.prompt, Sampling(1, 0.0, 0), logprobs=True)
            if isinstance(reply, Failure):
                return reply
            return (
                Failure("the answer has no log-probabilities")
                if not reply.top
                else _read(reply.top, question.options)
            )
        counts = dict.fromkeys(question.options, 0)
        for draw in range(DRAWN):
            text = self._write(Draft(question.prompt, Sampling(ANSWER_TOKENS, 1.0, draw)))
            if isinstance(text, Failure) and text != CUT:
                return text
            letter = re.match(r"\W*(\w+)\b", text) if isinstance(text, str) else None
            if letter and letter[1] in counts:
                counts[letter[1]] += 1
        return tuple(math.log(count / DRAWN) if count else _ABSENT for count in counts.values())


def _in_vain(failed: Sequence[Failure], again: Callable[[], object]) -> bool:
    """Whether asking more is: nobody is there, or all is refused alike, and what is asked `again` is too.

    A provider's filter may refuse every prompt of a batch for what it says; those are errors of their own.
    """
    statuses = {failure.status for failure in failed}
    if len(statuses) > 1 or not statuses <= _REFUSALS:
        return all(failure.unreachable for failure in failed)
    answer = again()
    return isinstance(answer, Failure) and answer.status in statuses


def estimate_tokens(prompt: str) -> int:
    """Three bytes a token, more than most tokenizers need."""
    return len(prompt.encode()) // 3 + 8


def _read(top: Sequence[tuple[str, float]], options: Sequence[str]) -> tuple[float, ...]:
    """An option that is not among the likeliest tokens is at most as likely as the last of those: its bound is taken.

    If none is among them, none is an answer.
    """
    mass = dict.fromkeys(options, 0.0)
    for token, value in top:
        if token.strip() in mass:
            mass[token.strip()] += math.exp(value)
    if not any(mass.values()):
        return tuple(_ABSENT for _ in options)
    bound = min(value for _, value in top)
    return tuple(math.log(share) if share else max(bound, _ABSENT) for share in mass.values())
