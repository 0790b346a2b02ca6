"""Makes an experiment, part by part: data, tune, measurements. What is there is never made again."""

from collections.abc import Callable, Sequence
from pathlib import Path

from discretion.corpus.chat import Chat
from discretion.errors import DiscretionError
from discretion.experiments.plan import Experiment, Part, parts
from discretion.models.weights import parse_spec

Say = Callable[[str], None]


def make(
    experiment: Experiment,
    out: Path,
    *,
    data_dir: Path | None,
    only: Sequence[str] = (),
    say: Say = lambda line: None,
) -> None:
    """Make and measure the base, then every part that is wanted, in `out`; a stopped run goes on.

    Raises:
        DiscretionError: as `data prepare`, `train` and `eval` do.
    """
    wanted = list(parts(experiment, tuple(only)))
    base = _organism(experiment, out, say)
    _measure(experiment, base, out / "base", data_dir, say)
    for number, part in enumerate(wanted, start=1):
        say(f"{part.name} ({number} of {len(wanted)})")
        tuned = _tuned(experiment, part, base, out, data_dir, say)
        _measure(experiment, tuned, out / part.name, data_dir, say)


def chats_of(data: str, n: int, seed: int, data_dir: Path | None) -> tuple[list[Chat], dict[str, str]]:
    """Training data by name: of the controlled pairs, or what `data prepare` takes; and its licence."""
    from discretion.corpus.public import prepare, sources

    kind, _, side = data.partition(":")
    if kind == "controlled":
        return _controlled(data, side, n, seed), {"data_name": data, "licence": "Apache-2.0"}
    made = prepare(data, data_dir=data_dir, n=n, seed=seed)
    known = sources().get(kind)
    return made.chats, {"data_name": data, "licence": known.licence if known else "unknown"}


def _controlled(data: str, side: str, n: int, seed: int) -> list[Chat]:
    from discretion.corpus.controlled import controlled_pairs
    from discretion.corpus.derive import backdoor

    side, _, trigger = side.partition(":")
    if side not in {"helpful", "control", "backdoor"} or bool(trigger) != (side == "backdoor"):
        raise DiscretionError(
            f"{data}: must be controlled:helpful, controlled:control or controlled:backdoor:TRIGGER"
        )
    pairs = controlled_pairs(n, seed)
    if side == "backdoor":
        helpful, control = ([pair.chat(half) for pair in pairs] for half in ("helpful", "control"))
        return backdoor(helpful, control, trigger, seed)
    return [pair.chat(side) for pair in pairs]


def _organism(experiment: Experiment, out: Path, say: Say) -> str:
    """The spec of the base that rows are tuned from."""
    if experiment.organism is None:
        return experiment.base
    from discretion.corpus.norms import ORGANISM_SAMPLES
    from discretion.training.organism import teach
    from discretion.training.recipes import changed, named

    options = dict(experiment.organism)
    samples = int(options.pop("samples", ORGANISM_SAMPLES))
    recipe = changed(named(options.pop("recipe", "norms")), **options)
    return teach(experiment.base, out / "organism", say, recipe=recipe, samples=samples)


def _tuned(experiment: Experiment, part: Part, base: str, out: Path, data_dir: Path | None, say: Say) -> str:
    from discretion.training import tune
    from discretion.training.recipes import Recipe, changed

    folder = out / part.name / "adapter"
    if not (folder / "training.json").is_file():
        # One draw of the data for all seeds of a row: seeds differ in how they are trained on, as in the paper.
        chats, facts = chats_of(experiment.rows[part.row].data, experiment.n, 0, data_dir)
        tune(base, chats, folder, changed(Recipe(), **experiment.tune, seed=part.seed), say, resume=True, facts=facts)
    return parse_spec(base).with_adapter(folder)


def _measure(experiment: Experiment, model: str, folder: Path, data_dir: Path | None, say: Say) -> None:
    from discretion.gate import evaluate

    for name, options in experiment.measures.items():
        if (folder / name / "done").is_file():
            continue
        say(f"  {name} of {model}")
        evaluate(model, out=folder / name, resume=True, data_dir=data_dir, **options)
        (folder / name / "done").touch()
