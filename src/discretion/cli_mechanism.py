"""`discretion explain`: what a tune changed inside a model."""

from pathlib import Path
from typing import Annotated

import typer

from discretion.errors import DiscretionError


def explain(
    base: Annotated[str, typer.Argument(help="A model on this machine, before the tune.")],
    tuned: Annotated[str, typer.Argument(help="The same after it: BASE@ADAPTER, or a model.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write; the same command goes on with it.")] = None,
    suite: Annotated[str, typer.Option(help="Scenarios with both right and wrong items.")] = "builtin",
    contrast: Annotated[str, typer.Option(help="Fit on items (messages) or options (letters).")] = "items",
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
    found |= {"command": command_line(words), "settings": settings, "versions": versions()}
    write_json(out / "explain.json", found)
    write_explanation(found, out)
    for said in conclusions(found).values():
        typer.echo(said)
    typer.echo(f"{out / 'report.html'}: the pictures")
