"""The embedded model itself: what is known of it shows, and it is measured as users measure."""

import pytest

from discretion import check

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("embedded") / "run"
    return check("smollm2-135m", "smollm2-135m", out=out, suites=["builtin"], limit=6, controls=["none"])


def test_against_itself_the_difference_is_exactly_zero(report):
    suite = report.verdict.suites["builtin"]
    assert suite.delta == 0.0
    assert suite.delta_ci == (0.0, 0.0)


def test_it_answers_the_same_letter_whatever_it_says_and_the_report_says_so(report):
    suite = report.verdict.suites["builtin"]
    assert suite.same_letter.base > 0.9
    assert suite.accuracy_base == pytest.approx(0.5, abs=0.06)
    assert suite.base_has_norm is False
    assert any("no norm to lose" in line for line in report.caveats)
