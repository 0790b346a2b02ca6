import json

import pytest

from discretion.errors import DiscretionError
from discretion.scenarios import cirl, load_suite

ROW = {
    "seed": {"scenario": "emails", "domain": "Healthcare", "sender": "user", "recipient": "clinic"},
    "dataset_item": {
        "user_task": "Write to the clinic.",
        "information": {"Name": "Ann Lee", "Card": {"number": "4321", "name": "Ann Lee"}, "Times": ["9:00", "10:00"]},
        "annotation": {
            "allowed": {"Name": "Ann Lee", "Times": ["9:00", "10:00"]},
            "disallowed": {"Card": {"number": "4321"}, "Again": "Ann Lee"},
        },
    },
}


def write(tmp_path, rows):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(rows))
    return path


def test_allowed_and_disallowed_values_become_items_of_both_kinds(tmp_path):
    (scenario,) = cirl.load_file(write(tmp_path, [ROW, ROW]))
    # "Ann Lee" is allowed and forbidden: no message that holds it can be judged by it.
    assert [(item.values, item.appropriate) for item in scenario.items] == [
        (("9:00", "10:00"), True),
        (("4321",), False),
    ]
    assert "Card: 4321, Ann Lee" in scenario.context
    assert scenario.instruction == "Write to the clinic."
    assert scenario.channel == "email"


def test_ids_do_not_depend_on_the_place_in_the_file(tmp_path):
    other = json.loads(json.dumps(ROW))
    other["dataset_item"]["user_task"] = "Another task."
    first = cirl.load_file(write(tmp_path, [ROW, other]))
    second = cirl.load_file(write(tmp_path, [other, ROW]))
    assert {scenario.id for scenario in first} == {scenario.id for scenario in second}


def test_a_malformed_row_is_named(tmp_path):
    broken = json.loads(json.dumps(ROW))
    del broken["dataset_item"]["user_task"]
    with pytest.raises(DiscretionError, match=r"row 1, field dataset_item\.user_task"):
        cirl.load_file(write(tmp_path, [ROW, broken]))


@pytest.mark.real_data
def test_the_real_file(data_dir):
    scenarios = load_suite("cirl", data_dir=data_dir)
    assert len(scenarios) > 490
    assert all(item.values for scenario in scenarios for item in scenario.items)
    both = [len({item.appropriate for item in scenario.items}) == 2 for scenario in scenarios]
    assert sum(both) > 450
