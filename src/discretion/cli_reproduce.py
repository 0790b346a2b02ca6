"""`discretion reproduce`: an experiment by name, as far as it is made."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from discretion.errors import DiscretionError


def reproduce(
    name: Annotated[str | None, typer.Argument(help="An experiment, or a .yaml file of one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Its folder; the same command goes on with it.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Local copies of public data sets.")] = None,
    base: Annotated[str | None, typer.Option(help="Another model to tune and measure.")] = None,
    recipe: Annotated[str | None, typer.Option(help="How rows are tuned: default or paper, as for train.")] = None,
    n: Annotated[int | None, typer.Option("--n", help="Samples a row.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many scenarios a suite.")] = None,
    hosted: Annotated[str | None, typer.Option(help="openai or together: tune --base there.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="Only this row. Repeatable.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only this seed. Repeatable.")] = None,
    measure: Annotated[list[str] | None, typer.Option(help="Only this measurement of rows. Repeatable.")] = None,
    jobs: Annotated[int, typer.Option(help="Parts made at a time, each with its share of the cores.")] = 1,
    list_: Annotated[bool, typer.Option("--list", help="Name the experiments.")] = False,
    earlier: Annotated[
        Path | None, typer.Option("--with", help="A table's .jsonl: its rows stay, where they are not made here.")
    ] = None,
    table_only: Annotated[bool, typer.Option("--table", help="Only write the table of what is measured.")] = False,
) -> None:
    """Make one of the paper's experiments, row by row; every row that is measured goes into its table."""
    from discretion.experiments.elsewhere import elsewhere
    from discretion.experiments.figure import write_figure
    from discretion.experiments.plan import load, names, parts
    from discretion.experiments.run import make, told_of
    from discretion.experiments.table import CLAIM, joined, markdown, rows
    from discretion.files import refuse_other, write_jsonl, write_text

    if list_ or name is None:
        for known in names():
            typer.echo(f"{known}: {load(known).about}")
        return
    if out is None:
        raise DiscretionError("--out FOLDER is needed: where models and measurements go")
    if jobs < 1:
        raise DiscretionError(f"--jobs {jobs}: must be at least 1")
    other = {"base": base, "recipe": recipe, "n": n, "limit": limit, "hosted": hosted}
    experiment = elsewhere(load(name), base=base, recipe=recipe, n=n, limit=limit, hosted=hosted)
    if table_only and (out / CLAIM).is_file():
        refuse_other(out, CLAIM, told_of(experiment), "experiment")
    if table_only and earlier is not None and not (out / CLAIM).is_file() and any(other.values()):
        raise DiscretionError(f"--with: nothing is made in {out} yet, so rows of another base or size cannot join it")
    if not table_only:
        wanted = list(parts(experiment, row or (), seed or ()))
        make(experiment, wanted, out, data_dir=data_dir, say=_say, jobs=jobs, measures=measure or ())
    found, title = rows(experiment, out), Path(name).stem
    if earlier is not None:
        found = joined(found, earlier, experiment, out)
    options = "".join(
        f" --{option} {shlex.quote(str(value))}" for option, value in other.items() if value is not None
    )
    table = out / f"{title}.md"
    write_jsonl(out / f"{title}.jsonl", found)
    write_figure(found, out / f"{title}.svg")
    write_text(table, markdown(experiment, title, found, options))
    typer.echo(f"{table}: {len({(entry['row'], entry['seed']) for entry in found})} parts measured")


def _say(line: str) -> None:
    typer.echo(line, err=True)
