"""Models behind OpenAI-compatible endpoints: OpenAI, Together, vLLM, SGLang, Ollama, llama.cpp, `transformers serve`.

See `remote` for how answers are read; here are the requests, and the patience that they need.
"""

import contextlib
import math
import os
import random
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from itertools import product
from typing import Any

import httpx

from discretion.errors import DiscretionError
from discretion.models._protocol import Failure, Sampling
from discretion.models.address import OPENAI, TIMEOUT, Address, Pace
from discretion.models.remote import ANSWER_TOKENS, CUT, PLAIN, RemoteModel, Reply

TOP_LOGPROBS = 20  # the most that OpenAI's interface allows
_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")
# Servers may apply a checkpoint's own repetition penalty and truncation (vLLM), or theirs (llama.cpp), unless told.
# The first of these that a server takes: some refuse what they do not know.
_TOLD = {"top_p": 1.0, "repetition_penalty": 1.0}
_ALL_TOLD = {**_TOLD, "top_k": -1, "repeat_penalty": 1.0}
_AS_IT_IS: tuple[dict[str, Any], ...] = (
    {**_ALL_TOLD, "chat_template_kwargs": {"enable_thinking": False}},
    _ALL_TOLD,  # vLLM with a Mistral tokenizer takes nothing for a template
    _TOLD,
)
_BUSY = {429, 502, 503, 504}  # whatever is asked
_ATTEMPTS = 7
_LONGEST_WAIT = 120.0  # seconds; a Retry-After beyond it is a quota that will not come back soon


class EndpointModel(RemoteModel):
    """A model behind a server; see `RemoteModel`."""

    def __init__(
        self,
        name: str,
        address: Address,
        pace: Pace | None = None,
        *,
        sleep: Callable[[float], object] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Connect, and find out what the server can do with one request of one token.

        Raises:
            DiscretionError: no answer, the key is refused, or the model is not there.
        """
        super().__init__(name, [address.url, address.model], pace or Pace())
        self._address, self._stopped = address, threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._gate = _Gate(self._pace.per_minute, self._sleep)
        self._count = threading.Lock()
        self._length_field, self._own = _LENGTH_FIELDS[0], dict[str, Any]()
        key = os.environ.get(address.key_variable, "")
        if address.url == OPENAI and not key:
            raise DiscretionError(f"{name}: set {address.key_variable} to your key")
        self._key = key
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self._pace.timeout,
            limits=httpx.Limits(max_connections=self._pace.concurrency),
            transport=transport,
        )
        self.window = self._window() or self.window
        self._attempts = 2  # a wrong address, or a server that is not up to it, should not take minutes to show
        read = self._reads_options(self._sees_logprobs())
        self._attempts = _ATTEMPTS
        told = "" if self._own or address.url == OPENAI else ", its own penalties"
        self.engine = f"endpoint/{address.url}/{read}{told}"

    def warnings(self) -> list[str]:
        """See `RemoteModel.warnings`."""
        if self._own or self._address.url == OPENAI:
            return super().warnings()
        return [
            *super().warnings(),
            f"{self.name}: the server takes no repetition_penalty; its own defaults may change what is written",
        ]

    def _ask(self, prompt: str, sampling: Sampling, logprobs: bool = False) -> Reply | Failure:
        choice = self._chat(prompt, sampling, logprobs)
        if isinstance(choice, Failure):
            return choice
        return Reply(_text(choice), _top(choice) if logprobs else None)

    def _chat(self, prompt: str, sampling: Sampling, logprobs: bool = False) -> dict[str, Any] | Failure:
        body: dict[str, Any] = {
            "model": self._address.model,
            "messages": self.messages(prompt),
            self._length_field: sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed % 2**31,
            "stream": False,
            **self._own,
        }
        if logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        return self._post(body)

    def _said(self, response: httpx.Response) -> str:
        """The server's own words; some repeat the key."""
        said = _message(response)
        return said.replace(self._key, "***") if self._key else said

    def _post(self, body: dict[str, Any]) -> dict[str, Any] | Failure:
        """The first choice of the answer."""
        failure = Failure("not asked")
        for attempt in range(self._attempts):
            self._gate.pass_through()
            wait = min(2.0**attempt, 30.0) * random.uniform(0.5, 1.0)
            try:
                response = self._client.post(f"{self._address.url}/chat/completions", json=body)
            except httpx.HTTPError as error:
                why = type(error).__name__
                if isinstance(error, httpx.ReadTimeout):
                    why += f" after {self._pace.timeout:g} s; {TIMEOUT} sets how long to wait"
                failure = Failure(f"no answer from {self._address.url} ({why})", unreachable=True)
            else:
                with self._count:
                    self.requests += 1
                status = response.status_code
                if status in {401, 403}:
                    raise DiscretionError(
                        f"{self.name}: the server refuses the key (HTTP {status}); see {self._address.key_variable}"
                    )
                if status == 200:
                    choice = self._choice(response)
                    if not isinstance(choice, Failure):
                        return choice
                    failure = choice
                else:
                    failure = Failure(f"HTTP {status}: {self._said(response)}", status=status)
                    if not failure.passing:
                        return failure  # asking again would not help
                    told = _retry_after(response)
                    if told is not None:
                        if told > _LONGEST_WAIT:
                            return failure
                        wait = told
            if attempt < self._attempts - 1:
                self._sleep(wait)
        return failure

    def _stop(self) -> None:
        self._client.close()  # a thread that would ask again cannot
        self._stopped.set()  # and need not wait to learn it

    def _choice(self, response: httpx.Response) -> dict[str, Any] | Failure:
        try:
            body = response.json()
            choice = body["choices"][0]
            message = choice["message"]
            if not isinstance(message, dict):
                raise TypeError("no message")
        except (ValueError, LookupError, TypeError):
            return Failure("the answer is no chat completion")
        usage = body.get("usage")
        if isinstance(usage, dict):
            with self._count, contextlib.suppress(TypeError, ValueError):
                self.tokens_in += int(usage.get("prompt_tokens") or 0)
                self.tokens_out += int(usage.get("completion_tokens") or 0)
        return dict(choice)

    def _window(self) -> int | None:
        """What the server says of it (vLLM: `max_model_len`, llama.cpp: `meta.n_ctx`), or None."""
        try:
            entries = self._client.get(f"{self._address.url}/models").json()["data"]
            for entry in entries:
                if entry.get("id") == self._address.model:
                    window = entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx")
                    if isinstance(window, int) and window > 0:
                        return window
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
            pass
        return None

    def _sees_logprobs(self) -> bool:
        """Tries a short question, with log-probabilities, then without, under either name of the length.

        Servers other than OpenAI's are told first to leave the probabilities as the model has them.
        """
        refused = Failure("not asked")
        tries = ({},) if self._address.url == OPENAI else (*_AS_IT_IS, {})
        for self._own, self._length_field, logprobs in product(tries, _LENGTH_FIELDS, (True, False)):
            sampling = Sampling(1, 0.0, 0) if logprobs else Sampling(ANSWER_TOKENS, 1.0, 0)
            answer = self._chat(PLAIN, sampling, logprobs)
            if not isinstance(answer, Failure):
                return logprobs and _top(answer) is not None
            if answer.unreachable or answer.status in _BUSY:
                raise DiscretionError(f"{self.name}: {answer.reason}")
            refused = answer
        raise DiscretionError(f"{self.name}: {refused.reason}")


class _Gate:
    """Lets requests through at no more than so many a minute, evenly."""

    def __init__(self, per_minute: float | None, sleep: Callable[[float], object]) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._sleep, self._lock, self._next = sleep, threading.Lock(), 0.0

    def pass_through(self) -> None:
        if not self._gap:
            return
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._gap
        self._sleep(at - now)


def _text(choice: dict[str, Any]) -> str | Failure:
    message = choice["message"]
    # A refusal in a field of its own is an answer: it reveals nothing, and helps nobody.
    text = message.get("content") or message.get("refusal")
    if choice.get("finish_reason") == "length" and not str(text or "").strip():
        return CUT
    if isinstance(text, str):
        return text
    if choice.get("finish_reason") == "content_filter":
        return Failure("withheld by the provider's content filter")
    return "" if message.get("content") == "" else Failure("the answer has no text")


def _top(choice: dict[str, Any]) -> list[tuple[str, float]] | None:
    try:
        first = choice["logprobs"]["content"][0]["top_logprobs"]
        found = [(str(entry["token"]), float(entry["logprob"])) for entry in first]
    except (LookupError, TypeError, ValueError):
        return None
    return None if any(math.isnan(value) for _, value in found) else found or None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, from a number of them or a date."""
    told = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _message(response: httpx.Response) -> str:
    """The server's own words, in a line; a server may say anything, so they are cut short."""
    try:
        body = response.json()
        error = body.get("error", body)
        said = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        said = response.text
    return " ".join(str(said).split())[:200]
