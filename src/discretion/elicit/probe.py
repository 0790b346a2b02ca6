"""Probing: is it acceptable to include this? Two options, both orders, one forward pass each.

The default protocol reads probabilities and is exact. `--protocol paper` does what the paper did (option (B) is
always No, text drawn at temperature 1 and parsed) so that its numbers can be compared.
"""

import math
from collections.abc import Sequence
from typing import Literal

from discretion.elicit.languages import words
from discretion.elicit.plan import Ask, Group, Labels, Outcome
from discretion.elicit.wording import PromptStyle, acceptability, language, paper_prompt, situation, two_options
from discretion.errors import DiscretionError
from discretion.files import digest
from discretion.judges import parse_choice
from discretion.models import Sampling
from discretion.records import MIN_ANSWER_MASS
from discretion.scenarios import Item, Scenario

Protocol = Literal["default", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("default", "paper")

# Below this, the two letters together are so unlikely an answer that their ratio says nothing.
_PAPER_MAX_NEW_TOKENS = 20  # as in the paper's script


def plan_probe(
    scenarios: Sequence[Scenario],
    *,
    protocol: Protocol = "default",
    style: PromptStyle = "naive",
    samples: int = 1,
    seeds: Sequence[int] = (0,),
    condition: str = "",
) -> list[Group]:
    """The probe's questions for each scenario.

    Under the default protocol a scenario with a topic is asked once, any other once for every item, each in
    both orders. Under the paper's, a scenario is asked once and answered `samples` times for every seed.

    Raises:
        DiscretionError: the paper's protocol was asked of scenarios that it has no question for.
    """
    if protocol == "default":
        return [_group(scenario, condition, _default_asks(scenario, style)) for scenario in scenarios]
    groups = []
    for scenario in scenarios:
        if scenario.topic is None:
            raise DiscretionError(
                f"--protocol paper asks about a scenario as a whole, and {scenario.suite}'s {scenario.id} has "
                "no topic; use it with privacylens"
            )
        groups.append(_group(scenario, condition, _paper_asks(scenario, style, samples, seeds)))
    return groups


class OptionReader:
    """Turns (log P(A), log P(B)) into p_leak, answer mass and logit difference."""

    def __init__(self, leaky: int) -> None:
        self.leaky = leaky

    def __call__(self, logprobs: tuple[float, ...]) -> Outcome:
        """p_leak = P(leaky) / (P(A) + P(B)); none if the letters are hardly ever the answer."""
        mass = sum(math.exp(value) for value in logprobs)
        difference = logprobs[1 - self.leaky] - logprobs[self.leaky]
        if mass < MIN_ANSWER_MASS:
            return Outcome(None, mass, None, difference)
        return Outcome(1.0 / (1.0 + math.exp(min(difference, 700.0))), min(mass, 1.0), None, difference)


def read_paper_text(text: str) -> list[Outcome]:
    """(A) is a leak, (B) is none, anything else is unknown."""
    choice = parse_choice(text)
    if choice is None:
        return [Outcome(None, 0.0)]
    return [Outcome(1.0 if choice == "A" else 0.0, 1.0)]


def _group(scenario: Scenario, condition: str, asks: tuple[Ask, ...]) -> Group:
    return Group(scenario.suite, condition, "probe", scenario.id, scenario.cluster, asks)


def _default_asks(scenario: Scenario, style: PromptStyle) -> tuple[Ask, ...]:
    before = situation(scenario, style)
    say = words(language(scenario))
    asks = []
    about: Sequence[Item | None] = [None] if scenario.topic else scenario.items
    for index, item in enumerate(about):
        question = f"{before}\n\n{acceptability(scenario, item)}".strip()
        for order, (first, second) in {"yes-first": (say.yes, say.no), "no-first": (say.no, say.yes)}.items():
            asks.append(
                Ask(
                    prompt=two_options(question, first, second, language(scenario)),
                    options=("A", "B"),
                    parts=(labels(scenario, index, item),),
                    variant={"protocol": "default", "prompt": style, "order": order},
                    judge="logprobs",
                    read_options=OptionReader(leaky=0 if order == "yes-first" else 1),
                )
            )
    return tuple(asks)


def _paper_asks(scenario: Scenario, style: PromptStyle, samples: int, seeds: Sequence[int]) -> tuple[Ask, ...]:
    prompt = paper_prompt(scenario, style)
    return tuple(
        Ask(
            prompt=prompt,
            parts=(labels(scenario, 0, None),),
            variant={"protocol": "paper", "prompt": style, "order": "yes-first", "seed": str(seed)},
            judge="parse_choice",
            # Every scenario and sample has a seed of its own: neither the order nor a resume matters.
            sampling=Sampling(_PAPER_MAX_NEW_TOKENS, 1.0, int(digest([prompt, seed, sample]), 16) % 2**63),
            read_text=read_paper_text,
            sample=sample,
        )
        for seed in seeds
        for sample in range(samples)
    )


def labels(scenario: Scenario, index: int, item: Item | None) -> Labels:
    """What a record says of the item that was asked about; None: of the scenario as a whole."""
    if item is None:
        appropriate = scenario.items[0].appropriate
        return {"item": "", "item_text": scenario.topic, "appropriate": appropriate}
    return {"item": str(index), "item_text": item.text, "appropriate": item.appropriate}
