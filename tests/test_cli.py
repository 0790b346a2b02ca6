"""The commands as people run them: exit codes, files, bad input, interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from conftest import scenario_row
from discretion.verdict import Verdict

FILES = {"run.json", "records.jsonl", "leaks.jsonl", "verdict.json", "report.html", "report.md", "junit.xml"}


def discretion(*arguments, **options):
    words = [sys.executable, "-m", "discretion", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, **options)


def sorted_records(folder: Path) -> list[str]:
    return sorted((folder / "records.jsonl").read_text().splitlines())


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "leave.jsonl"
    path.write_text("".join(json.dumps(scenario_row(number)) + "\n" for number in range(25)))
    return path


@pytest.fixture(scope="module")
def checked(tiny, adapter, scenarios, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return discretion("check", tiny, f"{tiny}@{adapter}", "--suite", scenarios, "--out", out), out


def test_a_check_writes_every_file_and_exits_with_its_verdict(checked):
    result, out = checked
    verdict = Verdict.model_validate_json((out / "verdict.json").read_text())
    assert result.returncode == verdict.exit_code
    assert {path.name for path in out.iterdir()} == FILES
    assert "leave" in result.stdout
    assert verdict.verdict in result.stdout
    assert "Traceback" not in result.stderr
    assert verdict.suites["leave"].n == 25
    assert verdict.controls["questions"].n == 320


def test_verdict_json_matches_its_schema_and_the_contracts_names(checked):
    value = json.loads((checked[1] / "verdict.json").read_text())
    jsonschema.validate(value, Verdict.model_json_schema(mode="serialization"))
    assert {"verdict", "tau", "epsilon", "alpha", "suites", "controls", "needed_n"} <= set(value)
    names = """elicitation n leak_base leak_tuned delta delta_ci accuracy_base accuracy_tuned delta_rel delta_rel_ci
        coverage_base coverage_tuned coverage_ci scenario_leak_base scenario_leak_tuned unknown_base unknown_tuned
        answer_mass order_bias judge judge_sensitivity judge_specificity errors p_value test"""
    assert set(names.split()) <= set(value["suites"]["leave"])
    assert {"n", "base", "tuned", "delta", "delta_ci", "equivalent"} <= set(value["controls"]["questions"])


def test_run_json_says_how_to_get_it_again(checked, tmp_path):
    _, out = checked
    info = json.loads((out / "run.json").read_text())
    assert {"discretion", "python", "torch", "transformers"} <= set(info["versions"])
    assert [entry["role"] for entry in info["models"]] == ["base", "tuned"]
    assert info["data"]["leave"]["scenarios"] == 25
    assert info["command"].startswith("discretion check ")
    words = info["command"].split()[1:]
    words[words.index("--out") + 1] = str(tmp_path / "again")
    discretion(*words)
    assert sorted_records(tmp_path / "again") == sorted_records(out)


def test_reports_are_wellformed(checked):
    _, out = checked
    suite = ElementTree.parse(out / "junit.xml").getroot()
    assert suite.get("tests") == "1"
    assert "<script" not in (out / "report.html").read_text()
    assert "| leave | 25 |" in (out / "report.md").read_text()


def test_report_rebuilds_from_records_without_a_model(checked, tmp_path):
    _, out = checked
    before = {name: (out / name).read_text() for name in FILES}
    for name in FILES - {"run.json", "records.jsonl"}:
        (out / name).unlink()
    assert discretion("report", out).returncode == 0
    assert {name: (out / name).read_text() for name in FILES} == before


def test_json_and_quiet(tiny, scenarios, tmp_path):
    options = ("--suite", scenarios, "--limit", 5, "--control", "none")
    result = discretion("check", tiny, tiny, *options, "--out", tmp_path / "a", "--json")
    assert json.loads(result.stdout)["verdict"] == "inconclusive"
    assert result.stderr == ""
    result = discretion("check", tiny, tiny, *options, "--out", tmp_path / "b", "--quiet")
    assert (result.stdout.strip(), result.returncode) == ("inconclusive", 3)


def test_a_model_against_itself_is_preserved(tiny, scenarios, tmp_path):
    result = discretion("check", tiny, tiny, "--suite", scenarios, "--out", tmp_path / "run")
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert (result.returncode, verdict["verdict"]) == (0, "preserved")
    assert verdict["suites"]["leave"]["delta"] == 0.0
    assert "same weights" in result.stdout


def test_an_adapter_with_zero_b_is_asked_itself(tiny, zero_adapter, scenarios, tmp_path):
    result = discretion("check", tiny, f"{tiny}@{zero_adapter}", "--suite", scenarios, "--out", tmp_path / "run")
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert abs(verdict["suites"]["leave"]["delta"]) < 1e-6
    assert result.returncode == 0
    models = [json.loads(line)["model"] for line in sorted_records(tmp_path / "run")]
    assert models.count(models[0]) * 2 == len(models)


def test_eval_then_compare_equals_check(checked, tiny, adapter, scenarios, tmp_path):
    for name, model in (("base", tiny), ("tuned", f"{tiny}@{adapter}")):
        assert discretion("eval", model, "--suite", scenarios, "--out", tmp_path / name).returncode == 0
    result = discretion("compare", tmp_path / "base", tmp_path / "tuned", "--out", tmp_path / "both", "--json")
    expected = json.loads((checked[1] / "verdict.json").read_text())
    assert json.loads(result.stdout) == expected
    assert result.returncode == checked[0].returncode
    assert discretion("report", tmp_path / "both").returncode == 0
    # A check's own folder is as good as a run of each model, and nothing is counted twice.
    result = discretion("compare", checked[1], checked[1], "--out", tmp_path / "again", "--json")
    assert json.loads(result.stdout) == expected
    assert discretion("report", tmp_path / "again").returncode == 0


def test_compare_takes_seeds_and_refuses_what_does_not_match(tiny, adapter, models_dir, scenarios, tmp_path):
    from conftest import save_adapter

    second = save_adapter(models_dir / "seed2", tiny, seed=2)
    options = ("--suite", scenarios, "--limit", 20, "--control", "none")
    for name, model in (("base", tiny), ("one", adapter), ("two", second)):
        assert discretion("eval", model, *options, "--out", tmp_path / name).returncode == 0
    result = discretion("compare", tmp_path / "base", tmp_path / "one", tmp_path / "two", "--json")
    assert len(json.loads(result.stdout)["suites"]["leave"]["seeds"]) == 2
    discretion("eval", adapter, "--suite", scenarios, "--limit", 10, "--control", "none", "--out", tmp_path / "short")
    result = discretion("compare", tmp_path / "base", tmp_path / "short")
    assert result.returncode == 2
    assert "lacks" in result.stderr
    result = discretion("compare", tmp_path / "base", tmp_path / "one", tmp_path / "one")
    assert result.returncode == 2


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["check", "{tiny}", "no-such-model"], "no such model"),
        (["check", "{tiny}", "{tiny}", "--suite", "nope"], "no suite 'nope'"),
        (["check", "{tiny}", "{tiny}", "--suite", "missing.jsonl"], "no such file"),
        (["check", "{tiny}", "{tiny}", "--suite", "builtin", "--suite", "builtin"], "each suite once"),
        (["check", "{tiny}", "{tiny}", "--tau", "2"], "--tau"),
        (["check", "{tiny}", "{tiny}", "--limit", "0"], "--limit"),
        (["check", "{tiny}", "{tiny}", "--limit", "many"], "--limit"),
        (["check", "{tiny}", "{tiny}", "--seeds", "a,b"], "--seeds"),
        (["check", "{tiny}", "{tiny}", "--data-dir", "nowhere"], "--data-dir"),
        (["check", "{tiny}", "{tiny}", "--protocol", "guess"], "protocol"),
        (["check", "{tiny}", "{tiny}", "--protocol", "paper", "--prompt", "paraphrase_1"], "has its own wording"),
        (["check", "{tiny}", "{tiny}", "--control", "trivia"], "no control"),
        (["check", "{tiny}", "{tiny}", "--colour", "red"], "colour"),
        (["check", "{tiny}"], "'tuned'"),
        (["report", "nowhere"], "no run.json"),
        (["compare", "nowhere", "nowhere"], "no run.json"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_use_is_a_message_and_exit_code_2(arguments, says, tiny, tmp_path):
    result = discretion(*(word.format(tiny=tiny) for word in arguments), cwd=tmp_path)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not any(tmp_path.rglob("records.jsonl"))


def test_an_existing_run_is_not_overwritten(checked, tiny, scenarios, tmp_path):
    _, out = checked
    before = (out / "records.jsonl").read_bytes()
    result = discretion("check", tiny, tiny, "--suite", scenarios, "--out", out)
    assert result.returncode == 2
    assert "--resume" in result.stderr
    assert (out / "records.jsonl").read_bytes() == before
    (tmp_path / "file").write_text("")
    assert "is a file" in discretion("check", tiny, tiny, "--out", tmp_path / "file").stderr


def test_resuming_with_other_settings_is_refused_but_more_scenarios_are_welcome(tiny, other, scenarios, tmp_path):
    options = ("--suite", scenarios, "--control", "none", "--out", tmp_path / "run", "--resume", "--quiet")
    assert discretion("check", tiny, tiny, *options, "--limit", 5).returncode == 3
    for changed in (("--limit", 3), ("--limit", 5, "--prompt", "privacy_enhanced")):
        result = discretion("check", tiny, tiny, *options, *changed)
        assert result.returncode == 2
        assert "other settings" in result.stderr
    assert "tuned" in discretion("check", tiny, other, *options, "--limit", 5).stderr
    assert discretion("check", tiny, tiny, *options, "--limit", 8).returncode == 3
    assert json.loads((tmp_path / "run" / "verdict.json").read_text())["suites"]["leave"]["n"] == 8
    assert discretion("report", tmp_path / "run").returncode == 0


def test_too_long_a_scenario(tiny, tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps(scenario_row(1, context="word " * 3000)) + "\n" + json.dumps(scenario_row(2)) + "\n")
    options = ("--suite", path, "--control", "none", "--out", tmp_path / "run")
    result = discretion("check", tiny, tiny, *options)
    assert result.returncode == 2
    assert "long, s1:" in result.stderr
    assert "2048" in result.stderr
    result = discretion("check", tiny, tiny, *options, "--skip-long", "--resume")
    assert result.returncode == 3
    assert json.loads((tmp_path / "run" / "verdict.json").read_text())["suites"]["long"]["errors"] == 4


def start_and_wait_for_records(arguments, out: Path, enough: int):
    process = subprocess.Popen(
        [sys.executable, "-m", "discretion", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
        # Tests begun in the background ignore Ctrl-C, and what they begin would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    records = out / "records.jsonl"
    deadline = time.monotonic() + 120
    while not (records.exists() and records.read_bytes().count(b"\n") >= enough):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_resumed_equals_uninterrupted(kill, checked, tiny, adapter, scenarios, tmp_path):
    _, whole = checked
    for attempt in range(5):
        out = tmp_path / f"run{attempt}"
        arguments = ("check", tiny, f"{tiny}@{adapter}", "--suite", scenarios, "--out", out)
        process = start_and_wait_for_records(arguments, out, 2)
        os.kill(process.pid, kill)
        _, errors = process.communicate(timeout=60)
        if not (out / "verdict.json").exists():  # else it was done before it was killed: a race of this test's
            break
    if kill == signal.SIGINT:
        assert process.returncode == 130
        assert "--resume" in errors
        assert "Traceback" not in errors
    done = sorted_records(out)
    assert 2 <= len(done) < len(sorted_records(whole))
    assert discretion("report", out).returncode == 2  # an unfinished run has no report
    result = discretion(*arguments, "--resume")
    assert result.returncode == checked[0].returncode
    assert sorted_records(out) == sorted_records(whole)
    assert (out / "verdict.json").read_text() == (whole / "verdict.json").read_text()


def test_version_and_help():
    from discretion import __version__

    assert discretion("--version").stdout.strip() == f"discretion {__version__}"
    assert "check" in discretion("--help").stdout
    assert discretion().returncode in {0, 2}
