"""What Inspect hands on of its providers' answers and troubles. Its mock model counts tokens with a table: not here."""

import asyncio
import threading

import httpx
import pytest

pytest.importorskip("inspect_ai")
from inspect_ai.model import ModelAPI, ModelOutput, get_model

from discretion.errors import DiscretionError
from discretion.models import Draft, Failure, Sampling
from discretion.models.inspect import InspectModel, _failure

DRAFTS = [Draft(f"Write number {index}.", Sampling(50, 0.0, index)) for index in range(3)]


@pytest.fixture
def asked(monkeypatch):
    """A model whose provider gives `answer(prompt)`: an output, or an error to raise."""

    async def count(self, text):
        return len(text) // 4

    monkeypatch.setattr(ModelAPI, "count_text_tokens", count)

    def made(answer):
        def output(messages, *_):
            said = answer(messages[-1].text)
            if isinstance(said, BaseException):
                raise said
            return said

        mock = get_model("mockllm/model", custom_outputs=output, memoize=False)
        monkeypatch.setattr("inspect_ai.model.get_model", lambda name: mock)
        return InspectModel("inspect:mockllm/model")

    return made


def said(text, reason="stop"):
    return ModelOutput.from_content("mock", text, stop_reason=reason)


@pytest.mark.parametrize("reason", ["max_tokens", "model_length"])
def test_what_is_cut_inside_its_thoughts_is_no_safe_message(asked, reason):
    model = asked(lambda prompt: said("", "stop" if "number 1" in prompt else reason))
    cut, silent, _ = model.generate(DRAFTS)
    assert isinstance(cut, Failure)
    assert "--max-new-tokens" in cut.reason
    assert silent == ""


class APIConnectionError(Exception):
    """As openai and anthropic call it."""


class RefusalError(Exception):
    def __init__(self, status_code):
        super().__init__(f"refused with {status_code}")
        self.status_code = status_code


def wrapped(inner):
    """As the providers' clients raise what the connection's library did."""
    try:
        raise RuntimeError("Connection error.") from inner
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("nobody there"),
        wrapped(httpx.ReadTimeout("too long")),
        APIConnectionError("Connection error."),
        wrapped(ConnectionResetError()),
        RefusalError(404),
    ],
)
def test_a_provider_that_is_gone_stops_the_run(asked, trouble):
    troubles = []
    model = asked(lambda prompt: troubles[0] if troubles else said("A"))
    troubles.append(trouble)
    with pytest.raises(DiscretionError, match="--resume"):
        model.generate(DRAFTS)


@pytest.mark.parametrize("trouble", [RuntimeError("overloaded"), RefusalError(429), RefusalError(400)])
def test_other_troubles_are_errors_of_their_own(asked, trouble):
    model = asked(lambda prompt: trouble if prompt.startswith("Write") else said("A"))
    assert all(isinstance(failure, Failure) for failure in model.generate(DRAFTS))


def test_an_error_that_names_itself_as_its_cause_is_read_once():
    error = RuntimeError("overloaded")
    error.__cause__ = error
    assert _failure(error) == Failure("overloaded")


def test_a_stopped_run_waits_no_more(asked):
    async def late(*_, **__):
        begun.release()
        await asyncio.sleep(60)

    begun = threading.Semaphore(0)
    model = asked(lambda prompt: said("A"))
    model._model.generate = late
    answers = []
    asking = threading.Thread(target=lambda: answers.extend(model.generate(DRAFTS)))
    asking.start()
    assert all(begun.acquire(timeout=5) for _ in DRAFTS)
    model._stop()
    asking.join(5)
    assert not asking.is_alive()
    assert all(isinstance(answer, Failure) for answer in answers)
