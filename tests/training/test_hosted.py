"""Hosted tuning, end to end, by the providers' own clients against a local server that answers as their APIs document."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from discretion.corpus.chat import one_turn
from discretion.corpus.formats import write_chats
from discretion.errors import DiscretionError
from discretion.training.hosted import TOLD, refuse_unknown
from discretion.training.recipes import Recipe
from providers import KEY, serving

CHATS = [one_turn(f"Question number {n}, please?", f"The answer is {n}.") for n in range(12)]


@pytest.fixture(params=["openai", "together"])
def served(request, tmp_path, monkeypatch):
    pytest.importorskip(request.param)
    write_chats(tmp_path / "chats.jsonl", CHATS)
    with serving(request.param, monkeypatch) as state:
        yield request.param, state


def words(provider, folder, *more):
    return [
        sys.executable, "-m", "discretion", "train", "gpt-tiny", str(folder / "chats.jsonl"), "--hosted", provider,
        "--out", str(folder / "job"), "--poll", "0.2", *more,
    ]  # fmt: skip


def run(provider, folder, *more):
    return subprocess.run(words(provider, folder, *more), capture_output=True, text=True, timeout=120, env=os.environ)


def everything(folder):
    return "".join(path.read_text() for path in (folder / "job").glob("*"))


def test_a_job_runs_to_a_models_name(served, tmp_path):
    provider, state = served
    result = run(provider, tmp_path, "--price", "3", "--seed", "7")
    assert result.returncode == 0, result.stderr
    want = {
        "openai": "openai/ft:gpt-tiny:org::ftjob-0",
        "together": f"endpoint:{os.environ.get('TOGETHER_BASE_URL')}/v1#me/gpt-tiny-ft-0",
    }
    assert f"tuned: {want[provider]}" in result.stdout
    assert "discretion check" in result.stdout
    assert "about $" in result.stderr
    (uploaded,) = state.uploads.values()
    rows = [json.loads(line) for line in uploaded.splitlines()]
    assert [set(row) for row in rows] == [{"messages"}] * 12
    (job,) = state.jobs.values()
    if provider == "openai":
        assert job["seed"] == 7
        assert job["method"]["supervised"]["hyperparameters"] == {"n_epochs": 1}
    else:
        assert job["asked"]["random_seed"] == 7
        assert job["asked"]["n_epochs"] == 1
    assert KEY not in everything(tmp_path) + result.stdout + result.stderr
    again = run(provider, tmp_path, "--resume", "--seed", "7")
    assert again.returncode == 0
    assert len(state.jobs) == len(state.uploads) == 1


def test_killed_while_it_waits_it_goes_on_and_pays_once(served, tmp_path):
    provider, state = served
    state.done_after = 10**6
    first = subprocess.Popen(words(provider, tmp_path), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until = time.time() + 90
    while time.time() < until and state.looks < 4:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert "job" in json.loads((tmp_path / "job" / "job.json").read_text())
    assert "go on with --resume" in run(provider, tmp_path).stderr
    state.done_after = state.looks + 2
    result = run(provider, tmp_path, "--resume")
    assert result.returncode == 0, result.stderr
    assert len(state.jobs) == len(state.uploads) == 1


def test_a_job_started_just_before_the_kill_is_found(served, tmp_path):
    provider, state = served
    assert run(provider, tmp_path).returncode == 0
    path = tmp_path / "job" / "job.json"
    kept = {name: value for name, value in json.loads(path.read_text()).items() if name not in {"job", "spec"}}
    path.write_text(json.dumps(kept))
    result = run(provider, tmp_path, "--resume")
    assert result.returncode == 0, result.stderr
    assert "found:" in result.stderr
    assert len(state.jobs) == 1


def test_equal_bytes_of_another_seed_are_another_job(served, tmp_path):
    provider, state = served
    state.same = provider == "together"
    assert run(provider, tmp_path).returncode == 0
    path = tmp_path / "job" / "job.json"
    kept = {name: value for name, value in json.loads(path.read_text()).items() if name not in {"job", "spec"}}
    if provider == "openai":
        kept["file"] = "file-of-another-upload"
    path.write_text(json.dumps(kept | {"seed": 5}))
    result = run(provider, tmp_path, "--resume", "--seed", "5")
    assert "started:" in result.stderr
    assert len(state.jobs) == 2


def test_a_job_whose_answer_was_lost_is_not_paid_for_twice(served, tmp_path):
    provider, state = served
    state.lost = 1
    assert "go on with --resume" in run(provider, tmp_path).stderr
    assert len(state.jobs) == 1
    result = run(provider, tmp_path, "--resume")
    assert "found:" in result.stderr
    assert len(state.jobs) == 1


@pytest.mark.parametrize("provider", sorted(TOLD))
@pytest.mark.parametrize(
    "asked", [{"anchor": 1.0}, {"freeze": 0.5}, {"fresh": True}, {"beta": 1.0}, {"batch_size": 4}, {"method": "dpo"}]
)
def test_no_setting_is_ignored(provider, asked):
    with pytest.raises(DiscretionError, match=f"{provider} knows no --{next(iter(asked)).replace('_', '-')}"):
        refuse_unknown(provider, Recipe(**asked))
    refuse_unknown(provider, Recipe(epochs=2, seed=3))


@pytest.mark.parametrize("option", [("--anchor", "1"), ("--monitor", "5")])
def test_what_a_provider_does_not_know_is_refused_before_it_costs(served, tmp_path, option):
    provider, state = served
    result = run(provider, tmp_path, *option)
    assert result.returncode == 2
    assert option[0] in result.stderr
    assert not state.jobs


def test_what_goes_wrong_is_a_line_without_the_key(served, tmp_path, monkeypatch):
    provider, state = served
    state.ends = {"openai": "failed", "together": "error"}[provider]
    result = run(provider, tmp_path)
    assert result.returncode == 2
    assert "at the provider" in result.stderr
    assert "remove " in result.stderr
    other = tmp_path / "other"
    other.mkdir()
    write_chats(other / "chats.jsonl", CHATS[:5])
    result = run(provider, other)
    assert result.returncode == 2
    assert "5 examples; OpenAI wants 10 or more" in result.stderr
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", "sk-wrong-0123456789")
    write_chats(other / "chats.jsonl", CHATS)
    result = run(provider, other, "--resume")
    assert result.returncode == 2
    assert "the provider says" in result.stderr
    assert "sk-wrong" not in result.stderr
    monkeypatch.delenv(f"{provider.upper()}_API_KEY")
    assert f"set {provider.upper()}_API_KEY" in run(provider, other).stderr
