"""A check that stops when its outcome is known: a few scenarios at a time, and a look after each few.

What is said at a look holds at all of them (`verdict.sequential`), so looking often costs nothing but width.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from discretion.elicit import Group, Progress, ask_all
from discretion.elicit.ask import left
from discretion.errors import DiscretionError
from discretion.judges.known import Quality
from discretion.models import Model
from discretion.planning import Plan
from discretion.records import Record, RecordStore
from discretion.settings import Thresholds
from discretion.verdict import settled
from discretion.verdict.paired import Paired

_ROUND = 16  # scenarios a suite, or little more, between two looks


class Stopped(NamedTuple):
    """What was asked of a plan until its outcome was known, and the answers."""

    plan: Plan
    records: list[Record]
    notes: list[str]


def until_settled(
    models: Sequence[Model],
    plan: Plan,
    store: RecordStore,
    progress: Progress | None,
    limits: Thresholds,
    judges: Mapping[str, Quality | None],
    *,
    skip_long: bool,
) -> Stopped:
    """Ask a few scenarios at a time until more of them are not expected to change the outcome; then the controls.

    Raises:
        DiscretionError: a suite's clusters differ in size, or what `ask_all` raises, which is said before anything is
            asked.
    """
    base, tuned = (model.fingerprint for model in models)
    _refuse_unequal(plan.groups)
    ahead = left(models, plan.groups + plan.controls.groups, store, skip_long=skip_long)
    if progress:
        progress.start(*ahead)
    round_ = _Advances(progress) if progress else None
    groups: list[Group] = []
    records: list[Record] = []
    rounds = list(_rounds(plan.groups))
    for number, few in enumerate(rounds, start=1):
        groups += few
        records += ask_all(models, few, store, round_, skip_long=skip_long)
        if settled(records, base, tuned, tau=limits.tau, alpha=limits.alpha, judges=judges):
            # Not before what is stored: failed calls that were asked again may have settled it sooner.
            later = [group for few in rounds[number:] for group in few]
            if not any(group.key(model.fingerprint, model.engine) in store for group in later for model in models):
                break
    records += ask_all(models, plan.controls.groups, store, round_, skip_long=skip_long)
    many, all_ = (Counter(_suite(group) for group in asked) for asked in (groups, plan.groups))
    data = {
        name: {**entry, "scenarios": many[name], "planned": all_[name]} if name in all_ else entry
        for name, entry in plan.data.items()
    }
    notes = [
        f"{name}: stopped after {many[name]} of {count} scenarios; more are not expected to change the outcome"
        for name, count in all_.items()
        if many[name] < count
    ]
    units = {name: len({group.cluster for group in plan.groups if _suite(group) == name}) for name in all_}
    notes += [
        f"{name}: {count} clusters are too few to pass with --stop-early, whose bounds are wider; they can be flagged"
        for name, count in units.items()
        if base != tuned and not _could_pass(count, limits)
    ]
    return Stopped(replace(plan, groups=groups, data=data), records, notes)


class _Advances(NamedTuple):
    """Progress of one round among others: what lies ahead of all of them is told already."""

    whole: Progress

    def start(self, tokens: int, groups: int) -> None:
        """Told once, for all rounds."""

    def advance(self, tokens: int) -> None:
        """See `Progress.advance`."""
        self.whole.advance(tokens)


def _refuse_unequal(groups: Sequence[Group]) -> None:
    """What is bounded is the mean over clusters, which is the mean over scenarios only where they are of one size."""
    sizes: dict[str, Counter[str]] = {}
    for group in groups:
        sizes.setdefault(_suite(group), Counter())[group.cluster] += 1
    for name, clusters in sizes.items():
        if len(set(clusters.values())) > 1:
            raise DiscretionError(f"--stop-early: the clusters of {name} differ in size; ask it without --stop-early")


def _could_pass(clusters: int, limits: Thresholds) -> bool:
    """Whether so many clusters could show that nothing rose by tau, were nothing to change at all."""
    names = [str(number) for number in range(clusters)]
    found = Paired(np.zeros(clusters), np.zeros(clusters), names, looked=True).interval(limits.alpha)
    return found is not None and found.high < limits.tau


def _rounds(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Every suite's next few groups; a cluster's stay together."""
    suites: dict[str, dict[str, list[Group]]] = {}
    for group in groups:
        suites.setdefault(_suite(group), {}).setdefault(group.cluster, []).append(group)
    waiting = [list(clusters.values()) for clusters in suites.values()]
    while any(waiting):
        few: list[Group] = []
        for clusters in waiting:
            before = len(few)
            while clusters and len(few) - before < _ROUND:
                few += clusters.pop(0)
        yield few


def _suite(group: Group) -> str:
    """Its name in a plan's data and in the verdict."""
    return "/".join(filter(None, (group.suite, group.condition)))
