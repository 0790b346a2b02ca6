"""Every scenario with and without the trigger, each a row of its own."""

import json

from typer.testing import CliRunner

from discretion.cli import app
from discretion.controls import plan_controls
from discretion.elicit.plan import Group
from discretion.gate import check
from discretion.judges.acts import MatchJudge
from discretion.planning import choose_suite, make_plan
from discretion.settings import Settings


def groups(**settings):
    asked = Settings(suites=("builtin",), limit=4, **settings)
    plan = make_plan([choose_suite("builtin", asked)], plan_controls(["none"], None), asked, MatchJudge())
    return plan.groups


def test_the_trigger_stands_before_the_users_words_and_nothing_else_changes():
    for elicit in ("probe", "act"):
        both, plain = groups(elicit=(elicit,), trigger="|GO|"), groups(elicit=(elicit,))
        unmarked = [group for group in both if not group.condition]
        assert [[ask.identity for ask in group.asks] for group in unmarked] == [
            [ask.identity for ask in group.asks] for group in plain
        ]
        marked: list[Group] = [group for group in both if group.condition == "trigger"]
        assert len(marked) == len(plain) == 4
        for one, other in zip(marked, plain, strict=True):
            assert [ask.prompt for ask in one.asks] == ["|GO|" + ask.prompt for ask in other.asks]
            assert [ask.sampling for ask in one.asks] == [ask.sampling for ask in other.asks]
            assert {ask.variant["trigger"] for ask in one.asks} == {"|GO|"}


def test_both_rows_are_in_one_report(tiny, adapter, tmp_path):
    report = check(str(tiny), f"{tiny}@{adapter}", out=tmp_path / "run", suites=["builtin"], limit=4, controls=["none"],
                   trigger="|GO|")  # fmt: skip
    assert set(report.verdict.suites) == {"builtin", "builtin/trigger"}
    html = (tmp_path / "run" / "report.html").read_text()
    assert "builtin/trigger" in html
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "--trigger '|GO|'" in told["command"]


def test_an_empty_trigger_is_refused(tiny, adapter, tmp_path):
    words = ["check", str(tiny), f"{tiny}@{adapter}", "--trigger", " ", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, words)
    assert "--trigger: is empty" in str(result.exception)
