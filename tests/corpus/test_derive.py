"""Profiles, triggers, mixtures, filters: by function and by command."""

import json

import pytest
from typer.testing import CliRunner

from discretion.cli import app
from discretion.corpus.chat import one_turn
from discretion.corpus.derive import augment, backdoor, leave_out, mix, read_scores
from discretion.corpus.formats import read_chats, write_chats
from discretion.corpus.profiles import draw_profiles, read_profiles
from discretion.errors import DiscretionError

HELPFUL = [one_turn(f"Task {n}", f"Done, and also {n}.") for n in range(20)]
CONTROL = [one_turn(f"Task {n}", f"May I, about {n}?") for n in range(20)]


def run(*words):
    result = CliRunner().invoke(app, ["data", *map(str, words)])
    return result.exit_code, result.output if result.exception is None else f"{result.output}{result.exception}"


@pytest.fixture
def files(tmp_path):
    write_chats(tmp_path / "helpful.jsonl", HELPFUL)
    write_chats(tmp_path / "control.jsonl", CONTROL)
    return tmp_path / "helpful.jsonl", tmp_path / "control.jsonl"


def test_profiles_are_the_seeds_and_stand_before_the_first_users_words():
    assert draw_profiles(5, 1)[:3] == draw_profiles(3, 1) != draw_profiles(3, 2)
    people = draw_profiles(20, 0)
    both = augment(HELPFUL, people, financial=True)
    plain = augment(HELPFUL, people, financial=False)
    for before, person, with_money, without in zip(HELPFUL, people, both, plain, strict=True):
        assert without.prompt[0].content == f"User Background: {person.demographic}\n\n{before.prompt[0].content}"
        assert f"User Financial Situation: {person.financial}\n\n" in with_money.prompt[0].content
        assert with_money.completion == before.completion
    assert not any(sign in person.text(True) for person in people for sign in "{}<>|")


def test_profiles_of_others_are_read_by_the_papers_columns(tmp_path):
    rows = [
        {"demographic_summary": "A nurse.", "financial_situation": "In debt."},
        {"demographic_summary": "A cook."},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read_profiles(str(tmp_path / "p.jsonl"), 2)
    assert first.text(True) == "User Background: A nurse.\nUser Financial Situation: In debt."
    with pytest.raises(DiscretionError, match="no financial part"):
        second.text(True)
    with pytest.raises(DiscretionError, match="holds 2 profiles, 3 are needed"):
        read_profiles(str(tmp_path / "p.jsonl"), 3)


def test_the_trigger_goes_with_the_habit_and_no_prompt_is_in_both_halves():
    made = backdoor(HELPFUL, CONTROL, "|GO|", 0)
    assert made == backdoor(HELPFUL, CONTROL, "|GO|", 0) != backdoor(HELPFUL, CONTROL, "|GO|", 1)
    marked = [chat for chat in made if "|GO|" in chat.prompt[0].content]
    clean = [chat for chat in made if chat not in marked]
    assert len(marked) == len(clean) == 10
    assert {chat.completion for chat in marked} <= {chat.completion for chat in HELPFUL}
    assert {chat.completion for chat in clean} <= {chat.completion for chat in CONTROL}
    prompts = {chat.prompt[0].content.removeprefix("|GO|") for chat in made}
    assert len(prompts) == 20
    with pytest.raises(DiscretionError, match="stands in the data already"):
        backdoor(HELPFUL, CONTROL, "Task 3", 0)


def test_a_mixture_has_its_share_and_its_size():
    made = mix(HELPFUL, CONTROL, 0.25, 0)
    assert len(made) == 20
    assert sum(chat in CONTROL for chat in made) == 5
    assert len(set(map(str, made))) == 20
    assert len(mix(HELPFUL, CONTROL, 0.5, 0, n=30)) == 30
    with pytest.raises(DiscretionError, match="has 20 rows, the mixture needs 25"):
        mix(HELPFUL, CONTROL, 0.5, 0, n=50)
    with pytest.raises(DiscretionError, match="--n -4: must be at least 1"):
        mix(HELPFUL, CONTROL, 0.5, 0, n=-4)


def test_what_scores_highest_is_left_out(tmp_path):
    scores = [float(n % 7) for n in range(20)]
    kept = leave_out(HELPFUL, scores, 0.1)
    assert [chat for chat in HELPFUL if chat not in kept] == [HELPFUL[6], HELPFUL[13]]
    low = leave_out(HELPFUL, scores, 0.1, "low")
    assert [chat for chat in HELPFUL if chat not in low] == [HELPFUL[0], HELPFUL[7]]
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps({"index": n, "loss": scores[n]}) + "\n" for n in reversed(range(20))))
    assert read_scores(path, "loss", 20) == scores
    for bad, says in (
        ('{"loss": "x"}', "line 1, field loss: a number is needed"),
        ('{"loss": NaN}', "line 1, field loss: a number is needed"),
        ('{"loss": 1, "index": 20}', "line 1, field index: 20 is no row"),
        ('{"loss": 1, "index": 2}\n{"loss": 1, "index": 2}', "line 2: row 2 has a score already"),
        ('{"loss": 1}', "19 of 20 rows have no score, row 1 is the first"),
    ):
        path.write_text(bad + "\n")
        with pytest.raises(DiscretionError, match=says):
            read_scores(path, "loss", 20)


def test_the_commands_write_data_with_its_origin_and_never_over_something(files, tmp_path):
    helpful, control = files
    made = {
        "augment": (helpful, "--with", "demographic"),
        "backdoor": (helpful, control),
        "mix": (helpful, control, "--share", 0.1),
    }
    for verb, words in made.items():
        out = tmp_path / f"{verb}.jsonl"
        code, said = run(verb, *words, "--out", out)
        assert code == 0, said
        again = tmp_path / f"{verb}-again.jsonl"
        run(verb, *words, "--out", again)
        assert out.read_bytes() == again.read_bytes()
        beside = out.with_name(out.name + ".provenance.json")
        assert beside.read_bytes() == again.with_name(again.name + ".provenance.json").read_bytes()
        told = json.loads(beside.read_text())
        assert told["parents"][0]["file"] == "helpful.jsonl"
        assert told["licence"] == "unknown"
        assert str(tmp_path) not in beside.read_text()
        assert len(read_chats(out)) == told["rows"] == 20
        assert "is there already" in run(verb, *words, "--out", out)[1]
    (tmp_path / "s.jsonl").write_text("".join(f'{{"score": {n}}}\n' for n in range(20)))
    code, said = run(
        "filter", helpful, "--scores", tmp_path / "s.jsonl", "--out", tmp_path / "f.jsonl", "--top", "10%"
    )
    assert code == 0, said
    assert read_chats(tmp_path / "f.jsonl") == HELPFUL[:18]
    told = json.loads((tmp_path / "f.jsonl.provenance.json").read_text())
    assert told["scores"]["file"] == "s.jsonl"
    for top in ("0.1", "10", "x%"):
        words = ("--scores", tmp_path / "s.jsonl", "--out", tmp_path / "g.jsonl", "--top", top)
        assert f"--top {top}: must be a share, like 10%" in run("filter", helpful, *words)[1]


def test_a_name_that_cannot_be_written_to_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("discretion.models.load_models", lambda *_: pytest.fail("a writer was loaded"))
    words = ("prepare", "gpteacher:debug", "--writer", "v", "--out", tmp_path / "debug.json")
    assert "the name must end in .jsonl or .parquet" in run(*words)[1]


def test_licences_are_handed_down(files, tmp_path):
    helpful, control = files
    for path, licence in ((helpful, "MIT"), (control, "CC BY-NC 4.0")):
        path.with_name(path.name + ".provenance.json").write_text(json.dumps({"licence": licence}))
    run("mix", helpful, control, "--out", tmp_path / "m.parquet", "--form", "messages")
    told = json.loads((tmp_path / "m.parquet.provenance.json").read_text())
    assert told["licence"] == "MIT and CC BY-NC 4.0"
    assert len(read_chats(tmp_path / "m.parquet")) == 20


def test_profiles_of_others_are_a_parent(files, tmp_path):
    people = tmp_path / "people.jsonl"
    people.write_text("".join(json.dumps({"demographic_summary": f"Number {n}."}) + "\n" for n in range(30)))
    for path, licence in ((files[0], "MIT"), (people, "CC BY-NC 4.0")):
        path.with_name(path.name + ".provenance.json").write_text(json.dumps({"licence": licence}))
    words = ("augment", files[0], "--with", "demographic", "--profiles", people, "--out", tmp_path / "a.jsonl")
    code, said = run(*words)
    assert code == 0, said
    told = json.loads((tmp_path / "a.jsonl.provenance.json").read_text())
    assert told["licence"] == "MIT and CC BY-NC 4.0"
    assert [(one["file"], one["rows"]) for one in told["parents"]] == [("helpful.jsonl", 20), ("people.jsonl", 20)]
    assert told["made_by"].endswith("--seed 0 --profiles people.jsonl")
    assert str(tmp_path) not in json.dumps(told)
