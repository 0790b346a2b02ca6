"""Chats in other people's shapes, and the side file beside every file that is made."""

import json

import pytest

from discretion.corpus.chat import Chat, Turn, from_turns, one_turn
from discretion.corpus.formats import FORMS, read_chats, read_rows, write_chats
from discretion.corpus.provenance import fingerprint
from discretion.errors import DiscretionError

LONG = Chat(
    prompt=(
        Turn(role="system", content="Be brief."),
        Turn(role="user", content="Hi"),
        Turn(role="assistant", content="Hello"),
        Turn(role="user", content="More?"),
    ),
    completion=(Turn(role="assistant", content="No."),),
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_every_shape_comes_back_as_it_went(form, suffix, tmp_path):
    chats = [LONG, one_turn("Where?", "There.")]
    write_chats(tmp_path / f"x{suffix}", chats, form)
    assert read_chats(tmp_path / f"x{suffix}") == chats


def test_openai_and_sharegpt_look_as_they_should(tmp_path):
    write_chats(tmp_path / "a.jsonl", [one_turn("Where?", "There.")], "messages")
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {
        "messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There."}]
    }
    write_chats(tmp_path / "b.jsonl", [one_turn("Where?", "There.")], "sharegpt")
    assert json.loads((tmp_path / "b.jsonl").read_text()) == {
        "conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "There."}]
    }


def test_a_dialogue_learns_its_last_answer():
    chat = from_turns([("user", "a"), ("user", "b"), ("assistant", "c"), ("user", "bye")])
    assert isinstance(chat, Chat)
    assert [turn.content for turn in chat.turns] == ["a\nb", "c"]
    assert from_turns([("user", "a")]) == "no answer to learn"
    assert from_turns([("assistant", "a"), ("user", "b"), ("assistant", "c")]) == "the user does not begin"
    assert from_turns([("user", "a"), ("system", "b"), ("assistant", "c")]) == "a system turn in the middle"


@pytest.mark.parametrize(
    "row, says",
    [
        ([], "line 1: an object is needed"),
        ({"text": "x"}, "line 1: neither prompt and completion"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0: the role 'robot' is unknown"),
        ({"messages": [{"role": "user"}]}, "messages.0: a turn has a role and a content"),
        ({"messages": [{"role": "user", "content": "x"}]}, "line 1: no answer to learn"),
    ],
)
def test_mistakes_are_named(row, says, tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DiscretionError, match=says):
        read_chats(tmp_path / "x.jsonl")


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DiscretionError, match="not a Parquet file"):
        read_chats(tmp_path / "x.parquet")
    with pytest.raises(DiscretionError, match=r"must end in \.jsonl or \.parquet"):
        write_chats(tmp_path / "x.csv", [LONG])


def test_the_hub_is_asked_for_the_split_and_its_failure_is_a_line(monkeypatch):
    asked = []

    def load_dataset(name, configuration, **options):
        asked.append((name, configuration, options))
        if name == "no/such":
            raise ConnectionError("offline\nmore")
        if name == "too/slow":
            raise TimeoutError
        return [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    assert next(read_rows("hub:some/set@main:validation"))[0] == "some/set, row 1"
    assert asked == [("some/set", "main", {"split": "validation", "streaming": True})]
    with pytest.raises(DiscretionError, match=r"hub:no/such: not to be had \(ConnectionError: offline\)"):
        next(read_rows("hub:no/such"))
    with pytest.raises(DiscretionError, match="hub:too/slow: not to be had"):
        next(read_rows("hub:too/slow"))


def test_a_fingerprint_is_of_the_chats_and_not_of_the_file():
    assert fingerprint([LONG]) == fingerprint([LONG.model_copy()]) != fingerprint([LONG, LONG])
