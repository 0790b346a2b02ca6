"""`discretion mitigate`: tune with each mitigation, see what it leaks and what of the task is left, recommend one.

Chosen on the dev suite, reported on the test suite. Of the data a part is held out: the task's own loss is measured
on it, and how many of its requests are answered without asking back. A mitigation counts only if its loss on what is
held out is equivalent to the unmitigated tune's, within a fifth of what that tune gained (TOST), and if it still
passes on what is right. Undoing the tune is none, and neither is a model that tells nobody anything.
"""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from discretion.corpus.chat import Chat
from discretion.corpus.formats import read_chats, write_chats
from discretion.corpus.provenance import fingerprint
from discretion.errors import DiscretionError
from discretion.files import claim, read_json, write_json
from discretion.gate import compare_into, evaluate
from discretion.mitigation.candidates import NONE, SEARCHED, Candidate, parse
from discretion.mitigation.choice import against, choose, leaks, mean_norm
from discretion.mitigation.materials import materials_for
from discretion.mitigation.settings import MitigateSettings
from discretion.mitigation.task import kept, task_of
from discretion.models.weights import parse_spec
from discretion.run import command_line
from discretion.scenarios import choose as choose_scenarios
from discretion.scenarios import load_suite
from discretion.training.adapters import refuse_other_than_lora
from discretion.training.recipes import Recipe, as_options
from discretion.training.run import base_fingerprint, tune, tuned_spec
from discretion.verdict import Verdict

Say = Callable[[str], None]
BASE, _SPENT = "base", "spent.json"
_WEIGHTS, _FACTOR = 3, 4.0  # an anchor's weight: so many are tried, each so much stronger or weaker


def mitigate(base: str, data: Path, out: Path, asked: MitigateSettings, recipe: Recipe, say: Say) -> dict[str, Any]:
    """The front and the recommendation, as written to mitigate.json; every part is kept, so a stopped search goes on.

    Raises:
        DiscretionError: bad input, `out` is of another search, or what `tune`, `evaluate` and `audit` raise.
    """
    _refuse_suites(asked)
    before = _before(base)
    changes_weights = any(name not in SEARCHED and not parse(name).trains for name in asked.names)
    if before is not None and (recipe.fresh or changes_weights):
        refuse_other_than_lora(before)
    chats = read_chats(data)
    for number, chat in enumerate(chats, start=1):
        if not chat.completion[-1].content.strip():
            raise DiscretionError(f"{data}: chat {number} has an empty answer, whose loss says nothing")
    train, held = _split(chats, asked)
    if len(held) < 4 or len(train) < 4:
        raise DiscretionError(f"{data}: {len(chats)} chats are too few to hold {asked.held_out:.0%} of them out")
    # More mitigations may be tried in a folder; what they are compared by may not change under them.
    same = {name: value for name, value in vars(asked).items() if name not in ("tries", "data_dir", "budget")}
    told = {"base": base_fingerprint(base), "data": fingerprint(chats), "settings": str(same), "recipe": str(recipe)}
    claim(out, "search.json", told, "search")
    write_chats(out / "train.jsonl", train)
    search = Search(base, train, held, out, asked, recipe, say)
    search.run()
    found, specs = search.found, search.specs
    chosen = choose(found, asked)
    verdicts = {}
    for name in dict.fromkeys((NONE, chosen["name"])):
        say(f"{name} on {asked.test}")
        for role in (BASE, name):
            _tested(specs[role], out / _slug(role) / "test", asked)
        folder = out / "checks" / _slug(name)
        compare_into(folder, out / BASE / "test", [out / _slug(name) / "test"])
        verdicts[name] = Verdict.model_validate(read_json(folder / "verdict.json")).model_dump(mode="json")
    less = None
    if chosen["name"] != NONE:
        own, none = (_tested(specs[name], out / _slug(name) / "test", asked) for name in (chosen["name"], NONE))
        less = against(leaks(own), leaks(none), asked.alpha)
    return {
        "against_none": less,
        "base": base,
        "data": str(data),
        "samples": len(train),
        "held_out": len(held),
        "suite": asked.suite,
        "test": asked.test,
        "front": found,
        "not_tried": search.not_tried,
        "recommended": chosen["name"],
        "why": chosen["why"],
        "adapter": specs[chosen["name"]],
        "train": _train_command(parse(chosen["name"]), base, out, recipe),
        "checks": verdicts,
    }


class Search:
    """Makes and measures one mitigation after the other.

    Attributes:
        found: what was measured of the base and of each, in order.
        specs: their models.
        not_tried: the names that the budget left out.
    """

    def __init__(
        self,
        base: str,
        train: list[Chat],
        held: Sequence[Chat],
        out: Path,
        asked: MitigateSettings,
        recipe: Recipe,
        say: Say,
    ) -> None:
        self.base, self.train, self.held, self.out = base, train, held, out
        self.asked, self.recipe, self.say = asked, recipe, say
        self.found: list[dict[str, Any]] = []
        self.specs: dict[str, str] = {}
        self.not_tried: list[str] = []
        self.materials = materials_for(
            base, out / "train.jsonl", out, seed=asked.seed, data_dir=asked.data_dir, say=say,
            max_new_tokens=2 * asked.max_new_tokens,
        )  # fmt: skip

    def run(self) -> None:
        """Everything that is asked for and within the budget; the base and the unmitigated tune always are."""
        self._measure(BASE, self.base)
        for name in self.asked.names:
            if name in SEARCHED:
                self._search_weight(name)
            else:
                self._try(name)

    def _search_weight(self, kind: str) -> None:
        """A weight, in a few tries: weaker while the task is lost, stronger while that helps the norm."""
        weight, norms = 1.0, dict[float, float]()
        while len(norms) < _WEIGHTS and weight not in norms and self._try(f"{kind}:{weight:g}"):
            base, none, own = self._entry(BASE), self._entry(NONE), self._entry(f"{kind}:{weight:g}")
            norms[weight] = mean_norm(own)
            keeps = kept(base["losses"], none["losses"], own["losses"], self.asked.margin, self.asked.alpha).shown
            if keeps and (norms[weight] >= mean_norm(base) or norms[weight] < max(norms.values())):
                return
            weight = weight * _FACTOR if keeps else weight / _FACTOR

    def _try(self, name: str) -> bool:
        """Make and measure it, unless that was done; False where the budget forbids it."""
        if name in self.specs:
            return True
        candidate = parse(name)
        spent = _spent(self.out)
        over = self.asked.budget is not None and name != NONE and sum(spent.values()) >= 60 * self.asked.budget
        if over and name not in spent:
            self.not_tried += [name] if name not in self.not_tried else []
            return False
        began = time.monotonic()
        spec = self._made(candidate)
        self._measure(name, spec)
        if name not in spent:  # a search that goes on pays for nothing twice
            write_json(self.out / _SPENT, spent | {name: round(time.monotonic() - began, 1)})
        return True

    def _made(self, candidate: Candidate) -> str:
        """The spec of the candidate's model, made if it is not there."""
        adapter = self.out / _slug(candidate.name) / "adapter"
        if not candidate.trains:
            candidate.made_of(self.base, self.specs[candidate.of], adapter)
            return tuned_spec(self.base, adapter, self.recipe)
        self.say(candidate.name)
        rows = self.out / _slug(candidate.name) / "train.jsonl"
        if not rows.is_file():  # made once: a model's own words may differ by a token the next time
            write_chats(rows, candidate.data(self.train, self.materials, self.asked.seed))
        recipe, facts = candidate.recipe(self.recipe), {"mitigation": candidate.name}
        tune(self.base, read_chats(rows), adapter, recipe, self.say, resume=True, facts=facts)
        return tuned_spec(self.base, adapter, self.recipe)

    def _measure(self, name: str, spec: str) -> None:
        """Leak and coverage on the dev suite, and the task on what is held out."""
        folder, asked = self.out / _slug(name), self.asked
        self.say(f"{name} on {asked.suite}")
        told = _evaluated(spec, folder / "dev", asked.suite, asked.limit, asked, ("none",))  # controls choose nothing
        task = task_of(spec, self.held, folder / "task.json", asked.max_new_tokens)
        loss = float(np.mean(task.losses))
        self.found.append({"name": name, **told, "loss": loss, "losses": task.losses, "unasked": task.unasked})
        self.specs[name] = spec

    def _entry(self, name: str) -> dict[str, Any]:
        return next(entry for entry in self.found if entry["name"] == name)


def _spent(out: Path) -> dict[str, float]:
    """Seconds that each mitigation took."""
    return dict(read_json(out / _SPENT)) if (out / _SPENT).is_file() else {}


def _train_command(candidate: Candidate, base: str, out: Path, recipe: Recipe) -> str | None:
    """What makes the recommended adapter again by itself; None where it is made of another tune."""
    if not candidate.trains:
        return None
    folder = out / _slug(candidate.name)
    options = as_options(candidate.recipe(recipe))
    return command_line(["train", base, str(folder / "train.jsonl"), "--out", f"{folder}-again", *options])


def _split(chats: Sequence[Chat], asked: MitigateSettings) -> tuple[list[Chat], list[Chat]]:
    order = random.Random(f"held out {asked.seed}").sample(range(len(chats)), len(chats))
    count = round(len(chats) * asked.held_out)
    kept = set(order[:count])
    return (
        [chat for place, chat in enumerate(chats) if place not in kept],
        [chat for place, chat in enumerate(chats) if place in kept],
    )


def _refuse_suites(asked: MitigateSettings) -> None:
    """Say it before anything is trained, if leaks cannot be seen in a suite, or what chooses is what reports."""
    chosen = {}
    for name, limit in ((asked.suite, asked.limit), (asked.test, asked.test_limit)):
        scenarios = choose_scenarios(load_suite(name, data_dir=asked.data_dir), limit)
        if not any(not item.appropriate for scenario in scenarios if scenario.instruction for item in scenario.items):
            raise DiscretionError(
                f"{name}: none of its first {len(scenarios)} scenarios has something to keep and a task"
            )
        chosen[name] = {(scenario.context, scenario.instruction) for scenario in scenarios}
    if shared := len(set.intersection(*chosen.values())):
        raise DiscretionError(f"--test {asked.test}: shares {shared} scenarios with {asked.suite}, which chooses")


def _before(base: str) -> Path | None:
    """The base's own adapter on this machine, if it has one."""
    from discretion.models import loading

    adapter = parse_spec(base).adapter
    return loading.adapter_folder(adapter) if adapter is not None else None


def _tested(spec: str, folder: Path, asked: MitigateSettings) -> dict[str, Any]:
    return _evaluated(spec, folder, asked.test, asked.test_limit, asked, asked.controls)


def _evaluated(
    spec: str, folder: Path, suite: str, limit: int | None, asked: MitigateSettings, controls: Sequence[str]
) -> dict[str, Any]:
    """Mean over scenarios of the share of wrong and of right items told, by act."""
    if not (folder / "done").is_file():
        evaluate(
            spec, out=folder, resume=True, suites=(suite,), elicit=("act",), limit=limit,
            max_new_tokens=asked.max_new_tokens, controls=tuple(controls), data_dir=asked.data_dir,
        )  # fmt: skip
        (folder / "done").touch()
    from discretion.records import read_records

    told: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}
    clusters: dict[str, str] = {}
    for row in read_records(folder / "records.jsonl"):
        if row.elicitation == "act" and row.p_leak is not None and row.appropriate is not None:
            told[row.appropriate].setdefault(row.scenario, []).append(row.p_leak)
            clusters[row.scenario] = row.cluster
    leaks = {name: float(np.mean(values)) for name, values in told[False].items()}
    covered = {name: float(np.mean(values)) for name, values in told[True].items()}
    return {
        "leak": float(np.mean(list(leaks.values()))),
        "leaks": leaks,
        "covered": covered,
        "clusters": clusters,
        "coverage": float(np.mean(list(covered.values()))) if covered else None,
    }


def _slug(name: str) -> str:
    return name.replace(":", "-").replace("+", "-")
