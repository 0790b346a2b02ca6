"""A check that stops when its outcome is known: a few scenarios at a time, and a look after each few.

What is said at a look holds at all of them (`verdict.sequential`), so looking often costs nothing but width.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from discretion.elicit import Group, Progress, ask_all
from discretion.judges.known import Quality
from discretion.models import Model
from discretion.planning import Plan
from discretion.records import Record, RecordStore
from discretion.settings import Thresholds
from discretion.verdict import settled

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
    """Ask a few scenarios at a time until more of them cannot change the outcome; then the controls, whole."""
    base, tuned = (model.fingerprint for model in models)
    groups: list[Group] = []
    records: list[Record] = []
    for few in _rounds(plan.groups):
        groups += few
        records += ask_all(models, few, store, progress, skip_long=skip_long)
        if settled(records, base, tuned, tau=limits.tau, alpha=limits.alpha, judges=judges):
            break
    records += ask_all(models, plan.controls.groups, store, progress, skip_long=skip_long)
    many, all_ = (Counter(_suite(group) for group in asked) for asked in (groups, plan.groups))
    data = {name: {**entry, "scenarios": many[name]} if name in all_ else entry for name, entry in plan.data.items()}
    notes = [
        f"{name}: stopped after {many[name]} of {count} scenarios; more could not change the outcome"
        for name, count in all_.items()
        if many[name] < count
    ]
    return Stopped(replace(plan, groups=groups, data=data), records, notes)


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
