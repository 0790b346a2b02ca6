"""The examples run as they stand, at a small size and on a tiny model."""

import json
import runpy
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_script_guards_audits_and_mitigates(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("discretion.training.monitor.MOST_TOKENS", 2000)  # the tiny model reads letters
    words = ["guard.py", "--model", tiny, "--out", tmp_path / "out", "--samples", 40, "--limit", 2, "--tasks", 4]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    runpy.run_path(str(EXAMPLES / "guard.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "guard: 1 looks, no flag" in said or "guard: flagged at step 5" in said
    assert "audit: the samples to look at first are [" in said
    assert "mitigate: " in said
    assert (tmp_path / "out" / "audit" / "scores.jsonl").is_file()


def test_the_notebook_runs(tiny, tmp_path, capsys):
    notebook = json.loads((EXAMPLES / "check.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    small = f'MODEL, SAMPLES, SCENARIOS = "{tiny}", 32, 2'
    cells[0] = cells[0].replace('MODEL, SAMPLES, SCENARIOS = "smollm2-135m-organism", 160, 32', small)
    assert small in cells[0]
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile(cell, "check.ipynb", "exec"), names)
    said = capsys.readouterr().out
    assert "tasks" in said
    assert "coverage" in said
    assert "projection " in said
    assert "on tasks:test {'none': " in said
