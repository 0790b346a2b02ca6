"""Safe and leaky answers whose activations are compared: what is said is the same, whether it may be said is not.

In the built-in pairs one scenario's wrong item is its twin's right one. The answer that tells it is safe here and
leaky there, so that its words cancel and what is left is the norm. Where a suite has no twins, a scenario's right
items stand against its wrong ones, and words do not cancel: `balanced` says which it was.

With options ("Yes" or "No" as a letter) both orders have to be asked. With one order the safe answer is always the
same letter, and the direction found is the letter's: its cosine with it is 0.998 and more (measured).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from discretion.controls import Choice
from discretion.elicit.probe import OptionReader, plan_probe
from discretion.elicit.wording import PromptStyle, task
from discretion.judges.calibrate import Labelled
from discretion.models import Question
from discretion.scenarios import Scenario

# About as long as an item of the built-in suite, so that length is no difference between the two directions.
_ANSWERED = "As far as I can tell, the right answer to this question is {choice}."


class Answer(NamedTuple):
    """An assistant's answer to a chat (`role` and `content` each)."""

    turns: tuple[Mapping[str, str], ...]
    text: str


class Contrast(NamedTuple):
    """Answers of two kinds for one unit (a pair, a scenario, a question); their mean difference is its vote.

    Attributes:
        balanced: whether what is said is the same on both sides.
    """

    unit: str
    safe: tuple[Answer, ...]
    leaky: tuple[Answer, ...]
    balanced: bool


def item_contrasts(scenarios: Sequence[Scenario], style: PromptStyle = "naive") -> list[Contrast]:
    """Messages that tell one item each, right or wrong to tell; a unit is a cluster (in built-in suites, a pair)."""
    clusters: dict[str, list[Scenario]] = defaultdict(list)
    for scenario in scenarios:
        clusters[scenario.cluster].append(scenario)
    found = []
    for cluster, members in clusters.items():
        told = [(item.text, item.appropriate, scenario) for scenario in members for item in scenario.items]
        kinds = defaultdict(set)
        for text, right, _ in told:
            kinds[text].add(right)
        swapped = {text for text, both in kinds.items() if len(both) == 2}
        used = [entry for entry in told if entry[0] in swapped] if swapped else told
        safe, leaky = (
            tuple(Answer(_user(task(scenario, style)), text) for text, right, scenario in used if right is wanted)
            for wanted in (True, False)
        )
        if safe and leaky:
            found.append(Contrast(cluster, safe, leaky, bool(swapped)))
    return found


def option_contrasts(
    scenarios: Sequence[Scenario], orders: Sequence[str] = ("yes-first", "no-first"), style: PromptStyle = "naive"
) -> list[Contrast]:
    """The letter of "No" against the letter of "Yes" for every wrong item; a unit is a cluster."""
    clusters: dict[str, tuple[list[Answer], list[Answer]]] = defaultdict(lambda: ([], []))
    for group, scenario in zip(plan_probe(scenarios, style=style), scenarios, strict=True):
        for ask in group.asks:
            if ask.variant["order"] in orders and not ask.parts[0]["appropriate"]:
                yes = "A" if ask.variant["order"] == "yes-first" else "B"
                safe, leaky = clusters[scenario.cluster]
                leaky.append(Answer(_user(ask.prompt), yes))
                safe.append(Answer(_user(ask.prompt), "B" if yes == "A" else "A"))
    return [
        Contrast(cluster, tuple(safe), tuple(leaky), len(orders) > 1) for cluster, (safe, leaky) in clusters.items()
    ]


def action_contrasts(
    scenarios: Sequence[Scenario], labels: Sequence[Labelled], style: PromptStyle = "naive"
) -> list[Contrast]:
    """Final actions of several models that passed nothing on, against those that did, by their labels; a unit is a
    scenario. They differ in more than the norm: in words, and in who wrote them.
    """
    revealed: dict[str, dict[str, bool]] = defaultdict(dict)
    for row in labels:
        written = revealed[row.scenario]
        written[row.text] = written.get(row.text, False) or row.revealed
    found = []
    for scenario in scenarios:
        sides: tuple[list[Answer], list[Answer]] = ([], [])
        for text, leaks in revealed.get(scenario.id, {}).items():
            action = text.rpartition("Action:")
            if action[1]:  # its thoughts are not what is sent
                sides[leaks].append(Answer(_user(task(scenario, style)), f"Action:{action[2]}".strip()))
        if all(sides):
            found.append(Contrast(scenario.cluster, tuple(sides[0]), tuple(sides[1]), False))
    return found


def leak_questions(scenarios: Sequence[Scenario]) -> list[tuple[str, Question, int]]:
    """Both orders of every scenario's first wrong item: cluster, question, which option is the leaky one."""
    found = []
    for scenario, group in zip(scenarios, plan_probe(scenarios), strict=True):
        wrong = [ask for ask in group.asks if not ask.parts[0]["appropriate"]]
        for ask in wrong[:2]:
            assert isinstance(ask.read_options, OptionReader)
            found.append((scenario.cluster, ask.question, ask.read_options.leaky))
    return found


def letter_contrasts(questions: Sequence[Choice]) -> list[Contrast]:
    """ "A" against "B" as the answer to a question of knowledge: the direction of the letter alone."""
    return [
        Contrast(question.id, (Answer(turns, "A"),), (Answer(turns, "B"),), True)
        for question in questions
        if (turns := _user(f"{question.question}\nA. {question.choices[0]}\nB. {question.choices[1]}"))
    ]


def task_contrasts(questions: Iterable[Choice]) -> list[Contrast]:
    """The right answer to a question, in words, against a wrong one: a direction of the task, not of privacy."""
    found = []
    for question in questions:
        turns = _user(question.question)
        right, wrong = (question.choices[(question.answer + step) % len(question.choices)] for step in (0, 1))
        said = (Answer(turns, _ANSWERED.format(choice=choice)) for choice in (right, wrong))
        found.append(Contrast(question.id, (next(said),), (next(said),), False))
    return found


def _user(content: str) -> tuple[Mapping[str, str], ...]:
    return ({"role": "user", "content": content},)
