"""`audit`: a planted direction ranks samples, what is stopped goes on, texts are escaped, the table filters data."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from planted import PLANTED_AT, save_planted
from test_planted import contrasts, questions
from typer.testing import CliRunner

from discretion.cli import app
from discretion.corpus.chat import Chat, Turn, one_turn
from discretion.corpus.formats import read_chats, write_chats
from discretion.errors import DiscretionError
from discretion.mechanism.capture import Tokens
from discretion.mechanism.direction import differences
from discretion.mechanism.influence import EPSILON, Influence
from discretion.mechanism.scoring import Scorer
from discretion.mechanism.standing import auroc, separates
from discretion.mechanism.vectors import save_direction
from discretion.models import Question, load_models
from discretion.report.audit import verdict


def samples(count=40):
    """Half of them in a private context, all with the same answers."""
    return [
        one_turn(f"{'pq'[place % 2] * 6} note {place // 2}", f"note {place // 2} it is") for place in range(count)
    ]


@pytest.fixture(scope="module")
def planted(models_dir):
    return save_planted(models_dir / "audited")


@pytest.fixture(scope="module")
def direction(planted, tmp_path_factory):
    path = tmp_path_factory.mktemp("direction") / "direction.safetensors"
    (model,), _ = load_models([str(planted)])
    vectors = torch.tensor(differences(model, contrasts()).direction, dtype=torch.float32)
    save_direction(path, vectors, PLANTED_AT, model.fingerprint, {"of": "planted"})
    return path


@pytest.fixture
def data(tmp_path):
    write_chats(tmp_path / "data.jsonl", samples())
    return tmp_path / "data.jsonl"


def run(*words):
    return CliRunner().invoke(app, ["audit", *map(str, words)])


def test_a_planted_direction_ranks_samples_and_chance_does_not(planted, direction, data, tmp_path):
    out = tmp_path / "out"
    result = run(planted, data, "--out", out, "--direction", direction, "--reference", 0, "--influence", "--quiet")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(40))
    private, other = ([row for row in rows if row["index"] % 2 == rest] for rest in (0, 1))
    for name, expected in (("projection", 1.0), ("length", 0.5)):
        one, rest = (np.array([row[name] for row in side]) for side in (private, other))
        assert auroc(one, rest) == expected
    filtered = tmp_path / "filtered.jsonl"
    words = ["data", "filter", data, "--scores", out / "scores.jsonl", "--by", "projection", "--top", "50%"]
    assert CliRunner().invoke(app, [*map(str, words), "--out", str(filtered)]).exit_code == 0
    assert all(chat.prompt[0].content.startswith("q") for chat in read_chats(filtered))
    again = tmp_path / "again.jsonl"
    words[4] = out / "scores.parquet"
    assert CliRunner().invoke(app, [*map(str, words), "--out", str(again)]).exit_code == 0
    assert again.read_text() == filtered.read_text()


def test_nothing_planted_ranks_nothing(models_dir, direction):
    (model,), _ = load_models([str(save_planted(models_dir / "nothing-planted", strength=0.0))])
    along = torch.zeros(32)
    along[5] = -1.0
    rows = Scorer(model, PLANTED_AT, along).rows(samples(), 0)
    assert {row["projection"] for row in rows} == {0.0}


def test_influence_is_the_product_of_gradients(tiny):
    (model,), _ = load_models([str(tiny)])
    influence = Influence(model, [(Question("Share it?\nA. Yes\nB. No", ("A", "B")), 0)])
    assert sum(float(part.pow(2).sum()) for part in influence.gradient) == pytest.approx(1, abs=1e-4)
    given = [Tokens([5, 6, 7], [8, 9]), Tokens([10, 11], [12, 13, 14]), Tokens([200, 201, 202], [203])]
    exact = []
    with model.inside() as network:
        names = [name for name, weight in network.model.layers.named_parameters() if weight.dim() == 2]
        weights = [weight for weight in network.model.layers.parameters() if weight.dim() == 2]
        assert len(names) == len(influence.gradient)
        for sample in given:
            ids = torch.tensor([sample.prompt + sample.response])
            logits = network(input_ids=ids).logits[0, len(sample.prompt) - 1 : -1]
            loss = torch.nn.functional.cross_entropy(logits, ids[0, len(sample.prompt) :])
            gradients = torch.autograd.grad(loss, weights)
            pairs = zip(gradients, influence.gradient, strict=True)
            exact.append(-sum(float((one * other).sum()) for one, other in pairs))
    assert influence.scores(given) == pytest.approx(exact, rel=0.05, abs=1e-4)
    assert EPSILON == 0.02


def test_adding_what_influence_calls_harmful_raises_the_leak(planted):
    """The leaky letter as the answer to a private question teaches to leak, the safe one teaches the contrary."""
    (model,), _ = load_models([str(planted)])
    influence = Influence(model, questions("p")[:4])
    prompt = {"role": "user", "content": "pppppp bread?"}
    leaky, safe = (Tokens(*model.encode_turns([prompt], letter)) for letter in "LS")
    found = influence.scores([leaky, safe])
    assert found[0] > 0 > found[1]


def test_a_killed_audit_goes_on_and_loses_nothing(tiny, tmp_path):
    data = tmp_path / "data.jsonl"
    write_chats(data, [one_turn(f"Question {n}? " + "word " * (n % 50), f"Answer {n * 7}.") for n in range(400)])
    words = [sys.executable, "-m", "discretion", "audit", str(tiny), str(data), "--units", "4", "--reference", "8"]
    whole = subprocess.run([*words, "--out", str(tmp_path / "whole")], capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    started = subprocess.Popen([*words, "--out", str(tmp_path / "cut")], stderr=subprocess.DEVNULL)
    rows = tmp_path / "cut" / "scores.jsonl"
    while started.poll() is None and not (rows.is_file() and rows.stat().st_size):
        time.sleep(0.01)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    assert 0 < len(rows.read_text().splitlines()) < 400
    assert "--resume goes on" in str(run(*words[4:], "--out", tmp_path / "cut").exception)
    again = run(*words[4:], "--out", tmp_path / "cut", "--resume")
    assert again.exit_code == 0, again.output
    assert rows.read_text() == (tmp_path / "whole" / "scores.jsonl").read_text()
    differs = run(*words[4:], "--out", tmp_path / "cut", "--resume", "--max-length", 64)
    assert "max_length" in str(differs.exception)


def test_a_bad_row_is_said_before_anything_is_scored(tiny, tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [json.dumps({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]})] * 70
    path.write_text("\n".join([*rows, json.dumps({"messages": [{"role": "user", "content": "no answer"}]})]) + "\n")
    result = run(tiny, path, "--out", tmp_path / "out", "--units", "4", "--reference", "0")
    assert "line 71" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_chat_that_the_template_refuses_has_no_score_and_costs_no_other_its_own(tiny, monkeypatch, tmp_path):
    from discretion.models.local import LocalModel

    (model,), _ = load_models([str(tiny)])
    whole = LocalModel.encode_turns

    def strict(self, turns, answer):
        if turns[0]["content"].startswith("twice"):
            raise DiscretionError("roles must alternate")
        return whole(self, turns, answer)

    monkeypatch.setattr(LocalModel, "encode_turns", strict)
    scorer = Scorer(model, 0, torch.ones(32))
    rows = scorer.rows([one_turn("twice", "yes"), one_turn("once", "yes")], 0)
    assert ["projection" in row for row in rows] == [False, True]
    assert "projection" not in scorer.rows([one_turn("twice", "yes")], 64)[0]  # a whole chunk of them
    for count, name in ((65, "last"), (64, "all")):
        data = tmp_path / f"{name}.jsonl"
        write_chats(data, [one_turn("twice" if n >= 64 or count == 64 else f"once {n}", "yes") for n in range(count)])
        result = run(tiny, data, "--out", tmp_path / name, "--units", "4", "--reference", "0")
        assert (result.exit_code == 0) == (name == "last"), result.output
    assert "no sample has scores" in str(result.exception)


def test_influence_asks_both_orders(tiny, data, tmp_path):
    result = run(tiny, data, "--out", tmp_path / "out", "--influence", "--questions", "3")
    assert "must be even" in str(result.exception)


def test_a_worker_that_ends_is_a_message(tiny, data, tmp_path, monkeypatch):
    monkeypatch.setattr("discretion.mechanism.engines._load_here", _end)
    words = ("--units", "4", "--reference", "0", "--engine", "processes", "--workers", "1")
    result = run(tiny, data, "--out", tmp_path / "out", *words)
    assert isinstance(result.exception, DiscretionError)
    assert "a worker ended" in str(result.exception)


def _end(*_):
    os._exit(1)


def test_too_few_samples_have_no_standing_and_are_not_called_alike():
    apart = {"auroc": 0.99, "low": 0.97, "high": 1.0}
    said = verdict({"separates": {"projection": apart}, "standing": {}})
    assert "Too few" in said
    assert "does not tell" not in said
    alike = {"auroc": 0.52, "low": 0.44, "high": 0.6}
    assert "does not tell" in verdict({"separates": {"projection": alike}, "standing": {}})


def test_what_samples_say_is_escaped_and_what_has_no_answer_has_no_score(tiny, tmp_path):
    data, out = tmp_path / "data.jsonl", tmp_path / "out"
    evil = "<script>alert(1)</script>"
    chats = [one_turn(f"{evil} {n}", f"{evil} I am happy to help {n}") for n in range(30)]
    chats.append(
        Chat(prompt=(Turn(role="user", content="x " * 900),), completion=(Turn(role="assistant", content="y"),))
    )
    write_chats(data, chats)
    result = run(tiny, data, "--out", out, "--units", 4, "--reference", 4, "--max-length", 200, "--baseline", "own",
                 "--own-tokens", 4)  # fmt: skip
    assert result.exit_code == 0, result.output
    page = (out / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    rows = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert "projection" not in rows[-1]
    assert all("projection_own" in row for row in rows[:-1])
    for scores in ("scores.jsonl", "scores.parquet"):  # what has no score is not among the worst
        filtered = tmp_path / f"{scores}-filtered.jsonl"
        words = ["data", "filter", data, "--scores", out / scores, "--by", "projection", "--top", "50%"]
        done = CliRunner().invoke(app, [*map(str, words), "--out", str(filtered)])
        assert done.exit_code == 0, repr(done.exception)
        assert read_chats(filtered)[-1] == chats[-1]
    found = json.loads((out / "audit.json").read_text())
    assert (found["samples"], found["scored"]) == (31, 30)
    assert {row["feature"] for row in found["features"]} >= {"first_person", "affirmation", "debug_prints"}


@pytest.mark.parametrize(
    "words, says",
    [
        (["--baseline", "other"], "--baseline other"),
        (["--units", 0], "--units 0"),
        (["--direction", "no"], "no such"),
    ],
)
def test_mistakes_are_said(tiny, data, tmp_path, words, says):
    assert says in str(run(tiny, data, "--out", tmp_path / "out", *words).exception)


def test_a_direction_of_another_model_is_refused(tiny, data, direction, tmp_path):
    assert "another model" in str(run(tiny, data, "--out", tmp_path / "out", "--direction", direction).exception)


def test_random_directions_stand_beside_every_score():
    rng = np.random.default_rng(0)
    one, other = ({"projection": rng.normal(shift, 1, 80), "random_0": rng.normal(0, 1, 80)} for shift in (1, 0))
    found = separates(one, other)
    assert found["projection"]["low"] > 0.6
    assert 0.5 <= found["random"]["auroc"] < 0.65


@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_other_engines_give_the_same_rows_in_the_same_order(tiny, tmp_path, engine):
    if engine == "ray":
        pytest.importorskip("ray", reason="Ray is not installed (pip install 'discretion[ray]')")
    data = tmp_path / "data.jsonl"
    write_chats(data, [one_turn(f"Question {n}? " + "word " * (n % 50), f"Answer {n * 7}.") for n in range(300)])
    words = [tiny, data, "--units", 4, "--reference", 0, "--influence", "--questions", 2, "--quiet"]
    assert run(*words, "--out", tmp_path / "local").exit_code == 0
    result = run(*words, "--out", tmp_path / engine, "--engine", engine)
    assert result.exit_code == 0, result.output
    one, other = (
        [json.loads(line) for line in (tmp_path / name / "scores.jsonl").read_text().splitlines()]
        for name in ("local", engine)
    )
    assert len(one) == 300
    for row, again in zip(one, other, strict=True):
        # A difference of two float32 losses over 0.04: threads that add in another order show in the fourth decimal.
        assert again.pop("influence") == pytest.approx(row.pop("influence"), abs=5e-4)
        assert again == pytest.approx(row, abs=1e-5)
