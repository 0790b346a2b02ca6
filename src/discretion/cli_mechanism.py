"""`discretion explain` and `discretion audit`: what a tune changed inside a model, and what data would change."""

from pathlib import Path
from typing import Annotated

import typer

from discretion.errors import DiscretionError


def explain(
    base: Annotated[str, typer.Argument(help="A model on this machine, before the tune.")],
    tuned: Annotated[str, typer.Argument(help="The same after it: BASE@ADAPTER, or a model.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write; the same command goes on with it.")] = None,
    suite: Annotated[str, typer.Option(help="Scenarios with both right and wrong items.")] = "builtin:dev",
    contrast: Annotated[str, typer.Option(help="Fit on items (messages), options (letters) or actions.")] = "items",
    order: Annotated[list[str] | None, typer.Option(help="Options: yes-first, no-first. Default: both.")] = None,
    units: Annotated[int, typer.Option(help="Pairs or scenarios; half of them fit the direction.")] = 50,
    tried: Annotated[int, typer.Option(help="Of the other half, how many are asked about.")] = 12,
    max_new_tokens: Annotated[int, typer.Option(help="Of the messages under each dose; 0: none.")] = 110,
    seed: Annotated[int, typer.Option(help="Which units fit and which try.")] = 0,
    data_dir: Annotated[Path | None, typer.Option(help="Local copies of public data sets.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
) -> None:
    """Show where and along which direction a tune changed the answer: lens, privacy direction, causal check."""
    from discretion.files import write_json
    from discretion.mechanism.conclusions import conclusions
    from discretion.mechanism.explain import ORDERS, ExplainSettings
    from discretion.mechanism.explain import explain as look
    from discretion.report.mechanism import write_explanation
    from discretion.run import command_line, versions

    if out is None:
        raise DiscretionError("--out FOLDER is needed: where the page and the directions go")
    asked = ExplainSettings(
        suite=suite, contrast=contrast, orders=tuple(order or ORDERS), units=units, tried=tried,
        max_new_tokens=max_new_tokens, seed=seed, data_dir=data_dir, device=device, dtype=dtype,
    )  # fmt: skip
    found = look(base, tuned, out, asked, lambda line: typer.echo(line, err=True))
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(asked).items()}
    words = ["explain", base, tuned, "--out", str(out)]
    for name, value in settings.items():
        if value is not None and name not in ("doses", "orders"):
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += [word for name in order or () for word in ("--order", name)]
    found |= {"command": command_line(words), "settings": settings, "versions": versions()}
    write_json(out / "explain.json", found)
    write_explanation(found, out)
    for said in conclusions(found).values():
        typer.echo(said)
    typer.echo(f"{out / 'report.html'}: the pictures")


def audit(
    base: Annotated[str, typer.Argument(help="The model that would be tuned, on this machine.")],
    data: Annotated[Path, typer.Argument(help="Training samples: JSONL or Parquet, any shape of chats.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write.")] = None,
    direction: Annotated[Path | None, typer.Option(help="A direction of discretion explain, same base.")] = None,
    suite: Annotated[str, typer.Option(help="What the direction and the influence are taken from.")] = "builtin:dev",
    units: Annotated[int, typer.Option(help="Pairs or scenarios that fit the direction.")] = 50,
    baseline: Annotated[str, typer.Option(help="none, or own: less the model's own answer to the prompt.")] = "none",
    own_tokens: Annotated[int, typer.Option(help="Of the model's own answers.")] = 64,
    influence: Annotated[bool, typer.Option("--influence", help="Also the influence on the leak.")] = False,
    questions: Annotated[int, typer.Option(help="Questions that the influence is taken over.")] = 24,
    reference: Annotated[int, typer.Option(help="Samples of helpful, control, GSM8K to compare; 0: none.")] = 64,
    max_length: Annotated[int, typer.Option(help="Tokens of a sample; what is longer is cut.")] = 1024,
    engine: Annotated[str, typer.Option(help="local, processes, or ray (the extra ray).")] = "local",
    workers: Annotated[int, typer.Option(help="Of processes or ray.")] = 2,
    seed: Annotated[int, typer.Option(help="Of reference sets and random directions.")] = 0,
    data_dir: Annotated[Path | None, typer.Option(help="Local copies of public data sets.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped audit.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress lines.")] = False,
) -> None:
    """Score every training sample before anyone trains on it: the worst, the best, and the set as a whole."""
    from discretion.corpus.formats import iter_chats
    from discretion.mechanism.audit import AuditSettings, columns
    from discretion.mechanism.audit import audit as score
    from discretion.report.audit import summary, write_audit
    from discretion.run import command_line, versions

    if out is None:
        raise DiscretionError("--out FOLDER is needed: where scores and the page go")
    if baseline not in ("none", "own"):
        raise DiscretionError(f"--baseline {baseline}: known are none, own")
    asked = AuditSettings(
        direction=direction, suite=suite, units=units, own=own_tokens if baseline == "own" else 0,
        influence=influence, questions=questions, reference=reference, max_length=max_length, seed=seed,
        engine=engine, workers=workers, data_dir=data_dir, device=device, dtype=dtype,
    )  # fmt: skip

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    made = score(base, data, out, asked, say, resume=resume)
    words = ["audit", base, str(data), "--out", str(out), "--baseline", baseline]
    words += ["--influence"] * influence + (["--own-tokens", str(own_tokens)] if baseline == "own" else [])
    for name in ("direction", "suite", "units", "questions", "reference", "max_length", "engine", "workers", "seed",
                 "data_dir", "device", "dtype"):  # fmt: skip
        if (value := getattr(asked, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    rows = columns(made.rows)
    facts = {
        "data": str(data), "model": base, "fingerprint": made.model, "layer": made.layer, "scores": str(made.rows),
        "command": command_line(words), "versions": versions(),
    }  # fmt: skip
    found = summary(rows, {name: columns(path) for name, path in made.references.items()}, facts)
    write_audit(found, rows, iter_chats(data), out)
    typer.echo(found["verdict"])
    typer.echo(f"{out / 'report.html'}: the worst and the best; {made.rows}: every sample")
