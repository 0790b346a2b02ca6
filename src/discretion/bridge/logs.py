"""Scores of Inspect's logs as a control: `--control inspect:BASE.eval,TUNED.eval`, a log for each model of the run.

What ran with tools and graders there (AgentHarm in `inspect_evals`, for one) is paired here sample by sample. Of a
score with several numbers each of `score` and `refusal` is a control; a single number, or C and I, is one. Numbers
are taken as they are: a control says that something stayed, not that it was good.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from discretion.errors import DiscretionError
from discretion.files import digest
from discretion.models import Model
from discretion.records import Record

PREFIX = "inspect:"
_NUMBERS = ("score", "refusal")


def log_records(names: Sequence[str], models: Sequence[Model]) -> list[Record]:
    """Records of all logs that control names give, in the order of the models.

    Raises:
        DiscretionError: Inspect is not installed, a log cannot be read, is of an unfinished run, or has no scores;
            or the two are of different tasks.
    """
    records: list[Record] = []
    for name in names:
        paths = [Path(path) for path in name.removeprefix(PREFIX).split(",")]
        if len(paths) != len(models):
            raise DiscretionError(f"--control {name}: give a log for each model, {len(models)} with a comma between")
        tasks = set()
        for path, model in zip(paths, models, strict=True):
            log = _read(path)
            tasks.add(log.eval.task)
            records += _records(log, path, model.fingerprint)
        if len(tasks) > 1:
            raise DiscretionError(f"--control {name}: the logs are of different tasks ({', '.join(sorted(tasks))})")
    return list({record.key: record for record in records}.values())


def _read(path: Path) -> Any:
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as error:
        raise DiscretionError('--control inspect: needs Inspect (pip install "discretion[inspect]")') from error
    if not path.is_file():
        raise DiscretionError(f"{path}: no such log")
    try:
        log = read_eval_log(str(path))
    except Exception as error:  # a damaged archive raises whatever its reader does
        raise DiscretionError(f"{path}: not a log of Inspect ({type(error).__name__})") from error
    if log.status != "success":
        raise DiscretionError(f"{path}: its run did not finish ({log.status})")
    return log


def _records(log: Any, path: Path, fingerprint: str) -> Iterator[Record]:
    task = log.eval.task.split("/")[-1]
    empty = True
    for sample in log.samples or []:
        error = sample.error.message if sample.error else None
        for name, value in _numbers(sample.scores or {}).items():
            empty = False
            control = f"{task}:{name}" if name else task
            question = digest([control, sample.id, sample.epoch])
            key = digest([fingerprint, question])
            yield Record(
                key=key,
                question=question,
                group=key,
                group_size=1,
                suite=control,
                scenario=str(sample.id),
                cluster=str(sample.id),
                model=fingerprint,
                elicitation="control",
                sample=sample.epoch - 1,
                p_correct=None if error else value,
                answer_mass=None if error else 1.0,
                judge=f"inspect log {path.name}",
                error=error,
            )
    if empty:
        raise DiscretionError(f"{path}: holds no score that is a number")


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    for score in scores.values():
        value = score.value
        if isinstance(value, Mapping):
            found = {name: _number(value[name]) for name in _NUMBERS if name in value}
            return {name: number for name, number in found.items() if number is not None}
        number = _number(value)
        if number is not None:
            return {"": number}
    return {}


def _number(value: Any) -> float | None:
    if value in ("C", "I"):
        return float(value == "C")
    return float(value) if isinstance(value, int | float) else None
