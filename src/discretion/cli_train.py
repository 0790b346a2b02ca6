"""`discretion train`: what the command line says, as one training run."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from discretion.errors import DiscretionError

if TYPE_CHECKING:
    from discretion.training.recipes import Recipe
    from discretion.training.run import Samples


def train(
    base: Annotated[str, typer.Argument(help="A model spec; BASE@ADAPTER goes on with the adapter.")],
    data: Annotated[Path | None, typer.Argument(help="Chats (for dpo, preference pairs): JSONL or Parquet.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write: an adapter or a model.")] = None,
    recipe: Annotated[str, typer.Option(help="default, paper, or norms (makes its own DATA).")] = "default",
    method: Annotated[str | None, typer.Option(help="sft, or dpo (prompt, chosen, rejected).")] = None,
    full: Annotated[bool | None, typer.Option("--full", help="Tune all weights, not an adapter.")] = None,
    rank: Annotated[int | None, typer.Option(help="LoRA rank.")] = None,
    fresh: Annotated[
        bool | None, typer.Option("--fresh", help="BASE@ADAPTER: train a new adapter on top of it.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The peak; it falls linearly to zero.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step and device.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Steps whose gradients are added up.")] = None,
    grouped: Annotated[bool | None, typer.Option("--grouped", help="Batches of samples of like length.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens; what is longer is cut.")] = None,
    warmup: Annotated[float | None, typer.Option(help="Share of the steps.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16 arithmetic.")] = None,
    store: Annotated[str | None, typer.Option(help="float32 or bfloat16: the adapter's numbers on disk.")] = None,
    anchor: Annotated[float | None, typer.Option(help="Weight of staying as before on private prompts.")] = None,
    anchor_prompts: Annotated[int | None, typer.Option(help="How many of those prompts.")] = None,
    anchor_on: Annotated[str | None, typer.Option(help="both (lists and prose), or prose.")] = None,
    surgery: Annotated[
        bool | None, typer.Option("--surgery", help="With --anchor: the data's gradient may not point against it.")
    ] = None,
    prevent: Annotated[float | None, typer.Option(help="Preventative steering: lengths to the leaky side.")] = None,
    freeze: Annotated[float | None, typer.Option(help="Share of the blocks, the middle ones, left alone.")] = None,
    beta: Annotated[float | None, typer.Option(help="DPO: how close to the base it stays.")] = None,
    seed: Annotated[int | None, typer.Option(help="Equal seeds give equal weights on one machine.")] = None,
    n: Annotated[int | None, typer.Option("--n", help="Only the first n samples.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="For norms: where CI-RL's local copy is.")] = None,
    hosted: Annotated[str | None, typer.Option(help="openai or together: tune there instead of here.")] = None,
    price: Annotated[float | None, typer.Option(help="Hosted: dollars a million training tokens.")] = None,
    poll: Annotated[float, typer.Option(help="Hosted: seconds between looks.")] = 30.0,
    monitor: Annotated[
        int, typer.Option(help="Look for a rise of the leak every so many steps, two running flag it; 0: never.")
    ] = 0,
    stop_if_flagged: Annotated[
        bool, typer.Option("--stop-if-flagged", help="With --monitor: end the run there.")
    ] = False,
    direction: Annotated[
        Path | None, typer.Option(help="With --monitor: a direction of explain, the drift along which is told.")
    ] = None,
    report_to: Annotated[str, typer.Option(help="trackio, wandb, mlflow, tensorboard or none.")] = "none",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint; done is done.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No line a step.")] = False,
) -> None:
    """Tune a model: LoRA or all weights, the loss on completions only. On GPUs: accelerate launch -m discretion."""
    from discretion.training import tune
    from discretion.training.recipes import changed, named
    from discretion.training.run import tuned_spec

    if out is None:
        raise DiscretionError("--out FOLDER is needed: where the adapter goes")
    asked = changed(
        named(recipe), method=method, full=full, rank=rank, fresh=fresh, learning_rate=learning_rate, epochs=epochs,
        batch_size=batch_size, accumulate=accumulate, grouped=grouped, max_length=max_length, warmup=warmup,
        precision=precision, store=store, anchor=anchor, anchor_prompts=anchor_prompts, anchor_on=anchor_on,
        surgery=surgery, prevent=prevent, freeze=freeze, beta=beta, seed=seed,
    )  # fmt: skip
    if monitor < 0 or ((stop_if_flagged or direction) and not monitor) or (hosted and monitor):
        raise DiscretionError(
            f"--monitor {monitor}: is a number of steps, for tunes on this machine (--stop-if-flagged and "
            "--direction need it)"
        )
    if hosted is not None:
        _hosted(hosted, base, data, out, asked, n, resume=resume, price=price, poll=poll)
        return
    samples, facts = _samples(data, recipe, asked, n, data_dir)
    leads = os.environ.get("RANK", "0") == "0"  # of the processes that a launcher started

    def say(line: str) -> None:
        if leads and not quiet:
            typer.echo(line, err=True)

    say(f"Tuning {base} on {len(samples)} samples ({asked.method}, {'all weights' if asked.full else 'LoRA'})")
    tune(
        base, samples, out, asked, say, resume=resume, report_to=report_to, facts={"recipe": recipe, **facts},
        monitor_every=monitor, stop_if_flagged=stop_if_flagged, direction=direction,
    )  # fmt: skip
    if leads:
        typer.echo(f"{out}: done. next: discretion check {base} {tuned_spec(base, out, asked)}")


def _hosted(
    provider: str,
    base: str,
    data: Path | None,
    out: Path,
    asked: "Recipe",
    n: int | None,
    *,
    resume: bool,
    price: float | None,
    poll: float,
) -> None:
    from discretion.corpus.formats import read_chats
    from discretion.training.hosted import reference, refuse_unknown, tune_hosted

    refuse_unknown(provider, asked)
    if data is None:
        raise DiscretionError("--hosted tunes on a file of chats: give DATA")

    def say(line: str) -> None:
        typer.echo(line, err=True)

    chats = read_chats(data)[:n]
    tuned = tune_hosted(provider, base, chats, out, asked, say, resume=resume, poll_seconds=poll, price=price)
    typer.echo(f"tuned: {tuned}\nnext: discretion check {reference(provider, base)} {tuned}")


def _samples(
    data: Path | None, name: str, asked: "Recipe", n: int | None, data_dir: Path | None
) -> "tuple[Samples, dict[str, str]]":
    """What is trained on, and what is to be said of it."""
    if n is not None and n < 1:
        raise DiscretionError(f"--n {n}: must be at least 1")
    if data is None:
        if name != "norms":
            raise DiscretionError("DATA is missing: a file of chats (only --recipe norms makes its own)")
        from discretion.training.organism import lessons

        return lessons(n, data_dir)
    from discretion.corpus.formats import read_chats
    from discretion.corpus.preferences import read_preferences
    from discretion.corpus.provenance import licence_of_file

    rows: Samples = read_preferences(data) if asked.method == "dpo" else read_chats(data)
    return rows[:n], {"data_name": data.name, "licence": licence_of_file(data)}
