"""An experiment's table, of the parts that are measured so far: leak and coverage, base to tuned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from scipy import stats

from discretion.errors import DiscretionError, wrong_field
from discretion.experiments.plan import Experiment, Part, parts
from discretion.files import digest, read_json, read_jsonl
from discretion.gate import compare_into
from discretion.mitigation.task import ANSWERED, Task, kept
from discretion.settings import Thresholds
from discretion.verdict import Verdict
from discretion.verdict.paired import mean_interval, ratio_interval

ALPHA, CLAIM, TASK = 0.05, "experiment.json", "task.json"
_MARGIN = 0.2  # of what the unmitigated tune gained on the task: what a mitigation may lose (`mitigation.search`)


def rows(experiment: Experiment, out: Path) -> list[dict[str, Any]]:
    """A row for each finished part and suite: what `verdict.json` says of it; and one for its task.

    `made_with` says how: rows of one table have equal base, tune, size of data and measures, and are what they were.
    """
    made: list[dict[str, Any]] = []
    for part in parts(experiment):
        made_with = {"made_with": _made_with(experiment, part.row, out)}
        base = out / experiment.asked(part.row)
        for measure in experiment.measures:
            run = out / part.name / measure
            if not (run / "done").is_file() or not (base / measure / "done").is_file():
                continue
            verdict = _verdict(base / measure, run, out / part.name / f"{measure}-check")
            against = _against(experiment, part, measure, out)
            made += [
                entry | made_with | ({"against": against[entry["suite"]]} if entry["suite"] in against else {})
                for entry in _entries(part, measure, verdict)
            ]
        if (out / part.name / TASK).is_file() and (base / TASK).is_file():
            made.append(_task(experiment, part, out) | made_with)
        looks, training = (out / part.name / "adapter" / name for name in ("monitor.jsonl", "training.json"))
        if experiment.monitor and looks.is_file() and training.is_file():
            made.append(_watched(part, looks, read_json(training)) | made_with)
    return made


def _against(experiment: Experiment, part: Part, measure: str, out: Path) -> dict[str, dict[str, Any]]:
    """By suite and by the row that it is to differ from: the difference of their leaks at this seed.

    Paired over scenarios, so without the chance of training.
    """
    found: dict[str, dict[str, Any]] = {}
    for first, second in experiment.differences:
        other = out / Part(second, part.seed).name / measure
        if part.row == first and (other / "done").is_file():
            folder = out / part.name / f"{measure}-against-{second}"
            for entry in _entries(part, measure, _verdict(other, out / part.name / measure, folder)):
                if entry["kind"] == "suite":
                    found.setdefault(entry["suite"], {})[second] = [entry["delta"], entry["delta_ci"]]
    return found


def _made_with(experiment: Experiment, row: str, out: Path) -> str:
    claim = out / CLAIM
    return digest([read_json(claim), experiment.told(row)]) if claim.is_file() else ""


def joined(found: Sequence[dict[str, Any]], earlier: Path, experiment: Experiment, out: Path) -> list[dict[str, Any]]:
    """`found` and an earlier table's rows (its .jsonl) whose parts are not among them, in the experiment's order.

    Raises:
        DiscretionError: the earlier rows cannot be read, or are of another base, tune or measure.
    """
    before: list[dict[str, Any]] = []
    for line, row in read_jsonl(earlier):
        if not isinstance(row, dict) or not {"row", "seed", "measure", "suite", "made_with"} <= set(row):
            raise DiscretionError(f"{earlier}, line {line}: is no row of an experiment's table")
        if row["row"] not in experiment.rows:
            raise DiscretionError(f"{earlier}, line {line}: {row['row']} is no row of this experiment")
        if (out / CLAIM).is_file() and row["made_with"] != _made_with(experiment, row["row"], out):
            raise DiscretionError(f"{earlier}, line {line}: was made with another base, tune, size or measure")
        before.append(row)
    here = {(row["row"], row["seed"], row["measure"]) for row in found}
    both = [*found, *(row for row in before if (row["row"], row["seed"], row["measure"]) not in here)]
    order = {(part.row, part.seed): place for place, part in enumerate(parts(experiment))}
    return sorted(both, key=lambda row: order.get((row["row"], row["seed"]), len(order)))


def _verdict(base: Path, run: Path, folder: Path) -> Verdict:
    compare_into(folder, base, [run])
    try:
        return Verdict.model_validate(read_json(folder / "verdict.json"))
    except ValidationError as error:
        raise wrong_field(str(folder / "verdict.json"), error) from error


def markdown(experiment: Experiment, name: str, found: Sequence[Mapping[str, Any]], options: str = "") -> str:
    """The table as Markdown: a line a row in all suites, then every part; what is missing is named.

    `options` are those of `discretion reproduce` that made the experiment another one.
    """
    lines = [f"# {name}", "", experiment.about[0].upper() + experiment.about[1:] + ".", ""]
    command = f"discretion reproduce {name} --out DIR --data-dir DATA{options}"
    lines += [f"Made by `{command}`; {experiment.n} samples a row, where there are so many.", ""]
    if any(row["kind"] == "suite" for row in found):
        lines += [f"![change of leak and coverage]({name}.svg)", ""]
        lines += [*_summary(experiment, found), ""]
    for suite in dict.fromkeys(row["suite"] for row in found):
        these = [row for row in found if row["suite"] == suite]
        shown = {"control": _controls, "task": _tasks, "suite": _suite, "monitor": _looks}[these[0]["kind"]]
        lines += [f"## {suite}", "", *shown(experiment, these), ""]
    wanted = {*experiment.measures, *(["task"] if experiment.task else [])}
    lacking = {}
    for part in parts(experiment):
        done = {row["measure"] for row in found if (row["row"], row["seed"]) == (part.row, part.seed)}
        lacking[part.name] = wanted - done if done else None
    if missing := [name for name, without in lacking.items() if without is None]:
        lines += [f"Not measured yet: {', '.join(missing)}.", ""]
    if partly := [f"{name} ({', '.join(sorted(without))})" for name, without in lacking.items() if without]:
        lines += [f"Measured in part, without: {', '.join(partly)}.", ""]
    return "\n".join(lines)


def _summary(experiment: Experiment, found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a row: the change of leak and of coverage in every suite, the mean of its seeds."""
    suites = list(dict.fromkeys(row["suite"] for row in found if row["kind"] == "suite"))
    names = [name for name in experiment.rows if any(row["row"] == name for row in found)]
    lines = ["Change of leak / of coverage against the base, the mean of the seeds (how many); of two and more the "
             "leak's 95% t interval over seeds, of one see below:", ""]  # fmt: skip
    lines += [f"| row | {' | '.join(suites)} |", "|" + "---|" * (len(suites) + 1)]
    lines += [f"| {name} | {' | '.join(_cell(found, name, suite) for suite in suites)} |" for name in names]
    whole = experiment.unmitigated
    if whole not in names:
        return lines
    least = Thresholds().tau
    lines += ["", f"Share of the rise of `{whole}` that each removes, over the seeds of both, where that row's leak "
              f"rises by more than {least:.0%}; of two and more, the 95% t interval over seeds:", ""]  # fmt: skip
    lines += [f"| row | {' | '.join(suites)} |", "|" + "---|" * (len(suites) + 1)]
    for name in names:
        if name == whole:
            continue
        cells = []
        for suite in suites:
            sides = [_by_seed(found, row, suite) for row in (whole, name)]
            both = sorted(set(sides[0]) & set(sides[1]))
            rise, left = (np.array([side[seed] for seed in both]) for side in sides)
            if not both or rise.mean() <= least:
                cells.append("–")
                continue
            over = ratio_interval(left, rise, ALPHA)
            bounds = f" [{1 - over.high:.0%}, {1 - over.low:.0%}]" if over else ""
            cells.append(f"{1 - left.mean() / rise.mean():.0%}{bounds}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(found: Sequence[Mapping[str, Any]], name: str, suite: str) -> str:
    """How a row's leak and coverage change on a suite, over its seeds."""
    leaks = list(_by_seed(found, name, suite).values())
    if not leaks:
        return "–"
    over = mean_interval(np.array(leaks), ALPHA)
    bounds = f" {_interval(over[:2])}" if over else ""
    covered = [_coverage_change(row) for row in found if row["row"] == name and row["suite"] == suite]
    known = [value for value in covered if value is not None]
    told = _signed(float(np.mean(known)) if known else None)
    return f"{_signed(float(np.mean(leaks)))}{bounds} / {told} ({len(leaks)})"


def _by_seed(found: Sequence[Mapping[str, Any]], name: str, suite: str) -> dict[int, float]:
    """The change of leak of a row's parts."""
    these = (row for row in found if row["row"] == name and row["suite"] == suite)
    return {row["seed"]: row["delta"] for row in these if row["delta"] is not None}


def _coverage_change(row: Mapping[str, Any]) -> float | None:
    before, after = row["coverage_base"], row["coverage_tuned"]
    return None if before is None or after is None else after - before


def _controls(experiment: Experiment, these: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["| row | seed | n | base | tuned | difference | 90% interval | unchanged |", "|" + "---|" * 8]
    return head + [
        f"| {row['row']} | {row['seed']} | {row['n']} | {_percent(row['base'])} | {_percent(row['tuned'])} | "
        f"{_signed(row['delta'])} | {_interval(row['delta_ci'])} | "
        f"{'moved' if row['moved'] else _yes(row['equivalent'])} |"
        for row in these
    ]


def _tasks(experiment: Experiment, these: Sequence[Mapping[str, Any]]) -> list[str]:
    whole = experiment.unmitigated
    kept = f" {whole} kept |" if whole else ""
    done = f"of the first {ANSWERED} done without asking: base | tuned"
    head = [f"| row | seed | n | loss base | tuned | {done} | seconds |{kept}"]
    head.append("|" + "---|" * (9 if whole else 8))
    return head + [
        f"| {row['row']} | {row['seed']} | {row['n']} | {row['loss_base']:.3f} | {row['loss']:.3f} | "
        f"{_percent(row.get('unasked_base'))} | {_percent(row['unasked'])} | "
        f"{'–' if row['seconds'] is None else round(row['seconds'])} |" + (f" {_yes(row['kept'])} |" if whole else "")
        for row in these
    ]


def _looks(experiment: Experiment, these: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"A look every {experiment.monitor} steps.", ""]
    lines += ["| row | runs | flagged | by half of the steps | rise at the end |", "|" + "---|" * 5]
    for name in dict.fromkeys(row["row"] for row in these):
        own = [row for row in these if row["row"] == name]
        early = sum(row["flagged_at"] is not None and row["flagged_at"] <= row["steps"] / 2 for row in own)
        rises = [row["rise"] for row in own if row["rise"] is not None]
        at_end = (
            f"{_signed(float(np.mean(rises)))} ({_signed(min(rises))} to {_signed(max(rises))})" if rises else "–"
        )
        lines.append(
            f"| {name} | {len(own)} | {sum(row['flagged_at'] is not None for row in own)} | {early} | {at_end} |"
        )
    return lines


def _suite(experiment: Experiment, these: Sequence[Mapping[str, Any]]) -> list[str]:
    head = [
        "| row | seed | n | leak base | tuned | difference | 95% interval | coverage base | tuned | Delta_rel | "
        "paper | verdict |",
        "|" + "---|" * 12,
    ]
    lines = [
        f"| {row['row']} | {row['seed']} | {row['n']} | {_percent(row['leak_base'])} | "
        f"{_percent(row['leak_tuned'])} | {_signed(row['delta'])} | {_interval(row['delta_ci'])} | "
        f"{_percent(row['coverage_base'])} | {_percent(row['coverage_tuned'])} | "
        f"{_signed(row['delta_rel'])} | {experiment.rows[row['row']].paper} | {row['verdict']} |"
        for row in these
    ]
    return [*head, *lines, "", *_differences(experiment, these)]


def seed_interval(
    first: Mapping[int, float], second: Mapping[int, float]
) -> tuple[float, tuple[float, float]] | None:
    """Mean and t interval of first minus second over the seeds that both have; None for fewer than two."""
    shared = sorted(set(first) & set(second))
    if len(shared) < 2:
        return None
    values = np.array([first[seed] - second[seed] for seed in shared])
    mean, error = float(values.mean()), float(stats.sem(values))
    reach = float(stats.t.ppf(1 - ALPHA / 2, len(shared) - 1)) * error
    return mean, (mean - reach, mean + reach)


def _entries(part: Part, measure: str, verdict: Verdict) -> list[dict[str, Any]]:
    head = {"row": part.row, "seed": part.seed, "measure": measure}
    suites = [
        {**head, "kind": "suite", "suite": f"{suite} ({entry.elicitation})", **entry.model_dump(mode="json")}
        for suite, entry in verdict.suites.items()
    ]
    controls = [
        {**head, "kind": "control", "suite": f"control {control}", **entry.model_dump(mode="json")}
        for control, entry in verdict.controls.items()
        if entry.base is not None
    ]
    return suites + controls


def _task(experiment: Experiment, part: Part, out: Path) -> dict[str, Any]:
    """What is left of the task; `kept`: its loss is within the margin of the unmitigated tune's (TOST)."""
    base, own = _measured(out / experiment.asked(part.row)), _measured(out / part.name)
    training = out / part.name / "adapter" / "training.json"
    whole = Part(experiment.unmitigated, part.seed)
    shown = None
    if experiment.unmitigated and (out / whole.name / TASK).is_file():
        shown = kept(base.losses, _measured(out / whole.name).losses, own.losses, _MARGIN, ALPHA).shown
    assert experiment.task is not None
    return {
        "row": part.row,
        "seed": part.seed,
        "measure": "task",
        "kind": "task",
        "suite": f"task: {experiment.task.data}, held out",
        "n": len(own.losses),
        "loss_base": float(np.mean(base.losses)),
        "loss": float(np.mean(own.losses)),
        "unasked": own.unasked,
        "unasked_base": base.unasked,
        "seconds": read_json(training).get("seconds") if training.is_file() else None,
        "kept": shown,
    }


def _watched(part: Part, looks: Path, training: Mapping[str, Any]) -> dict[str, Any]:
    """When the monitor flagged a tune, and what it saw last."""
    from discretion.training.monitor import flags

    checks = [row for _, row in read_jsonl(looks)][1:]
    steps = max(int(entry.get("step", 0)) for entry in training["history"])
    # By the rule as it is now: what was seen does not depend on it.
    flagged = flags([(check["step"], check["low"]) for check in checks], steps)
    return {
        "row": part.row,
        "seed": part.seed,
        "measure": "monitor",
        "kind": "monitor",
        "suite": "monitor",
        "steps": steps,
        "flagged_at": next((check["step"] for check, flag in zip(checks, flagged, strict=True) if flag), None),
        "rise": checks[-1]["rise"] if checks else None,
        "low": checks[-1]["low"] if checks else None,
        "looks": [{name: round(check[name], 4) for name in ("step", "rise", "low")} for check in checks],
    }


def _measured(folder: Path) -> Task:
    return Task(**read_json(folder / TASK))


def _differences(experiment: Experiment, these: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for first, second in experiment.differences:
        sides = [_by_seed(these, name, these[0]["suite"]) for name in (first, second)]
        for row in these:
            if row["row"] == first and second in row.get("against", {}):
                delta, bounds = row["against"][second]
                apart = f"{_signed(delta)} {_interval(bounds)}"
                lines.append(f"{first} minus {second}, seed {row['seed']}: {apart} (over scenarios).")
        found = seed_interval(*sides)
        if found is None:
            lines.append(f"{first} minus {second}: fewer than two seeds of both so far.")
            continue
        mean, bounds = found
        seeds = len(set(sides[0]) & set(sides[1]))
        lines.append(f"{first} minus {second}, over {seeds} seeds: {_signed(mean)} {_interval(bounds)} (t interval).")
    return [word for line in lines for word in (line, "")]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1%}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "–" if bounds is None else f"[{bounds[0]:+.1%}, {bounds[1]:+.1%}]"


def _yes(value: bool | None) -> str:
    return "undecided" if value is None else "yes" if value else "not shown"
