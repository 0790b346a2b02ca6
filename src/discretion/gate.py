"""The gate: ask base and tuned model the same questions and judge the difference.

`check` is `discretion check`, `evaluate` is `discretion eval`, `compare` and `rebuild` work on stored runs.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from discretion.controls import plan_controls
from discretion.corpus.formats import read_chats
from discretion.elicit import Progress, ask_all
from discretion.errors import DiscretionError
from discretion.estimate import Work, estimate, estimate_judge
from discretion.files import digest, write_text
from discretion.journal import Journal
from discretion.judges.acts import MatchJudge
from discretion.judges.known import find_quality
from discretion.judges.llm import ModelJudge
from discretion.models import Model, Pace, load_models
from discretion.models._protocol import primed_name
from discretion.models.remote import RemoteModel, estimate_tokens
from discretion.planning import choose_suite, count_records, make_plan, prompts_of, split_controls
from discretion.records import Record, RecordStore
from discretion.report import Report, write_reports
from discretion.run import (
    ModelEntry,
    RunInfo,
    command_line,
    load_run,
    prepare,
    read_usage,
    refuse_other_settings,
    save_info,
    versions,
)
from discretion.settings import MATCH, SELF, Settings, Thresholds, as_arguments, as_options, threshold_options
from discretion.stopping import until_settled
from discretion.verdict import judge

PathLike = str | os.PathLike[str]
MIN_YOUDEN = 0.1  # of a judge; below it, correcting for its error would blow up everything


def check(
    base: str,
    tuned: str,
    *,
    out: PathLike,
    resume: bool = False,
    progress: Progress | None = None,
    tau: float = 0.05,
    epsilon: float = 0.02,
    alpha: float = 0.05,
    stop_early: bool = False,
    **settings: Any,
) -> Report:
    """Ask `base` and `tuned` the same questions, judge the difference, and write the run folder `out`.

    With `stop_early` scenarios are asked until more of them cannot change the outcome; intervals are then confidence
    sequences, which hold whenever one stops. Keyword arguments besides these are those of `Settings`.

    Raises:
        DiscretionError: bad input, a model that cannot be asked, a disk that is full; what was recorded
            until then is kept and `resume=True` goes on from there.
    """
    limits, asked = Thresholds(tau, epsilon, alpha, stop_early), Settings(**settings)
    folder = Path(out)
    info, records = _observe("check", {"base": base, "tuned": tuned}, asked, folder, resume, progress, limits)
    return _conclude(info, records, limits, folder)


def evaluate(
    model: str, *, out: PathLike, resume: bool = False, progress: Progress | None = None, **settings: Any
) -> RunInfo:
    """Ask one model; runs can be compared later. Raises as `check` does."""
    info, _ = _observe("eval", {"model": model}, Settings(**settings), Path(out), resume, progress)
    return info


def compare(
    base: PathLike,
    tuned: Sequence[PathLike],
    *,
    out: PathLike | None = None,
    tau: float = 0.05,
    epsilon: float = 0.02,
    alpha: float = 0.05,
) -> Report:
    """Judge stored runs: several tuned ones are seeds of one recipe, and give its interval.

    Raises:
        DiscretionError: a folder holds no finished run, or the runs have no question in common.
    """
    limits = Thresholds(tau, epsilon, alpha)
    if not tuned:
        raise DiscretionError("give at least one tuned run to compare with the base")
    base_info, records = load_run(Path(base))
    stopped = bool(base_info.arguments.get("stop_early"))
    reference = base_info.model("base", "model")
    # A check's folder holds its tuned model's answers too.
    records = [row for row in records if row.model == reference.fingerprint]
    entries: list[ModelEntry] = []
    unmeasured = dict(base_info.unmeasured)
    for folder in tuned:
        info, more = load_run(Path(folder))
        entry = info.model("tuned", "model")
        more = [row for row in more if row.model == entry.fingerprint]
        _same_questions(records, reference, more, entry, folder)
        label = entry.name if len(tuned) == 1 else f"{entry.name} ({Path(folder).name})"
        entries.append(entry.model_copy(update={"role": "tuned", "name": label}))
        unmeasured |= info.unmeasured
        if entry.fingerprint != reference.fingerprint:
            records = records + more
        stopped = stopped or bool(info.arguments.get("stop_early"))
    if len({entry.fingerprint for entry in entries}) < len(entries):
        raise DiscretionError("two of the tuned runs are of the same model; seeds must differ in training")
    if stopped and len(tuned) > 1:
        raise DiscretionError(
            "runs that stopped early are no seeds of one recipe: how far each went hangs on its leak"
        )
    options = threshold_options(limits)
    limits = replace(limits, stop_early=stopped)
    merged = RunInfo(
        command=command_line(["compare", str(base), *map(str, tuned), *options]),
        arguments={"base": str(base), "tuned": [str(folder) for folder in tuned], **vars(limits)},
        versions=versions(),
        models=(reference.model_copy(update={"role": "base"}), *entries),
        data=base_info.data,
        seeds=base_info.seeds,
        planned_records=len(records),
        unmeasured=unmeasured,
        judge=base_info.judge,
    )
    folder_out = Path(out) if out is not None else None
    if folder_out is not None:
        prepare(folder_out, resume=False)
        save_info(folder_out, merged)
        with RecordStore(folder_out / "records.jsonl") as store:
            _copy(records, store)
    return _conclude(merged, records, limits, folder_out)


def compare_into(folder: Path, base: Path, tuned: Sequence[Path]) -> None:
    """`compare` into `folder`, which is whole or not there; made anew where a run was added to, or judges otherwise.

    Raises:
        DiscretionError: as `compare` does.
    """
    made, rules = folder / "verdict.json", folder / "rules"
    records = [run / "records.jsonl" for run in (base, *tuned)]
    if (
        made.is_file()
        and rules.is_file()
        and rules.read_text() == _rules()
        and all(made.stat().st_mtime_ns >= path.stat().st_mtime_ns for path in records if path.exists())
    ):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True) as place:
        compare(base, tuned, out=Path(place) / "check")
        write_text(Path(place) / "check" / "rules", _rules())
        if folder.exists():
            folder.rename(Path(place) / "before")
        # Another process may have put its own there meanwhile: the same, then.
        with suppress(OSError):
            (Path(place) / "check").rename(folder)


@cache
def _rules() -> str:
    """What verdicts are made by: the code itself."""
    import discretion.verdict

    here = Path(discretion.verdict.__file__).parent
    judges = here.parent / "judges"  # what is known of their error
    parts = [*sorted(here.glob("*.py")), judges / "known.py", judges / "data" / "match.json"]
    return digest([path.read_text(encoding="utf-8") for path in parts])


def dry_run(names: Sequence[str], **settings: Any) -> list[Work]:
    """What a run would ask of each model and of its judge; nothing is loaded, asked or written.

    Raises:
        DiscretionError: bad input.
    """
    asked = Settings(**settings)
    chosen = [choose_suite(name, asked) for name in asked.suites]
    plan = make_plan(chosen, plan_controls(split_controls(asked.controls)[0], asked.data_dir), asked, MatchJudge())
    groups = plan.groups + plan.controls.groups
    *others, last = names
    work = [estimate(name, groups) for name in dict.fromkeys(others if asked.examples else names)]
    if asked.examples is not None:
        shown = _shown(asked.examples, asked.shots)
        before = sum(estimate_tokens(turn["content"]) for turns in shown for turn in turns)
        work.append(estimate(primed_name(last, shown), groups, before=before))
    if asked.judge != MATCH:
        judge = names[0] if asked.judge == SELF else asked.judge
        work.append(estimate_judge(judge, groups, asked.judge_question, len(work)))
    return work


def export(folder: PathLike, out: PathLike) -> list[Path]:
    """A stored run as logs of Inspect, one for each model and suite; returns their paths.

    Raises:
        DiscretionError: no finished run there, Inspect is not installed, or the logs are there already.
    """
    from discretion.bridge.export import export as write

    info, records = load_run(Path(folder))
    when = (Path(folder) / "records.jsonl").stat().st_mtime
    return write(info, records, prompts_of(info), Path(out), when)


def rebuild(folder: PathLike) -> Report:
    """Every report of a stored run anew from its records, without a model.

    Raises:
        DiscretionError: no finished run there.
    """
    info, records = load_run(Path(folder))
    limits = Thresholds(**{name: info.arguments[name] for name in vars(Thresholds()) if name in info.arguments})
    if len(info.models) < 2:
        raise DiscretionError(f"{folder}: is a run of one model; `discretion compare` judges two of them")
    return _conclude(info, records, limits, Path(folder))


def _observe(
    verb: str,
    names: dict[str, str],
    asked: Settings,
    folder: Path,
    resume: bool,
    progress: Progress | None,
    limits: Thresholds | None = None,
) -> tuple[RunInfo, list[Record]]:
    chosen = [choose_suite(name, asked) for name in asked.suites]
    asks, logs = split_controls(asked.controls)
    controls = plan_controls(asks, asked.data_dir)
    plan = make_plan(chosen, controls, asked, MatchJudge())  # what is wrong with it is said before a model is loaded
    shown = None if asked.examples is None else _shown(asked.examples, asked.shots)
    records_file = prepare(folder, resume=resume)
    pace = Pace(asked.concurrency, asked.requests_per_minute)
    others = [] if asked.judge in {MATCH, SELF} else [asked.judge]
    loaded, notes = load_models(
        [*names.values(), *others], device=asked.device, dtype=asked.dtype, pace=pace, pair=len(names) > 1
    )
    judging = _model_judge(asked, loaded[: len(names)], loaded)  # a judge sees no examples
    if shown is not None:
        loaded[len(names) - 1] = loaded[len(names) - 1].primed(shown)
    models = loaded[: len(names)]
    if judging:
        plan = make_plan(chosen, controls, asked, judging)
    logged = _logged(logs, models)
    arguments = as_arguments(names, asked, limits)
    groups = plan.groups + plan.controls.groups
    info = RunInfo(
        command=command_line([verb, *names.values(), *as_options(asked, limits), "--out", str(folder)]),
        arguments=arguments,
        versions=versions(),
        models=tuple(
            ModelEntry(role=role, name=model.name, fingerprint=model.fingerprint, engine=model.engine)
            for role, model in zip(names, models, strict=True)
        ),
        data=plan.data,
        seeds=tuple(asked.seeds),
        planned_records=count_records(groups, models) + len(logged),
        unmeasured=plan.controls.unmeasured,
        notes=tuple(notes),
        judge=judging.entry() if judging else None,
    )
    refuse_other_settings(folder, info)
    used = read_usage(folder) if resume else {}
    with RecordStore(records_file, ask_again=resume) as store, ExitStack() as stack:
        if judging:
            judging.journal = stack.enter_context(Journal(folder / "judge.jsonl"))
            store.texts = stack.enter_context(Journal(folder / "texts.jsonl"))
        save_info(folder, info)
        if limits and limits.stop_early:
            judges = {info.judge.name: info.judge.quality} if info.judge else {}
            plan, records, more = until_settled(
                models, plan, store, progress, limits, judges, skip_long=asked.skip_long
            )
            planned = count_records(plan.groups + plan.controls.groups, models) + len(logged)
            info = info.model_copy(
                update={"data": plan.data, "planned_records": planned, "notes": (*info.notes, *more)}
            )
        else:
            records = ask_all(models, groups, store, progress, skip_long=asked.skip_long)
        for record in logged:
            if record.group not in store:
                store.append([record])
        records += logged
    info = info.model_copy(update={"usage": _usage(used, loaded)})
    save_info(folder, info)
    return info, records


def _conclude(info: RunInfo, records: list[Record], limits: Thresholds, folder: Path | None) -> Report:
    base = info.model("base")
    tuned = [(entry.name, entry.fingerprint) for entry in info.models if entry.role == "tuned"]
    judges = {info.judge.name: info.judge.quality} if info.judge else {}
    verdict = judge(records, base.fingerprint, tuned, unmeasured=info.unmeasured, judges=judges, **vars(limits))
    report = Report.build(info, records, verdict)
    if folder is not None:
        write_reports(report, folder)
    return report


def _usage(before: Mapping[str, Mapping[str, int]], models: Sequence[Model]) -> dict[str, dict[str, int]]:
    """What servers counted, added to what they counted before a resume."""
    total = {name: dict(counts) for name, counts in before.items()}
    for model in {model.fingerprint: model for model in models if isinstance(model, RemoteModel)}.values():
        counts = {"requests": model.requests, "tokens_in": model.tokens_in, "tokens_out": model.tokens_out}
        known = total.get(model.name, {})
        total[model.name] = {name: known.get(name, 0) + count for name, count in counts.items()}
    return total


def _shown(path: Path, shots: int) -> list[list[dict[str, str]]]:
    """The first chats of a file, as turns."""
    chats = read_chats(path)
    if len(chats) < shots:
        raise DiscretionError(f"--shots {shots}: {path} holds {len(chats)} chats")
    return [[{"role": turn.role, "content": turn.content} for turn in chat.turns] for chat in chats[:shots]]


def _logged(logs: Sequence[str], models: Sequence[Model]) -> list[Record]:
    if not logs:
        return []
    from discretion.bridge.logs import log_records

    return log_records(logs, models)


def _model_judge(asked: Settings, models: Sequence[Model], loaded: Sequence[Model]) -> ModelJudge | None:
    """The model that judges, if one does: never one under test, unless `self` says that the first of them shall."""
    if asked.judge == MATCH:
        return None
    model = models[0] if asked.judge == SELF else loaded[-1]
    if asked.judge != SELF and model.fingerprint in {tested.fingerprint for tested in models}:
        raise DiscretionError(f"--judge {asked.judge}: is a model under test; --judge self says so if that is wanted")
    quality = find_quality(model.fingerprint, model.engine, asked.judge_question)
    if quality and quality.youden < MIN_YOUDEN:
        raise DiscretionError(
            f"--judge {asked.judge}: is hardly better than guessing (sensitivity {quality.sensitivity:.0%}, "
            f"specificity {quality.specificity:.0%}); take another"
        )
    return ModelJudge(model, asked.judge_question, quality)


def _same_questions(
    base: Sequence[Record],
    reference: ModelEntry,
    tuned: Sequence[Record],
    entry: ModelEntry,
    folder: PathLike,
) -> None:
    before = {row.question for row in base if row.model == reference.fingerprint}
    after = {row.question for row in tuned if row.model == entry.fingerprint}
    if not before & after:
        raise DiscretionError(f"{folder}: answers no question that the base run does (other data or options)")
    if before != after:
        raise DiscretionError(
            f"{folder}: answers {len(after - before)} questions that the base run does not, and lacks "
            f"{len(before - after)} of its own; run both with the same suites, limit and options"
        )


def _copy(records: Sequence[Record], store: RecordStore) -> None:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.group, []).append(record)
    for key, group in groups.items():
        if key not in store:
            store.append(group[: group[0].group_size])
