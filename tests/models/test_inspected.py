"""What Inspect hands on of its providers' answers and troubles. Its mock model counts tokens with a table: not here."""

import pytest

pytest.importorskip("inspect_ai")
from inspect_ai.model import ModelAPI, ModelOutput, get_model

from discretion.models import Draft, Failure, Sampling
from discretion.models.inspect import InspectModel

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
