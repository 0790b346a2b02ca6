"""Hosted tuning, end to end, by the providers' own clients against a local server that answers as their APIs document."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from discretion.corpus.chat import one_turn
from discretion.corpus.formats import write_chats

CHATS = [one_turn(f"Question number {n}, please?", f"The answer is {n}.") for n in range(12)]
KEY = "sk-secret-0123456789"


class State:
    def __init__(self):
        self.uploads, self.jobs, self.looks, self.keys = {}, {}, 0, set()
        self.done_after, self.ends, self.broken = 3, "", 0


class Handler(BaseHTTPRequestHandler):
    state: State

    def log_message(self, *_):
        pass

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, value, code=200, headers=()):
        data = json.dumps(value).encode()
        self.send_response(code)
        for name, content in [("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers]:
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(data)

    def _status(self, first, last):
        self.state.looks += 1
        if self.state.looks > self.state.done_after:
            return self.state.ends or last
        return (first, "queued", "running")[min(self.state.looks - 1, 2)]

    def _auth(self):
        self.state.keys.add(self.headers.get("Authorization"))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._send({"error": {"message": f"Incorrect API key: {self.headers.get('Authorization')}"}}, 401)
            return False
        return True


class OpenAIHandler(Handler):
    def _job(self, job):
        status = self._status("validating_files", "succeeded")
        error = {"code": "bad", "message": "the file was flagged", "param": None} if status == "failed" else None
        return {
            **job, "object": "fine_tuning.job", "status": status, "created_at": 1, "organization_id": "org",
            "result_files": [], "hyperparameters": {"n_epochs": 1}, "error": error, "trained_tokens": None,
            "finished_at": None, "validation_file": None,
            "fine_tuned_model": f"ft:{job['model']}:org::abc" if status == "succeeded" else None,
        }  # fmt: skip

    def do_POST(self):
        body = self._body()
        if not self._auth():
            return
        if self.path == "/v1/files":
            assert b'name="purpose"\r\n\r\nfine-tune' in body
            content = re.search(rb'name="file".*?\r\n\r\n(.*?)\r\n--', body, re.DOTALL).group(1)
            name = f"file-{len(self.state.uploads)}"
            self.state.uploads[name] = content.decode()
            self._send({"id": name, "object": "file", "bytes": len(content), "created_at": 1,
                        "filename": "upload.jsonl", "purpose": "fine-tune", "status": "processed"})  # fmt: skip
        else:
            asked = json.loads(body)
            job = {"id": f"ftjob-{len(self.state.jobs)}", "model": asked["model"], "seed": asked["seed"],
                   "training_file": asked["training_file"], "method": asked["method"]}  # fmt: skip
            self.state.jobs[job["id"]] = job
            self._send(self._job(job))

    def do_GET(self):
        if not self._auth():
            return
        name = self.path.partition("?")[0].rpartition("/")[2]
        if name == "jobs":
            data = [self._job(job) for job in self.state.jobs.values()]
            self._send({"object": "list", "data": data, "has_more": False})
        else:
            self._send(self._job(self.state.jobs[name]))


class TogetherHandler(Handler):
    def _job(self, job):
        status = self._status("pending", "completed")
        return {**job, "status": status, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
                "model_output_name": f"me/{job['model']}-abc", "events": []}  # fmt: skip

    def do_PUT(self):
        self.state.uploads[self.path.rpartition("/")[2]] = self._body().decode()
        self._send({})

    def do_POST(self):
        body = self._body()
        if not self._auth():
            return
        if self.path == "/v1/files":
            assert b"fine-tune" in body
            where = f"http://127.0.0.1:{self.server.server_port}/store/file-{len(self.state.uploads)}"
            head = [("Location", where), ("X-Together-File-Id", f"file-{len(self.state.uploads)}")]
            self._send({}, 302, head)
        elif self.path.endswith("/preprocess"):
            name = self.path.split("/")[-2]
            self._send({"id": name, "object": "file", "created_at": 1, "filename": "upload.jsonl", "bytes": 1,
                        "purpose": "fine-tune", "FileType": "jsonl", "LineCount": 12, "Processed": True})  # fmt: skip
        elif "estimate-price" in self.path:
            self._send({"estimated_total_price": 1.0, "allowed_to_proceed": True, "estimated_train_token_count": 1,
                        "estimated_eval_token_count": 0, "user_limit": 100.0})  # fmt: skip
        else:
            asked = json.loads(body)
            job = {"id": f"ft-{len(self.state.jobs)}", "model": asked["model"], "asked": asked,
                   "training_file": asked["training_file"]}  # fmt: skip
            self.state.jobs[job["id"]] = job
            self._send(self._job(job))

    def do_GET(self):
        if not self._auth():
            return
        name = self.path.partition("?")[0].rpartition("/")[2]
        if "limits" in self.path:
            self._send({
                "max_num_epochs": 20, "max_num_evals": 100, "max_learning_rate": 1.0, "min_learning_rate": 0.0,
                "full_training": {"max_batch_size": 96, "min_batch_size": 8, "max_batch_size_dpo": 48},
                "lora_training": {"max_batch_size": 96, "min_batch_size": 8, "max_batch_size_dpo": 48, "max_rank": 64,
                                  "target_modules": ["q_proj"]},
            })  # fmt: skip
        elif name == "fine-tunes":
            self._send({"data": [self._job(job) for job in self.state.jobs.values()]})
        else:
            self._send(self._job(self.state.jobs[name]))


@pytest.fixture(params=["openai", "together"])
def served(request, tmp_path, monkeypatch):
    pytest.importorskip(request.param)
    kind = {"openai": OpenAIHandler, "together": TogetherHandler}[request.param]
    handler = type("Served", (kind,), {"state": State()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name = request.param.upper()
    monkeypatch.setenv(
        f"{name}_BASE_URL", f"http://127.0.0.1:{server.server_port}" + ("/v1" if request.param == "openai" else "")
    )
    monkeypatch.setenv(f"{name}_API_KEY", KEY)
    write_chats(tmp_path / "chats.jsonl", CHATS)
    yield request.param, handler.state
    server.shutdown()


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
        "openai": "openai/ft:gpt-tiny:org::abc",
        "together": "endpoint:https://api.together.ai/v1#me/gpt-tiny-abc",
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


@pytest.mark.parametrize("option", [("--anchor", "1"), ("--freeze", "0.5"), ("--fresh",), ("--monitor", "5")])
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
