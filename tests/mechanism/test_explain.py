"""`explain` as its users meet it: a folder with numbers, directions and a page, made once."""

import json
import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from conftest import scenario_row
from discretion.cli import app
from discretion.errors import DiscretionError
from discretion.judges.calibrate import Labelled, read_labels
from discretion.mechanism.contrast import action_contrasts
from discretion.mechanism.direction import Differences, compare
from discretion.mechanism.explain import ExplainSettings
from discretion.mechanism.numbers import told_cosines
from discretion.mechanism.vectors import load_direction
from discretion.report.mechanism import write_explanation
from discretion.scenarios import Scenario, load_suite

SMALL = ["--units", "8", "--tried", "2", "--max-new-tokens", "4"]


def run(*words):
    result = CliRunner().invoke(app, ["explain", *map(str, words)])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def explained(tmp_path_factory, tiny, adapter):
    out = tmp_path_factory.mktemp("explained") / "out"
    code, output = run(tiny, f"{tiny}@{adapter}", "--out", out, *SMALL)
    assert code == 0, output
    return out


def test_it_says_what_was_found_and_how_to_get_it_again(explained, tiny):
    found = json.loads((explained / "explain.json").read_text())
    assert len(found["lens"]["base"]["mean"]) == found["layers"] == 2
    assert set(found["fitted_on"]).isdisjoint(found["tried_on"])
    assert set(found["asked_about"]) <= set(found["tried_on"])
    assert "discretion explain" in found["command"]
    assert set(found["cosine"]) >= {"privacy", "questions"}
    assert found["causal"]["messages"]["0"]["n"] == 4
    page = (explained / "report.html").read_text()
    assert page.count("<svg") == 7
    assert "may be concluded" in page or "safe side" in page


def test_directions_are_kept_with_their_layer_and_model(explained):
    gguf = pytest.importorskip("gguf")
    saved = load_direction(explained / "direction-base.safetensors")
    assert saved.vectors.shape == (2, 32)
    assert saved.layer in (0, 1)
    reader = gguf.GGUFReader(explained / "control-vector.gguf")
    assert [tensor.name for tensor in reader.tensors] == ["direction.1"]
    assert reader.tensors[0].data == pytest.approx(saved.vectors[1].numpy())


def test_the_same_command_computes_nothing_again(explained, tiny, adapter, monkeypatch):
    from discretion.models.local import LocalModel

    before = (explained / "explain.json").read_text()

    def none(self, *_):
        raise AssertionError("asked again")

    monkeypatch.setattr(LocalModel, "answers", none)
    monkeypatch.setattr(LocalModel, "generate", none)
    monkeypatch.setattr(LocalModel, "encode_turns", none)
    code, output = run(tiny, f"{tiny}@{adapter}", "--out", explained, *SMALL)
    assert code == 0, output
    assert (explained / "explain.json").read_text() == before


def test_actions_of_a_scenario_that_leaked_and_did_not_are_its_contrast():
    scenario = Scenario.model_validate(scenario_row(1))
    rows = [
        Labelled("a", scenario.id, "Thought: hm\nAction: Send\nAction Input: all of it", "x", False),
        Labelled("a", scenario.id, "Thought: hm\nAction: Send\nAction Input: all of it", "y", True),
        Labelled("b", scenario.id, "Action: Send\nAction Input: little", "x", False),
        Labelled("c", scenario.id, "I would rather not.", "x", False),
        Labelled("a", "another", "Action: Send", "x", True),
    ]
    (found,) = action_contrasts([scenario], rows)
    assert [answer.text for answer in found.leaky] == ["Action: Send\nAction Input: all of it"]
    assert [answer.text for answer in found.safe] == ["Action: Send\nAction Input: little"]
    assert not found.balanced
    with pytest.raises(DiscretionError, match="is of --suite privacylens"):
        ExplainSettings(contrast="actions")


@pytest.mark.real_data
def test_real_actions_have_both_kinds(data_dir):
    found = action_contrasts(load_suite("privacylens", data_dir=data_dir), read_labels(data_dir))
    assert len(found) == 112
    assert not any("<think>" in answer.text for contrast in found for answer in contrast.safe + contrast.leaky)


def test_a_direction_that_hangs_on_one_unit_is_told_as_none(explained, tmp_path):
    """Where a jackknife's number is missing, neither the page nor the sentence may need it."""
    rng = np.random.default_rng(3)
    pure = [rng.normal(0, 1, (24, 2, 8)) for _ in range(40)]
    told = [told_cosines(compare(*(Differences(tuple(map(str, range(24))), v, True) for v in pair)))
            for pair in zip(pure[::2], pure[1::2], strict=True)]  # fmt: skip
    assert any(None in entry["corrected"] for entry in told)
    found = json.loads((explained / "explain.json").read_text())
    for entry in told:
        for value, low, high in zip(entry["corrected"], entry["corrected_low"], entry["corrected_high"], strict=True):
            assert (value is None) == (low is None) == (high is None)
        found["cosine"]["privacy"] = entry
        write_explanation(found, tmp_path)


def test_another_runs_folder_is_left_alone(tmp_path, tiny):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.html").write_text("a check's")
    for out in (tmp_path / "run", tmp_path / "run" / "report.html"):
        result = CliRunner().invoke(app, ["explain", str(tiny), str(tiny), "--out", str(out), *SMALL])
        assert "holds other files" in str(result.exception)
    assert (tmp_path / "run" / "report.html").read_text() == "a check's"


def test_a_model_against_itself_differs_nowhere(tmp_path, tiny):
    code, output = run(tiny, tiny, "--out", tmp_path / "same", *SMALL)
    assert code == 0, output
    found = json.loads((tmp_path / "same" / "explain.json").read_text())
    assert found["cosine"]["privacy"]["raw"] == pytest.approx([1, 1], abs=1e-5)
    assert found["lens"]["change"]["mean"] == [0, 0]


@pytest.mark.parametrize(
    "words, says",
    [
        (["--suite", "privacylens:none"], "no suite"),
        (["--units", "3"], "--units 3"),
        (["--tried", "1"], "--tried 1"),
    ],
)
def test_mistakes_are_said(tmp_path, tiny, words, says):
    result = CliRunner().invoke(app, ["explain", str(tiny), str(tiny), "--out", str(tmp_path / "out"), *words])
    assert says in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_recorded_command_gives_the_run_again(tmp_path, monkeypatch):
    asked, facts = [], []
    monkeypatch.setattr("discretion.mechanism.explain.explain", lambda *given: asked.append(given) or {})
    monkeypatch.setattr("discretion.mechanism.conclusions.conclusions", lambda found: {})
    monkeypatch.setattr("discretion.report.mechanism.write_explanation", lambda *given: None)
    words = ["explain", "b", "t", "--out", str(tmp_path), "--order", "no-first", "--seed", "3", "--dtype", "float32"]
    for _ in range(2):
        assert CliRunner().invoke(app, words).exit_code == 0
        words = shlex.split(json.loads((tmp_path / "explain.json").read_text())["command"])[1:]
    assert asked[0][:4] == asked[1][:4]
    assert asked[1][3].orders == ("no-first",)

    asked.clear()
    made = SimpleNamespace(rows=tmp_path / "rows", references={}, model="m", layer=1)
    monkeypatch.setattr("discretion.mechanism.audit.audit", lambda *given, resume: asked.append(given) or made)
    monkeypatch.setattr("discretion.mechanism.audit.columns", lambda path: {})
    monkeypatch.setattr("discretion.report.audit.summary", lambda *given: facts.append(given[2]) or {"verdict": ""})
    monkeypatch.setattr("discretion.report.audit.write_audit", lambda *given: None)
    words = ["audit", "b", "d", "--out", str(tmp_path), "--engine", "processes", "--workers", "3", "--reference", "0",
             "--influence", "--baseline", "own", "--own-tokens", "9", "--max-length", "8"]  # fmt: skip
    for _ in range(2):
        assert CliRunner().invoke(app, words).exit_code == 0
        words = shlex.split(facts[-1]["command"])[1:]
    assert asked[0][:4] == asked[1][:4]


def test_one_option_order_is_refused_with_the_letters_cosine(tmp_path, tiny):
    words = ["explain", str(tiny), str(tiny), "--out", str(tmp_path / "out"), *SMALL, "--contrast", "options"]
    result = CliRunner().invoke(app, [*words, "--order", "yes-first"])
    assert "Ask both orders" in str(result.exception)
    cosine = float(re.search(r"cosine of (-?[0-9.]+)", str(result.exception)).group(1))
    assert abs(cosine) > 0.8
    assert CliRunner().invoke(app, words).exit_code == 0
    both = json.loads((tmp_path / "out" / "explain.json").read_text())["letter"]
    assert all(abs(value or 0) < 0.5 for value in both)
