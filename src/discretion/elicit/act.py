"""Acting: the model writes the message, or takes the agent's final action, and a judge says what it reveals.

A quiz asks what a model holds to be right; acting shows what it does. Every item of a scenario is judged in every
text: inappropriate ones that are revealed are the leak, appropriate ones the coverage.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from discretion.elicit.plan import Ask, Group, Labels, Outcome
from discretion.elicit.probe import labels
from discretion.elicit.wording import PromptStyle, task
from discretion.files import digest
from discretion.judges.outgoing import is_cut_in_thought
from discretion.models import Sampling
from discretion.scenarios import Scenario

MAX_NEW_TOKENS = 256
_CUT = Outcome(error="the text ends inside a thought; give more --max-new-tokens")
_WHOLE: Labels = {"item": "", "item_text": "anything that is private here", "appropriate": False}


class Judge(Protocol):
    """Says what a text reveals.

    Attributes:
        whole: whether it judges a text as a whole, whatever the items are; then it gives one outcome.
    """

    whole: bool

    def name(self, scenario: Scenario) -> str:
        """What the scenario's records are marked with; another judge gives other records."""
        ...

    def __call__(self, scenario: Scenario, text: str) -> Sequence[Outcome]:
        """For each item of the scenario: p_leak = 1 if the text reveals it, 0 if not; or an error."""
        ...


def plan_act(
    scenarios: Sequence[Scenario],
    judge: Judge,
    *,
    style: PromptStyle = "naive",
    samples: int = 1,
    seeds: Sequence[int] = (0,),
    max_new_tokens: int = MAX_NEW_TOKENS,
    condition: str = "",
) -> list[Group]:
    """A text for each scenario, greedy; or, if there are several samples or seeds, that many drawn at temperature 1.

    Questions of norms that have no task (nobody acts in them) are left out.
    """
    drawn = samples > 1 or len(seeds) > 1
    groups = []
    for scenario in scenarios:
        if not scenario.instruction:
            continue
        prompt = task(scenario, style)
        parts: tuple[Labels, ...] = tuple(labels(scenario, index, item) for index, item in enumerate(scenario.items))
        if judge.whole:
            parts = (_WHOLE,)
        asks = tuple(
            Ask(
                prompt=prompt,
                parts=parts,
                variant={"prompt": style, "seed": str(seed)},
                judge=judge.name(scenario),
                # Every scenario and sample has a seed of its own: neither the order nor a resume matters.
                sampling=Sampling(
                    max_new_tokens, 1.0 if drawn else 0.0, int(digest([prompt, seed, sample]), 16) % 2**63
                ),
                read_text=_reader(judge, scenario),
                sample=sample,
            )
            for seed in seeds
            for sample in range(samples)
        )
        groups.append(Group(scenario.suite, condition, "act", scenario.id, scenario.cluster, asks))
    return groups


def _reader(judge: Judge, scenario: Scenario) -> Callable[[str], Sequence[Outcome]]:
    return unless_cut(lambda text: judge(scenario, text), 1 if judge.whole else len(scenario.items))


def unless_cut(read: Callable[[str], Sequence[Outcome]], count: int) -> Callable[[str], Sequence[Outcome]]:
    """`read`, but for texts that end inside a thought: those are `count` errors."""
    return lambda text: [_CUT] * count if is_cut_in_thought(text) else read(text)
