import json
import math
from collections import Counter

import pytest

from discretion.controls import plan_controls, questions
from discretion.controls._types import RightOption
from discretion.errors import DiscretionError


def test_our_questions():
    rows = questions.load()
    assert len(rows) >= 200
    assert len({row.id for row in rows}) == len({row.question for row in rows}) == len(rows)
    places = Counter(row.answer for row in rows)
    assert max(places.values()) - min(places.values()) <= 2
    assert all(len(set(row.choices)) == 4 for row in rows)


def test_the_right_letters_share():
    read = RightOption(1)((math.log(0.2), math.log(0.6), math.log(0.1)))
    assert read.p_correct == pytest.approx(0.6 / 0.9)
    assert read.answer_mass == pytest.approx(0.9)
    assert RightOption(0)((-900.0, -900.0)).p_correct == pytest.approx(0.5)


def test_a_default_control_that_is_not_at_hand_is_unmeasured(tmp_path):
    plan = plan_controls(None, tmp_path)
    assert {group.suite for group in plan.groups} == {"questions"}
    assert "commonsenseqa" in plan.unmeasured
    assert plan_controls(["none"], None) == ([], {})


def test_a_named_control_must_be_there(tmp_path):
    with pytest.raises(DiscretionError, match="no such file"):
        plan_controls(["commonsenseqa"], tmp_path)
    with pytest.raises(DiscretionError, match="no control 'trivia'"):
        plan_controls(["trivia"], None)


def test_some_of_a_controls_questions_are_always_the_same_ones():
    few, more = (plan_controls([f"questions:{n}"], None).groups for n in (20, 50))
    assert [len(few), len(more)] == [20, 50]
    assert few == more[:20]
    assert few != plan_controls(["questions"], None).groups[:20]
    for wrong, says in (
        (["questions:0"], "at least 1"),
        (["questions:"], "at least 1"),
        (["questions:x"], "at least 1"),
        (["questions:9999"], "has 320 questions"),
        (["agentharm:4"], "as a whole"),
        (["questions", "questions:4"], "each control once"),
    ):
        with pytest.raises(DiscretionError, match=says):
            plan_controls(wrong, None)


def test_a_malformed_line_is_named(tmp_path):
    path = tmp_path / "commonsenseqa" / "dev_rand_split.jsonl"
    path.parent.mkdir()
    choices = [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]
    good = {"id": "1", "answerKey": "B", "question": {"stem": "Q?", "choices": choices}}
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | {"answerKey": "F"}) + "\n")
    with pytest.raises(DiscretionError, match="line 2, field answerKey"):
        plan_controls(["commonsenseqa"], tmp_path)
    path.write_text(json.dumps(good) + "\n")
    assert plan_controls(["commonsenseqa"], tmp_path).groups[0].asks[0].options == ("A", "B")


@pytest.mark.real_data
def test_the_official_dev_set(data_dir):
    assert len(plan_controls(["commonsenseqa"], data_dir).groups) == 1221
