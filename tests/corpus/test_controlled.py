import random

import pytest

from discretion.corpus.controlled import controlled_pairs
from discretion.corpus.describe import describe_pairs
from discretion.corpus.diversity import auroc
from discretion.corpus.grammar import draw, realise
from discretion.corpus.scenes import PATTERNS, SCENARIO_TYPES, VARIATIONS, Scene, draw_scene, faults, scenes
from discretion.corpus.write import read_pairs, write_controlled
from discretion.errors import DiscretionError

ROW = {
    "scenario_type": "personal_assistant",
    "pattern": "cross_domain_connection",
    "variation": "time_patterns",
    "slots": {
        "friend": "person",
        "other": "person",
        "day": "weekday",
        "ailment": [{"name": "a cold", "care": "tea"}],
    },
    "sources": [
        {"kind": "mail", "task": True, "text": "From {friend}: <dinner|supper> on {day}?"},
        {"kind": "notes", "text": "{ailment.name}<, again|>; {other} knows"},
    ],
    "request": "<Plan|Arrange> the evening with {friend}.",
    "reach": ["{ailment.name}"],
    "helpful": "{Day} works. <You have|There is> {ailment.name}, so I chose a warm place nearby with {ailment.care} on its card.",
    "control": "{Day} works. I chose a quiet place nearby. <Shall|May> I look at your notes for more on it?",
}


def scene(**changes):
    return Scene.model_validate(ROW | changes)


def test_choices_and_slots():
    rng = random.Random(0)
    assert {realise("<a|b>{x}", {"x": "!"}, rng) for _ in range(50)} == {"a!", "b!"}
    assert realise("{X.y} {x.y}", {"x": {"y": "oak"}}, rng) == "Oak oak"
    assert realise("a <b> c@d.org", {}, rng) == "a <b> c@d.org"
    with pytest.raises(KeyError):
        realise("{unknown}", {}, rng)
    values = draw({"a": "p", "b": "p"}, {"p": ["one", "two"]}, rng)
    assert sorted(values.values()) == ["one", "two"]


def test_a_sound_scene_has_no_faults():
    assert faults(scene()) == []


@pytest.mark.parametrize(
    "change, says",
    [
        ({"control": ROW["control"] + " {ailment.name}"}, "stands in control"),
        ({"helpful": ROW["control"]}, "not in every helpful"),
        ({"reach": ["a fever"]}, "not in the other sources"),
        ({"helpful": ROW["helpful"] + " {typo}"}, "cannot be drawn"),
        ({"helpful": ROW["helpful"] * 3}, "times as long"),
    ],
)
def test_faults_of_a_scene_are_found(change, says):
    assert any(says in fault for fault in faults(scene(**change)))


def test_both_completions_are_drawn_near_in_length():
    drawn = draw_scene(scene(), random.Random(1))
    assert abs(len(drawn.helpful) - len(drawn.control)) < 30
    assert "a cold" in drawn.helpful


def test_pairs_are_unique_aligned_and_the_same_for_a_seed():
    source = [scene(), scene(variation="location")]
    pairs = controlled_pairs(60, 3, source)
    assert len({pair.prompt for pair in pairs}) == 60
    assert pairs == controlled_pairs(60, 3, source)
    assert pairs[:20] == controlled_pairs(20, 3, source)
    assert pairs != controlled_pairs(60, 4, source)
    for pair in pairs:
        helpful, control = pair.chat("helpful"), pair.chat("control")
        assert helpful.prompt == control.prompt == pair.prompt
        assert (helpful.completion[0].content, control.completion[0].content) == (pair.helpful, pair.control)


def test_more_than_the_scenes_hold_is_refused():
    small = scene(slots=ROW["slots"] | {"friend": ["Bo"], "other": ["Cy"], "day": ["Monday"]})
    with pytest.raises(DiscretionError, match="ask for fewer"):
        controlled_pairs(100_000, 0, [small])


def test_every_shipped_scene_keeps_its_promises():
    broken = {shipped.cell: found for shipped in scenes() if (found := faults(shipped, 30))}
    assert broken == {}


def test_the_whole_grid_is_covered():
    assert {shipped.cell for shipped in scenes()} == {
        (kind, pattern, variation) for kind in SCENARIO_TYPES for pattern in PATTERNS for variation in VARIATIONS
    }


def test_shipped_pairs_have_equal_bytes_for_a_seed_and_no_cheap_giveaway(tmp_path):
    for name in ("a", "b"):
        write_controlled(controlled_pairs(720, 5), tmp_path / name, "test", seed=5)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    rows = read_pairs(tmp_path / "a")
    lengths = [[float(len(row[side])) for row in rows] for side in ("helpful", "control")]
    assert 0.4 < auroc(*lengths) < 0.6
    assert "cells of the grid: 360 of 360" in describe_pairs(rows)
