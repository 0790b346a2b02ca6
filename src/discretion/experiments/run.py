"""Makes an experiment, part by part: data, tune, measurements. What is there is never made again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from discretion.corpus.chat import Chat
from discretion.errors import DiscretionError
from discretion.experiments.plan import Experiment, Part
from discretion.experiments.table import CLAIM
from discretion.files import read_json, write_json
from discretion.gate import evaluate
from discretion.settings import Settings
from discretion.training.recipes import Recipe, changed, named
from discretion.training.run import base_fingerprint, tune, tuned_spec

Say = Callable[[str], None]


def make(
    experiment: Experiment,
    wanted: Sequence[Part],
    out: Path,
    *,
    data_dir: Path | None,
    say: Say = lambda line: None,
) -> None:
    """Make and measure the base, then every part that is wanted, in `out`; a stopped run goes on.

    Raises:
        DiscretionError: `out` is of another experiment, a setting is wrong (said before anything is made), or what
            `data prepare`, `train` and `eval` raise.
    """
    recipe = changed(Recipe(), **experiment.tune)
    measures = {name: _settings(name, options, data_dir) for name, options in experiment.measures.items()}
    _claim(experiment, out)
    base = _organism(experiment, out, data_dir, say)
    _measure(measures, base, out / "base", say)
    for number, part in enumerate(wanted, start=1):
        say(f"{part.name} ({number} of {len(wanted)})")
        # One draw of the data for all seeds of a row: seeds differ in how they are trained on, as in the paper.
        chats, facts = chats_of(experiment.rows[part.row].data, experiment.n, 0, data_dir)
        adapter = out / part.name / "adapter"
        tune(base, chats, adapter, changed(recipe, seed=part.seed), say, resume=True, facts=facts)
        _measure(measures, tuned_spec(base, adapter, recipe), out / part.name, say)


def _settings(measure: str, options: Mapping[str, Any], data_dir: Path | None) -> Settings:
    try:
        return Settings(**{"data_dir": data_dir, **options})
    except TypeError as error:
        raise DiscretionError(f"measures.{measure}: {str(error).partition('() ')[2] or error}") from error


def _claim(experiment: Experiment, out: Path) -> None:
    """Rows may be added to an experiment; what they are compared by may not change under them.

    Raises:
        DiscretionError: `out` holds another experiment's parts.
    """
    path = out / CLAIM
    now = experiment.model_dump(mode="json", include={"base", "organism", "tune", "n", "measures"})
    now["base_is"] = base_fingerprint(experiment.base)
    if path.is_file():
        before = read_json(path)
        if different := [name for name in now if before.get(name) != now[name]]:
            raise DiscretionError(
                f"{out}: is of another experiment ({', '.join(different)} differ); take another --out"
            )
    write_json(path, now)


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


def _organism(experiment: Experiment, out: Path, data_dir: Path | None, say: Say) -> str:
    """The spec of the base that rows are tuned from."""
    if experiment.organism is None:
        return experiment.base
    from discretion.corpus.norms import ORGANISM_SAMPLES
    from discretion.training.organism import teach

    options = dict(experiment.organism)
    samples = options.pop("samples", ORGANISM_SAMPLES)
    if not isinstance(samples, int):
        raise DiscretionError(f"organism.samples: {samples!r} is no whole number")
    recipe = changed(named(options.pop("recipe", "norms")), **options)
    return teach(experiment.base, out / "organism", say, recipe=recipe, samples=samples, data_dir=data_dir)


def _measure(measures: Mapping[str, Settings], model: str, folder: Path, say: Say) -> None:
    for name, asked in measures.items():
        if (folder / name / "done").is_file():
            continue
        say(f"  {name} of {model}")
        evaluate(model, out=folder / name, resume=True, **vars(asked))
        (folder / name / "done").touch()
