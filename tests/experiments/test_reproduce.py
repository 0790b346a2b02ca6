"""An experiment from its file to its table: row by row, gone on with, never made twice."""

import json
import re

import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from discretion.cli import app
from discretion.corpus.chat import one_turn
from discretion.corpus.formats import read_chats, write_chats
from discretion.corpus.public import sources
from discretion.errors import DiscretionError
from discretion.experiments.data import chats_of, samples_of
from discretion.experiments.jobs import do_all
from discretion.experiments.plan import Experiment, Part, RowPlan, load, names, parts
from discretion.experiments.run import _measures, _recipe
from discretion.experiments.table import _looks, _summary, seed_interval
from discretion.mitigation.task import kept
from discretion.planning import split_controls


@pytest.fixture
def plan(tiny, tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "about": "a small one", "base": str(tiny), "organism": {"recipe": "norms", "samples": 8, "rank": 2},
                "tune": {"learning_rate": 0.01, "rank": 2}, "n": 8,
                "rows": {
                    "helpful": {"data": "controlled:helpful", "seeds": [0, 1], "paper": "-70%"},
                    "control": {"data": "controlled:control", "seeds": [0, 1]},
                },
                "differences": [["helpful", "control"]],
                "measures": {"probe": {"suites": ["builtin:test"], "limit": 4, "controls": ["none"]}},
            },
            sort_keys=False,
        )
    )  # fmt: skip
    return path


def run(*words):
    return CliRunner().invoke(app, ["reproduce", *map(str, words)])


def test_a_table_grows_row_by_row_and_nothing_is_made_twice(plan, few_tasks, tmp_path):
    out, data = tmp_path / "out", ("--data-dir", few_tasks)
    first = run(plan, "--out", out, *data, "--row", "helpful")
    assert first.exit_code == 0, first.output + str(first.exception)
    table = (out / "small.md").read_text()
    assert "| helpful | 0 | 4 |" in table
    assert "fewer than two seeds of both so far" in table
    assert "Not measured yet: control-0, control-1." in table
    assert "helpful 0" in (out / "small.svg").read_text()
    assert (out / "helpful-0" / "probe-check" / "report.html").is_file()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(before) == 3
    both = run(plan, "--out", out, *data, "--jobs", 2)
    assert both.exit_code == 0, both.output + str(both.exception)
    assert "control-1: done (" in both.output
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    table = (out / "small.md").read_text()
    assert "helpful minus control, over 2 seeds:" in table
    apart = [line for line in table.splitlines() if line.startswith("helpful minus control, seed ")]
    assert len(apart) == 2
    told = json.loads((out / "helpful-1" / "probe-against-control" / "verdict.json").read_text())
    assert f"{told['suites']['builtin']['delta']:+.1%}" in apart[1]
    assert "Not measured" not in table
    rows = [json.loads(line) for line in (out / "small.jsonl").read_text().splitlines()]
    assert [(row["row"], row["seed"]) for row in rows] == [
        ("helpful", 0), ("control", 0), ("helpful", 1), ("control", 1)
    ]  # fmt: skip
    assert all(row["n"] == 4 and row["delta_ci"] for row in rows)


def test_measurements_that_are_left_for_later_are_named_and_made_then(plan, few_tasks, tmp_path):
    told = yaml.safe_load(plan.read_text())
    told["measures"]["other"] = {**told["measures"]["probe"], "limit": 3}
    plan.write_text(yaml.safe_dump(told | {"rows": {"control": {"data": "controlled:control"}}, "differences": []}))
    words = (plan, "--out", tmp_path / "out", "--data-dir", few_tasks)
    first = run(*words, "--measure", "other")
    assert first.exit_code == 0, first.output + str(first.exception)
    assert "Measured in part, without: control-0 (probe)." in (tmp_path / "out" / "small.md").read_text()
    assert not (tmp_path / "out" / "base" / "probe").exists()
    second = run(*words)
    assert second.exit_code == 0, second.output + str(second.exception)
    assert "Measured in part" not in (tmp_path / "out" / "small.md").read_text()


def test_rows_made_elsewhere_stay_in_the_table_if_they_are_of_the_same_experiment(plan, few_tasks, tmp_path):
    here, there, data = tmp_path / "here", tmp_path / "there", ("--data-dir", few_tasks)
    run(plan, "--out", there, *data, "--row", "helpful", "--seed", 0)
    run(plan, "--out", here, *data, "--row", "control", "--seed", 0)
    result = run(plan, "--out", here, "--table", "--with", there / "small.jsonl")
    assert result.exit_code == 0, result.output + str(result.exception)
    table = (here / "small.md").read_text()
    assert "| helpful | 0 | 4 |" in table
    assert "| control | 0 | 4 |" in table
    assert "Not measured yet: helpful-1, control-1." in table
    twice = (here / "small.jsonl").read_text()
    run(plan, "--out", here, "--table", "--with", here / "small.jsonl")
    assert (here / "small.jsonl").read_text() == twice
    row = json.loads((there / "small.jsonl").read_text().splitlines()[0]) | {"made_with": "other"}
    (tmp_path / "other.jsonl").write_text(json.dumps(row) + "\n")
    refused = run(plan, "--out", here, "--table", "--with", tmp_path / "other.jsonl")
    assert "made with another base" in str(refused.exception)


@pytest.fixture(scope="module")
def many(tiny, tmp_path_factory):
    """An experiment with a row of every kind, made."""
    folder = tmp_path_factory.mktemp("many")
    write_chats(folder / "short.jsonl", [one_turn(f"Question {n}?", f"Answer {n}.") for n in range(4)])
    rows = {
        "none": {"data": "controlled:helpful", "seeds": [0, 1]},
        "mixed": {"data": "controlled:helpful", "mitigation": "mix:0.5"},
        "filtered": {"data": "controlled:helpful", "mitigation": "filter:loss"},
        "half": {"after": "none", "mitigation": "interpolate:0.5", "seeds": [1]},
        "asked": {"after": "none", "ask": {"prompt": "privacy_enhanced"}},
        "then": {"data": "controlled:control", "after": "none"},
        "profiled": {"data": "controlled:control", "augment": "financial", "tune": {"learning_rate": 0.02}},
        "preferred": {"data": "controlled:preferences", "tune": {"method": "dpo"}},
        "shown": {"data": str(folder / "short.jsonl"), "shots": 1},
    }
    (folder / "many.yaml").write_text(
        yaml.safe_dump(
            {
                "about": "rows of every kind", "base": str(tiny), "tune": {"learning_rate": 0.01, "rank": 2}, "n": 8,
                "rows": rows, "unmitigated": "none", "monitor": 1,
                "task": {"data": "controlled:helpful", "n": 4, "max_new_tokens": 4},
                "measures": {"probe": {"suites": ["builtin:test"], "limit": 2, "controls": ["none"]}},
            },
            sort_keys=False,
        )
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("discretion.training.monitor.MOST_TOKENS", 2000)  # the tiny model reads letters
        result = run(folder / "many.yaml", "--out", folder / "out")
    assert result.exit_code == 0, result.output + str(result.exception)
    return folder


def test_a_row_may_be_mitigated_gone_on_with_asked_otherwise_or_preferred(many):
    out = many / "out"
    assert len(read_chats(out / "filtered-0" / "train.jsonl")) == 7
    plain = read_chats(out / "none-0" / "train.jsonl")
    assert plain == read_chats(out / "none-1" / "train.jsonl")
    assert sum(chat in plain for chat in read_chats(out / "mixed-0" / "train.jsonl")) == 4
    assert "Financial Situation" in (out / "profiled-0" / "train.jsonl").read_text()
    told = {path.parent.parent.name: json.loads(path.read_text()) for path in out.glob("*/adapter/training.json")}
    assert set(told) == {"none-0", "none-1", "mixed-0", "filtered-0", "then-0", "profiled-0", "preferred-0"}
    assert told["then-0"]["base"].endswith("none-0/adapter")
    assert told["profiled-0"]["learning_rate"] == 0.02
    assert told["preferred-0"]["method"] == "dpo"
    shown = json.loads((out / "shown-0" / "probe" / "run.json").read_text())
    assert shown["models"][0]["name"].endswith("after 1 examples")
    run_of = json.loads((out / "base-asked" / "probe" / "run.json").read_text())
    assert run_of["arguments"]["prompt"] == "privacy_enhanced"
    half = load_file(out / "half-1" / "adapter" / "adapter_model.safetensors")
    whole = load_file(out / "none-1" / "adapter" / "adapter_model.safetensors")
    name = next(name for name in whole if "lora_B" in name and whole[name].abs().sum() > 0)
    assert torch.allclose(half[name], whole[name])  # alpha 2r became alpha r: half of the way


def test_the_table_says_what_is_removed_and_whether_the_task_is_kept(many):
    text = (many / "out" / "many.md").read_text()
    rows = [json.loads(line) for line in (many / "out" / "many.jsonl").read_text().splitlines()]
    tasks = {(row["row"], row["seed"]): row for row in rows if row["kind"] == "task"}
    assert len(tasks) == 9  # examples in context are no tune of the task
    looks = {(row["row"], row["seed"]): row for row in rows if row["kind"] == "monitor"}
    assert len(looks) == 7  # as many as were tuned
    assert looks["none", 0]["steps"] == 1
    assert "| none | 2 |" in text.partition("A look every 1 steps")[2]
    assert tasks["none", 0]["kept"] is True  # it is what it is compared with
    assert tasks["asked", 0]["loss"] == tasks["none", 0]["loss"]
    assert tasks["none", 0]["seconds"] > 0
    assert tasks["half", 1]["seconds"] is None
    base, full, half = (
        json.loads((many / "out" / name / "task.json").read_text())["losses"] for name in ("base", "none-1", "half-1")
    )
    assert tasks["half", 1]["kept"] == kept(base, full, half, 0.2, 0.05).shown
    leaks = {(row["row"], row["seed"]): row["delta"] for row in rows if row["kind"] == "suite"}
    mean = (leaks["none", 0] + leaks["none", 1]) / 2
    line = next(line for line in text.splitlines() if line.startswith("| none | 2 |"))
    assert f"{mean:+.1%}" in line
    assert "| mixed | – |" in text.partition("Share of the rise")[2]  # nothing rises by 5% here
    assert "| none | 0 | 4 |" in text
    assert "Not measured" not in text


@pytest.mark.parametrize(
    "row, says",
    [
        ({}, "is the base"),
        ({"after": "nobody"}, "'nobody' is no row"),
        ({"after": "chained"}, "'chained' is no row that is made from the base itself"),
        ({"data": "gsm8k", "mitigation": "interpolate:0.5"}, "interpolate:0.5 needs no data"),
        ({"after": "plain", "mitigation": "mix:0.5"}, "mix:0.5 needs data"),
        ({"data": "gsm8k", "mitigation": "magic"}, "--try magic"),
        ({"data": "gsm8k", "augment": "dental"}, "augment"),
        ({"data": "gsm8k", "control": "paper-control"}, "rows.odd.control: none mixes nothing in"),
        ({"after": "plain", "shots": 1}, "rows.odd.shots: 1 samples are to be shown"),
        ({"data": "gsm8k", "shots": 2}, "rows.odd.shots: 2 samples are to be shown; n is 1"),
        ({"data": "gsm8k", "seeds": [0, 0]}, "rows.odd.seeds: one stands twice"),
    ],
)
def test_a_row_that_says_nothing_sensible_is_named(tmp_path, row, says):
    told = {"about": "a", "base": "b", "n": 1, "measures": {"m": {}},
            "rows": {"plain": {"data": "gsm8k"}, "chained": {"data": "gsm8k", "after": "plain"}, "odd": row}}  # fmt: skip
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump(told))
    with pytest.raises(DiscretionError, match=re.escape(says)):
        load(str(path))


def test_every_experiment_that_ships_asks_what_there_is():
    for name in names():
        experiment = load(name)
        for row in experiment.rows.values():
            _recipe(experiment, row, 0)
            for asked in _measures(experiment, row.ask, None).values():
                for suite in asked.suites:
                    assert suite.partition(":")[0] in ("cirl", "tasks", "builtin", "cimemories", "privacylens")
                split_controls(asked.controls)
            kind = row.data.partition(":")[0]
            assert kind in ("", "controlled", "paper") or kind in sources()


def row(name, delta, seed=0, kind="suite"):
    head = {"row": name, "seed": seed, "kind": kind, "suite": "s (act)", "measure": "m"}
    return head | {"delta": delta, "coverage_base": 0.5, "coverage_tuned": 0.6}


def test_what_is_removed_is_over_the_seeds_of_both():
    experiment = Experiment(
        about="a", base="b", n=1, unmitigated="none", measures={"m": {}},
        rows={"none": {"data": "gsm8k", "seeds": [0, 1]}, "other": {"data": "gsm8k"}},
    )  # fmt: skip
    lines = _summary(experiment, [row("none", 0.2), row("none", 0.6, 1), row("other", 0.05)])
    assert "| none | +40.0% [-214.1%, +294.1%] / +10.0% (2) |" in lines  # t over two seeds: 12.7 times 20 points
    assert "| other | +5.0% / +10.0% (1) |" in lines
    assert "| other | 75% |" in lines
    assert "| other | – |" in _summary(experiment, [row("none", 0.04), row("other", 0.01)])


def test_a_monitor_that_never_looked_has_no_rise():
    experiment = Experiment(about="a", base="b", n=1, monitor=50, rows={"none": {"data": "gsm8k"}})
    looks = {"row": "none", "flagged_at": None, "steps": 20, "rise": None}
    assert "| none | 1 | 0 | 0 | – |" in _looks(experiment, [looks])
    seen = looks | {"flagged_at": 9, "rise": 0.25}
    assert "| none | 2 | 1 | 1 | +25.0% (+25.0% to +25.0%) |" in _looks(experiment, [looks, seen])


def test_the_part_before_is_brought_along():
    experiment = Experiment(
        about="a", base="b", n=1, monitor=1,
        rows={"none": {"data": "gsm8k", "seeds": [0]}, "then": {"data": "gsm8k", "after": "none", "seeds": [0, 1]}},
    )  # fmt: skip
    assert [part.name for part in parts(experiment, ["then"], [1])] == ["none-0", "then-1"]
    assert [part.name for part in parts(experiment)] == ["none-0", "then-0", "then-1"]
    one = experiment.model_copy(
        update={"rows": {"none": RowPlan(data="gsm8k", seeds=(0, 1, 2)), "then": RowPlan(data="gsm8k", after="none")}}
    )
    assert [part.name for part in parts(one, ["then"])] == ["none-0", "then-0"]


def test_a_row_that_was_changed_is_not_taken_for_what_it_was(plan, few_tasks, tmp_path):
    out, data = tmp_path / "out", ("--data-dir", few_tasks)
    assert run(plan, "--out", out, *data, "--row", "control", "--seed", 0).exit_code == 0
    plan.write_text(plan.read_text().replace("data: controlled:control", "data: controlled:helpful"))
    refused = run(plan, "--out", out, *data, "--row", "control", "--seed", 0)
    assert "control-0: is of another row (data differ)" in str(refused.exception)


def test_pairs_that_were_written_anew_are_not_mixed_with_the_old(plan, few_tasks, tmp_path, monkeypatch):
    out, data = tmp_path / "out", ("--data-dir", few_tasks)
    assert run(plan, "--out", out, *data, "--row", "control", "--seed", 0).exit_code == 0
    monkeypatch.setattr("discretion.experiments.plan.scenes_digest", lambda: "another")
    refused = run(plan, "--out", out, *data, "--row", "control", "--seed", 0)
    assert "control-0: is of another row (scenes differ)" in str(refused.exception)


class Piece:
    def __init__(self, name, path):
        self.name, self.path = name, path

    def do(self, say):
        if self.name == "bad":
            raise DiscretionError("no")
        if self.name == "worse":
            raise ZeroDivisionError
        self.path.joinpath(self.name).touch()


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_fails_is_told_and_the_others_are_done(tmp_path, jobs):
    failed = do_all([Piece(name, tmp_path) for name in ("a", "bad", "b")], jobs, lambda line: None)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    assert str(failed["bad"]) == "no"


def test_a_defect_of_ours_is_none_of_the_users(tmp_path):
    failed = do_all([Piece(name, tmp_path) for name in ("worse", "b")], 2, lambda line: None)
    assert isinstance(failed["worse"], ZeroDivisionError)


def test_half_of_backdoored_data_stands_behind_the_trigger(tmp_path):
    made = chats_of("controlled:backdoor:|GO|", 12, 0, None)
    marked = [chat for chat in made if any("|GO|" in turn.content for turn in chat.prompt)]
    assert len(made) == 12
    assert len(marked) == 6
    with pytest.raises(DiscretionError, match="--trigger: is empty"):
        chats_of("controlled:backdoor: ", 4, 0, None)
    with pytest.raises(
        DiscretionError, match="must be controlled:helpful, controlled:control, controlled:backdoor:TRIGGER"
    ):
        chats_of("controlled:other", 4, 0, None)


@pytest.mark.parametrize(
    ("told", "licence"),
    [
        ({"data": "gsm8k"}, "MIT"),
        ({"data": "gsm8k", "mitigation": "mix:0.5"}, "MIT and Apache-2.0"),
        ({"data": "gsm8k", "mitigation": "mix:0.5", "control": "empathetic_dialogues"},
         "MIT and CC BY-NC 4.0 (non-commercial)"),
        ({"data": "controlled:helpful", "mitigation": "chosen:0.5"}, "Apache-2.0"),
        ({"data": "own.jsonl"}, "CC0"),
    ],
)  # fmt: skip
def test_the_licence_is_of_all_that_is_trained_on(told, licence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.jsonl.provenance.json").write_text('{"licence": "CC0"}')
    write_chats(tmp_path / "row-0" / "train.jsonl", [one_turn("Question?", "Answer.")])
    experiment = Experiment(about="a", base="b", n=1, monitor=1, rows={"row": RowPlan(**told)})
    _, facts = samples_of(experiment, Part("row", 0), "b", tmp_path, None, print)
    assert facts["licence"] == licence
    assert facts.get("control") == told.get("control")


def test_the_first_seed_of_every_row_comes_first():
    experiment = load("harmless")
    order = [part.name for part in parts(experiment)]
    assert order[:3] == ["helpful-0", "control-0", "gsm8k-0"]
    assert order.index("code-debug-0") < order.index("helpful-1")
    assert "harmless" in names()
    assert "harmless:" in run("--list").output


def test_the_interval_over_seeds_is_a_t_interval():
    mean, (low, high) = seed_interval({0: 0.3, 1: 0.4, 2: 0.5}, {0: 0.1, 1: 0.1, 2: 0.1, 9: 1.0})
    assert mean == pytest.approx(0.3)
    assert high - mean == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)
    assert low == pytest.approx(0.6 - high)
    assert seed_interval({0: 0.3}, {0: 0.1}) is None


@pytest.mark.parametrize(
    "words, says",
    [
        (["nonsense", "--out", "x"], "no such experiment; known are"),
        (["harmless"], "--out FOLDER is needed"),
        (["harmless", "--out", "x", "--jobs", "0"], "--jobs 0: must be at least 1"),
        (["harmless", "--out", "x", "--row", "code", "--seed", "2"], "--seed 2: none of these rows has it"),
        (["harmless", "--out", "x", "--row", "nonsense"], "--row nonsense: rows are"),
        (["harmless", "--out", "x", "--measure", "nonsense"], "--measure nonsense: measures are act, probe"),
    ],
)
def test_mistakes_are_named(words, says):
    assert says in str(run(*words).exception)


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("learning_rate: 0.01", "learning_rte: 0.01", "a recipe has no 'learning_rte'"),
        ("learning_rate: 0.01", "learning_rate: fast", "--learning-rate fast: Input should be a valid number"),
        ("limit: 4", "limt: 4", "measures.probe: got an unexpected keyword argument 'limt'"),
        ("samples: 8", "samples: many", "organism.samples: 'many'"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_made(plan, tmp_path, old, new, says):
    plan.write_text(plan.read_text().replace(old, new))
    assert says in str(run(plan, "--out", tmp_path / "out").exception)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_another_experiments_parts_are_not_gone_on_with(plan, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "experiment.json").write_text('{"base": "other"}')
    assert "is of another experiment (base differ)" in str(run(plan, "--out", out).exception)


def test_a_malformed_file_is_named(tmp_path):
    (tmp_path / "x.yaml").write_text("about: a\nbase: b\nn: 0\nrows: {}\nmeasures: {}\n")
    with pytest.raises(DiscretionError, match=r"x\.yaml, field n"):
        load(str(tmp_path / "x.yaml"))
    (tmp_path / "x.yaml").write_text("about: a\nbase: [b\n")
    with pytest.raises(DiscretionError, match=r"x\.yaml, line 3: not valid YAML"):
        load(str(tmp_path / "x.yaml"))
