"""Local servers that answer as OpenAI's and Together's fine-tuning APIs document."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-secret-0123456789"


class State:
    def __init__(self):
        self.same = False  # equal bytes are one file
        self.uploads, self.jobs, self.looks, self.keys, self.asked = {}, {}, 0, set(), []
        self.done_after, self.ends, self.lost = 3, "", 0  # lost: answers to a started job that never arrive

    def loses(self):
        self.lost -= 1
        return self.lost >= 0


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

    def _start(self, job):
        self.state.jobs[job["id"]] = job
        if self.state.loses():
            self.close_connection = True
        else:
            self._send(self._job(job))

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
            "fine_tuned_model": f"ft:{job['model']}:org::{job['id']}" if status == "succeeded" else None,
        }  # fmt: skip

    def do_POST(self):
        body = self._body()
        if not self._auth():
            return
        if self.path == "/v1/chat/completions":
            self.state.asked.append(json.loads(body)["model"])
            said = {"message": {"role": "assistant", "content": "Thank you."}, "finish_reason": "stop"}
            self._send({"choices": [said], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
        elif self.path == "/v1/files":
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
            self._start(job)

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
        return {**job, "random_seed": job["asked"]["random_seed"], "status": status, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
                "suffix": job["asked"].get("suffix"), "model_output_name": f"me/{job['model']}-{job['id']}", "events": []}  # fmt: skip

    def do_PUT(self):
        self.state.uploads[self.path.rpartition("/")[2]] = self._body().decode()
        self._send({})

    def do_POST(self):
        body = self._body()
        if not self._auth():
            return
        if self.path == "/v1/files":
            assert b"fine-tune" in body
            file = "file-0" if self.state.uploads and self.state.same else f"file-{len(self.state.uploads)}"
            where = f"http://127.0.0.1:{self.server.server_port}/store/{file}"
            self._send({}, 302, [("Location", where), ("X-Together-File-Id", file)])
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
            self._start(job)

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


@contextmanager
def serving(provider: str, monkeypatch) -> Iterator[State]:
    """The provider's server, and where its client finds it."""
    kind = {"openai": OpenAIHandler, "together": TogetherHandler}[provider]
    handler = type("Served", (kind,), {"state": State()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_port}" + ("/v1" if provider == "openai" else "")
    monkeypatch.setenv(f"{provider.upper()}_BASE_URL", at)
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", KEY)
    yield handler.state
    server.shutdown()
