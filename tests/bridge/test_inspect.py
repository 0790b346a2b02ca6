"""Inspect as a carrier of models and of our tasks. Its mock model counts tokens with a table it would fetch: not here."""

import pytest

pytest.importorskip("inspect_ai")
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ModelAPI, ModelOutput, get_model

from discretion.bridge.tasks import act, probe
from discretion.elicit import ask_all, plan_act, plan_probe
from discretion.errors import DiscretionError
from discretion.judges.acts import MatchJudge
from discretion.models import load_models
from discretion.models.inspect import InspectModel
from discretion.records import RecordStore
from discretion.scenarios import choose, load_suite


@pytest.fixture(autouse=True)
def _counts_offline(monkeypatch):
    async def count(self, text):
        return len(text) // 4

    monkeypatch.setattr(ModelAPI, "count_text_tokens", count)


def mock(answer):
    return get_model(
        "mockllm/model",
        custom_outputs=lambda messages, *_: ModelOutput.from_content("mock", answer(messages[-1].text)),
    )


def scores(log):
    assert log.status == "success", log.error
    return {name: metric.value for name, metric in log.results.scores[0].metrics.items()}


def test_our_tasks_score_as_we_do(tmp_path):
    def run(task, answer):
        return inspect_eval(task, model=mock(answer), log_dir=str(tmp_path), display="none")[0]

    everything = scores(run(act(limit=6), lambda prompt: prompt))
    nothing = scores(run(act(limit=6), lambda prompt: "Hello."))
    assert everything == {"leak_rate": 1.0, "coverage": 1.0}
    assert nothing == {"leak_rate": 0.0, "coverage": 0.0}

    def yes(prompt):
        return "A" if "A. Yes" in prompt else "B"

    assert scores(run(probe(limit=3), yes)) == {"leak_rate": 1.0, "coverage": 1.0, "unknown": 0.0}
    assert scores(run(probe(limit=3), lambda prompt: "I would rather ask."))["unknown"] == 1.0


def test_inspect_finds_our_tasks():
    from importlib.metadata import entry_points

    assert "discretion.bridge.tasks" in {entry.value for entry in entry_points(group="inspect_ai")}


def test_a_model_that_inspect_reaches_is_asked_like_any_other(tmp_path):
    (model,), warnings = load_models(["inspect:mockllm/model"])
    assert "drawn answers" in warnings[0]
    model._model = mock(lambda prompt: "B" if "A. Yes" in prompt else "(A)")
    suite = choose(load_suite("builtin"), 2)
    with RecordStore(tmp_path / "r") as store:
        records = ask_all([model], plan_probe(suite), store)
    assert all(row.p_leak == pytest.approx(0.0, abs=1e-9) for row in records)
    with RecordStore(tmp_path / "a") as store:
        written = ask_all([model], plan_act(suite, MatchJudge()), store)
    assert written[0].text == "(A)"
    assert model.tokens_in > 0


def test_a_model_that_inspect_cannot_reach_is_an_error_in_a_line(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    for name in ("inspect:nobody/nothing", "inspect:anthropic/claude"):
        with pytest.raises(DiscretionError) as told:
            InspectModel(name)
        assert "\n" not in str(told.value)


def test_a_failed_call_is_recorded_as_an_error(tmp_path):
    (model,), _ = load_models(["inspect:mockllm/model"])

    def answer(prompt):
        raise RuntimeError("overloaded")

    model._model = mock(answer)
    with RecordStore(tmp_path / "r") as store:
        records = ask_all([model], plan_act(choose(load_suite("builtin"), 1), MatchJudge()), store)
    assert all(row.error and row.p_leak is None for row in records)
