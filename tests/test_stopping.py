"""A check that stops when its outcome is known: what it says holds at every look, and it is resumed as any other."""

import json

import numpy as np
import pytest

from conftest import scenario_row
from discretion import gate
from discretion.elicit import Group
from discretion.errors import DiscretionError
from discretion.run import load_run
from discretion.stopping import _rounds
from discretion.verdict import judge, settled
from discretion.verdict.paired import Paired
from verdict.test_verdict import run


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "leave.jsonl"
    path.write_text("".join(json.dumps(scenario_row(number)) + "\n" for number in range(60)))
    return path


@pytest.mark.parametrize("rise, few, enough", [(0.4, 8, 40), (0.0, 60, 250), (0.05, 400, None)])
def test_a_clear_rise_is_settled_soon_no_rise_later_and_the_boundary_never(rise, few, enough):
    looks = {"tau": 0.05, "alpha": 0.05}
    assert not settled(run(rise=rise, n=few, controls=0), "b", "t", **looks)
    if enough:
        assert settled(run(rise=rise, n=enough, controls=0), "b", "t", **looks)


def test_a_fall_of_coverage_goes_on():
    records = run(n=250, controls=0, coverage_shift=-0.2)
    assert not settled(records, "b", "t", tau=0.05, alpha=0.05)


def test_the_verdict_says_how_its_bounds_were_found_and_tests_nothing_else():
    verdict = judge(run(rise=0.4, n=40), "b", [("tuned", "t")], stop_early=True)
    suite = verdict.suites["s"]
    assert verdict.verdict == "collapse"
    assert suite.interval == "betting confidence sequence over clusters"
    assert (suite.p_value, suite.test, suite.delta_rel_ci) == (None, None, None)
    fixed = judge(run(rise=0.4, n=40), "b", [("tuned", "t")]).suites["s"]
    assert suite.delta == pytest.approx(fixed.delta)
    assert suite.delta_ci[0] < fixed.delta_ci[0] < fixed.delta_ci[1] < suite.delta_ci[1]


def test_at_a_rise_of_tau_it_is_wrong_as_rarely_as_it_says():
    # Few large rises among none: of a bootstrap that is looked at as often, a quarter are wrong one way or the other.
    rng, wrong, bootstrapped = np.random.default_rng(0), 0, 0
    for _ in range(100):
        step = np.where(rng.random(160) < 0.05, 1.0, 0.0)  # 0.05 on average
        looks = [
            Paired(np.zeros(count), step[:count], [str(number) for number in range(count)], looked=looked)
            for looked in (True, False)
            for count in range(16, 161, 16)
        ]
        outside = [not (bounds.low <= 0.05 <= bounds.high) for look in looks if (bounds := look.interval(0.05))]
        wrong += any(outside[:10])
        bootstrapped += any(outside[10:])
    assert wrong <= 5 + 2 * 2.2
    assert bootstrapped > 15


def test_units_are_clusters_in_the_order_asked():
    rng = np.random.default_rng(1)
    rise = rng.normal(0.3, 0.3, 60).clip(-1, 1)
    alone = Paired(np.zeros(60), rise, [f"{-number}" for number in range(60)], looked=True)
    twice = Paired(
        np.zeros(120), np.repeat(rise, 2), [f"{-number}" for number in np.repeat(range(60), 2)], looked=True
    )
    assert twice.interval(0.05) == alone.interval(0.05)
    backwards = Paired(np.zeros(60), rise[::-1], [f"{-number}" for number in range(60)], looked=True)
    assert backwards.interval(0.05) != alone.interval(0.05)


def test_a_cluster_is_not_torn():
    groups = [
        Group(suite, "", "probe", f"{suite}{number}", f"{suite}{number // 10}", ())
        for suite, many in (("one", 45), ("two", 5))
        for number in range(many)
    ]
    few = list(_rounds(groups))
    assert [len(groups) for groups in few] == [20 + 5, 20, 5]
    assert [group for groups in few for group in groups if group.suite == "one"] == groups[:45]


def test_it_stops_is_rebuilt_and_resumed_alike(tiny, adapter, scenarios, tmp_path):
    words = {"suites": (str(scenarios),), "controls": ("none",), "tau": 0.6}  # far from this adapter's rise
    pair = str(tiny), f"{tiny}@{adapter}"
    out = tmp_path / "run"
    report = gate.check(*pair, out=out, stop_early=True, **words)
    suite = report.verdict.suites["leave"]
    assert suite.n < 60
    assert suite.delta_ci[1] < 0.6
    assert f"leave: stopped after {suite.n} of 60 scenarios" in (out / "report.md").read_text()
    compared = gate.compare(out, [out], tau=0.6)
    assert compared.verdict.suites["leave"].interval == suite.interval
    assert compared.verdict.suites["leave"].delta_ci == suite.delta_ci
    assert "--stop-early" not in compared.info.command
    assert "--stop-early" in report.info.command
    told = (out / "verdict.json").read_text()
    records = (out / "records.jsonl").read_text()
    info, _ = load_run(out)
    assert info.data["leave"]["scenarios"] == suite.n
    assert gate.rebuild(out).verdict == report.verdict
    again = gate.check(*pair, out=out, stop_early=True, resume=True, **words)
    assert again.verdict == report.verdict
    assert (out / "verdict.json").read_text() == told
    assert (out / "records.jsonl").read_text() == records
    with pytest.raises(DiscretionError, match="--stop-early"):
        gate.check(*pair, out=out, resume=True, **words)
    with pytest.raises(DiscretionError, match=r"tau 0\.6 -> 0\.5"):
        gate.check(*pair, out=out, resume=True, stop_early=True, **words | {"tau": 0.5})
    # Killed in the middle of a round: what is lacking is asked, and the outcome is the same.
    lines = records.splitlines(keepends=True)
    (out / "records.jsonl").write_text("".join(lines[: len(lines) // 2]))
    gate.check(*pair, out=out, stop_early=True, resume=True, **words)
    assert (out / "verdict.json").read_text() == told


def test_what_is_stored_is_not_stopped_before(tiny, adapter, scenarios, tmp_path):
    # As where calls failed, all was asked, and the same calls did not fail when they were asked again.
    words = {"suites": (str(scenarios),), "controls": ("none",), "tau": 0.6}
    pair, out = (str(tiny), f"{tiny}@{adapter}"), tmp_path / "run"
    assert gate.check(*pair, out=out, stop_early=True, **words).verdict.suites["leave"].n < 60
    gate.check(*pair, out=tmp_path / "whole", **words)
    (out / "records.jsonl").write_bytes((tmp_path / "whole" / "records.jsonl").read_bytes())
    report = gate.check(*pair, out=out, stop_early=True, resume=True, **words)
    assert report.verdict.suites["leave"].n == 60
    assert gate.rebuild(out).verdict == report.verdict


def test_edited_scenarios_are_not_gone_on_with(tiny, adapter, scenarios, tmp_path):
    path = tmp_path / "leave.jsonl"
    path.write_text(scenarios.read_text())
    words = {"suites": (str(path),), "controls": ("none",), "tau": 0.6, "stop_early": True}
    gate.check(str(tiny), f"{tiny}@{adapter}", out=tmp_path / "run", **words)
    path.write_text(path.read_text().replace("surgery 7", "surgery seven"))
    with pytest.raises(DiscretionError, match="the content of leave"):
        gate.check(str(tiny), f"{tiny}@{adapter}", out=tmp_path / "run", resume=True, **words)


def test_clusters_of_different_sizes_are_refused(tiny, adapter, tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [scenario_row(number, cluster=f"c{number // 2}") for number in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DiscretionError, match="clusters of pairs differ in size; ask it without --stop-early"):
        gate.check(str(tiny), f"{tiny}@{adapter}", out=tmp_path / "run", suites=(str(path),), stop_early=True)


def test_a_limit_that_would_split_a_pair_does_not(tiny, adapter, tmp_path):
    words = {"suites": ("builtin:test",), "controls": ("none",), "limit": 5, "stop_early": True}
    report = gate.check(str(tiny), f"{tiny}@{adapter}", out=tmp_path / "run", **words)
    assert report.verdict.suites["builtin"].n == 4


def test_too_few_clusters_to_pass_are_told(tiny, adapter, scenarios, tmp_path):
    words = {"suites": (str(scenarios),), "controls": ("none",)}
    report = gate.check(str(tiny), f"{tiny}@{adapter}", out=tmp_path / "run", stop_early=True, **words)
    assert any("60 clusters are too few to pass" in note for note in report.info.notes)


def test_what_is_not_settled_is_asked_whole(tiny, adapter, scenarios, tmp_path):
    words = {"suites": (str(scenarios),), "controls": ("none",), "tau": 0.001}
    pair = str(tiny), f"{tiny}@{adapter}"
    early = gate.check(*pair, out=tmp_path / "early", stop_early=True, **words)
    gate.check(*pair, out=tmp_path / "whole", **words)
    assert early.verdict.suites["leave"].n == 60
    assert not any("stopped after" in note for note in early.info.notes)
    kept = [sorted((tmp_path / name / "records.jsonl").read_text().splitlines()) for name in ("early", "whole")]
    assert kept[0] == kept[1]
