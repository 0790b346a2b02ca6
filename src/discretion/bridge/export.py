"""A run as logs of Inspect, one for each model and suite, for its viewer (`discretion report RUN --inspect DIR`)."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from discretion.errors import DiscretionError
from discretion.files import canonical, digest
from discretion.records import Record
from discretion.run import ModelEntry, RunInfo


def export(
    info: RunInfo, records: Sequence[Record], prompts: Mapping[str, str], folder: Path, when: float
) -> list[Path]:
    """Write the logs and return their paths.

    Args:
        info, records: the run.
        prompts: what was asked, by `Record.question`; records do not hold it.
        folder: where to.
        when: when the run was made, in seconds since the epoch; records hold no time.

    Raises:
        DiscretionError: Inspect is not installed, or the folder holds such logs already.
    """
    try:
        from inspect_ai.log import write_eval_log
    except ImportError as error:
        raise DiscretionError('--inspect: needs Inspect (pip install "discretion[inspect]")') from error
    written = []
    for entry in info.models:
        suites: dict[str, list[Record]] = defaultdict(list)
        for row in records:
            if row.model == entry.fingerprint:
                suites["/".join(filter(None, (row.suite, row.condition)))].append(row)
        for suite, rows in suites.items():
            path = folder / f"{entry.role}-{re.sub(r'[^A-Za-z0-9]+', '-', suite)}.eval"
            if path.exists():
                raise DiscretionError(f"{path}: is there already; choose another folder")
            folder.mkdir(parents=True, exist_ok=True)
            write_eval_log(_log(info, entry, suite, rows, prompts, when), str(path))
            written.append(path)
    return written


def _log(
    info: RunInfo, entry: ModelEntry, suite: str, rows: Sequence[Record], prompts: Mapping[str, str], when: float
) -> Any:
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalScore,
        EvalSpec,
        EvalStats,
    )

    texts: dict[str, list[Record]] = defaultdict(list)
    for row in rows:
        # Items judged in one text are one sample; a question is one by itself.
        alone = row.item if row.elicitation != "act" else ""
        texts[canonical([row.scenario, alone, dict(row.variant), row.sample])].append(row)
    samples = [_sample(group, entry.name, prompts) for group in texts.values()]
    created = datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")
    metrics = {
        name: EvalMetric(name=name, value=value)
        for name, value in _rates(rows).items()
    }  # fmt: skip
    failed = sum(sample.error is not None for sample in samples)
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=created,
            task=f"discretion/{suite}",
            task_id=digest([info.command, suite, entry.fingerprint]),
            eval_id=digest([info.command, suite, entry.fingerprint, "eval"]),
            run_id=digest([info.command]),
            dataset=EvalDataset(name=suite, samples=len(samples), sample_ids=[sample.id for sample in samples]),
            model=entry.name,
            config=EvalConfig(),
            packages=info.versions,
            metadata={"command": info.command, "fingerprint": entry.fingerprint, "engine": entry.engine},
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples) - failed,
            scores=[EvalScore(name="discretion", scorer="discretion", metrics=metrics)],
        ),
        stats=EvalStats(started_at=created, completed_at=created),
        samples=samples,
    )


def _sample(rows: Sequence[Record], model: str, prompts: Mapping[str, str]) -> Any:
    from inspect_ai._util.error import EvalError
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ModelOutput
    from inspect_ai.scorer import Score

    first = rows[0]
    prompt = prompts.get(first.question) or f"(what was asked is not kept: {first.scenario} {first.item_text})"
    text = next((row.text for row in rows if row.text is not None), None)
    said = text if text is not None else f"(read from the options' probabilities: {_said(first)})"
    error = next((row.error for row in rows if row.error), None)
    name = " ".join(filter(None, (first.scenario, first.item, *map(str, first.variant.values()), str(first.sample))))
    return EvalSample(
        id=name,
        epoch=1,
        input=prompt,
        target="",
        messages=[ChatMessageUser(content=prompt), ChatMessageAssistant(content=said)],
        output=ModelOutput.from_content(model, said),
        scores={
            "discretion": Score(
                value=_rates(rows),
                answer=said,
                metadata={"judge": first.judge, "items": {row.item_text or row.scenario: row.p_leak for row in rows}},
            )
        },
        metadata={"scenario": first.scenario, "cluster": first.cluster, **first.variant},
        error=EvalError(message=error, traceback="", traceback_ansi="") if error else None,
    )


def _said(row: Record) -> str:
    value = row.p_correct if row.elicitation == "control" else row.p_leak
    return "none" if value is None else f"{value:.3f}"


def _rates(rows: Sequence[Record]) -> dict[str, float]:
    sides = {
        "leak": [row.p_leak for row in rows if row.appropriate is False],
        "coverage": [row.p_leak for row in rows if row.appropriate],
        "correct": [row.p_correct for row in rows if row.elicitation == "control"],
    }
    known = {name: [value for value in values if value is not None] for name, values in sides.items()}
    return {name: sum(values) / len(values) for name, values in known.items() if values}
