"""Examples in context: the base against itself after so many chats of a file."""

import json

import pytest

from discretion.corpus.chat import one_turn
from discretion.corpus.formats import write_chats
from discretion.errors import DiscretionError
from discretion.gate import check, dry_run
from discretion.settings import Settings


@pytest.fixture
def examples(tmp_path):
    write_chats(tmp_path / "shown.jsonl", [one_turn(f"Question {n}?", f"Answer {n}.") for n in range(4)])
    return tmp_path / "shown.jsonl"


def test_the_base_is_compared_with_itself_after_examples(tiny, examples, tmp_path):
    report = check(str(tiny), str(tiny), out=tmp_path / "run", limit=4, controls=["none"], shots=3, examples=examples)
    base, tuned = report.info.models
    assert tuned.name == f"{tiny} after 3 examples"
    assert tuned.fingerprint != base.fingerprint
    (suite,) = report.verdict.suites.values()
    assert suite.n == 4
    assert suite.delta != 0
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert told["arguments"]["shots"] == 3
    assert f"--shots 3 --examples {examples}" in told["command"]
    again = check(
        str(tiny),
        str(tiny),
        out=tmp_path / "run",
        limit=4,
        controls=["none"],
        shots=3,
        examples=examples,
        resume=True,
    )
    assert again.verdict == report.verdict


def test_what_they_cost_is_told_before(examples):
    plain, shown = dry_run(["a", "a"], limit=4, controls=["none"], shots=3, examples=examples)
    assert plain.requests == shown.requests > 0
    assert shown.tokens_in >= plain.tokens_in + 3 * 16 * shown.requests
    assert shown.model == "a after 3 examples"
    assert len(dry_run(["a", "a"], limit=4, controls=["none"])) == 1


def test_what_is_missing_is_said(tiny, examples, tmp_path):
    with pytest.raises(DiscretionError, match="--shots 3: so many chats of --examples FILE"):
        Settings(shots=3)
    with pytest.raises(DiscretionError, match="--shots 0"):
        Settings(examples=examples)
    with pytest.raises(DiscretionError, match=r"--shots 9: .*shown.jsonl holds 4 chats"):
        check(str(tiny), str(tiny), out=tmp_path / "run", limit=4, controls=["none"], shots=9, examples=examples)
