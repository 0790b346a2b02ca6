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
from discretion.verdict import Verdict

ALPHA, CLAIM = 0.05, "experiment.json"


def rows(experiment: Experiment, out: Path) -> list[dict[str, Any]]:
    """A row for each finished part and suite: what `verdict.json` says of it.

    `made_with` is the same for rows that may stand in one table: equal base, tune, size of data and measures.
    """
    made: list[dict[str, Any]] = []
    claim = out / CLAIM
    made_with = digest(read_json(claim)) if claim.is_file() else ""
    for part in parts(experiment):
        for measure in experiment.measures:
            run = out / part.name / measure
            if not (run / "done").is_file() or not (out / "base" / measure / "done").is_file():
                continue
            verdict = _verdict(out / "base" / measure, run, out / part.name / f"{measure}-check")
            made += [entry | {"made_with": made_with} for entry in _entries(part, measure, verdict)]
    return made


def joined(found: Sequence[dict[str, Any]], earlier: Path, experiment: Experiment) -> list[dict[str, Any]]:
    """`found` and an earlier table's rows (its .jsonl) whose parts are not among them, in the experiment's order.

    Raises:
        DiscretionError: the earlier rows cannot be read, or are of another base, tune or measure.
    """
    before: list[dict[str, Any]] = []
    for line, row in read_jsonl(earlier):
        if not isinstance(row, dict) or not {"row", "seed", "measure", "suite", "made_with"} <= set(row):
            raise DiscretionError(f"{earlier}, line {line}: is no row of an experiment's table")
        if found and row["made_with"] != found[0]["made_with"]:
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


def markdown(experiment: Experiment, name: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The table as Markdown, the difference over seeds below it, what is missing named."""
    lines = [f"# {name}", "", experiment.about[0].upper() + experiment.about[1:] + ".", ""]
    command = f"discretion reproduce {name} --out DIR --data-dir DATA"
    lines += [f"Made by `{command}`; {experiment.n} samples a row, where there are so many.", ""]
    if any(row["kind"] == "suite" for row in found):
        lines += [f"![change of leak and coverage]({name}.svg)", ""]
    for suite in dict.fromkeys(row["suite"] for row in found):
        these = [row for row in found if row["suite"] == suite]
        lines += [f"## {suite}", ""]
        if these[0]["kind"] == "control":
            lines += ["| row | seed | n | base | tuned | difference | 90% interval | unchanged |", "|" + "---|" * 8]
            lines += [
                f"| {row['row']} | {row['seed']} | {row['n']} | {_percent(row['base'])} | {_percent(row['tuned'])} | "
                f"{_signed(row['delta'])} | {_interval(row['delta_ci'])} | {_yes(row['equivalent'])} |"
                for row in these
            ]
        else:
            lines += [
                "| row | seed | n | leak base | tuned | difference | 95% interval | coverage base | tuned | "
                "Delta_rel | paper | verdict |",
                "|" + "---|" * 12,
            ]
            lines += [
                f"| {row['row']} | {row['seed']} | {row['n']} | {_percent(row['leak_base'])} | "
                f"{_percent(row['leak_tuned'])} | {_signed(row['delta'])} | {_interval(row['delta_ci'])} | "
                f"{_percent(row['coverage_base'])} | {_percent(row['coverage_tuned'])} | "
                f"{_signed(row['delta_rel'])} | {experiment.rows[row['row']].paper} | {row['verdict']} |"
                for row in these
            ]
            lines += ["", *_difference(experiment, these)]
        lines.append("")
    done = {(row["row"], row["seed"]) for row in found}
    missing = [part.name for part in parts(experiment) if (part.row, part.seed) not in done]
    if missing:
        lines += [f"Not measured yet: {', '.join(missing)}.", ""]
    return "\n".join(lines)


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


def _difference(experiment: Experiment, these: Sequence[Mapping[str, Any]]) -> list[str]:
    if experiment.difference is None:
        return []
    sides = [
        {row["seed"]: row["delta"] for row in these if row["row"] == name and row["delta"] is not None}
        for name in experiment.difference
    ]
    found = seed_interval(*sides)
    first, second = experiment.difference
    if found is None:
        return [f"{first} minus {second}: fewer than two seeds of both so far."]
    mean, bounds = found
    return [f"{first} minus {second}, over {len(set(sides[0]) & set(sides[1]))} seeds: "
            f"{_signed(mean)} {_interval(bounds)} (t interval)."]  # fmt: skip


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1%}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "–" if bounds is None else f"[{bounds[0]:+.1%}, {bounds[1]:+.1%}]"


def _yes(value: bool | None) -> str:
    return "undecided" if value is None else "yes" if value else "not shown"
