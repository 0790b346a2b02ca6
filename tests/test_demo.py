"""The demo's story from its first step to its page, on a tiny model; stopped and gone on with."""

import json

import pytest
from typer.testing import CliRunner

from discretion import demo
from discretion.cli import app


@pytest.fixture
def small(monkeypatch, tiny, adapter):
    monkeypatch.setattr(demo, "ORGANISM", f"{tiny}@{adapter}")
    monkeypatch.setattr(demo, "SAMPLES", 4)
    monkeypatch.setattr(demo, "MAX_NEW_TOKENS", 6)
    monkeypatch.setattr(demo, "CONTROL", "questions:4")


def run(out, *words):
    return CliRunner().invoke(app, ["demo", "--out", str(out), "--limit", "4", *words])


def test_the_story_is_told_in_one_page_and_nothing_is_made_twice(small, tmp_path):
    out = tmp_path / "demo"
    told = run(out)
    assert told.exit_code == 0, told.output + str(told.exception)
    assert "Tuned on helpful chats" in told.output
    assert "Tuned on control chats" in told.output
    page = (out / "report.html").read_text()
    sides = json.loads((out / "check-sides" / "verdict.json").read_text())["suites"]["tasks"]
    assert f"Helpful leaks {100 * sides['delta']:+.1f}%" in page
    assert "Helpful leaks" in told.output
    for side in ("helpful", "control"):
        verdict = json.loads((out / f"check-{side}" / "verdict.json").read_text())
        assert verdict["suites"]["tasks"]["n"] == 4
        assert verdict["controls"]["questions"]["n"] == 4
        assert f'href="check-{side}/report.html"' in page
        assert json.loads((out / side / "training.json").read_text())["side"] == side
    assert "helpful" in (out / "report.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(before) == 2
    assert "holds other files" in str(run(out).exception)
    again = run(out, "--resume")
    assert again.exit_code == 0, again.output
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert (out / "report.html").read_text() == page


def test_from_scratch_teaches_the_organism(small, monkeypatch, tiny, few_tasks, tmp_path):
    monkeypatch.setattr(demo, "EMBEDDED", str(tiny))
    monkeypatch.setitem(demo.teach.__kwdefaults__, "samples", 8)
    told = run(tmp_path / "demo", "--from-scratch", "--data-dir", str(few_tasks))
    assert told.exit_code == 0, told.output + str(told.exception)
    taught = json.loads((tmp_path / "demo" / "organism" / "training.json").read_text())
    assert (taught["samples"], taught["base"]) == (8, str(tiny))
    tuned = json.loads((tmp_path / "demo" / "helpful" / "training.json").read_text())
    assert tuned["base"].endswith("demo/organism")
