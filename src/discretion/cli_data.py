"""`discretion data`: make, describe and check data. One thin command per verb."""

from pathlib import Path
from typing import Annotated

import typer

from discretion.errors import DiscretionError

data = typer.Typer(help="Make, describe and check scenarios and training data.", no_args_is_help=True)


# Hidden until the scenes of the whole grid are in corpus/data/controlled.
@data.command(hidden=True)
def controlled(
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    n: Annotated[int, typer.Option("--n", help="How many pairs.")] = 3000,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal bytes.")] = 0,
) -> None:
    """Write helpful/control pairs: the same prompts, answered with and without asking first."""
    from discretion.corpus.controlled import controlled_pairs
    from discretion.corpus.write import FILES, write_controlled

    if taken := [name for name in FILES if (out / name).exists()]:
        raise DiscretionError(f"{out}: holds {', '.join(taken)} already; give another --out")
    pairs = controlled_pairs(n, seed)
    write_controlled(pairs, out, seed=seed)
    typer.echo(f"{len(pairs)} pairs in {out}: {', '.join(FILES)}")
    typer.echo(f"next: discretion data describe --pairs {out}")


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
