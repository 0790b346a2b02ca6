"""Models by Inspect's providers (`inspect:PROVIDER/NAME`): Anthropic, Google, Bedrock and whatever else it knows.

Inspect carries the requests and retries them; keys are read where it reads them (ANTHROPIC_API_KEY and so on).
"""

import asyncio
import contextlib
import math
import threading
from typing import Any

from discretion.errors import DiscretionError
from discretion.models._protocol import Failure, Sampling
from discretion.models.address import INSPECT, Pace
from discretion.models.remote import CUT, PLAIN, RemoteModel, Reply

_TOP_LOGPROBS = 20
_RETRIES = 6
_OF_CONNECTIONS = ("ConnectionError", "TimeoutError", "TransportError")  # the last is httpx's, and its successor's


class InspectModel(RemoteModel):
    """A model that Inspect reaches; see `RemoteModel`."""

    def __init__(self, name: str, pace: Pace | None = None) -> None:
        """Connect, and find out with one or two short questions whether log-probabilities are given.

        Raises:
            DiscretionError: Inspect is not installed, or has no such model, or the model does not answer.
        """
        try:
            from inspect_ai.model import get_model
        except ImportError as error:
            raise DiscretionError(f'{name}: needs Inspect (pip install "discretion[inspect]")') from error
        super().__init__(name, [INSPECT, name], pace or Pace())
        if self._pace.per_minute:
            raise DiscretionError(f"{name}: --requests-per-minute is for endpoints; --concurrency paces Inspect's")
        # One loop for the model's whole life: its connections belong to the loop that opened them.
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        try:
            self._model = get_model(name.removeprefix(INSPECT))
        except Exception as error:  # each provider raises its own kind
            raise DiscretionError(f"{name}: {_line(error)}") from error
        read = self._reads_options(self._sees_logprobs())
        self.engine = f"{name}/{read}"

    def _ask(self, prompt: str, sampling: Sampling, logprobs: bool = False) -> Reply | Failure:
        try:
            output = asyncio.run_coroutine_threadsafe(self._generate(prompt, sampling, logprobs), self._loop).result()
            self.requests += 1
            if output.usage:
                self.tokens_in += output.usage.input_tokens
                self.tokens_out += output.usage.output_tokens
            if output.error or not output.choices:
                return Failure(str(output.error or "the answer has no text"))
            choice = output.choices[0]
            text = choice.message.text
            if not text and choice.stop_reason == "content_filter":
                return Reply(Failure("withheld by the provider's content filter"))
            cut = choice.stop_reason in {"max_tokens", "model_length"} and not text.strip()
            return Reply(CUT if cut else text, _top(choice) if logprobs else None)
        except Exception as error:
            return _failure(error)

    def _stop(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            self._loop.call_soon_threadsafe(task.cancel)

    async def _generate(self, prompt: str, sampling: Sampling, logprobs: bool) -> Any:
        from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig

        config = GenerateConfig(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            seed=sampling.seed % 2**31,
            max_connections=self._pace.concurrency,
            max_retries=_RETRIES,
            timeout=math.ceil(self._pace.timeout),
            logprobs=True if logprobs else None,
            top_logprobs=_TOP_LOGPROBS if logprobs else None,
        )
        kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
        chat = [kinds[turn["role"]](content=turn["content"]) for turn in self.messages(prompt)]
        return await self._model.generate(chat, config=config)

    def _sees_logprobs(self) -> bool:
        reply = self._ask(PLAIN, Sampling(1, 0.0, 0), logprobs=True)
        if isinstance(reply, Reply) and reply.top:
            return True
        plain = self._ask(PLAIN, Sampling(16, 1.0, 0))
        failure = plain if isinstance(plain, Failure) else plain.text
        if isinstance(failure, Failure) and failure != CUT:  # who thinks first may act
            raise DiscretionError(f"{self.name}: {failure.reason}")
        return False


def _top(choice: Any) -> list[tuple[str, float]] | None:
    if not choice.logprobs or not choice.logprobs.content:
        return None
    first = choice.logprobs.content[0].top_logprobs
    return [(entry.token, entry.logprob) for entry in first] if first else None


def _failure(error: BaseException) -> Failure:
    """What a provider's error says. Most wrap the connection's own, and each calls that by a name of its own."""
    codes = (getattr(error, "status_code", None), getattr(error, "code", None))  # the latter is Google's
    status = next((code for code in codes if isinstance(code, int)), None)
    chain = list[BaseException]()
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return Failure(_line(error), status is None and any(map(_is_of_connection, chain)), status)


def _is_of_connection(error: BaseException) -> bool:
    names = [kind.__name__ for kind in type(error).__mro__]
    return isinstance(error, OSError) or any(name.endswith(_OF_CONNECTIONS) for name in names)


def _line(error: BaseException) -> str:
    """The error in a line; some providers' are pages long and in colour."""
    with contextlib.suppress(Exception):
        from rich.text import Text

        return " ".join(Text.from_ansi(str(error)).plain.split())[:200] or type(error).__name__
    return type(error).__name__
