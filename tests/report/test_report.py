"""What a report says, and that nothing in it is more than text."""

import sys
from pathlib import Path

import pytest
from rich.console import Console

from discretion.report import Report, write_reports
from discretion.report.files import junit, markdown_text, render
from discretion.report.terminal import show
from discretion.run import ModelEntry, RunInfo
from discretion.verdict import judge

sys.path.insert(0, str(Path(__file__).parent.parent / "verdict"))
from test_verdict import probe, run

EVIL = "<script>alert(1)</script> | [x](javascript:alert(1)) `code` # h \x1b[31m [bold]"


def info(names=("base", "tuned")) -> RunInfo:
    return RunInfo(
        command="discretion check a b", arguments={}, versions={"discretion": "0"}, seeds=(0,), planned_records=0,
        unmeasured={}, data={},
        models=tuple(
            ModelEntry(role=role, name=name, fingerprint=role[0], engine="e")
            for role, name in zip(("base", "tuned"), names, strict=True)
        ),
    )  # fmt: skip


def report(records, names=("base", "tuned")) -> Report:
    return Report.build(info(names), records, judge(records, "b", [("tuned", "t")]))


def evil_records():
    rows = []
    for number in range(30):
        for model, p in (("b", 0.1), ("t", 0.9)):
            rows.append(probe(model, number, p, suite=EVIL).model_copy(update={"item_text": EVIL}))
    return rows


def test_untrusted_text_is_escaped_everywhere(tmp_path):
    made = report(evil_records(), names=(EVIL, EVIL))
    html = render("report.html.j2", made)
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
    markdown = render("report.md.j2", made)
    assert "<script>" not in markdown.replace("\\<", "")
    assert "[x](" not in markdown
    assert "\x1b" not in junit(made)
    write_reports(made, tmp_path)
    console = Console(width=200, record=True, file=open(tmp_path / "out", "w"))  # noqa: SIM115
    show(made, console)
    assert "[bold]" in console.export_text()


def test_new_leaks_are_listed_largest_rise_first():
    rows = [probe("b", 1, 0.1), probe("t", 1, 0.6), probe("b", 2, 0.1), probe("t", 2, 0.9)]
    rows += [probe("b", 3, 0.8), probe("t", 3, 0.9), probe("b", 4, 0.1), probe("t", 4, 0.4)]
    assert [leak.scenario for leak in report(rows).leaks] == ["2", "1"]


@pytest.mark.parametrize(
    "records, says",
    [
        (run(rise=0.2), "do not ship"),
        (run(controls=0), "measure a control"),
        (run(), "--suite builtin"),
    ],
)
def test_it_says_what_to_do_next(records, says):
    assert any(says in step for step in report(records).next_steps)


def test_a_base_without_a_norm_is_named():
    rows = [row for number in range(40) for m in "bt"
            for row in (probe(m, number, 0.9), probe(m, number, 0.1, order="no-first"))]  # fmt: skip
    made = report(rows)
    assert any("no norm to lose" in line for line in made.caveats)


def test_markdown_text_cannot_open_anything():
    assert markdown_text("a|b\n# c <d>") == "a\\|b \\# c \\<d\\>"
