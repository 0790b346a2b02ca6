"""What a run would take, and what it took."""

import pytest
from typer.testing import CliRunner

from discretion import gate
from discretion.cli import app
from discretion.errors import DiscretionError
from discretion.estimate import Price, Work, estimate, parse_price
from discretion.models import load_models


def test_a_dry_run_asks_nothing_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    words = ["check", "openai/gpt-x", "openai/ft:gpt-x", "--suite", "builtin", "--limit", "10", "--control", "questions",
             "--dry-run", "--price", "0.5,1.5"]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert result.output.count("requests, about") == 2
    assert "$" in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_estimate_is_the_plans(tiny, adapter, scenario_file, tmp_path):
    settings = {"suites": [str(scenario_file)], "elicit": ["act"], "limit": 5, "controls": ["questions"],
                "max_new_tokens": 8, "samples": 2}  # fmt: skip
    (work, same) = gate.dry_run(["a", "b"], **settings)
    assert (work.requests, work.tokens_out) == (5 * 2 + 320, 5 * 2 * 8 + 320)
    assert same == work._replace(model="b")
    *_, judge = gate.dry_run(["a", "b"], judge="c", **settings)
    assert judge.requests == 2 * 5 * 2 * (2 * 2 + 1)
    assert work.cost(Price(1.0, 2.0)) == pytest.approx((work.tokens_in + 2 * work.tokens_out) / 1e6)


def test_drawn_answers_cost_sixteen_times(scenario_file):
    from discretion.elicit import plan_probe
    from discretion.scenarios import load_suite

    groups = plan_probe(load_suite(str(scenario_file)))
    assert estimate("m", groups, drawn=True).requests == 16 * estimate("m", groups).requests


@pytest.mark.parametrize("price", ["1", "a,b", "1,-2", "1,2,3"])
def test_a_wrong_price_is_told(price):
    with pytest.raises(DiscretionError, match="--price"):
        parse_price(price)


def test_what_servers_count_is_kept_and_adds_up_over_a_resume(scenario_file, tmp_path, monkeypatch):
    pytest.importorskip("inspect_ai")
    from inspect_ai.model import ModelAPI

    async def count(self, text):
        return len(text) // 4

    monkeypatch.setattr(ModelAPI, "count_text_tokens", count)
    settings = {"suites": [str(scenario_file)], "elicit": ["act"], "controls": ["none"], "out": tmp_path / "run"}
    first = gate.evaluate("inspect:mockllm/model", limit=2, **settings).usage["inspect:mockllm/model"]
    second = gate.evaluate("inspect:mockllm/model", limit=5, resume=True, **settings).usage["inspect:mockllm/model"]
    asked = load_models(["inspect:mockllm/model"])[0][0].requests  # to find out what the server can do
    assert first["requests"] == asked + 2
    assert second["requests"] == first["requests"] + asked + 3
    assert second["tokens_in"] > first["tokens_in"] > 0
    assert Work("m", **second).cost(Price(0, 0)) == 0
