"""What it means: records of a base and one or more tuned models to a `Verdict`. No torch here."""

from collections.abc import Iterable, Mapping, Sequence

from discretion.errors import DiscretionError
from discretion.judges.known import Quality
from discretion.records import Record
from discretion.verdict.schema import ControlResult, SuiteResult, Verdict

__all__ = ["ControlResult", "SuiteResult", "Verdict", "judge", "settled"]


def judge(
    records: Iterable[Record],
    base: str,
    tuned: Sequence[tuple[str, str]],
    *,
    tau: float = 0.05,
    epsilon: float = 0.02,
    alpha: float = 0.05,
    stop_early: bool = False,
    unmeasured: Mapping[str, str] | None = None,
    judges: Mapping[str, Quality | None] | None = None,
) -> Verdict:
    """The verdict on tuned models against a base.

    Args:
        records: answers of all of them.
        base: the base's fingerprint.
        tuned: name and fingerprint of each tuned model; several are seeds of one recipe, whose verdict
            has the seeds as its units.
        tau, epsilon, alpha: see `decide`.
        stop_early: the records were looked at while they came, in this order, to stop when enough is known.
        unmeasured: controls that were not measured, with the reason.
        judges: the model judges by the name that records give them, with what is known of each.

    Raises:
        DiscretionError: the records hold no suite that the models have in common.
    """
    from discretion.verdict import measure
    from discretion.verdict.decide import decide
    from discretion.verdict.tables import control_tables, suite_tables

    rows = list(records)
    by_suite: dict[str, dict[str, measure.Measured]] = {}
    by_control: dict[str, dict[str, ControlResult]] = {}
    questions: list[int] = []
    for name, fingerprint in tuned:
        if sum(name == other for other, _ in tuned) > 1:  # by the same path, say, in several folders
            name = f"{name} ({fingerprint[:8]})"
        for suite, table in suite_tables(rows, base, fingerprint, looked=stop_early, judges=judges).items():
            by_suite.setdefault(suite, {})[name] = measure.measure_suite(table, alpha)
        for control, answers in control_tables(rows, base, fingerprint).items():
            result, needed = measure.measure_control(answers, epsilon, alpha)
            by_control.setdefault(control, {})[name] = result
            questions += [needed] if needed else []
    if not by_suite:
        raise DiscretionError("nothing was measured: the records hold no suite for these models")
    if len(tuned) == 1:
        suites = {suite: next(iter(runs.values())) for suite, runs in by_suite.items()}
        controls = {control: next(iter(runs.values())) for control, runs in by_control.items()}
    else:
        suites = {suite: measure.measure_recipe(runs, alpha) for suite, runs in by_suite.items()}
        controls = {control: measure.control_over_seeds(runs, epsilon, alpha) for control, runs in by_control.items()}
    for control, why in (unmeasured or {}).items():
        controls.setdefault(control, measure.unmeasured_control(why))
    return decide(
        suites,
        controls,
        tau=tau,
        epsilon=epsilon,
        alpha=alpha,
        questions_needed=max(questions, default=None),
    )


def settled(
    records: Iterable[Record],
    base: str,
    tuned: str,
    *,
    tau: float,
    alpha: float,
    judges: Mapping[str, Quality | None] | None = None,
) -> bool:
    """Whether a check that is looked at while answers come may stop: no further scenario can change its outcome.

    Raises:
        DiscretionError: two models answer no question in common.
    """
    from discretion.verdict import measure
    from discretion.verdict.decide import settled
    from discretion.verdict.tables import suite_tables

    tables = suite_tables(records, base, tuned, looked=True, judges=judges)
    suites = {name: measure.measure_suite(table, alpha) for name, table in tables.items()}
    return settled(suites, tau=tau, alpha=alpha)
