"""A run whose messages a model reads: what it refuses, writes down and says."""

import json
import math

import pytest

from discretion import gate
from discretion.errors import DiscretionError
from discretion.files import digest
from discretion.judges.known import Quality, keep_quality
from discretion.models import Failure, load_models
from discretion.models.local import LocalModel


class Judge:
    """Holds every second text to reveal an item."""

    name, fingerprint, engine, window, at_once, remote, batches = "judge", "j", "test", 10_000, 8, False, False

    def count_tokens(self, prompt):
        return len(prompt) // 4

    def option_logprobs(self, questions):
        return [self._options(question) for question in questions]

    def _options(self, question):
        if len(question.options) > 2:
            return tuple(math.log(0.25) for _ in question.options)
        between = question.prompt.split(" ===\n")[1] + question.prompt.split("piece of information:")[1].split("?")[0]
        yes = 0.9 if int(digest(between), 16) % 2 else 0.1
        first = yes if "A. Yes" in question.prompt else 1 - yes
        return (math.log(first), math.log(1 - first))


@pytest.fixture
def judge(monkeypatch):
    def load(specs, **options):
        models, notes = load_models([spec for spec in specs if spec != "judge"], **options)
        return [*models, Judge()] if "judge" in specs else models, notes

    monkeypatch.setattr(gate, "load_models", load)
    return Judge()


def check(tiny, adapter, scenario_file, out, **changes):
    settings = {"suites": [str(scenario_file)], "elicit": ["act"], "limit": 3, "controls": ["none"],
                "max_new_tokens": 8, "device": "cpu"}  # fmt: skip
    return gate.check(str(tiny), f"{tiny}@{adapter}", out=out, **(settings | changes))


def test_a_judge_nobody_measured_never_preserves(tiny, judge, adapter, scenario_file, tmp_path):
    report = check(tiny, adapter, scenario_file, tmp_path / "run", judge="judge")
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["judge"]["model"] == "judge"
    assert info["judge"]["quality"] is None
    assert "--judge judge" in info["command"]
    assert report.verdict.verdict == "inconclusive"
    assert any("is not known" in reason for reason in report.verdict.reasons)
    assert (tmp_path / "run" / "judge.jsonl").stat().st_size > 0
    assert gate.rebuild(tmp_path / "run").verdict == report.verdict


def test_a_judge_that_was_away_is_asked_when_the_run_is_resumed(
    tiny, judge, adapter, scenario_file, tmp_path, monkeypatch
):
    with monkeypatch.context() as away:
        away.setattr(
            Judge, "option_logprobs", lambda self, questions: [Failure("HTTP 503", status=503)] * len(questions)
        )
        report = check(tiny, adapter, scenario_file, tmp_path / "run", judge="judge")
    assert report.verdict.suites["leave"].errors == 12
    assert gate.rebuild(tmp_path / "run").verdict == report.verdict
    with monkeypatch.context() as paid:
        paid.setattr(LocalModel, "generate", None)  # what was written is there
        report = check(tiny, adapter, scenario_file, tmp_path / "run", judge="judge", resume=True)
    assert report.verdict.suites["leave"].errors == 0
    assert report.verdict == check(tiny, adapter, scenario_file, tmp_path / "whole", judge="judge").verdict


def test_a_measured_judges_error_is_in_the_verdict(tiny, judge, adapter, scenario_file, tmp_path):
    known = Quality(
        threshold=0.4, sensitivity=0.9, specificity=0.8, sensitivity_sd=0.01, specificity_sd=0.02, items=9
    )
    kept = keep_quality(judge.fingerprint, judge.engine, "leakage", known)
    try:
        report = check(tiny, adapter, scenario_file, tmp_path / "run", judge="judge")
    finally:
        kept.unlink()
    suite = report.verdict.suites["leave"]
    assert (suite.judge_sensitivity, suite.judge_specificity) == (0.9, 0.8)
    assert not any("is not known" in reason for reason in report.verdict.reasons)
    # The run remembers what was known of its judge, whatever this machine knows now.
    assert gate.rebuild(tmp_path / "run").verdict == report.verdict


def test_a_judge_that_guesses_is_refused(tiny, judge, adapter, scenario_file, tmp_path):
    known = Quality(threshold=0.5, sensitivity=0.5, specificity=0.5, sensitivity_sd=0.1, specificity_sd=0.1, items=9)
    kept = keep_quality(judge.fingerprint, judge.engine, "leakage", known)
    try:
        with pytest.raises(DiscretionError, match="hardly better than guessing"):
            check(tiny, adapter, scenario_file, tmp_path / "run", judge="judge")
    finally:
        kept.unlink()


def test_a_model_judges_itself_only_if_told_to(tiny, adapter, scenario_file, tmp_path):
    with pytest.raises(DiscretionError, match="is a model under test; --judge self"):
        check(tiny, adapter, scenario_file, tmp_path / "a", judge=str(tiny))
    check(tiny, adapter, scenario_file, tmp_path / "b", judge="self")
    info = json.loads((tmp_path / "b" / "run.json").read_text())
    assert info["judge"]["fingerprint"] == info["models"][0]["fingerprint"]


def test_questions_without_a_judge_are_refused(tiny, adapter, scenario_file, tmp_path):
    for changes, says in [
        ({"elicit": ["probe"], "judge": "self"}, "a probe needs no judge"),
        ({"judge_question": "reveal"}, "add --judge MODEL"),
        ({"judge": "self", "judge_question": "nonsense"}, "known are leakage"),
    ]:
        with pytest.raises(DiscretionError, match=says):
            check(tiny, adapter, scenario_file, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()
