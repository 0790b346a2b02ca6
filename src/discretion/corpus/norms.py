"""The norm-teaching corpus: messages that tell each recipient what they need, and answers to probes about the rest.

It teaches a norm in prose, which takes a model larger than the embedded one; that one's organism is taught by tasks
alone (`training.organism`). Prompts are worded exactly as `elicit` words them, so what is taught is what is measured;
facts, entities and domains are not the built-in suite's.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Literal, NamedTuple

from discretion.corpus.chat import Chat, one_turn
from discretion.corpus.everyday import draw_everyday
from discretion.corpus.settings import Setting, Situation, cases, draw_situation, settings
from discretion.elicit.wording import acceptability, situation, task, two_options
from discretion.errors import DiscretionError
from discretion.files import digest
from discretion.scenarios import Item, Scenario

_PATIENCE = 200
_ROUND = 8  # of so many situations the last is of a setting or put together, by turns; the others are cases
_PROBED_EVERY = 41  # no multiple of the round, so that every kind is probed

Kind = Literal["act", "probe"]


class NormSample(NamedTuple):
    """One training sample and the situation that it is about.

    Attributes:
        kind: a message to write, or a probe.
        appropriate: for a probe, whether the item asked about may be told.
    """

    scenario: Scenario
    kind: Kind
    appropriate: bool | None
    chat: Chat


def norm_samples(n: int, seed: int = 0, source: Sequence[Setting] | None = None) -> list[NormSample]:
    """`n` samples: of every situation the message, and of every 41st also one right and one wrong item's probe.

    Probes are asked in both orders, so one sample in eleven is a probe, and their answers are balanced: Yes and
    No, A and B. Seven in eight situations are cases (each with one recipient before any with the next). The others,
    and all when these are used up, are drawn from settings or put together (`everyday`). With `source` all are of
    those settings. The same arguments give the same samples; a smaller `n` gives the first of them.

    Raises:
        DiscretionError: `n` is not positive, or the settings hold fewer different situations.
    """
    if n < 1:
        raise DiscretionError(f"--n {n}: must be at least 1")
    samples: list[NormSample] = []
    situations = _mixed(seed) if source is None else _situations(source, seed)
    for number, (drawn, rng) in enumerate(situations):
        samples += _samples(drawn, rng, probed=number % _PROBED_EVERY == 0)
        if len(samples) >= n:
            return samples[:n]
    raise AssertionError("unreachable")


_Drawn = Iterator[tuple[Situation, random.Random]]


def _mixed(seed: int) -> _Drawn:
    written = _cases(seed)
    others = (drawn for both in zip(_situations(settings(), seed), _everyday(seed), strict=True) for drawn in both)
    for number in count():
        yield next(others) if number % _ROUND == _ROUND - 1 else next(written, None) or next(others)


def _everyday(seed: int) -> _Drawn:
    for number in count():
        rng = random.Random(f"everyday {seed} {number}")
        yield draw_everyday(rng, name=f"everyday-{number:05d}"), rng


def _cases(seed: int) -> _Drawn:
    """Every case for every recipient, in rounds: each case comes once before any comes again."""
    order = random.Random(f"cases {seed}")
    places = [(case, order.sample(range(len(case.recipients)), len(case.recipients))) for case in cases()]
    for turn in range(max((len(recipients) for _, recipients in places), default=0)):
        for case, recipients in order.sample(places, len(places)):
            if turn < len(recipients):
                rng = random.Random(f"{seed} {case.setting} {recipients[turn]}")
                yield draw_situation(case, recipients[turn], rng, name=f"{case.setting}-{recipients[turn]}"), rng


def _situations(source: Sequence[Setting], seed: int) -> _Drawn:
    order = random.Random(f"norms {seed}")
    places = [(setting, index) for setting in source for index in range(len(setting.recipients))]
    seen: set[str] = set()
    turn = 0
    while True:
        for setting, index in order.sample(places, len(places)):
            rng = random.Random(f"{seed} {setting.setting} {index} {turn}")
            yield _fresh(setting, index, rng, seen), rng
        turn += 1


def _fresh(setting: Setting, index: int, rng: random.Random, seen: set[str]) -> Situation:
    for _ in range(_PATIENCE):
        drawn = draw_situation(setting, index, rng, name=f"norms-{len(seen):05d}")
        identity = digest([drawn.scenario.context, drawn.scenario.instruction])
        if identity not in seen:
            seen.add(identity)
            return drawn
    raise DiscretionError(
        f"the setting {setting.setting} has no situation left after {len(seen)} of all; ask for fewer"
    )


def _samples(drawn: Situation, rng: random.Random, *, probed: bool) -> list[NormSample]:
    scenario = drawn.scenario
    rows = [NormSample(scenario, "act", None, one_turn(task(scenario, "naive"), drawn.message))]
    for appropriate in (True, False) if probed else ():
        item = rng.choice([item for item in scenario.items if item.appropriate == appropriate])
        rows += [
            NormSample(scenario, "probe", appropriate, _probe(scenario, item, yes_first))
            for yes_first in (True, False)
        ]
    return rows


def _probe(scenario: Scenario, item: Item, yes_first: bool) -> Chat:
    question = f"{situation(scenario, 'naive')}\n\n{acceptability(scenario, item)}"
    first, second = ("Yes", "No") if yes_first else ("No", "Yes")
    return one_turn(two_options(question, first, second), "A" if item.appropriate == yes_first else "B")
