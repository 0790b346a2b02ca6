import json

import pytest
from typer.testing import CliRunner

from discretion.cli import app
from discretion.corpus.chat import one_turn
from discretion.corpus.formats import FORMS, write_chats
from discretion.corpus.validate import validate, validate_scenarios
from discretion.scenarios import LANGUAGES, load_suite


def scenario(identity, context="Ada takes lithium and owes 300 euros.", **changes):
    row = {
        "id": identity, "context": context, "instruction": "Write to the clinic.",
        "items": [
            {"text": "Ada takes lithium.", "appropriate": True, "values": ["lithium"]},
            {"text": "Ada is in debt.", "appropriate": False, "values": ["300 euros"]},
        ],
    }  # fmt: skip
    return row | changes


def found(tmp_path, rows, name="file.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(row) for row in rows))
    _, _, findings = validate(path)
    return {(finding.place.split(", ")[-1], finding.rule) for finding in findings}


def item(text, values, appropriate=True):
    return {"text": text, "appropriate": appropriate, "values": values}


SCENARIO_FAULTS = {
    "value-missing": scenario("b", items=[item("x", ["heparin"])]),
    "no-values": scenario("b", items=[item("x", [])]),
    "value-in-instruction": scenario("b", instruction="Write about the lithium."),
    "value-of-both": scenario("b", items=[item("x", ["lithium"]), item("y", ["Lithium"], False)]),
    "malformed": scenario("b", items="none"),
    "length": scenario("b", context="Ada takes lithium, 300 euros. " * 2000),
    "unbalanced": scenario("b+", cluster="b"),
}


@pytest.mark.parametrize("rule", SCENARIO_FAULTS)
def test_each_planted_fault_of_a_scenario_is_found(rule, tmp_path):
    clean = scenario("a", context="A wholly different thing: lithium, 300 euros, and rain over the old harbour wall.")
    planted = {**SCENARIO_FAULTS[rule]}
    assert found(tmp_path, [clean]) == set()
    assert ("line 2", rule) in {(place.split(" (")[0], kind) for place, kind in found(tmp_path, [clean, planted])}


def test_duplicates_and_near_duplicates_of_scenarios(tmp_path):
    text = " ".join(f"word{i}" for i in range(60)) + " lithium 300 euros"
    rows = [
        scenario("a", text),
        scenario("b", text),
        scenario("c", text + " more"),
        scenario("a", "lithium 300 euros"),
    ]
    assert found(tmp_path, rows) == {
        ("line 2", "duplicate"), ("line 3", "near-duplicate"), ("line 4", "duplicate"),
    }  # fmt: skip


def test_a_pair_whose_flows_have_the_same_labels_is_unbalanced(tmp_path):
    rows = [scenario("p+", cluster="p"), scenario("p-", cluster="p", instruction="Write to the shop.")]
    assert {rule for _, rule in found(tmp_path, rows)} == {"unbalanced"}


@pytest.mark.parametrize("suite", ["builtin", *(f"builtin:{language}" for language in LANGUAGES)])
def test_the_built_in_suite_is_clean(suite):
    assert validate_scenarios(load_suite(suite)) == []


def chat(number, *turns):
    roles = turns or (("user", f"question number {number} about a{number}"), ("assistant", f"answer {number}"))
    return {"messages": [{"role": role, "content": content} for role, content in roles]}


CHAT_FAULTS = {
    "roles": chat(99, ("user", "hello"), ("robot", "x"), ("assistant", "y")),
    "empty": chat(99, ("user", "hello"), ("assistant", "  ")),
    "malformed": {"messages": "hello"},
    "length": chat(99, ("user", "hello " * 60_000), ("assistant", "y")),
    "duplicate": chat(3),
    "weight": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0.5}]},
}


@pytest.mark.parametrize("rule", CHAT_FAULTS)
def test_each_planted_fault_of_a_chat_is_found(rule, tmp_path):
    clean = [chat(number) for number in range(12)]
    assert found(tmp_path, clean) == set()
    assert found(tmp_path, [*clean, CHAT_FAULTS[rule]]) == {("line 13", rule)}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": ["user"], "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"conversations": [{"from": "robot", "value": "q"}]},
        {"conversations": []},
        {"prompt": "q", "completion": None},
    ],
)
def test_a_row_that_is_no_chat_is_malformed(row, tmp_path):
    assert found(tmp_path, [*(chat(number) for number in range(12)), row]) == {("line 13", "malformed")}


@pytest.mark.parametrize(
    "turns",
    [
        (("user", "a"), ("assistant", "b"), ("user", "c")),
        (("assistant", "a"), ("user", "b"), ("assistant", "c")),
        (("user", "a"), ("user", "b"), ("assistant", "c")),
        (("user", "a"), ("system", "b"), ("assistant", "c")),
    ],
)
def test_turns_that_providers_refuse(turns, tmp_path):
    clean = [chat(number) for number in range(12)]
    assert ("line 13", "roles") in found(tmp_path, [*clean, chat(99, *turns)])


def test_rules_for_the_whole_file(tmp_path):
    assert {rule for _, rule in found(tmp_path, [chat(1)])} == {"too-few"}
    mixed = [chat(number) for number in range(12)] + [{**chat(50), "id": "x"}]
    assert {rule for _, rule in found(tmp_path, mixed)} == {"keys"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_what_is_written_in_any_shape_is_read(form, ending, tmp_path):
    chats = [one_turn(f"question {number} of {number * 7}", f"answer {number}") for number in range(12)]
    path = tmp_path / f"file{ending}"
    write_chats(path, chats, form)
    assert validate(path) == ("chats", 12, [])
    write_chats(path, [*chats, chats[3]], form)
    ((place, rule, _),) = validate(path)[2]
    assert (place.split(", ")[-1], rule) == (f"{'line' if ending == '.jsonl' else 'row'} 13", "duplicate")


def test_plain_texts_are_chats_and_a_broken_first_row_is_no_scenario(tmp_path):
    rows = [
        {"prompt": f"question {number} of {number * 7}", "completion": f"answer {number}"} for number in range(12)
    ]
    assert found(tmp_path, rows) == set()
    assert found(tmp_path, [{"prompt": "no more"}, *rows]) == {("line 1", "malformed")}


@pytest.mark.parametrize("name", ["file.jsonl", "file.yaml"])
def test_a_file_that_holds_nothing_is_a_fault(name, tmp_path):
    path = tmp_path / name
    path.write_text("")
    result = CliRunner().invoke(app, ["data", "validate", str(path)])
    assert result.exit_code == 1
    assert "holds neither scenarios nor chats" in result.output.replace("\n", " ")


def test_questions_of_norms_differ_by_their_flow(tmp_path):
    def norm(number, what):
        flow = {"sender": "you", "recipient": "a shop", "information_type": what}
        return {"id": f"n{number}", "flow": flow, "items": [item(what, [what])]}

    assert found(tmp_path, [norm(1, "your diet"), norm(2, "your salary")]) == set()
    assert found(tmp_path, [norm(1, "your diet"), norm(2, "your diet")]) == {("line 2", "duplicate")}


def test_prompt_and_completion_are_chats_too(tmp_path):
    rows = [
        {
            "prompt": [{"role": "user", "content": f"question {number} of {number * 7}"}],
            "completion": [{"role": "assistant", "content": f"answer {number}"}],
        }
        for number in range(12)
    ]
    assert found(tmp_path, rows) == set()
