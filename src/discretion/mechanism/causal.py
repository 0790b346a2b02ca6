"""Whether a direction does anything: add it, take it out, and see what the model then answers and writes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from discretion.elicit.act import plan_act
from discretion.judges.acts import MatchJudge
from discretion.mechanism.steering import ablated, last_streams, patched_answers, steered
from discretion.models import Draft, Question
from discretion.models.local import LocalModel
from discretion.scenarios import Scenario

Array = NDArray[np.float64]


class Answered(NamedTuple):
    """One number a question: logit of the safe option minus the leaky one's, and both options' probability."""

    difference: Array
    mass: Array


class Written(NamedTuple):
    """One number a scenario, of the message written: the share of wrong items that it tells, and of right ones.

    NaN where a scenario has no item of that kind.
    """

    leak: Array
    coverage: Array


def answered(model: LocalModel, questions: Sequence[tuple[Question, int]]) -> Answered:
    """The model's answers as it is now; the number beside each question says which option is the leaky one."""
    given = model.option_logprobs([question for question, _ in questions])
    return Answered(
        np.array([row[1 - leaky] - row[leaky] for row, (_, leaky) in zip(given, questions, strict=True)]),
        np.array([float(np.exp(row).sum()) for row in given]),
    )


def written(model: LocalModel, scenarios: Sequence[Scenario], max_new_tokens: int) -> Written:
    """What the model writes as it is now, greedily, by the deterministic judge."""
    judge = MatchJudge()
    asks = [group.asks[0] for group in plan_act(scenarios, judge, max_new_tokens=max_new_tokens)]
    texts = model.generate([Draft(ask.prompt, ask.sampling) for ask in asks if ask.sampling])
    leak: list[float] = []
    coverage: list[float] = []
    for scenario, text in zip(scenarios, texts, strict=True):
        outcomes = [outcome.p_leak or 0.0 for outcome in judge(scenario, str(text))]
        for right, told in ((False, leak), (True, coverage)):
            of_kind = [
                value for value, item in zip(outcomes, scenario.items, strict=True) if item.appropriate == right
            ]
            told.append(float(np.mean(of_kind)) if of_kind else np.nan)
    return Written(np.array(leak), np.array(coverage))


def dosed(
    model: LocalModel, questions: Sequence[tuple[Question, int]], layer: int, vector: torch.Tensor, dose: float
) -> Answered:
    """The answers with `dose` times the direction added after `layer`."""
    with steered(model, {layer: dose * vector}):
        return answered(model, questions)


def without(
    model: LocalModel, questions: Sequence[tuple[Question, int]], layer: int, vector: torch.Tensor
) -> Answered:
    """The answers with the stream's part along the direction taken out after `layer`."""
    with ablated(model, {layer: vector}):
        return answered(model, questions)


def patched(base: LocalModel, tuned: LocalModel, questions: Sequence[tuple[Question, int]]) -> Array:
    """The tuned model's differences with the base's stream put in after each layer: (questions, layers)."""
    rows = []
    for question, leaky in questions:
        found = patched_answers(tuned, question, last_streams(base, question))
        rows.append([float(logits[options[1 - leaky]] - logits[options[leaky]]) for logits, options in found])
    return np.array(rows)
