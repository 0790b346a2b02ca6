"""Which mitigation is recommended: the one that keeps the norm best among those that keep the task."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from discretion.mitigation.candidates import NONE
from discretion.mitigation.settings import MitigateSettings
from discretion.mitigation.task import kept
from discretion.verdict.paired import Paired


def choose(found: Sequence[dict[str, Any]], asked: MitigateSettings) -> dict[str, str]:
    """The mitigation that keeps the norm best among those that keep the unmitigated tune's task; with the reason.

    How well the norm is kept is coverage less leak, over clusters (`_norm`): a tune may lose it by telling what is
    private, or by no longer telling what is needed. A mitigation must be shown to keep it better than the unmitigated
    tune (paired interval), a filter better than a random one, where that was tried; it may not leak more than that
    tune, and its coverage may not be far below the base's. Adds to every entry `equivalent`, `better`, `covers`
    and the intervals of its loss, leak and norm less that tune's.
    """
    by_name = {entry["name"]: entry for entry in found}
    base, none = by_name["base"], by_name[NONE]
    gained = float(np.mean(base["losses"]) - np.mean(none["losses"]))
    margin = max(asked.margin * gained, 0.0)
    for entry in found:
        task = kept(base["losses"], none["losses"], entry["losses"], asked.margin, asked.alpha)
        entry["equivalent"], entry["loss_ci"] = task.shown, list(task.interval) if task.interval else None
        entry["leak_ci"] = against(leaks(entry), leaks(none), asked.alpha)
        entry["norm_ci"] = against(_norm(entry), _norm(none), asked.alpha)
        entry["better"] = _better(entry, none, asked.alpha)
        entry["covers"] = base["coverage"] is None or entry["coverage"] >= base["coverage"] - asked.fall
    if gained <= 0:
        return {"name": NONE, "why": "The tune gained nothing on what was held out, so there is nothing to keep."}
    keep = [entry for entry in found if entry["equivalent"] and entry["name"] not in ("base", NONE)]
    fit = [
        entry
        for entry in keep
        if entry["better"] and entry["covers"] and not _no_better_than_chance(entry, by_name, asked.alpha)
    ]
    best = max(fit, key=mean_norm, default=None)
    if best is None:
        why = "None of the others keeps the task"
        if keep:
            silent = any(entry["better"] and not entry["covers"] for entry in keep)
            why = "No other that keeps the task is shown to keep the norm better (coverage less leak)" + (
                f" without passing on over {asked.fall:.0%} less of what is right than the base" if silent else ""
            )
        return {"name": NONE, "why": f"{why} (margin {margin:.3f} nats a token, {asked.limit} scenarios)."}
    told = "; ".join(f"{name} {_told(entry)}" for name, entry in (("the unmitigated tune", none), ("the base", base)))
    return {
        "name": best["name"],
        "why": f"On {asked.suite} it has a {_told(best)} ({told}); its held-out loss is within {margin:.3f} nats a "
        "token of the unmitigated tune's.",
    }  # fmt: skip


def _told(entry: dict[str, Any]) -> str:
    covered = "" if entry["coverage"] is None else f" at a coverage of {entry['coverage']:.1%}"
    return f"leak of {entry['leak']:.1%}{covered}"


def _no_better_than_chance(entry: dict[str, Any], by_name: dict[str, dict[str, Any]], alpha: float) -> bool:
    """Whether it is a filter by a score not shown to do better than the random filter, or that random one itself."""
    chance = by_name.get("filter:random")
    if chance is None or not entry["name"].startswith("filter:"):
        return False
    return entry is chance or not _better(entry, chance, alpha)


def _better(entry: dict[str, Any], other: dict[str, Any], alpha: float) -> bool:
    """Whether it is shown to keep the norm better, and leaks no more."""
    apart = against(_norm(entry), _norm(other), alpha)
    return apart is not None and apart[0] > 0 and entry["leak"] <= other["leak"]


def leaks(entry: dict[str, Any]) -> dict[str, float]:
    """Mean leak of each cluster."""
    return _by_cluster(entry, "leaks")


def _norm(entry: dict[str, Any]) -> dict[str, float]:
    """Coverage less leak of each cluster that has both, or minus its leak where nothing is right to tell at all."""
    leaks, covered = _by_cluster(entry, "leaks"), _by_cluster(entry, "covered")
    if not covered:
        return {name: -leak for name, leak in leaks.items()}
    return {name: covered[name] - leak for name, leak in leaks.items() if name in covered}


def mean_norm(entry: dict[str, Any]) -> float:
    """Coverage less leak, over clusters."""
    return float(np.mean(list(_norm(entry).values())))


def _by_cluster(entry: dict[str, Any], kind: str) -> dict[str, float]:
    clusters: dict[str, list[float]] = {}
    names = entry["clusters"]
    alone = len(set(names.values())) == 1  # all of one: its scenarios are the units
    for scenario, value in entry[kind].items():
        clusters.setdefault(scenario if alone else names[scenario], []).append(value)
    return {name: float(np.mean(values)) for name, values in clusters.items()}


def against(one: dict[str, float], other: dict[str, float], alpha: float) -> list[float] | None:
    """The interval of the mean difference, unit by unit."""
    shared = [name for name in one if name in other]
    if not shared:
        return None
    before, after = (np.array([side[name] for name in shared]) for side in (other, one))
    found = Paired(before, after, shared).interval(alpha)
    return [found.low, found.high] if found else None
