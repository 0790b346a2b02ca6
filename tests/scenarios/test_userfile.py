import json

import pytest
import yaml

from conftest import scenario_row
from discretion.errors import DiscretionError
from discretion.scenarios import choose, load_suite


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_a_file_becomes_a_suite_of_its_own_name(tmp_path):
    path = write(tmp_path / "mine.jsonl", scenario_row(1), "", scenario_row(2))
    scenarios = load_suite(path)
    assert [scenario.id for scenario in scenarios] == ["s1", "s2"]
    assert {scenario.suite for scenario in scenarios} == {"mine"}
    assert scenarios[0].cluster == "s1"


@pytest.mark.parametrize(
    "row, place, field",
    [
        ("{broken", "line 2", "not valid JSON"),
        ("[1, 2]", "line 2", "an object"),
        (scenario_row(2, items=[]), "line 2", "items"),
        (scenario_row(2, items=[{"text": "x", "appropriate": "perhaps"}]), "line 2", "items.0.appropriate"),
        (scenario_row(2, contxt="a typing mistake"), "line 2", "contxt"),
        (scenario_row(1), "line 2", "id"),
        ({key: value for key, value in scenario_row(2).items() if key != "id"}, "line 2", "id"),
    ],
)
def test_mistakes_are_named_by_file_line_and_field(tmp_path, row, place, field):
    path = write(tmp_path / "mine.jsonl", scenario_row(1), row)
    with pytest.raises(DiscretionError) as error:
        load_suite(path)
    message = str(error.value)
    assert "mine.jsonl" in message
    assert place in message
    assert field in message
    assert "\n" not in message


def test_yaml_mistakes_have_lines_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump([scenario_row(1)]) + "- id: s2\n  context: x\n")
    with pytest.raises(DiscretionError, match=r"mine.yaml, line \d+, field items"):
        load_suite(str(path))
    for broken in ("- id: [unclosed\n", "- id: s1\n  context: \x07\n", "- id: 2024-02-30\n"):
        path.write_text(broken)
        with pytest.raises(DiscretionError, match=r"mine.yaml(, line \d+)?: not valid YAML \(.+\)$") as error:
            load_suite(str(path))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_suite_is_an_error(tmp_path, content):
    for name in ("mine.jsonl", "mine.yaml"):
        (tmp_path / name).write_text(content)
        with pytest.raises(DiscretionError, match="holds no scenario"):
            load_suite(str(tmp_path / name))


def test_missing_file_folder_and_unknown_suite(tmp_path):
    with pytest.raises(DiscretionError, match="no such file"):
        load_suite(str(tmp_path / "none.jsonl"))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DiscretionError, match="is a folder"):
        load_suite(str(tmp_path / "folder.jsonl"))
    with pytest.raises(DiscretionError, match="known: builtin"):
        load_suite("privacylense")
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9"}\n')
    with pytest.raises(DiscretionError, match="not UTF-8"):
        load_suite(str(tmp_path / "latin.jsonl"))


def test_choosing_is_fixed_and_a_smaller_limit_is_a_prefix(tmp_path):
    scenarios = load_suite(write(tmp_path / "mine.jsonl", *map(scenario_row, range(30))))
    ten, twenty = choose(scenarios, 10), choose(scenarios, 20)
    assert twenty[:10] == ten
    assert choose(list(reversed(scenarios)), 10) == ten
    assert [scenario.id for scenario in ten] != [f"s{number}" for number in range(10)]


def test_clusters_of_several_sizes_are_cut_at_the_limit(tmp_path):
    rows = [scenario_row(number, cluster=f"c{number // 2}") for number in range(9)]
    scenarios = load_suite(write(tmp_path / "mine.jsonl", *rows))
    assert [len(choose(scenarios, limit)) for limit in (1, 2, 3, 5, 9, 20)] == [1, 2, 3, 5, 9, 9]
    assert choose([], 3) == []
