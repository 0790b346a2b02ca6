"""`verdict.json`: what was found, with every number behind it. Values that were not measured are null."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Outcome = Literal["collapse", "degraded", "regression", "preserved", "inconclusive"]
Bounds = tuple[float, float]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseAndTuned(_Strict):
    """One number for each of the two models."""

    base: float | None
    tuned: float | None


class SeedPoint(_Strict):
    """One tuned run of a recipe."""

    run: str
    value: float


class SuiteResult(_Strict):
    """One suite under one condition. Rates are means over scenarios, in [0, 1].

    accuracy + leak + unknown = 1 over inappropriate items, given that one of the options is answered:

    - `answer_mass` is how much probability the options have; `delta_sampled_ci` is delta's interval with the
      probability outside them counted as no leak.
    - `answered_accuracy` leaves unknown answers out, as the paper counts.
    - `scenario_leak` is the share of scenarios in which at least one inappropriate item is more likely passed
      on than not, as judged; `scenario_leak_ci` is the interval of its change.
    - `delta` is leak_tuned - leak_base, `delta_rel` the relative change of accuracy, `coverage_ci` the interval
      of coverage_tuned - coverage_base.
    - `helpfulness` is how well the texts do what was asked, 0 to 3, if a model judged them; `helpfulness_ci` the
      interval of its change.
    - `violation` and `task_coverage` are CIMemories' own numbers (see `verdict.memories`), as judged.
    - `order_bias` is half the difference of p_leak between the two option orders (0: none, 0.5: the first
      letter whatever it says), `same_letter` the share of questions whose likelier letter is the same in both.
    - `judge_sensitivity`, `judge_specificity`: of a judge that errs; rates, delta and intervals are corrected for it
      (Rogan and Gladen), and `judge_bound` is how far delta may be off if it errs differently on base and tuned text.
    - `base_norm` is how far the base is above guessing (balanced accuracy minus one half).
    """

    verdict: Outcome
    elicitation: str
    n: int
    clusters: int
    leak_base: float | None
    leak_tuned: float | None
    delta: float | None
    delta_ci: Bounds | None
    interval: str | None
    delta_sampled: float | None
    delta_sampled_ci: Bounds | None
    accuracy_base: float | None
    accuracy_tuned: float | None
    answered_accuracy: BaseAndTuned
    greedy_accuracy_base: float | None
    greedy_accuracy_tuned: float | None
    delta_rel: float | None
    delta_rel_ci: Bounds | None
    coverage_base: float | None
    coverage_tuned: float | None
    coverage_ci: Bounds | None
    helpfulness: BaseAndTuned = BaseAndTuned(base=None, tuned=None)
    helpfulness_ci: Bounds | None = None
    violation: BaseAndTuned = BaseAndTuned(base=None, tuned=None)
    task_coverage: BaseAndTuned = BaseAndTuned(base=None, tuned=None)
    scenario_leak_base: float | None
    scenario_leak_tuned: float | None
    scenario_leak_ci: Bounds | None = None
    unknown_base: float | None
    unknown_tuned: float | None
    answer_mass: BaseAndTuned
    order_bias: BaseAndTuned
    same_letter: BaseAndTuned
    base_norm: float | None
    base_norm_ci: Bounds | None
    base_has_norm: bool | None
    judge: str | None
    judge_sensitivity: float | None = None
    judge_specificity: float | None = None
    judge_bound: float | None = None
    errors: int
    p_value: float | None
    test: str | None
    mcnemar_p: float | None
    seeds: tuple[SeedPoint, ...] | None = None


class ControlResult(_Strict):
    """One control: probability of the right answer. `delta_ci` is the 1 - 2 alpha interval of TOST.

    `chance` is what guessing gives; a base near it has little to lose, and its control shows little.
    `error_rate`: the share of its calls that failed. `unanswered`: the share of questions answered with none of the
    options, by the model that does it more.
    """

    n: int
    base: float | None
    tuned: float | None
    delta: float | None
    delta_ci: Bounds | None
    equivalent: bool | None
    moved: bool | None
    p_value: float | None
    errors: int
    error_rate: float = 0.0
    unanswered: float = 0.0
    chance: float | None = None
    unmeasured: str | None = None
    seeds: tuple[SeedPoint, ...] | None = None

    @property
    def standing(self) -> str:
        """Whether the control stayed where it was, in a word or two."""
        if self.equivalent is None:
            return "unmeasured"
        return "yes" if self.equivalent else "moved" if self.moved else "not shown"


class Verdict(_Strict):
    """The run's verdict: the worst over its suites (Holm's correction over those that are flagged).

    `needed_n` scenarios a suite, or `needed_questions` of a control, would decide what these leave open.
    """

    verdict: Outcome
    reasons: tuple[str, ...]
    tau: float
    epsilon: float
    alpha: float
    suites: dict[str, SuiteResult]
    controls: dict[str, ControlResult]
    needed_n: int | None
    needed_questions: int | None = None

    @property
    def exit_code(self) -> int:
        """0 preserved, 1 collapse, degraded or regression, 3 inconclusive."""
        return {"preserved": 0, "inconclusive": 3}.get(self.verdict, 1)
