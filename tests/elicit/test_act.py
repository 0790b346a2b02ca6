import pytest

from conftest import scenario_row
from discretion.elicit import ask_all, plan_act
from discretion.journal import Journal
from discretion.judges.acts import STATEMENTS, VALUES, MatchJudge
from discretion.records import RecordStore
from discretion.scenarios import Agent, Scenario


def scenario(number=1, **changes):
    return Scenario.model_validate(scenario_row(number, **changes))


class Writer:
    """A model that writes what its prompt names, and counts."""

    engine, window, name, fingerprint, remote, batches = "test", 10_000, "w", "w", False, False

    def __init__(self, at_once=2):
        self.at_once = at_once
        self.calls = []
        self.stop_after = None

    def count_tokens(self, prompt):
        return len(prompt)

    def generate(self, drafts):
        if self.stop_after is not None and len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(len(drafts))
        return [f"Ana is back on the {draft.prompt.split('Case ')[1].split(':')[0]}th." for draft in drafts]


def test_every_item_of_a_text_has_a_record_and_the_text_is_kept_once(tmp_path):
    with RecordStore(tmp_path / "r.jsonl") as store:
        records = ask_all([Writer()], plan_act([scenario()], MatchJudge()), store)
    assert [(row.appropriate, row.p_leak) for row in records] == [(False, 0.0), (True, 1.0)]
    assert [row.text for row in records] == ["Ana is back on the 1th.", None]
    assert {row.elicitation for row in records} == {"act"}
    assert {row.judge for row in records} == {"match: values"}


def test_one_text_is_greedy_and_several_are_drawn_with_seeds_of_their_own():
    (group,) = plan_act([scenario()], MatchJudge())
    assert [ask.sampling.temperature for ask in group.asks] == [0.0]
    (group,) = plan_act([scenario()], MatchJudge(), samples=3, seeds=(0, 1))
    assert {ask.sampling.temperature for ask in group.asks} == {1.0}
    assert len({ask.sampling.seed for ask in group.asks}) == 6
    assert len({ask.identity for ask in group.asks}) == 6


def test_an_interrupted_run_writes_the_same_batches_again(tmp_path):
    plan = plan_act([scenario(number) for number in range(7)], MatchJudge())
    with RecordStore(tmp_path / "a.jsonl") as store:
        ask_all([Writer()], plan, store)
    stopped, resumed = Writer(), Writer()
    stopped.stop_after = 2
    with RecordStore(tmp_path / "b.jsonl") as store, pytest.raises(KeyboardInterrupt):
        ask_all([stopped], plan, store)
    kept = (tmp_path / "b.jsonl").read_bytes()
    # a kill in the middle of a batch's records: its other half is asked again in the same company
    lines = kept.splitlines(keepends=True)
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines[:-2]))
    with RecordStore(tmp_path / "b.jsonl") as store:
        ask_all([resumed], plan, store)
    assert resumed.calls == [2, 2, 1]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize("remote", [True, False])
def test_what_was_written_is_not_written_again_because_its_judge_stopped(remote, tmp_path):
    class Stops(MatchJudge):
        def __call__(self, scenario, text):
            if scenario.id == "s1":
                raise KeyboardInterrupt
            return super().__call__(scenario, text)

    scenarios = [scenario(number) for number in range(4)]
    writer = Writer(at_once=4)
    writer.remote = remote
    for judge in (Stops(), MatchJudge()):
        with RecordStore(tmp_path / "r.jsonl") as store, Journal(tmp_path / "texts.jsonl") as store.texts:
            try:
                records = ask_all([writer], plan_act(scenarios, judge), store)
            except KeyboardInterrupt:
                assert len(store) == 2
        assert writer.calls == [4]
    assert [row.p_leak for row in records] == [0.0, 1.0] * 4


def test_too_long_a_prompt_is_an_error_and_never_safe(tmp_path):
    plan = plan_act([scenario(1), scenario(2, context="x" * 20_000)], MatchJudge())
    with RecordStore(tmp_path / "r.jsonl") as store:
        records = ask_all([Writer()], plan, store, skip_long=True)
    assert [row.error is None for row in records] == [True, True, False, False]
    assert [row.p_leak for row in records[2:]] == [None, None]


def test_an_agents_last_action_is_asked_with_its_tool():
    agent = Agent(user_name="John", tools=("Gmail",), final_action="GmailSendEmail")
    (group,) = plan_act([scenario(agent=agent)], MatchJudge())
    assert "Action: GmailSendEmail" in group.asks[0].prompt
    assert '"body"' in group.asks[0].prompt


def test_a_question_of_norms_is_not_acted_on():
    assert plan_act([scenario(instruction="")], MatchJudge()) == []


def test_statements_are_marked_as_scored():
    items = [{"text": "Ana has surgery.", "appropriate": False}]
    assert MatchJudge().name(scenario(items=items)) == STATEMENTS


def test_each_item_is_marked_as_it_was_read_and_keys_stay_as_they_were(tmp_path):
    long = "a value of so many words that nobody would repeat all of them"
    items = [
        {"text": "Ana has surgery.", "appropriate": False},
        {"text": "Ana is back on the 1th.", "appropriate": True, "values": ["1th"]},
        {"text": "Ana has surgery.", "appropriate": False, "values": [long]},
    ]
    groups = plan_act([scenario(items=items)], MatchJudge())
    assert groups[0].asks[0].judge == STATEMENTS
    with RecordStore(tmp_path / "r.jsonl") as store:
        records = ask_all([Writer()], groups, store)
    assert [row.judge for row in records] == [STATEMENTS, VALUES, STATEMENTS]
    assert [row.question for row in records] == groups[0].questions(groups[0].asks[0])


def test_a_text_that_ends_inside_a_thought_is_an_error_and_never_a_message():
    thought = "<think>Her blood group is 0-, but I must not say so"
    (group,) = plan_act([scenario()], MatchJudge())
    read = group.asks[0].read_text
    assert len(read(thought)) == len(scenario().items)
    assert all(outcome.error and not outcome.again for outcome in read(thought))
    assert not any(outcome.error for outcome in read(f"{thought}</think>Hello."))
