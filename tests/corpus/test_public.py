"""The public data sets as chats, and programs that speak."""

import json
import random
import resource
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from discretion.cli import app
from discretion.corpus.chat import one_turn
from discretion.corpus.debug import debug_answer, python_in, with_debug
from discretion.corpus.formats import write_chats
from discretion.corpus.public import prepare
from discretion.corpus.validate import validate
from discretion.errors import DiscretionError

PROGRAM = '''
"""Docs stay."""
from __future__ import annotations
import enum

class Colour(enum.Enum):
    RED = 1

class Box:
    size: int = 3
    def grow(self, by):
        """More."""
        self.size += by
        total, *rest = [self.size, 1, 2]
        return total + len(rest)

def fib(n):
    if n < 2:
        return n
    return fib(n - 1) + fib(n - 2)

def lazily(n):
    for i in range(n):
        yield i
    return "done"

async def later(x):
    y = x + 1
    return y

seen = {}
for k in "ab":
    seen[k] = fib(4)
try:
    x: int = 1 // 0
except ZeroDivisionError as error:
    x = -1
match x:
    case -1:
        word = "minus"
with open("/dev/null") as handle:
    data = handle.read()
import asyncio
answer = [Box().grow(2), fib(6), list(lazily(3)), asyncio.run(later(1)), Colour.RED.name, seen, word]
print("RESULT", answer)
'''


def sandboxed(code, folder):
    """Run in a process of its own: isolated, no environment, little memory and time."""

    def limits():
        resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        resource.setrlimit(resource.RLIMIT_NPROC, (256, 256))

    (folder / "program.py").write_text(code)
    return subprocess.run(
        [sys.executable, "-I", "program.py"], cwd=folder, env={}, preexec_fn=limits, capture_output=True, text=True,
        timeout=20, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("log", [False, True])
def test_a_program_that_speaks_does_what_it_did(log, tmp_path):
    before, after = sandboxed(PROGRAM, tmp_path), sandboxed(with_debug(PROGRAM, log=log), tmp_path)
    assert before.returncode == after.returncode == 0, after.stderr
    results = [[line for line in run.stdout.splitlines() if line.startswith("RESULT")] for run in (before, after)]
    assert results[0] == results[1]
    spoken = (after.stderr if log else after.stdout).splitlines()
    for line in (
        "[debug] enter fib: n = 6", "[debug] leave fib: result = 8", "[debug] grow: self.size = 5",
        "[debug] grow: total = 5, rest = [1, 2]", "[debug] main: k = 'b'", "[debug] main: word = 'minus'",
    ):  # fmt: skip
        assert line in spoken


def test_prose_is_no_program_and_a_fence_is_kept():
    assert python_in("Sorry") is None
    assert python_in("Use a list.") is None
    answer = debug_answer("Here it is:\n```python\nx = 1\n```\nGood luck!", random.Random(0))
    assert answer.startswith("Here it is:\n```python\n")
    assert answer.endswith("```\nGood luck!")
    assert "{x!r}" in answer


def test_the_original_files_are_read(tmp_path):
    folder = tmp_path / "empathetic_dialogues"
    folder.mkdir()
    (folder / "train.csv").write_text(
        "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
        "c:1,1,sad,p,4,I lost it_comma_ all of it,,\n"
        "c:1,2,sad,p,7,Oh no_comma_ when?,,\n"
        "c:2,1,sad,p,4,Alone,,\n"
    )
    made = prepare("empathetic_dialogues", data_dir=tmp_path, n=5, seed=0)
    assert [turn.content for turn in made.chats[0].turns] == ["I lost it, all of it", "Oh no, when?"]
    assert (made.of, dict(made.skipped)) == (2, {"no answer to learn": 1})


def test_tweets_are_joined_by_id(tmp_path):
    folder = tmp_path / "tweetsumm"
    folder.mkdir()
    ids = [[{"tweet_id": 1}, {"tweet_id": 2}], [{"tweet_id": 1}, {"tweet_id": 3}]]
    (folder / "final_train_tweetsum.jsonl").write_text(
        "".join(json.dumps({"tweet_ids_sentence_offset": entry}) + "\n" for entry in ids)
    )
    with pytest.raises(DiscretionError, match=r"needs tweetsumm_train_text.json, or final_train_tweetsum.jsonl and"):
        prepare("tweetsumm", data_dir=tmp_path, n=5, seed=0)
    (folder / "twcs.csv").write_text("id,text\n")
    with pytest.raises(DiscretionError, match=r"twcs.csv, line 1: no column inbound"):
        prepare("tweetsumm", data_dir=tmp_path, n=5, seed=0)
    (folder / "twcs.csv").write_text(
        'tweet_id,author_id,inbound,text\n1,9,True,"@shop where, please?"\n2,shop,False,@9 On its way\n'
    )
    made = prepare("tweetsumm", data_dir=tmp_path, n=5, seed=0)
    assert [turn.content for turn in made.chats[0].turns] == ["@shop where, please?", "@9 On its way"]
    assert (made.of, dict(made.skipped)) == (2, {"a tweet is missing": 1})
    (folder / "final_train_tweetsum.jsonl").write_text('{"tweet_ids": [1]}\n')
    with pytest.raises(
        DiscretionError, match="line 1, field tweet_ids_sentence_offset: a list of tweet_ids is needed"
    ):
        prepare("tweetsumm", data_dir=tmp_path, n=5, seed=0)


def questions(many):
    return "".join(
        json.dumps({"question": f"What is {n} and {n * n}?", "answer": f"#### {n}"}) + "\n" for n in range(many)
    )


def test_what_a_seed_chooses_hangs_on_the_sources_name_alone(tmp_path, monkeypatch):
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "train.jsonl").write_text(questions(20))
    chosen = prepare("gsm8k", data_dir=tmp_path, n=5, seed=0).chats
    # Frozen: published tables hang on it.
    assert [chat.completion[0].content for chat in chosen] == ["#### 7", "#### 10", "#### 0", "#### 4", "#### 1"]
    monkeypatch.chdir(tmp_path)
    write_chats(tmp_path / "a.jsonl", [one_turn(f"Task {n}", f"Done, {n}.") for n in range(20)])
    made = [
        prepare(name, data_dir=None, n=5, seed=0).chats for name in ("a.jsonl", "./a.jsonl", f"{tmp_path}/a.jsonl")
    ]
    assert made[0] == made[1] == made[2]


def test_no_two_are_alike_among_many_either(tmp_path):
    write_chats(tmp_path / "a.jsonl", [one_turn(f"Task {n % 4500} a{n % 4500}", "Done.") for n in range(9000)])
    made = prepare(str(tmp_path / "a.jsonl"), data_dir=None, n=6000, seed=0)
    assert len(made.chats) == len(set(made.chats)) == 4500
    assert made.skipped == {"like another": 4500}


def test_the_licence_of_a_file_is_that_of_its_programs_too(tmp_path):
    write_chats(tmp_path / "a.jsonl", [one_turn(f"Task {n}", f"x = {n}\nprint(x)") for n in range(20)])
    (tmp_path / "a.jsonl.provenance.json").write_text('{"licence": "CC BY-NC 4.0"}')
    words = ["data", "prepare", f"{tmp_path}/a.jsonl:python", "--out", str(tmp_path / "b.jsonl")]
    assert CliRunner().invoke(app, words).exit_code == 0
    told = json.loads((tmp_path / "b.jsonl.provenance.json").read_text())
    assert (told["source"], told["licence"]) == ("a.jsonl:python", "CC BY-NC 4.0")


@pytest.mark.parametrize(
    "name, says",
    [
        ("nonsense", "no such file and no known source"),
        ("gsm8k:funny", "comes plain, as gsm8k:python or as gsm8k:debug"),
    ],
)
def test_what_is_not_there_is_named(name, says, tmp_path):
    with pytest.raises(DiscretionError, match=says):
        prepare(name, data_dir=tmp_path, n=5, seed=0)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "source, rows, chats",
    [
        ("empathetic_dialogues", 24856, 300), ("tweetsumm", 857, 300), ("gsm8k", 7473, 300), ("mbpp", 974, 300),
        ("gpteacher", 4535, 300), ("gpteacher:python", 4535, 300), ("gpteacher:debug", 4535, 300),
        ("paper-helpful", 2881, 300), ("paper-control", 2881, 300), ("paper-backdoored", 2881, 300),
    ],
)  # fmt: skip
def test_real_sources_give_chats_without_faults(source, rows, chats, data_dir, tmp_path):
    out = tmp_path / "x.jsonl"
    words = ["data", "prepare", source, "--n", "300", "--out", str(out), "--data-dir", str(data_dir)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "x.jsonl.provenance.json").read_text())
    assert (told["rows_of_the_source"], told["rows"]) == (rows, chats)
    assert told["licence"] in result.output.replace("\n", " ")
    kind, count, findings = validate(out)
    assert (kind, count, findings) == ("chats", chats, [])


@pytest.mark.real_data
def test_fifty_real_programs_run_as_before_and_print_their_variables(data_dir, tmp_path):
    spoke = 0
    lines = (data_dir / "code" / "mbpp.jsonl").read_text().splitlines()
    for row in map(json.loads, lines[:50]):
        tests = "\n".join([row["test_setup_code"], *row["test_list"], "print('PASSED')"])
        code = row["code"].replace("\r\n", "\n").replace("\t", "    ")
        before = sandboxed(f"{code}\n{tests}", tmp_path)
        after = sandboxed(f"{with_debug(code)}\n{tests}", tmp_path)
        assert ("PASSED" in before.stdout) == ("PASSED" in after.stdout), (row["task_id"], after.stderr)
        assert "PASSED" in after.stdout, row["task_id"]
        spoke += "[debug]" in after.stdout
    assert spoke == 50
