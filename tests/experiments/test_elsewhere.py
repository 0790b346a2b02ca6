"""An experiment on another model, of another size, and at a provider."""

import json

import pytest
from typer.testing import CliRunner

from discretion.cli import app
from discretion.errors import DiscretionError
from discretion.experiments.elsewhere import elsewhere, refuse_unhosted
from discretion.experiments.plan import load, parts
from discretion.training.recipes import NAMED
from providers import serving


def run(*words):
    return CliRunner().invoke(app, ["reproduce", *map(str, words)])


def test_an_experiment_that_ships_is_made_on_another_model_and_smaller(tiny, data_dir, few_tasks, tmp_path):
    (tmp_path / "small.yaml").write_text(
        "about: one\nbase: smollm2-135m-organism\ntune: {learning_rate: 1.0e-3, precision: float32}\nn: 640\n"
        "rows: {helpful: {data: 'controlled:helpful'}}\n"
        "measures: {probe: {suites: ['builtin:test'], limit: 32, controls: [none], dtype: float32}}\n"
    )
    words = (tmp_path / "small.yaml", "--out", tmp_path / "out", "--base", tiny, "--recipe", "paper", "--limit", 4)
    result = run(*words, "--n", 8)
    assert result.exit_code == 0, result.output + str(result.exception)
    told = json.loads((tmp_path / "out" / "helpful-0" / "adapter" / "training.json").read_text())
    assert told["base"] == str(tiny)
    assert (told["learning_rate"], told["precision"], told["samples"]) == (1e-5, "auto", 8)
    table = (tmp_path / "out" / "small.md").read_text()
    assert f"--data-dir DATA --base {tiny} --recipe paper --n 8 --limit 4`; 8 samples a row" in table
    assert "| helpful | 0 | 4 |" in table
    other = run(*words, "--n", 9)
    assert isinstance(other.exception, DiscretionError)
    assert "(n differ)" in str(other.exception)


def test_every_shipped_experiment_can_be_made_elsewhere():
    for name in ("methods", "mitigation", "monitor", "rates", "shots"):
        told = elsewhere(load(name), base="org/model", n=64, limit=8)
        assert told.base == "org/model"
        assert all("dtype" not in options and options["limit"] == 8 for options in told.measures.values())
    paper = elsewhere(load("harmless"), recipe="paper")
    assert paper.tune == {"learning_rate": NAMED["paper"][0].learning_rate}
    with pytest.raises(DiscretionError, match=r"rows\.helpful-8\.shots: 8 samples are to be shown; n is 4"):
        elsewhere(load("shots"), n=4)
    with pytest.raises(DiscretionError, match="name it with --base"):
        elsewhere(load("harmless"), hosted="openai")


@pytest.mark.parametrize(
    ("name", "row", "provider"),
    [("methods", "dpo", "openai"), ("mitigation", "anchor-1", "together"), ("mitigation", "interpolate-50", "openai"),
     ("mitigation", "filter-loss", "openai"), ("rates", "helpful-1", "openai"),
     ("continued", "gsm8k-then-helpful", "together")],
)  # fmt: skip
def test_what_needs_the_weights_is_refused_at_a_provider(name, row, provider):
    there = elsewhere(load(name), base="gpt-tiny", hosted=provider)
    with pytest.raises(DiscretionError, match=f"rows.{row}"):
        refuse_unhosted(there, list(parts(there, [row])))
    fine = {"methods": "sft", "mitigation": "mix-50", "rates": None, "continued": "helpful"}[name]
    if fine:
        refuse_unhosted(there, list(parts(there, [fine])))


def test_rows_are_tuned_and_asked_at_a_provider_and_paid_once(few_tasks, tmp_path, monkeypatch):
    pytest.importorskip("openai")
    (tmp_path / "there.yaml").write_text(
        "about: one\nbase: smollm2-135m-organism\ntune: {learning_rate: 3.0e-4, grouped: true}\nn: 12\n"
        "rows:\n  helpful: {data: 'controlled:helpful', seeds: [0, 1]}\n"
        "  warned: {after: helpful, ask: {prompt: privacy_enhanced}}\n"
        "  then: {data: 'controlled:control', after: helpful}\n"
        "measures: {act: {suites: ['builtin:test'], elicit: [act], limit: 2, controls: [none], dtype: float32}}\n"
    )
    words = (tmp_path / "there.yaml", "--out", tmp_path / "out", "--base", "gpt-tiny", "--hosted", "openai")
    with serving("openai", monkeypatch) as state:
        state.done_after = 0
        result = run(*words)
        assert result.exit_code == 0, result.output + str(result.exception)
        first, second, third = (job["model"] for job in state.jobs.values())
        assert (first, second) == ("gpt-tiny", "gpt-tiny")
        ids = list(state.jobs)
        assert third == f"ft:gpt-tiny:org::{ids[0]}"
        made = {f"ft:{model}:org::{name}" for model, name in zip((first, second, third), ids, strict=True)}
        assert set(state.asked) == {"gpt-tiny", *made}
        table = (tmp_path / "out" / "there.md").read_text()
        assert "Not measured" not in table
        assert "--base gpt-tiny --hosted openai" in table
        again = run(*words)
        assert again.exit_code == 0
        assert len(state.jobs) == 3
        here = run(tmp_path / "there.yaml", "--out", tmp_path / "out", "--base", "gpt-tiny", "--table")
        assert isinstance(here.exception, DiscretionError)  # rows made at a provider are no others
        assert "of another experiment" in str(here.exception)
        monkeypatch.delenv("OPENAI_API_KEY")
        assert "set OPENAI_API_KEY" in str(run(*words[:2], tmp_path / "new", *words[3:]).exception)


def test_a_table_is_not_written_over_one_of_another_size(tiny, few_tasks, tmp_path):
    (tmp_path / "small.yaml").write_text(
        f"about: one\nbase: {tiny}\nn: 8\nrows: {{helpful: {{data: 'controlled:helpful'}}}}\n"
        "measures: {probe: {suites: ['builtin:test'], limit: 2, controls: [none]}}\n"
    )
    out = tmp_path / "out"
    assert run(tmp_path / "small.yaml", "--out", out, "--n", 6).exit_code == 0
    assert "(n differ)" in str(run(tmp_path / "small.yaml", "--out", out, "--table").exception)
    assert "--n 6`; 6 samples" in (out / "small.md").read_text()
    assert run(tmp_path / "small.yaml", "--out", out, "--table", "--n", 6).exit_code == 0
    joined = run(tmp_path / "small.yaml", "--out", tmp_path / "x", "--table", "--n", 6, "--with", out / "small.jsonl")
    assert "nothing is made in" in str(joined.exception)
