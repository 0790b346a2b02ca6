"""The client against a server that misbehaves in every way we know of."""

import json
import math
import threading
import time
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from discretion.elicit import ask_all, plan_act, plan_probe
from discretion.errors import DiscretionError
from discretion.judges.acts import MatchJudge
from discretion.models import Draft, Failure, Pace, Question, Sampling, load_models
from discretion.models.address import parse_address
from discretion.models.endpoint import EndpointModel
from discretion.models.remote import DRAWN
from discretion.records import RecordStore
from discretion.scenarios import choose, load_suite

QUESTION = Question("Is it?\nA. Yes\nB. No", ("A", "B"))


class Server:
    """An OpenAI-compatible server; `behave(number, body)` gives what is done with the n-th request after the first."""

    def __init__(self, behave=lambda number, body: "answer", logprobs=True, text="Hello."):
        self.behave, self.logprobs, self.text = behave, logprobs, text
        self.seen, self.headers, self.times, self.lock = [], [], [], threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self._send(200, {"data": [{"id": "m", "max_model_len": 9000}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with owner.lock:
                    owner.seen.append(body)
                    owner.headers.append(dict(self.headers))
                    owner.times.append(time.monotonic())
                    number = len(owner.seen) - 1
                what = owner.behave(number, body) if number else "answer"
                if what == "answer":
                    self._send(200, owner.completion(body))
                elif what == "cut":
                    self.connection.close()
                elif what == "slow":
                    time.sleep(2)
                    self.connection.close()
                elif what == "malformed":
                    self._raw(200, b'{"choices": [{"mess')
                elif what == "refused":
                    self._send(200, {"choices": [{"message": {"content": None, "refusal": "I can't help."}}]})
                elif what == "filtered":
                    self._send(200, {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]})
                else:
                    status, headers = what
                    self._send(
                        status, {"error": {"message": f"told you {self.headers.get('authorization')}"}}, headers
                    )

            def _send(self, status, body, headers=None):
                self._raw(status, json.dumps(body).encode(), headers)

            def _raw(self, status, data, headers=None):
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def completion(self, body):
        text = self.text(body) if callable(self.text) else self.text
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if body.get("logprobs") and self.logprobs:
            top = [("A", 0.5), (" A", 0.1), ("B", 0.3), ("The", 0.05)]
            entries = [{"token": token, "logprob": math.log(share)} for token, share in top]
            choice["logprobs"] = {"content": [{"token": "A", "logprob": math.log(0.5), "top_logprobs": entries}]}
        return {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}

    def model(self, pace=None, **options):
        # Waits are shortened, and kept for looking at.
        self.waits = []

        def sleep(seconds):
            self.waits.append(seconds)
            time.sleep(min(seconds, 0.01))

        spec = f"endpoint:{self.url}#m"
        return EndpointModel(spec, parse_address(spec), pace or Pace(timeout=1.0), sleep=sleep, **options)


@pytest.fixture
def serve():
    servers = []

    def start(*args, **options):
        servers.append(Server(*args, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


def first(troubles, only=lambda prompt: True):
    """Every question meets these troubles, one an attempt, before it is answered."""
    attempts, lock = Counter(), threading.Lock()

    def behave(_, body):
        with lock:
            prompt = body["messages"][0]["content"]
            attempts[prompt] += 1
            return troubles[attempts[prompt] - 1] if only(prompt) and attempts[prompt] <= len(troubles) else "answer"

    return behave


def drafts(count):
    return [Draft(f"Write number {index}.", Sampling(50, 0.0, index)) for index in range(count)]


def test_examples_are_turns_of_their_own(serve):
    seen = []
    model = serve(lambda _, body: seen.append(body["messages"]) or "answer").model()
    primed = model.primed([[{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "Four."}]])
    primed.generate(drafts(1))
    assert [turn["role"] for turn in seen[-1]] == ["user", "assistant", "user"]
    assert seen[-1][-1]["content"] == "Write number 0."
    assert primed.count_tokens("x") > model.count_tokens("x")
    model.generate(drafts(1))
    assert len(seen[-1]) == 1


def test_options_are_read_from_log_probabilities_in_every_spelling(serve):
    model = serve().model()
    ((yes, no),) = model.option_logprobs([QUESTION])
    assert math.exp(yes) == pytest.approx(0.6)
    assert math.exp(no) == pytest.approx(0.3)
    assert "log-probabilities" in model.engine
    assert model.warnings() == []
    assert model.window == 9000


def test_an_option_that_is_not_among_the_likeliest_has_their_bound(serve):
    model = serve().model()
    ((_yes, other),) = model.option_logprobs([Question("?", ("A", "C"))])
    assert math.exp(other) == pytest.approx(0.05)
    ((none, neither),) = model.option_logprobs([Question("?", ("X", "Y"))])
    assert none == neither == -100.0


def test_without_log_probabilities_answers_are_drawn_and_the_run_says_so(serve):
    server = serve(logprobs=False, text=lambda body: "(A)" if body["seed"] % 4 else "B. No")
    model = server.model()
    ((yes, no),) = model.option_logprobs([QUESTION])
    assert (math.exp(yes), math.exp(no)) == pytest.approx((0.75, 0.25))
    assert "drawn answers" in model.engine
    assert str(DRAWN) in model.warnings()[0]


@pytest.mark.parametrize("trouble", ["cut", "slow", "malformed", (500, {}), (429, {"retry-after": "3"})])
def test_every_draft_is_answered_in_its_place_through_trouble(serve, trouble):
    server = serve(
        first([trouble] * 2, only=lambda prompt: prompt[-2] in "036"), text=lambda b: b["messages"][0]["content"]
    )
    model = server.model(Pace(concurrency=4, timeout=0.3))
    wanted = drafts(7)
    assert model.generate(wanted) == [draft.prompt for draft in wanted]
    if trouble == (429, {"retry-after": "3"}):
        assert 3.0 in server.waits


def test_retry_after_may_be_a_date(serve):
    when = {"retry-after": formatdate(time.time() + 60, usegmt=True)}
    server = serve(lambda number, body: (429, when) if number == 1 else "answer")
    server.model().generate(drafts(1))
    assert any(55 < wait <= 60 for wait in server.waits)


def test_what_asking_again_cannot_mend_is_a_failure_at_once_and_the_key_stays_secret(serve, monkeypatch):
    monkeypatch.setenv("DISCRETION_API_KEY", "sk-secret")
    server = serve(lambda number, body: (400, {}) if "number 1" in body["messages"][0]["content"] else "answer")
    model = server.model()
    first, second = model.generate(drafts(2))
    assert first == "Hello."
    assert isinstance(second, Failure)
    assert "HTTP 400" in second.reason
    assert "sk-secret" not in second.reason
    assert len(server.seen) == 3
    assert server.headers[0]["Authorization"] == "Bearer sk-secret"


def test_the_key_for_openai_goes_to_no_other_server(serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.delenv("DISCRETION_API_KEY", raising=False)
    server = serve()
    server.model()
    assert all("Authorization" not in headers for headers in server.headers)


def test_a_refusal_is_an_answer_and_a_filtered_text_is_none(serve):
    server = serve(lambda number, body: "refused" if "number 0" in body["messages"][0]["content"] else "filtered")
    refused, filtered = server.model().generate(drafts(2))
    assert refused == "I can't help."
    assert isinstance(filtered, Failure)


@pytest.mark.parametrize("empty", ["", "\n", None])
def test_what_is_cut_inside_its_thoughts_is_no_safe_message(empty):
    def answer(request):
        ends = "stop" if b"Be silent" in request.content else "length"
        choice = {"message": {"content": empty, "reasoning": "Well,"}, "finish_reason": ends}
        return httpx.Response(200, json={"choices": [choice]})

    model = EndpointModel("m", parse_address("endpoint:http://h/v1#m"), transport=httpx.MockTransport(answer))
    cut, silent = model.generate([Draft("x", Sampling(50, 0.0, 0)), Draft("Be silent.", Sampling(50, 0.0, 0))])
    assert isinstance(cut, Failure)
    assert "--max-new-tokens" in cut.reason
    assert isinstance(silent, Failure) if empty is None else silent == empty
    assert model.option_logprobs([QUESTION]) == [(-100.0, -100.0)]  # an answer that names neither option


def test_a_server_that_is_gone_stops_the_run(serve):
    model = serve(lambda number, body: "cut").model()
    with pytest.raises(DiscretionError, match="--resume"):
        model.generate(drafts(3))


def test_a_server_that_refuses_everything_stops_the_run(serve):
    model = serve(lambda number, body: (404, {})).model()  # say, the model is no longer there
    for ask in (lambda: model.generate(drafts(3)), lambda: model.option_logprobs([QUESTION])):
        with pytest.raises(DiscretionError, match=r"HTTP 404.*--resume"):
            ask()
    assert model.generate([]) == []


@pytest.mark.parametrize("refusals", [[(400, {})] * 3, [(404, {}), (404, {}), (400, {})], [(429, {})] * 3])
def test_prompts_that_are_refused_for_what_they_say_are_errors_of_their_own(serve, refusals):
    def behave(_, body):
        prompt = body["messages"][0]["content"]
        return refusals[int(prompt[-2])] if prompt.startswith("Write") else "answer"

    model = serve(behave).model()
    failures = model.generate(drafts(3))
    assert [failure.status for failure in failures] == [status for status, _ in refusals]


def test_a_refused_key_stops_the_run(serve):
    model = serve(lambda number, body: (401, {})).model()
    with pytest.raises(DiscretionError, match="DISCRETION_API_KEY"):
        model.generate(drafts(3))


def test_a_stopped_run_asks_and_waits_no_more(serve):
    server = serve(lambda number, body: (401 if "number 0" in body["messages"][0]["content"] else 500, {}))
    spec = f"endpoint:{server.url}#m"
    model = EndpointModel(spec, parse_address(spec), Pace(concurrency=4))  # it would wait for half a minute
    with pytest.raises(DiscretionError, match="DISCRETION_API_KEY"):
        model.generate(drafts(8))
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("ThreadPool") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(server.seen) <= 1 + 8


@pytest.mark.parametrize(("status", "requests"), [(429, 2), (503, 2), (500, 32)])
def test_a_server_that_is_not_up_to_it_is_told_soon(status, requests):
    seen = []

    def answer(request):
        seen.append(request.method)
        return httpx.Response(status, json={"error": {"message": "busy"}})

    with pytest.raises(DiscretionError, match=f"HTTP {status}: busy"):
        EndpointModel(
            "m",
            parse_address("endpoint:http://h/v1#m"),
            sleep=lambda _: None,
            transport=httpx.MockTransport(answer),
        )
    assert seen.count("POST") <= requests


def test_how_long_to_wait_is_told_by_the_environment(serve, monkeypatch):
    assert Pace().timeout == 120
    for wrong in ("soon", "0", "nan", "inf", ""):
        monkeypatch.setenv("DISCRETION_TIMEOUT", wrong)
        with pytest.raises(DiscretionError, match=f"DISCRETION_TIMEOUT={wrong}: must be"):
            Pace()
    monkeypatch.setenv("DISCRETION_TIMEOUT", "0.2")
    model = serve(lambda *_: "slow").model(Pace())
    with pytest.raises(DiscretionError, match=r"ReadTimeout after 0.2 s; DISCRETION_TIMEOUT sets"):
        model.generate(drafts(1))


def test_requests_are_spread_over_the_minute(serve):
    server = serve()
    spec = f"endpoint:{server.url}#m"
    model = EndpointModel(spec, parse_address(spec), Pace(concurrency=8, per_minute=1200))
    model.generate(drafts(10))
    gaps = [after - before for before, after in zip(sorted(server.times), sorted(server.times)[1:], strict=False)]
    assert sum(gaps[1:]) > 0.9 * 9 * 0.05


def test_tokens_are_counted(serve):
    model = serve().model()
    model.generate(drafts(3))
    assert (model.tokens_in, model.tokens_out, model.requests) == (40, 8, 4)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("openai/", "name a model"),
        ("endpoint:localhost:8000#m", "endpoint:URL#NAME"),
        ("endpoint:http://localhost:8000", "endpoint:URL#NAME"),
        ("endpoint:http://key@localhost:8000#m", "DISCRETION_API_KEY"),
        ("endpoint:http://127.0.0.1:9#m", "no answer"),
    ],
)
def test_an_address_that_is_none_is_said_at_once(spec, said):
    with pytest.raises(DiscretionError, match=said):
        load_models([spec])


def test_a_key_in_openais_url_is_refused(monkeypatch):
    for url in ("https://user:pass@host/v1", "https://host/v1?key=pass"):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with pytest.raises(DiscretionError, match="OPENAI_BASE_URL: put no key into the URL") as told:
            parse_address("openai/gpt-4o-mini")
        assert "pass" not in str(told.value)


def test_openai_without_a_key_says_which_variable(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(DiscretionError, match="OPENAI_API_KEY"):
        load_models(["openai/gpt-4o-mini"])


def test_a_run_through_a_faulty_server_loses_doubles_and_excuses_nothing(serve, tmp_path):
    troubles = ["cut", (500, {}), "malformed", (429, {"retry-after": "1"})]

    through_trouble = first(troubles, only=lambda prompt: "Half:" in prompt)

    def behave(number, body):
        # Half the scenarios are never answered; every question of the others is, after four troubles.
        refused = "Half: no" in body["messages"][0]["content"]
        return (400, {}) if refused else through_trouble(number, body)

    server = serve(behave)
    scenarios = [
        scenario.model_copy(update={"instruction": f"{scenario.instruction} Half: {'no' if index % 2 else 'yes'}."})
        for index, scenario in enumerate(choose(load_suite("builtin"), 8))
    ]
    plan = plan_probe(scenarios) + plan_act(scenarios, MatchJudge())
    with RecordStore(tmp_path / "r.jsonl") as store:
        records = ask_all([server.model(Pace(concurrency=8, timeout=1.0))], plan, store)
    assert len(records) == sum(group.size for group in plan)
    assert max(Counter(record.key for record in records).values()) == 1
    failed = [record for record in records if record.error]
    refused = {scenario.id for scenario in scenarios[1::2]}
    assert {record.scenario for record in failed} == refused
    assert all(record.error for record in records if record.scenario in refused)
    assert all(record.p_leak is None for record in failed)
    with RecordStore(tmp_path / "r.jsonl") as store:
        asked = len(server.seen)
        assert ask_all([server.model()], plan, store) == records
    assert len(server.seen) == asked + 1  # the connection's own question


@pytest.mark.parametrize("strict", [True, False])
def test_a_servers_own_penalties_are_turned_off_where_it_lets_us(monkeypatch, strict):
    bodies = []

    def answer(request):
        if request.method == "GET":
            return httpx.Response(404)
        bodies.append(json.loads(request.content))
        if strict and "repetition_penalty" in bodies[-1]:
            return httpx.Response(400, json={"error": {"message": "unknown field"}})
        return httpx.Response(200, json={"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]})

    model = EndpointModel("m", parse_address("endpoint:http://h/v1#m"), transport=httpx.MockTransport(answer))
    assert bodies[0]["repetition_penalty"] == bodies[0]["top_p"] == 1.0
    assert model.generate([Draft("x", Sampling(2, 0.0, 0))]) == ["Hello."]
    assert ("repetition_penalty" in bodies[-1]) != strict
    assert any("its own defaults" in warning for warning in model.warnings()) == strict
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    bodies.clear()
    EndpointModel("m", parse_address("openai/m"), transport=httpx.MockTransport(answer))
    assert "repetition_penalty" not in bodies[0]


def test_a_server_that_takes_nothing_for_a_template_is_still_told_the_rest():
    bodies = []

    def answer(request):
        if request.method == "GET":
            return httpx.Response(404)
        bodies.append(json.loads(request.content))
        if "chat_template_kwargs" in bodies[-1]:
            said = "chat_template is not supported for Mistral tokenizers."
            return httpx.Response(400, json={"error": {"message": said}})
        return httpx.Response(200, json={"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]})

    model = EndpointModel("m", parse_address("endpoint:http://h/v1#m"), transport=httpx.MockTransport(answer))
    model.generate(drafts(1))
    assert bodies[-1]["top_k"] == -1
    assert bodies[-1]["repetition_penalty"] == 1.0
