import pytest

from conftest import scenario_row
from discretion.elicit import ask_all, plan_probe
from discretion.errors import DiscretionError
from discretion.models import Failure
from discretion.records import RecordStore, read_records
from discretion.scenarios import Scenario


class Counting:
    """A model that counts what it is asked; its answers follow from the prompt."""

    engine = "test"
    at_once = 3
    remote = False
    batches = False

    def __init__(self, name="m", window=10_000):
        self.name = self.fingerprint = name
        self.window = window
        self.contexts = 0
        self.stop_after = None

    def count_tokens(self, prompt):
        return len(prompt)

    def option_logprobs(self, questions):
        if self.stop_after is not None and self.contexts >= self.stop_after:
            raise KeyboardInterrupt
        self.contexts += 1
        return [(-0.1 * (1 + len(q.prompt) % 7), -0.5) for q in questions]


@pytest.fixture
def plan():
    return plan_probe([Scenario.model_validate(scenario_row(number)) for number in range(10)])


def test_an_interrupted_run_resumes_without_repeating(tmp_path, plan):
    uninterrupted = Counting()
    with RecordStore(tmp_path / "a.jsonl") as store:
        ask_all([uninterrupted], plan, store)
    stopped = Counting()
    stopped.stop_after = 4
    with RecordStore(tmp_path / "b.jsonl") as store, pytest.raises(KeyboardInterrupt):
        ask_all([stopped], plan, store)
    resumed = Counting()
    with RecordStore(tmp_path / "b.jsonl") as store:
        ask_all([resumed], plan, store)
    assert (stopped.contexts, resumed.contexts) == (4, 6)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_equal_models_are_asked_once_and_different_ones_in_turn(tmp_path, plan):
    one, same, different = Counting("x"), Counting("x"), Counting("y")
    with RecordStore(tmp_path / "a.jsonl") as store:
        records = ask_all([one, same, different], plan, store)
    assert one.contexts + same.contexts == different.contexts == 10
    assert [record.model for record in records[:8:4]] == ["x", "y"]


def test_too_long_a_scenario_is_told_before_anything_is_asked(tmp_path, plan):
    model = Counting(window=10)
    with RecordStore(tmp_path / "a.jsonl") as store, pytest.raises(DiscretionError, match="--skip-long"):
        ask_all([model], plan, store)
    assert model.contexts == 0
    with RecordStore(tmp_path / "a.jsonl") as store:
        records = ask_all([model], plan, store, skip_long=True)
    assert all(record.error and record.p_leak is None for record in records)


def test_a_record_of_the_same_work_is_the_same_line(tmp_path, plan):
    lines = []
    for name in ("a", "b"):
        with RecordStore(tmp_path / f"{name}.jsonl") as store:
            lines.append([record.line() for record in ask_all([Counting()], plan, store)])
    assert lines[0] == lines[1]
    assert len(set(lines[0])) == 40


class Served(Counting):
    """Cannot be asked about some cases while it is down."""

    remote = True
    down = ()

    def option_logprobs(self, questions):
        answers = super().option_logprobs(questions)
        failed = [any(f"Case {number}:" in q.prompt for number in self.down) for q in questions]
        return [Failure("HTTP 503", status=503) if f else answer for f, answer in zip(failed, answers, strict=True)]


def test_failed_calls_are_asked_again_when_told_to_and_nothing_else_is(tmp_path, plan):
    with RecordStore(tmp_path / "a.jsonl") as store:
        ask_all([Served()], plan, store)
    path, model = tmp_path / "b.jsonl", Served()
    model.down = (3, 7)
    with RecordStore(path) as store:
        ask_all([model], plan, store)
    failed = path.read_bytes()
    with RecordStore(path) as store:
        ask_all([model], plan, store)
    assert path.read_bytes() == failed
    # A second outage, a kill, and an end of it: each asks what is lacking and no more.
    model.down, model.contexts = (7,), 0
    with RecordStore(path, ask_again=True) as store:
        ask_all([model], plan, store)
    stopped = Served()
    stopped.stop_after = 0
    with RecordStore(path, ask_again=True) as store, pytest.raises(KeyboardInterrupt):
        ask_all([stopped], plan, store)
    model.down = ()
    asked = []
    model.option_logprobs = lambda questions: asked.extend(questions) or Served().option_logprobs(questions)
    with RecordStore(path, ask_again=True) as store:
        ask_all([model], plan, store)
    assert all("Case 7:" in question.prompt for question in asked)
    assert read_records(path) == read_records(tmp_path / "a.jsonl")  # each in its place
    with RecordStore(path):
        assert path.read_bytes() == (tmp_path / "a.jsonl").read_bytes()


def test_what_a_server_refuses_for_good_is_not_asked_again(tmp_path, plan):
    model = Served()
    model.option_logprobs = lambda questions: [Failure("HTTP 400", status=400)] * len(questions)
    with RecordStore(tmp_path / "a.jsonl") as store:
        ask_all([model], plan, store)
    model.option_logprobs = None
    with RecordStore(tmp_path / "a.jsonl", ask_again=True) as store:
        ask_all([model], plan, store)


def test_what_is_too_long_is_so_again_and_is_kept(tmp_path, plan):
    for _ in range(2):
        with RecordStore(tmp_path / "a.jsonl", ask_again=True) as store:
            assert len(store) in (0, 40)
            ask_all([Counting(window=10)], plan, store, skip_long=True)
