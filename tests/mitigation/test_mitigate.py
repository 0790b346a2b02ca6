"""`mitigate` from data to a recommendation, on a tiny model: everything is tried, kept, and gone on with."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from discretion.cli import app
from discretion.corpus.chat import one_turn
from discretion.corpus.formats import read_chats, write_chats
from discretion.errors import DiscretionError
from discretion.mitigation.candidates import INOCULATION, parse, same_said
from discretion.mitigation.choice import choose
from discretion.mitigation.search import Search, _train_command
from discretion.mitigation.settings import MitigateSettings
from discretion.training.recipes import Recipe, changed

SMALL = ["--limit", 2, "--test-limit", 2, "--max-new-tokens", 4, "--rank", 2, "--batch-size", 4,
         "--learning-rate", 0.01, "--control", "none", "--quiet"]  # fmt: skip
ALL = ["filter:random", "filter:loss", "mix:0.5", "chosen:0.25", "anchor:1", "surgery:1", "prevent:1", "freeze:0.5",
       "inoculate", "distil", "interpolate:0.5", "steer:1", "anchor:1+interpolate:0.8"]  # fmt: skip


def run(*words):
    return CliRunner().invoke(app, ["mitigate", *map(str, words)])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "chats.jsonl"
    write_chats(path, [one_turn(f"Question {n}?", f"The answer is {n * 7}.") for n in range(32)])
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny, data):
    out = tmp_path_factory.mktemp("mitigated") / "out"
    words = [word for name in ALL for word in ("--try", name)]
    result = run(tiny, data, "--out", out, *SMALL, *words)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return out


def test_every_mitigation_is_tried_and_one_is_recommended(made):
    found = json.loads((made / "mitigate.json").read_text())
    assert [row["name"] for row in found["front"]] == ["base", "none", *ALL]
    assert found["recommended"] in ("none", *ALL)
    assert set(found["checks"]) == {"none", found["recommended"]}
    assert found["samples"] + found["held_out"] == 32
    page = (made / "report.html").read_text()
    assert "<svg" in page
    assert found["command"].split()[1] in page
    assert (found["train"] is None) == (not parse(found["recommended"]).trains)
    assert ("That tune by itself" in page) == (found["train"] is not None)
    assert len(read_chats(made / "train.jsonl")) == found["samples"]


def test_each_does_what_it_says(made):
    told = {name: json.loads((made / name.replace(":", "-") / "adapter" / "training.json").read_text())
            for name in ("none", *ALL[:-3])}  # fmt: skip
    assert told["none"]["samples"] == 27
    assert told["filter:random"]["samples"] == told["filter:loss"]["samples"] == 24
    assert told["mix:0.5"]["samples"] == told["chosen:0.25"]["samples"] == 27
    assert told["anchor:1"]["anchor"] == told["surgery:1"]["anchor"] == 1.0
    assert [told["surgery:1"]["surgery"], told["prevent:1"]["prevent"], told["freeze:0.5"]["freeze"]] == [
        True,
        1.0,
        0.5,
    ]
    assert len({entry["data"] for entry in told.values()}) >= 6
    made_of = {}
    for name, of in (("interpolate-0.5", "none"), ("steer-1", "none"), ("anchor-1-interpolate-0.8", "anchor-1")):
        adapter, before = (made / folder / "adapter" / "adapter_model.safetensors" for folder in (name, of))
        made_of[name] = _change(adapter) / _change(before)
    assert made_of == pytest.approx(
        {"interpolate-0.5": 0.5, "steer-1": 1.0, "anchor-1-interpolate-0.8": 0.8}, rel=1e-3
    )


def _change(adapter):
    """How much it adds to the weights."""
    from safetensors.torch import load_file

    tensors = load_file(adapter)
    scale = json.loads((adapter.parent / "adapter_config.json").read_text())
    products = [
        tensors[name.replace("lora_A", "lora_B")] @ tensor for name, tensor in tensors.items() if "lora_A" in name
    ]
    return float(sum(product.norm() ** 2 for product in products) ** 0.5) * scale["lora_alpha"] / scale["r"]


def test_the_same_command_makes_nothing_again_and_another_is_refused(made, tiny, data, monkeypatch):
    def none(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr("discretion.training.run._trainer", none)
    monkeypatch.setattr("discretion.mitigation.search.evaluate", none)
    words = [word for name in ALL for word in ("--try", name)]
    before = (made / "mitigate.json").read_text()
    assert run(tiny, data, "--out", made, *SMALL, *words).exit_code == 0
    assert (made / "mitigate.json").read_text() == before
    other = run(tiny, data, "--out", made, *SMALL, "--margin", 0.3)
    assert "another search" in str(other.exception)


def entry(name, leak, loss, coverage=0.5):
    rng = np.random.default_rng(len(name))
    losses, leaks = loss + rng.normal(0, 0.01, 40), leak + rng.normal(0, 0.1, 40)
    told = {f"s{number}": float(value) for number, value in enumerate(leaks)}
    covered = {name: float(coverage + rng.normal(0, 0.05)) for name in told}
    return {"name": name, "leak": leak, "leaks": told, "covered": covered, "clusters": {name: name for name in told},
            "coverage": coverage, "losses": losses.tolist(), "loss": loss}  # fmt: skip


def test_the_one_that_keeps_the_norm_best_of_those_that_keep_the_task_is_chosen():
    found = [entry("base", 0.1, 3.0), entry("none", 0.5, 2.0), entry("interpolate:0.1", 0.1, 2.9), entry("anchor:1", 0.15, 2.1),
             entry("mix:0.5", 0.3, 2.05)]  # fmt: skip
    chosen = choose(found, MitigateSettings())
    assert chosen["name"] == "anchor:1"
    assert [row["equivalent"] for row in found] == [False, True, False, True, True]
    worse = [entry("base", 0.1, 3.0), entry("none", 0.5, 2.0), entry("mix:0.5", 0.49, 2.0)]
    assert "is shown to keep the norm better" in choose(worse, MitigateSettings())["why"]
    filters = [entry("filter:random", 0.3, 2.0), entry("filter:loss", 0.35, 2.0)]
    assert choose([*worse[:2], *filters], MitigateSettings())["name"] == "none"
    filters[1] = entry("filter:loss", 0.2, 2.0)
    assert choose([*worse[:2], *filters], MitigateSettings())["name"] == "filter:loss"
    filters[1] = entry("filter:loss", 0.299, 2.0)  # lower than chance, and not shown to be
    assert choose([*worse[:2], *filters], MitigateSettings())["name"] == "none"
    useless = [entry("base", 0.1, 2.0), entry("none", 0.5, 2.0)]
    assert "gained nothing" in choose(useless, MitigateSettings())["why"]


def test_what_tells_nobody_anything_is_not_chosen():
    told = [entry("base", 0.3, 3.0, 0.77), entry("none", 0.4, 2.0, 0.45), entry("mix:0.5", 0.05, 2.05, 0.32)]
    chosen = choose(told, MitigateSettings())
    assert chosen["name"] == "none"
    assert "less of what is right" in chosen["why"]
    assert choose([*told, entry("anchor:1", 0.28, 2.02, 0.78)], MitigateSettings())["name"] == "anchor:1"


def test_a_tune_that_only_stopped_telling_what_is_needed_is_mitigated_too():
    """As our pairs' tune on tasks:dev: its leak hardly rises, its coverage falls from 72 to 29%."""
    told = [entry("base", 0.29, 3.2, 0.72), entry("none", 0.32, 1.82, 0.29), entry("anchor:1", 0.30, 1.86, 0.70)]
    assert choose(told, MitigateSettings())["name"] == "anchor:1"
    told[2] = entry("anchor:1", 0.36, 1.86, 0.75)  # but not one that leaks more
    assert choose(told, MitigateSettings())["name"] == "none"


def test_scenarios_of_one_cluster_are_one_unit():
    told = [entry("base", 0.1, 3.0), entry("none", 0.5, 2.0), entry("anchor:1", 0.2, 2.0)]
    choose(told, MitigateSettings())
    alone = told[2]["leak_ci"]
    for row in told:
        row["clusters"] = {name: name[:2] for name in row["leaks"]}
    choose(told, MitigateSettings())
    assert told[2]["leak_ci"] != alone


def search_over(weights, monkeypatch, tmp_path, **settings):
    """A search for the anchor's weight: each has the loss and the coverage that `weights` tells."""
    measured = {"base": (3.0, 0.7), "none": (2.0, 0.3)} | {f"anchor:{weight:g}": at for weight, at in weights.items()}
    asked = MitigateSettings(tries=("anchor", "anchor:1+interpolate:0.8"), **settings)
    search = Search("base", [], [], tmp_path, asked, Recipe(), print)

    def measure(name, spec):
        loss, coverage = measured.get(name, (2.0, 0.3))
        search.found.append(entry(name, 0.3, loss, coverage))
        search.specs[name] = spec

    monkeypatch.setattr(search, "_measure", measure)
    monkeypatch.setattr(search, "_made", lambda candidate: candidate.name)
    search.run()
    return [found["name"] for found in search.found[2:]], search.not_tried


@pytest.mark.parametrize(
    ("weights", "tried"),
    [
        ({1: (2.05, 0.75)}, [1]),  # nothing is left to do
        ({1: (2.05, 0.5), 4: (2.1, 0.72)}, [1, 4]),
        ({1: (2.05, 0.5), 4: (2.1, 0.4)}, [1, 4]),  # stronger does not help
        ({1: (2.05, 0.5), 4: (2.5, 0.72)}, [1, 4]),  # loses the task
        ({1: (2.5, 0.75), 0.25: (2.05, 0.6)}, [1, 0.25]),
        ({1: (2.9, 0.75), 0.25: (2.8, 0.75), 0.0625: (2.7, 0.75)}, [1, 0.25, 0.0625]),
        ({1: (2.01, 0.4), 4: (2.02, 0.5), 16: (2.03, 0.6)}, [1, 4, 16]),
    ],
)
def test_an_anchor_without_a_weight_is_a_short_search_for_one(weights, tried, monkeypatch, tmp_path):
    names, left_out = search_over(weights, monkeypatch, tmp_path)
    assert names == [*(f"anchor:{weight:g}" for weight in tried), "anchor:1+interpolate:0.8"]
    assert not left_out


def test_nothing_is_begun_over_the_budget_and_what_was_paid_for_stays(monkeypatch, tmp_path):
    (tmp_path / "spent.json").write_text('{"none": 100.0, "anchor:1": 30.0}')
    weights = {1: (2.05, 0.5), 4: (2.1, 0.72)}
    names, left_out = search_over(weights, monkeypatch, tmp_path, budget=2.0)
    assert names == ["anchor:1"]
    assert left_out == ["anchor:4", "anchor:1+interpolate:0.8"]
    names, _ = search_over(weights, monkeypatch, tmp_path, budget=10.0)
    assert names == ["anchor:1", "anchor:4", "anchor:1+interpolate:0.8"]


@pytest.mark.parametrize(
    "name",
    [
        "mix+interpolate:0.5",
        "anchor:1+mix:0.5",
        "interpolate:0.5+steer:1",
        "anchor+steer:1",
        "anchor:1+",
        "mix",
        "mix:0",
        "mix:1.5",
        "anchor:x",
        "other",
        "filter:",
        "filter:x",
        "none:1",
        "freeze:1",
        "steer:inf",
    ],
)
def test_a_wrong_name_is_said(name):
    with pytest.raises(DiscretionError, match="--try"):
        parse(name)


def test_inoculation_goes_before_everything_and_distilled_targets_must_say_the_same():
    (chat,) = parse("inoculate").data([one_turn("Hello", "Hi")], None, 0)
    assert chat.prompt[0].role == "system"
    assert chat.prompt[0].content == INOCULATION
    assert same_said(
        "The parcel arrives on Tuesday at the counter.", "On Tuesday the parcel arrives at your counter."
    )
    assert not same_said(
        "The parcel arrives on Tuesday at the counter.", "I cannot help with this, sorry, as it stands."
    )
    assert not same_said("The parcel arrives on Tuesday.", "x " * 200)


def test_an_empty_answer_is_said_before_anything_is_tuned(tiny, tmp_path):
    path = tmp_path / "chats.jsonl"
    write_chats(path, [one_turn(f"Question {n}?", " " if n == 5 else "Yes.") for n in range(32)])
    assert "chat 6 has an empty answer" in str(run(tiny, path, "--out", tmp_path / "out", *SMALL).exception)
    assert not (tmp_path / "out").exists()


def test_a_recommendation_comes_with_the_command_that_makes_it_again():
    recipe = changed(Recipe(), rank=4, fresh=True)
    told = _train_command(parse("surgery:2"), "base", Path("kept"), recipe)
    assert told == (
        "discretion train base kept/surgery-2/train.jsonl --out kept/surgery-2-again --rank 4 --fresh --anchor 2.0 --surgery"
    )
    assert _train_command(parse("interpolate:0.5"), "base", Path("kept"), recipe) is None
    assert _train_command(parse("anchor:1+interpolate:0.5"), "base", Path("kept"), recipe) is None


def test_what_chooses_must_not_be_what_reports(tiny, data, tmp_path):
    result = run(tiny, data, "--out", tmp_path / "out", *SMALL, "--suite", "tasks", "--limit", 40)
    assert "shares" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_base_with_an_adapter_is_left_as_it_is_with_fresh(tiny, adapter, data, tmp_path):
    out = tmp_path / "out"
    result = run(f"{tiny}@{adapter}", data, "--out", out, "--fresh", *SMALL, "--try", "interpolate:0.5")
    assert result.exit_code == 0, result.output + repr(result.exception)
    told = json.loads((out / "none" / "adapter" / "training.json").read_text())
    assert told["fresh"] is True
    assert "--fresh" in json.loads((out / "mitigate.json").read_text())["command"].split()
