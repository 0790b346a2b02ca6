"""From settings to a plan: which scenarios and controls are asked about, in which words. No model is needed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

from discretion.controls import ControlPlan, plan_controls
from discretion.elicit import Group, plan_act, plan_probe
from discretion.elicit.act import Judge
from discretion.elicit.plan import Outcome
from discretion.errors import DiscretionError
from discretion.files import digest
from discretion.judges.acts import MatchJudge
from discretion.models import Model
from discretion.run import RunInfo
from discretion.scenarios import Scenario, choose, load_suite
from discretion.settings import Settings

TRIGGERED = "trigger"  # the condition of what is asked behind `--trigger`


@dataclass(frozen=True)
class Chosen:
    """One suite's scenarios, before they are asked."""

    name: str
    scenarios: list[Scenario]
    of: int


@dataclass(frozen=True)
class Plan:
    """A run's questions, and what `run.json` says of their data."""

    groups: list[Group]
    controls: ControlPlan
    data: dict[str, dict[str, Any]] = field(default_factory=dict)


def choose_suite(name: str, asked: Settings) -> Chosen:
    """A suite's scenarios, as many as are asked for.

    Raises:
        DiscretionError: no such suite, or nobody acts in it.
    """
    scenarios = load_suite(name, data_dir=asked.data_dir)
    chosen = choose(scenarios, asked.limit)
    if "act" in asked.elicit and not any(scenario.instruction for scenario in chosen):
        raise DiscretionError(f"--suite {name}: asks about norms only; nobody acts in it (--elicit probe)")
    return Chosen(name, chosen, len(scenarios))


def make_plan(suites: Sequence[Chosen], controls: ControlPlan, asked: Settings, judging: Judge) -> Plan:
    """All questions of a run.

    Raises:
        DiscretionError: two suites have the same name, or the protocol has no question for one.
    """
    groups: list[Group] = []
    data: dict[str, dict[str, Any]] = {}
    for chosen in suites:
        spoken = {scenario.language for scenario in chosen.scenarios}
        language = spoken.pop() if len(spoken) == 1 and spoken != {"en"} else ""
        for way, trigger in product(asked.elicit, ("",) if asked.trigger is None else ("", asked.trigger)):
            marks = [language, way if len(asked.elicit) > 1 else "", TRIGGERED if trigger else ""]
            condition = "/".join(filter(None, marks))
            key = "/".join(filter(None, [chosen.scenarios[0].suite, condition]))
            if key in data:
                raise DiscretionError(f"--suite {chosen.name}: a suite named {key!r} is asked already")
            planned = [group.behind(trigger) for group in _groups(chosen.scenarios, way, condition, asked, judging)]
            data[key] = {
                "suite": chosen.name,
                "elicitation": way,
                "scenarios": len(planned),
                "of": chosen.of,
                "fingerprint": digest([scenario.model_dump(mode="json") for scenario in chosen.scenarios]),
            }
            groups += planned
    for group in controls.groups:
        entry = data.setdefault(group.suite, {"control": group.suite, "questions": 0})
        entry["questions"] += 1
    return Plan(groups, controls, data)


def split_controls(controls: Sequence[str] | None) -> tuple[Sequence[str] | None, list[str]]:
    """Controls that are asked, and logs of Inspect that hold others."""
    if controls is None:
        return None, []
    logs = [name for name in controls if name.startswith("inspect:")]
    return [name for name in controls if name not in logs] or (["none"] if logs else controls), logs


def _groups(scenarios: Sequence[Scenario], way: str, condition: str, asked: Settings, judging: Judge) -> list[Group]:
    if way == "act":
        return plan_act(
            scenarios,
            judging,
            style=asked.prompt,
            samples=asked.samples,
            seeds=asked.seeds,
            max_new_tokens=asked.max_new_tokens,
            condition=condition,
        )
    return plan_probe(
        scenarios,
        protocol=asked.protocol,
        style=asked.prompt,
        samples=asked.samples,
        seeds=asked.seeds,
        condition=condition,
    )


def count_records(groups: Sequence[Group], models: Sequence[Model]) -> int:
    """How many records a run has; models with equal weights are asked once."""
    different = len({(model.fingerprint, model.engine) for model in models})
    return different * sum(group.size for group in groups)


def prompts_of(info: RunInfo) -> dict[str, str]:
    """What the run asked, by `Record.question`, as far as its data is at hand."""
    known = {entry.name for entry in fields(Settings)}
    try:
        given = {name: value for name, value in info.arguments.items() if name in known}
        given["data_dir"] = Path(given["data_dir"]) if given.get("data_dir") else None
        asked = Settings(**given)
        chosen = [choose_suite(name, asked) for name in asked.suites]
        judging: Judge = _Named(info.judge.name, info.judge.question == "single") if info.judge else MatchJudge()
        plan = make_plan(chosen, plan_controls(split_controls(asked.controls)[0], asked.data_dir), asked, judging)
    except (DiscretionError, TypeError):
        return {}
    return {
        question: ask.prompt
        for group in plan.groups + plan.controls.groups
        for ask in group.asks
        for question in group.questions(ask)
    }


@dataclass
class _Named:
    """A judge of a run that is over: nothing is left of it but what its records say."""

    called: str
    whole: bool

    def name(self, _: Scenario) -> str:
        return self.called

    def __call__(self, scenario: Scenario, text: str) -> Sequence[Outcome]:
        raise NotImplementedError("this run is over")
