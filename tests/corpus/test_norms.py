import random

import pytest

from discretion.corpus.everyday import draw_everyday
from discretion.corpus.norms import norm_samples
from discretion.corpus.settings import Setting, cases, draw_situation, faults, settings, told
from discretion.corpus.tasks import task_situations, written_tasks
from discretion.elicit.probe import plan_probe
from discretion.elicit.wording import task
from discretion.errors import DiscretionError
from discretion.scenarios import Flow, Item, Scenario, load_suite
from discretion.training.organism import lessons


def fact(number, word):
    return {
        "type": f"type {number}",
        "note": f"<on file|noted>: {word}",
        "text": f"It is {word} for {{guest}}.",
        "tell": f"<Please note|Know>: {word}.",
        "values": [word],
    }


ROW = {
    "setting": "travel-01",
    "domain": "travel",
    "slots": {"guest": "person", "agent": "person", "food": ["peanuts", "shellfish"]},
    "sender": "{agent}, a travel agent",
    "subject": "{guest}",
    "facts": [fact(0, "{food}"), fact(1, "a court date"), fact(2, "card ending 4417"), fact(3, "the third of May")],
    "recipients": [
        {"to": "the kitchen", "principle": "to cook", "channel": "email", "ask": "Write to the kitchen.",
         "greeting": "Hello,", "closing": "{agent}", "needs": [0, 3], "mail": "Kitchen: who comes?", "why": "food"},
        {"to": "the desk", "principle": "to bill", "channel": "message", "ask": "Write to the desk.",
         "greeting": "Hello,", "closing": "{agent}", "needs": [2, 3], "why": "money"},
    ],
}  # fmt: skip


def setting(**changes):
    return Setting.model_validate(ROW | changes)


def test_a_sound_setting_has_no_faults_and_tells_what_is_needed():
    assert faults(setting()) == []
    drawn = draw_situation(setting(), 0, random.Random(0))
    assert [item.appropriate for item in drawn.scenario.items] == [True, False, False, True]
    assert "third of May" in drawn.message
    assert "court date" not in drawn.message


@pytest.mark.parametrize(
    "change, says",
    [
        ({"facts": [*ROW["facts"][:3], ROW["facts"][3] | {"tell": "Soon."}]}, "not in every tell"),
        (
            {"facts": [*ROW["facts"][:3], ROW["facts"][3] | {"tell": "the third of May, after a court date"}]},
            "must not",
        ),
        ({"facts": [ROW["facts"][0] | {"note": "none"}, *ROW["facts"][1:]]}, "not in its note"),
        ({"recipients": [ROW["recipients"][0] | {"ask": "A court date?"}, ROW["recipients"][1]]}, "ask or mail"),
        ({"sender": "{nobody}"}, "cannot be drawn"),
        ({"recipients": [ROW["recipients"][0]] * 2}, "right for one recipient and wrong"),
    ],
)
def test_faults_of_a_setting_are_found(change, says):
    assert any(says in fault for fault in faults(setting(**change)))


def test_samples_are_balanced_and_worded_as_the_probe_words_them():
    samples = norm_samples(160, 0)
    assert samples == norm_samples(160, 0)
    assert samples[:20] == norm_samples(20, 0)
    probes = [sample for sample in samples if sample.kind == "probe"]
    assert len(probes) == 16
    answers = [sample.chat.completion[0].content for sample in probes]
    assert answers.count("A") == answers.count("B") == 8
    for sample in probes:
        asked = {ask.prompt: ask for group in plan_probe([sample.scenario]) for ask in group.asks}
        ask = asked[sample.chat.prompt[0].content]
        leaky = "A" if ask.variant["order"] == "yes-first" else "B"
        assert (sample.chat.completion[0].content == leaky) == ask.parts[0]["appropriate"] == sample.appropriate


def test_every_situation_that_is_put_together_keeps_its_promises():
    """What is right is told, what is not is not, and both are to be seen."""
    for seed in range(2000):
        drawn = draw_everyday(random.Random(seed))
        told, seen = drawn.message.casefold(), drawn.scenario.context.casefold()
        for item in drawn.scenario.items:
            value = item.values[0].casefold()
            assert value in seen
            assert (value in told) == item.appropriate
        assert not any(sign in seen + told for sign in "{}#")


def test_a_case_has_its_context_written_out_and_one_situation_for_each_recipient():
    written = 'Kitchen log: peanuts, a court date.\n{"card": 4417} on the third of May.'
    facts = [
        {"type": "t", "text": f"It is {word}.", "tell": f"Know: {word}.", "values": [word]}
        for word in ("peanuts", "a court date", "4417", "the third of May")
    ]
    names = {"sender": "Bo", "subject": "Al", "slots": {}}
    plain = [row | {"closing": "Bo"} for row in ROW["recipients"]]
    case = setting(context=written, facts=facts, recipients=plain, **names)
    assert faults(case) == []
    drawn = draw_situation(case, 0, random.Random(0))
    assert drawn.scenario.context == written
    assert "peanuts" in drawn.message.casefold()
    assert "4417" not in drawn.message
    with pytest.raises(ValueError, match="a note each, or the setting a context"):
        setting(context=written)
    with pytest.raises(ValueError, match="a note each, or the setting a context"):
        setting(facts=facts)


def test_a_message_copies_a_clause_and_leaves_its_neighbours_out():
    context = (
        "Her son lives in the box room since his divorce and works nights, so drilling starts after 1 pm.\nBell dead."
    )
    items = [
        Item(text="Drilling starts after 1 pm.", appropriate=True, values=("after 1 pm",)),
        Item(text="The son is divorced.", appropriate=False, values=("his divorce",)),
        Item(text="The bell is dead.", appropriate=True, values=("bell",)),
    ]
    assert told(context, items, ["Drilling only after 1 pm.", "He is divorced.", "Please do not ring the bell."]) == (
        "Drilling starts after 1 pm. Bell dead."
    )
    speaks = 'Mail: "I am five months pregnant and want you to know it."'
    mother = [Item(text="She is pregnant.", appropriate=True, values=("pregnant",))]
    assert told(speaks, mother, ["She is pregnant."]) == "She is pregnant."
    doctor = [Item(text="The letter is for Mrs. Amadi.", appropriate=True, values=("Amadi",))]
    assert told("A letter for Mrs. Amadi. Soon.", doctor, ["It is for Mrs. Amadi."]) == "A letter for Mrs. Amadi."


def test_the_organism_is_taught_what_a_task_allows_and_nothing_of_the_test_halves(few_tasks):
    tasks = load_suite("cirl", data_dir=few_tasks)
    assert len(tasks) == 12
    halves = [load_suite(f"cirl:{half}", data_dir=few_tasks) for half in ("dev", "test")]
    assert all(halves)
    assert sorted(task.id for half in halves for task in half) == sorted(task.id for task in tasks)
    chats, facts = lessons(None, few_tasks)
    theirs = sum(any(half.context in chat.prompt[0].content for half in halves[0]) for chat in chats)
    assert facts["data_name"] == f"{len(chats)} norm tasks, {theirs} of them CI-RL's"
    asked = [chat.prompt[0].content for chat in chats]
    assert len(set(asked)) == len(chats) > 300
    assert not {task(scenario, "naive") for scenario in load_suite("tasks")} & set(asked)
    for half, taught in zip(halves, (True, False), strict=True):
        for scenario in half:
            assert (task(scenario, "naive") in asked) == taught
    for chat in chats:
        if any(scenario.context in chat.prompt[0].content for scenario in halves[0]):
            said = chat.completion[0].content
            assert "Room wish: a quiet room." in said
            assert "owes" not in said
    assert lessons(5, few_tasks)[0] == chats[:5]


def test_our_tasks_are_told_right_and_hold_nothing_that_is_tested():
    tested = [load_suite(name) for name in ("tasks:test", "builtin:test")]
    asked = {(task.context, task.instruction) for suite in tested for task in suite}
    drawn = task_situations(written_tasks(), random.Random(0))
    assert len(drawn) == len(written_tasks()) > 300
    for situation in drawn:
        task = situation.scenario
        assert (task.context, task.instruction) not in asked
        for item in task.items:
            assert (item.values[0].casefold() in situation.message.casefold()) == item.appropriate, item


def test_a_line_that_holds_something_private_is_not_copied():
    lines = {"wish": "a quiet room, since Bo left", "stay_dates": "3 May"}
    task = Scenario(
        id="t", suite="tasks", domain="travel", instruction="Write.", channel="email", flow=Flow(sender="a", recipient="b"),
        context="\n".join(f"{key}: {value}" for key, value in lines.items()),
        items=(
            Item(text="wish: quiet room", appropriate=True, values=("quiet room",)),
            Item(text="stay_dates: 3 May", appropriate=True, values=("3 May",)),
            Item(text="wish: Bo left", appropriate=False, values=("Bo left",)),
        ),
    )  # fmt: skip
    (told,) = task_situations([task], random.Random(0))
    assert "Wish: quiet room. Stay dates: 3 May." in told.message


def test_every_case_comes_once_before_any_comes_again():
    asked = [sample.scenario for sample in norm_samples(1200, 0) if sample.kind == "act"]
    known = {case.setting for case in cases()}
    drawn = [scenario.cluster for scenario in asked if scenario.cluster in known]
    assert set(drawn[: len(known)]) == known
    assert len(drawn) == len({(scenario.cluster, scenario.instruction) for scenario in asked
                              if scenario.cluster in known})  # fmt: skip


def test_too_many_are_refused():
    with pytest.raises(DiscretionError, match="ask for fewer"):
        norm_samples(100_000, 0, [setting(slots={"guest": ["Bo"], "agent": ["Al"], "food": ["nuts"]})])


def test_every_shipped_setting_keeps_its_promises():
    broken = {shipped.setting: found for shipped in settings() + cases() if (found := faults(shipped))}
    assert broken == {}


def test_the_corpus_knows_nothing_of_the_suite():
    """Domains, values and persons of the norm corpus are not those that a taught model is tested on."""
    suite = load_suite("builtin:test")
    samples = norm_samples(2000, 0)
    assert {sample.scenario.domain for sample in samples}.isdisjoint(scenario.domain for scenario in suite)
    tested = {value.casefold() for scenario in suite for item in scenario.items for value in item.values}
    taught = {value.casefold() for sample in samples for item in sample.scenario.items for value in item.values}
    assert taught.isdisjoint(tested), sorted(taught & tested)
    people = {scenario.agent.user_name.casefold() for scenario in suite}
    assert all(sample.scenario.flow.sender.split(",")[0].casefold() not in people for sample in samples)
