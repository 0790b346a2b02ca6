"""`discretion`: one thin command per verb. Heavy imports wait until a command runs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from discretion import __version__
from discretion.cli_data import data
from discretion.cli_mechanism import audit, explain
from discretion.cli_mitigate import mitigate
from discretion.cli_options import (
    Alpha,
    Concurrency,
    Device,
    DryRun,
    Dtype,
    Epsilon,
    Json,
    JudgeQuestion,
    PerMinute,
    PriceOption,
    QuestionKind,
    Quiet,
    ReaderOption,
    Resume,
    Tau,
    asking,
)
from discretion.cli_reproduce import reproduce
from discretion.cli_train import train
from discretion.errors import DiscretionError

app = typer.Typer(
    help="Find out whether a fine-tune taught a language model to pass on what it should keep.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(data, name="data")
app.command(no_args_is_help=True)(train)
app.command()(reproduce)
app.command(no_args_is_help=True)(explain)
app.command(no_args_is_help=True)(audit)
app.command(no_args_is_help=True)(mitigate)

ERROR, INTERRUPTED = 2, 130


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"discretion {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


@app.command(no_args_is_help=True)
@asking
def check(
    base: Annotated[str, typer.Argument(help="The model before tuning.")],
    tuned: Annotated[
        str,
        typer.Argument(
            help="The tuned model: a path, hub id, adapter, BASE@ADAPTER, openai/NAME, endpoint:URL#NAME."
        ),
    ],
    settings: dict[str, Any],
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("run"),
    tau: Tau = 0.05,
    epsilon: Epsilon = 0.02,
    alpha: Alpha = 0.05,
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Ask until more scenarios are not expected to change it.")
    ] = False,
    resume: Resume = False,
    dry_run: DryRun = False,
    price: PriceOption = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Did tuning make the model leak more? Exit code 0 preserved, 1 flagged, 2 error, 3 inconclusive."""
    from discretion import gate
    from discretion.estimate import parse_price

    rates = parse_price(price)
    if dry_run:
        _tell(gate.dry_run([base, tuned], **settings), rates)
        return
    with _progress(as_json or quiet) as bar:
        report = gate.check(
            base,
            tuned,
            out=out,
            resume=resume,
            progress=bar,
            tau=tau,
            epsilon=epsilon,
            alpha=alpha,
            stop_early=stop_early,
            **settings,
        )
    _bill(report.info, rates)
    _finish(report, as_json, quiet, out)


@app.command("eval", no_args_is_help=True)
@asking
def evaluate(
    model: Annotated[
        str, typer.Argument(help="The model: a path, hub id, adapter, BASE@ADAPTER, openai/NAME, endpoint:URL#NAME.")
    ],
    settings: dict[str, Any],
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("run"),
    resume: Resume = False,
    dry_run: DryRun = False,
    price: PriceOption = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask one model and keep its answers; `discretion compare` judges two such runs."""
    from discretion import gate
    from discretion.estimate import parse_price

    rates = parse_price(price)
    if dry_run:
        _tell(gate.dry_run([model], **settings), rates)
        return
    with _progress(as_json or quiet) as bar:
        info = gate.evaluate(model, out=out, resume=resume, progress=bar, **settings)
    _bill(info, rates)
    if as_json:
        typer.echo(info.model_dump_json(indent=2))
    elif not quiet:
        typer.echo(f"{info.planned_records} answers of {model} are in {out}")
        typer.echo(f"Next: discretion compare BASE_RUN {out}")


@app.command("judge", no_args_is_help=True)
def judge_file(
    file: Annotated[Path, typer.Argument(help='JSONL rows {"id", "text", "items": [{"text", "values"}]}.')],
    out: Annotated[Path, typer.Option(help="The same rows, with p_revealed and revealed on every item.")],
    judge: ReaderOption = "match",
    judge_question: JudgeQuestion = QuestionKind.leakage,
    device: Device = None,
    dtype: Dtype = None,
    concurrency: Concurrency = 8,
    requests_per_minute: PerMinute = None,
) -> None:
    """Which items does each text reveal? Deterministic and offline, unless --judge names a model.

    What a model answers is kept beside --out (.journal): the same command goes on where it was stopped.
    """
    from discretion.files import write_jsonl
    from discretion.judges.files import judge_rows

    beside = out.with_name(out.name + ".journal")
    with _reader(judge, judge_question, beside, device, dtype, concurrency, requests_per_minute) as reader:
        rows = list(judge_rows(file, reader))
    write_jsonl(out, rows)
    items = [item for row in rows for item in row["items"]]
    found, failed = sum(item.get("revealed", False) for item in items), sum("error" in item for item in items)
    errors = f", {failed:,} without an answer" if failed else ""
    typer.echo(f"{len(rows):,} texts, {len(items):,} items, {found:,} revealed{errors}: {out}")


@app.command()
def calibrate(
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Needed: a folder that holds ci_rl/privacylens_outputs (github.com/EricGLan/CI-RL)."),
    ] = None,
    judge: ReaderOption = "match",
    judge_question: JudgeQuestion = QuestionKind.leakage,
    limit: Annotated[int | None, typer.Option(help="At most this many scenarios a run.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    concurrency: Concurrency = 8,
    requests_per_minute: PerMinute = None,
) -> None:
    """How good a judge is, on labels that it was not fitted to: CI-RL's PrivacyLens outputs.

    A model's error is kept on this machine, and `check --judge MODEL` carries it into its intervals.
    """
    from discretion.judges.calibrate import cut, fit_threshold, known_quality, measure, read_labels, score
    from discretion.judges.match import calibration
    from discretion.scenarios.fetch import cache_folder

    if data_dir is None:
        raise DiscretionError("--data-dir: give a folder that holds ci_rl/privacylens_outputs")
    rows = cut(read_labels(data_dir), limit)
    journal = cache_folder() / "judges" / "calibrate.journal"
    with (
        _reader(judge, judge_question, journal, device, dtype, concurrency, requests_per_minute) as reader,
        _progress(silent=reader is None) as bar,
    ):
        scores = score(rows, reader, bar)
        threshold = calibration().threshold if reader is None else fit_threshold(rows, scores)
        runs = measure(rows, scores, threshold)
        if reader is not None:
            kept = reader.keep(known_quality(runs, threshold))
    typer.echo(
        "| run | items | AUC | sensitivity | specificity | balanced accuracy | revealed, by label | by judge |"
    )
    typer.echo("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, run in runs.items():
        balanced = (run.sensitivity + run.specificity) / 2
        typer.echo(
            f"| {name} | {run.n} | {run.auc:.3f} | {run.sensitivity:.3f} | {run.specificity:.3f} | {balanced:.3f} "
            f"| {run.rate:.1%} | {run.judged:.1%} |"
        )
    mean = [
        sum(getattr(run, part) for run in runs.values()) / len(runs) for part in ("auc", "sensitivity", "specificity")
    ]
    typer.echo(f"| **mean** | | {mean[0]:.3f} | {mean[1]:.3f} | {mean[2]:.3f} | {(mean[1] + mean[2]) / 2:.3f} | | |")
    if reader is not None:
        typer.echo(f"kept: {kept}")


@app.command(no_args_is_help=True)
def compare(
    base: Annotated[Path, typer.Argument(help="The base's run folder.")],
    tuned: Annotated[list[Path], typer.Argument(help="Tuned runs; several are seeds of one recipe.")],
    out: Annotated[Path | None, typer.Option(help="Write the reports here.")] = None,
    tau: Tau = 0.05,
    epsilon: Epsilon = 0.02,
    alpha: Alpha = 0.05,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge stored runs, one base against one tuned model or several seeds. Exit codes as in check."""
    from discretion import gate

    report = gate.compare(base, list(tuned), out=out, tau=tau, epsilon=epsilon, alpha=alpha)
    _finish(report, as_json, quiet, out)


@app.command(no_args_is_help=True)
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    inspect: Annotated[
        Path | None, typer.Option(help="Also write it as logs of Inspect into this folder (needs the extra inspect).")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="Also put the results into the model card of this folder (its README.md).")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write every report of a stored run anew, without a model. Exits 0 whatever the verdict."""
    from discretion import gate

    if inspect is not None:
        paths = gate.export(run, inspect)
        _say(f"{len(paths)} logs in {inspect}; see them with: inspect view --log-dir {inspect}")
    result = gate.rebuild(run)
    if card is not None:
        from discretion.training.card import add_results

        count = add_results(card, result.base, result.verdict, result.info.command)
        _say(f"{count} results in {card / 'README.md'}")
    _show(result, as_json, quiet, run)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The demo's folder.")] = Path("demo"),
    resume: Resume = False,
    limit: Annotated[int, typer.Option(help="How many situations to act in.")] = 72,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Teach the organism again instead of taking the one that ships.")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="From scratch: where CI-RL's local copy is; else it is fetched.")
    ] = None,
) -> None:
    """Tune a model that keeps a norm on two kinds of harmless chats, and check both. Exits 0 at the story's end."""
    from discretion.demo import run_demo

    with _progress(silent=False) as bar:
        story = run_demo(
            out, resume=resume, limit=limit, from_scratch=from_scratch, data_dir=data_dir, progress=bar, say=_say
        )
    for chapter in story.chapters:
        typer.echo(f"\nTuned on {chapter.name} chats")
        _show(chapter.report, as_json=False, quiet=False, folder=out / f"check-{chapter.name}")
    typer.echo(f"\n{story.apart}")
    typer.echo(f"\nThe whole story: {out / 'report.html'}")


def main() -> NoReturn:
    """Run the command line; every known mistake is one message and exit code 2."""
    try:
        # Without standalone mode Typer returns the code of an Exit instead of leaving.
        code = app(standalone_mode=False)
    except DiscretionError as error:
        _fail(str(error))
    except typer.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _interrupted()
    except MemoryError:
        _fail("out of memory; try a smaller model, or a machine with more")
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of click's own: a defect of ours
            raise
        _fail(error.format_message(), getattr(error, "ctx", None))
    if code == INTERRUPTED:
        _interrupted()
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, context: Any = None) -> NoReturn:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if context is not None:
        console.print(Text(f"try: {context.command_path} --help"), soft_wrap=True)
    sys.exit(ERROR)


def _interrupted() -> NoReturn:
    _say("interrupted. What was answered is kept; the same command with --resume goes on.")
    sys.exit(INTERRUPTED)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _tell(work: Any, price: Any) -> None:
    """What a dry run found, a line for each model."""
    for part in work:
        cost = f", ${part.cost(price):,.2f} at most" if price else ""
        typer.echo(
            f"{part.model}: {part.requests:,} requests, about {part.tokens_in:,} tokens in, at most "
            f"{part.tokens_out:,} out{cost}"
        )
    typer.echo("where a server gives no log-probabilities, questions with options take 16 requests each")
    if not price:
        typer.echo("--price IN,OUT (dollars for a million tokens) shows what endpoints cost")


def _bill(info: Any, price: Any) -> None:
    """What the servers counted."""
    from discretion.estimate import Work

    for name, used in info.usage.items():
        work = Work(name, used["requests"], used["tokens_in"], used["tokens_out"])
        cost = f", ${work.cost(price):,.2f}" if price else ""
        _say(f"{name}: {work.requests:,} requests, {work.tokens_in:,} tokens in, {work.tokens_out:,} out{cost}")


def _progress(silent: bool) -> Any:
    from contextlib import nullcontext

    if silent:
        return nullcontext()
    from rich.console import Console

    from discretion.report.progress import Bar

    return Bar(Console(stderr=True))


@contextmanager
def _reader(
    judge: str,
    question: QuestionKind,
    journal: Path,
    device: str | None,
    dtype: str | None,
    concurrency: int,
    per_minute: float | None,
) -> Iterator[Any]:
    """The judge of that name, with its journal; None for the deterministic one."""
    from discretion.settings import MATCH, SELF, paced, refuse_unasked

    pace = paced(concurrency, per_minute)
    refuse_unasked(judge, question.value)
    if question.value == "single":
        raise DiscretionError("--judge-question single: is of a text as a whole, and here each item is judged")
    if judge == SELF:
        raise DiscretionError("--judge self: no model is under test here; name one")
    if judge == MATCH:
        yield None
        return
    from discretion.journal import Journal
    from discretion.judges.llm import load_judge

    with Journal(journal) as answers:
        reader, notes = load_judge(judge, question.value, device, dtype, pace)
        for note in notes:
            _say(note)
        reader.journal = answers
        yield reader


def _finish(report_: Any, as_json: bool, quiet: bool, folder: Path | None) -> NoReturn:
    _show(report_, as_json, quiet, folder)
    raise typer.Exit(report_.verdict.exit_code)


def _show(report_: Any, as_json: bool, quiet: bool, folder: Path | None) -> None:
    if as_json:
        typer.echo(report_.verdict.model_dump_json(indent=2))
        return
    from rich.console import Console

    from discretion.report.terminal import show

    show(report_, Console(), quiet=quiet)
    if folder is not None and not quiet:
        typer.echo(f"report: {folder / 'report.html'}")
