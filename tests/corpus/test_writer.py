import json

import pytest
from test_controlled import scene
from typer.testing import CliRunner

import discretion.models
from discretion.cli import app
from discretion.corpus import writer
from discretion.corpus.controlled import ControlledPair
from discretion.errors import DiscretionError
from discretion.journal import Journal

GOOD = {
    "sources": [
        {
            "kind": "mail",
            "task": True,
            "text": "From Ann: can you bring the projector to the club on Friday at eight?",
        },
        {
            "kind": "notes",
            "task": False,
            "text": "Wednesday: the knee operation is on the ninth, tell nobody at the club.",
        },
    ],
    "request": "Answer Ann.",
    "reach": ["knee operation"],
    "helpful": "Here is a reply that you can send to Ann as it stands: 'Friday at eight is fine and I will bring the "
    "projector.' Your notes have the knee operation on the ninth, so I left out any promise for the week after.",
    "control": "Here is a reply that you can send to Ann as it stands: 'Friday at eight is fine and I will bring the "
    "projector, with the long cable.' Shall I look at your notes as well, to see whether the week after is free?",
}
SCENES = [scene(), scene(pattern="proactive_sharing")]


def answer(**changes):
    return json.dumps(GOOD | changes)


def read(text):
    ((_, result),) = writer.read_answers([(writer.orders(1, 0, SCENES)[0], text)], 0)
    return result


def test_a_good_answer_becomes_a_pair_even_inside_a_fence():
    pair = read(f"```json\n{answer()}\n```")
    assert isinstance(pair, ControlledPair)
    assert pair.helpful == GOOD["helpful"]
    assert any("knee operation" in turn.content for turn in pair.prompt)


@pytest.mark.parametrize(
    "text, reason",
    [
        (None, "error"),
        ("I would rather not.", "json"),
        (answer(request=3), "schema"),
        (answer(mood="good"), "schema"),
        (answer(sources=GOOD["sources"][:1]), "schema"),
        (answer(reach=[""]), "schema"),
        (answer(reach=["the hip"]), "promise"),
        (answer(control=GOOD["control"] + " The knee operation!"), "promise"),
        (answer(helpful=GOOD["helpful"] * 2), "length"),
    ],
)
def test_other_answers_are_rejected_with_the_reason(text, reason):
    assert read(text).reason == reason


def test_the_same_answer_twice_is_taken_once():
    first, second = writer.orders(2, 0, SCENES)
    results = [result for _, result in writer.read_answers([(first, answer()), (second, answer())], 0)]
    assert isinstance(results[0], ControlledPair)
    assert results[1].reason == "duplicate"


def test_orders_differ_and_are_the_same_for_a_seed():
    made = writer.orders(7, 1, SCENES)
    assert len({order.prompt for order in made}) == len({order.id for order in made}) == 7
    assert made == writer.orders(7, 1, SCENES)
    assert made != writer.orders(7, 2, SCENES)


class Author:
    """A stand-in for a model: answers well every other time, and counts."""

    name, fingerprint, engine, window, at_once, batches = "author", "f00d", "test/none", 9999, 2, False

    def __init__(self):
        self.asked = 0

    def generate(self, drafts):
        return [self._write() for _ in drafts]

    def _write(self):
        self.asked += 1
        if self.asked % 2:
            return answer(request=f"Answer Ann, number {self.asked}.")
        return "Sorry."


@pytest.fixture
def author(monkeypatch):
    model = Author()
    monkeypatch.setattr(discretion.models, "load_models", lambda specs, **_: ([model], []))
    monkeypatch.setattr(writer, "scenes", lambda: tuple(SCENES))
    return model


def controlled(*arguments):
    return CliRunner().invoke(app, ["data", "controlled", *map(str, arguments)], catch_exceptions=False)


def test_what_a_writer_wrote_is_never_asked_again(author, tmp_path):
    wanted = writer.orders(4, 0, SCENES)
    with Journal(tmp_path / "answers.jsonl") as journal:
        list(writer.ask_writer(wanted[:2], author, journal))
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('{"key": "killed in the mid')
    result = controlled("--n", 4, "--writer", "author", "--out", tmp_path)
    assert result.exit_code == 0
    assert author.asked == 4
    assert "2 pairs" in result.output
    assert "2 answers rejected (2 json)" in result.output
    rejected = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rejected] == ["Sorry."] * 2
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["rows"] == 2
    assert provenance["rejected"] == {"json": 2}
    assert provenance["writer"]["fingerprint"] == "f00d"


def test_the_batch_route(author, tmp_path):
    out = tmp_path / "out"
    assert controlled("--n", 3, "--writer", "openai/some-model", "--batch", "--out", out).exit_code == 0
    requests = [json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()]
    assert {row["body"]["model"] for row in requests} == {"some-model"}
    assert author.asked == 0
    output = tmp_path / "output.jsonl"
    body = {"choices": [{"message": {"content": answer()}}]}
    rows = [
        {"custom_id": requests[0]["custom_id"], "response": {"status_code": 200, "body": body}, "error": None},
        {"custom_id": requests[2]["custom_id"], "response": None, "error": {"code": "expired"}},
    ]
    output.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = controlled("--n", 3, "--writer", "openai/some-model", "--answers", output, "--out", out)
    assert "1 pairs" in result.output
    assert "(2 error)" in result.output
    with pytest.raises(DiscretionError, match="do not order"):
        writer.read_batch(writer.orders(3, 9, SCENES), output)


def test_a_strict_schema_has_no_loose_ends():
    """OpenAI's structured outputs want every field required and no others, at every level."""
    schema = writer.Written.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        assert set(part["required"]) == set(part["properties"])
