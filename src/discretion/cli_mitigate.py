"""`discretion mitigate`: try mitigations on a tune, show the front, recommend one."""

from pathlib import Path
from typing import Annotated

import typer

from discretion.errors import DiscretionError


def mitigate(
    base: Annotated[str, typer.Argument(help="The model to tune, on this machine.")],
    data: Annotated[Path, typer.Argument(help="The data to tune on: JSONL or Parquet.")],
    out: Annotated[Path | None, typer.Option(help="The folder; the same command goes on with it.")] = None,
    try_: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            help="none, filter:SCORE, mix:N, chosen:N, anchor:N, surgery:N, prevent:N, freeze:N, inoculate, distil, "
            "interpolate:N, steer:N (or anchor:1+interpolate:0.8); anchor and surgery alone search for a "
            "weight.",
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Begin no other mitigation after so many minutes of tuning and choosing.")
    ] = None,
    suite: Annotated[str, typer.Option(help="The suite that chooses.")] = "tasks:dev",
    test: Annotated[str, typer.Option(help="The suite that reports.")] = "tasks:test",
    limit: Annotated[int, typer.Option(help="Scenarios of the suite that chooses.")] = 48,
    test_limit: Annotated[int | None, typer.Option(help="Scenarios of the suite that reports; else all.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Of a message.")] = 110,
    control: Annotated[
        list[str] | None, typer.Option(help="What must not move; questions, if none is given.")
    ] = None,
    held_out: Annotated[float, typer.Option(help="Share of the data that measures the task.")] = 0.15,
    margin: Annotated[float, typer.Option(help="Of the gain, how much a mitigation may lose.")] = 0.2,
    recipe: Annotated[str, typer.Option(help="default or paper.")] = "default",
    fresh: Annotated[
        bool | None, typer.Option("--fresh", help="BASE@ADAPTER, or the organism: a new adapter on top of it.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The peak.")] = None,
    rank: Annotated[int | None, typer.Option(help="LoRA rank.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data.")] = None,
    seed: Annotated[int, typer.Option(help="Of training, splits and random choices.")] = 0,
    data_dir: Annotated[Path | None, typer.Option(help="Local copies of public data sets.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress lines.")] = False,
) -> None:
    """Tune with each mitigation and recommend the one that keeps the norm best while the task is kept."""
    from discretion.mitigation.candidates import DEFAULTS
    from discretion.mitigation.search import mitigate as search
    from discretion.mitigation.settings import MitigateSettings
    from discretion.report.content import bounds, change, signed
    from discretion.report.mitigation import write_mitigation
    from discretion.run import command_line, versions
    from discretion.training.recipes import changed, named

    if out is None:
        raise DiscretionError("--out FOLDER is needed: where adapters and measurements go")
    asked = MitigateSettings(
        tries=tuple(try_ or DEFAULTS), suite=suite, test=test, limit=limit, test_limit=test_limit,
        max_new_tokens=max_new_tokens, controls=tuple(control or ("questions",)), held_out=held_out, margin=margin,
        seed=seed, data_dir=data_dir, budget=budget,
    )  # fmt: skip
    tuning = changed(
        named(recipe), learning_rate=learning_rate, rank=rank, batch_size=batch_size, epochs=epochs, grouped=True,
        fresh=fresh, seed=seed,
    )  # fmt: skip

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    found = search(base, data, out, asked, tuning, say)
    words = ["mitigate", base, str(data), "--out", str(out)]
    for name in asked.names:
        words += ["--try", name]
    for option, value in (("recipe", recipe), ("learning-rate", learning_rate), ("rank", rank), ("epochs", epochs),
                          ("batch-size", batch_size), ("suite", suite), ("test", test), ("limit", limit),
                          ("test-limit", test_limit), ("max-new-tokens", max_new_tokens), ("held-out", held_out),
                          ("margin", margin), ("budget", budget), ("seed", seed),
                          ("data-dir", data_dir)):  # fmt: skip
        words += [f"--{option}", str(value)] if value is not None else []
    words += ["--fresh"] if fresh else []
    for name in control or ():
        words += ["--control", name]
    write_mitigation(found | {"command": command_line(words), "versions": versions()}, out)
    for row in found["front"]:
        kept = "task kept" if row["equivalent"] else "task not shown to be kept"
        covered = "-" if row["coverage"] is None else f"{row['coverage']:.1%}"
        typer.echo(f"{row['name']}: leak {row['leak']:.1%}, coverage {covered}, loss {row['loss']:.3f}, {kept}")
    if found["not_tried"]:
        typer.echo(f"not tried, over the budget of {budget:g} minutes: {', '.join(found['not_tried'])}")
    typer.echo(f"recommended: {found['recommended']}. {found['why']}")
    for name, check in found["checks"].items():
        for shown, entry in check["suites"].items():
            told = f"{signed(entry['delta'])} {bounds(entry['delta_ci'])}"
            covered = change(entry["coverage_base"], entry["coverage_tuned"])
            typer.echo(f"{name} on {shown}, against the base: leak {told}, coverage {covered}: {check['verdict']}")
        if check["verdict"] == "inconclusive":
            typer.echo(
                f"  {'; '.join(check['reasons'])}"
                + (f" (about {check['needed_n']:,} scenarios would decide)" if check["needed_n"] else "")
                + (f" (about {check['needed_questions']:,} questions would)" if check["needed_questions"] else "")
            )
    typer.echo(f"{out / 'report.html'}: the front; the adapter: {found['adapter']}")
