"""Our runs as Inspect's logs, and its logs as our controls."""

import json

import pytest

pytest.importorskip("inspect_ai")
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, read_eval_log, write_eval_log
from inspect_ai.scorer import Score

from discretion import gate
from discretion.errors import DiscretionError


def write_log(path, values, task="inspect_evals/agentharm", status="success"):
    samples = [
        EvalSample(id=f"s{number}", epoch=1, input="do it", target="", scores={"combined": Score(value=value)})
        for number, value in enumerate(values)
    ]
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00", task=task, dataset=EvalDataset(), model="m", config=EvalConfig()
    )
    write_eval_log(EvalLog(status=status, eval=spec, samples=samples), str(path))
    return path


def check(tiny, adapter, scenario_file, out, **changes):
    settings = {"suites": [str(scenario_file)], "limit": 4, "controls": ["none"], "device": "cpu"}
    return gate.check(str(tiny), f"{tiny}@{adapter}", out=out, **(settings | changes))


@pytest.mark.parametrize("elicit", ["probe", "act"])
def test_a_run_is_a_log_for_each_model_and_suite(elicit, tiny, adapter, scenario_file, tmp_path):
    check(tiny, adapter, scenario_file, tmp_path / "run", elicit=[elicit], max_new_tokens=4)
    paths = gate.export(tmp_path / "run", tmp_path / "logs")
    assert sorted(path.name for path in paths) == ["base-leave.eval", "tuned-leave.eval"]
    log = read_eval_log(str(paths[0]))
    assert log.status == "success"
    assert len(log.samples) == (4 if elicit == "act" else 4 * 2 * 2)
    assert "Write to the team" in log.samples[0].input
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())["suites"]["leave"]
    (score,) = log.results.scores
    assert score.metrics["leak"].value == pytest.approx(verdict["leak_base"], abs=1e-9)
    assert score.metrics["coverage"].value == pytest.approx(verdict["coverage_base"], abs=1e-9)
    with pytest.raises(DiscretionError, match="is there already"):
        gate.export(tmp_path / "run", tmp_path / "logs")


def test_logs_are_paired_controls_and_resume_without_doubling(tiny, adapter, scenario_file, tmp_path):
    base = write_log(tmp_path / "a.eval", [{"score": 0.5, "refusal": 0.0}] * 30)
    tuned = write_log(tmp_path / "b.eval", [{"score": 0.5, "refusal": 1.0}] * 30)
    name = f"inspect:{base},{tuned}"
    report = check(tiny, adapter, scenario_file, tmp_path / "run", controls=[name])
    found = report.verdict.controls
    assert (found["agentharm:score"].n, found["agentharm:score"].equivalent) == (30, True)
    assert (found["agentharm:refusal"].delta, found["agentharm:refusal"].moved) == (1.0, True)
    again = check(tiny, adapter, scenario_file, tmp_path / "run", controls=[name], resume=True)
    assert again.verdict == report.verdict == gate.rebuild(tmp_path / "run").verdict


def test_letters_and_numbers_are_scores(tiny, adapter, scenario_file, tmp_path):
    base = write_log(tmp_path / "a.eval", ["C", "I", "C"], task="arc")
    tuned = write_log(tmp_path / "b.eval", [1, 0, 0.0], task="arc")
    report = check(tiny, adapter, scenario_file, tmp_path / "run", controls=[f"inspect:{base},{tuned}"])
    assert report.verdict.controls["arc"].base == pytest.approx(2 / 3)
    assert report.verdict.controls["arc"].tuned == pytest.approx(1 / 3)


def test_what_is_no_log_is_told(tiny, adapter, scenario_file, tmp_path):
    good = write_log(tmp_path / "a.eval", [1.0])
    other = write_log(tmp_path / "o.eval", [1.0], task="arc")
    text = write_log(tmp_path / "t.eval", ["fine"])
    stopped = write_log(tmp_path / "s.eval", [1.0], status="cancelled")
    broken = tmp_path / "x.eval"
    broken.write_text("no log")
    for logs, says in [
        (f"{good}", "a log for each model"),
        (f"{good},{tmp_path}/none.eval", "no such log"),
        (f"{good},{broken}", "not a log of Inspect"),
        (f"{good},{stopped}", "did not finish"),
        (f"{good},{other}", "different tasks"),
        (f"{good},{text}", "no score that is a number"),
    ]:
        with pytest.raises(DiscretionError, match=says):
            check(tiny, adapter, scenario_file, tmp_path / "run", controls=[f"inspect:{logs}"])
