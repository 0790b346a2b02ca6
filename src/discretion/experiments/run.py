"""Makes an experiment, part by part: data, tune, measurements. What is there is never made again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from discretion.corpus.chat import Chat
from discretion.errors import DiscretionError
from discretion.experiments.data import CHATS, held_out, samples_of
from discretion.experiments.elsewhere import refuse_unhosted
from discretion.experiments.jobs import do_all
from discretion.experiments.plan import BASE, ROW, Experiment, Part, RowPlan, before
from discretion.experiments.table import CLAIM, TASK
from discretion.files import claim, read_json
from discretion.gate import evaluate
from discretion.mitigation.candidates import parse
from discretion.mitigation.task import task_of
from discretion.settings import Settings
from discretion.training.hosted import JOB, check_keys, model_of, reference, tune_hosted
from discretion.training.recipes import Recipe, changed, named
from discretion.training.run import base_fingerprint, tune, tuned_spec

Say = Callable[[str], None]
HOSTED = "hosted"


def make(
    experiment: Experiment,
    wanted: Sequence[Part],
    out: Path,
    *,
    data_dir: Path | None,
    say: Say = lambda line: None,
    jobs: int = 1,
    measures: Sequence[str] = (),
) -> None:
    """Make and measure the base, then every part that is wanted, in `out`; a stopped run goes on.

    With `measures` only these of the experiment's measurements are made, and the others later by another call.
    With several `jobs` so many parts are made at a time, each by a process of its own: for machines with more cores
    (or a faster device) than one process can use; on two cores it gains nothing (docs/benchmarks.md).

    Raises:
        DiscretionError: `out` is of another experiment, a setting is wrong or `measures` names one that is not there
            (said before anything is made), or what `data prepare`, `train`, `audit` and `eval` raise.
    """
    if unknown := set(measures) - set(experiment.measures):
        raise DiscretionError(f"--measure {min(unknown)}: measures are {', '.join(experiment.measures) or 'none'}")
    if experiment.hosted:
        refuse_unhosted(experiment, wanted)
        check_keys(experiment.hosted)
    for row in experiment.rows.values():
        _recipe(experiment, row, 0)
        _measures(experiment, row.ask, data_dir)
    base_is = experiment.hosted or base_fingerprint(experiment.base)
    claim(out, CLAIM, told_of(experiment) | {"base_is": base_is}, "experiment", alone=False)
    base = _organism(experiment, out, data_dir, say)
    # Data first: what is not to be had is said before anything is trained, and audits are shared. What the base
    # itself has to write or read for a row is left to that row.
    for part in wanted:
        claim(out / part.name, ROW, experiment.told(part.row), "row", alone=False)
        row = experiment.rows[part.row]
        if row.data and parse(row.mitigation).kind not in ("distil", "chosen"):
            samples_of(experiment, part, base, out, data_dir, say)
    asked = {experiment.asked(part.row): experiment.rows[part.row].ask for part in wanted} | {BASE: {}}
    for folder, ask in asked.items():
        claim(out / folder, ROW, {"ask": ask}, "row", alone=False)
    place = Place(experiment, base, out, data_dir, tuple(measures or experiment.measures))
    first: list[BaseWork | PartWork] = [BaseWork(place, folder, ask) for folder, ask in asked.items()]
    if experiment.hosted:  # what cannot be asked is not tuned: that is paid for
        _refuse_failed(do_all(first, jobs, say))
        first = []
    parts = [PartWork(place, part) for part in wanted]
    failed = do_all([*first, *(part for part in parts if not part.needs)], jobs, say)
    failed |= do_all([part for part in parts if part.needs and part.needs not in failed], jobs, say)
    _refuse_failed(failed)


def told_of(experiment: Experiment) -> dict[str, Any]:
    """What rows of one table have in common: rows may be added to it, this may not change under them."""
    same = {"base", "organism", "tune", "n", "measures", "task", "monitor"}
    told = experiment.model_dump(mode="json", include=same)
    if experiment.monitor:
        from discretion.training.monitor import watched_digest

        told["watched"] = watched_digest()
    return told


def _refuse_failed(failed: Mapping[str, Exception]) -> None:
    for name, error in failed.items():
        if not isinstance(error, DiscretionError):
            raise error
        others = f" (and {len(failed) - 1} more failed)" if len(failed) > 1 else ""
        raise DiscretionError(f"{name}: {error}{others}")


class Place(NamedTuple):
    """What all the work of one experiment has in common.

    Attributes:
        base: the spec of the model that rows are made from.
        measures: those of the experiment's that are wanted.
    """

    experiment: Experiment
    base: str
    out: Path
    data_dir: Path | None
    measures: tuple[str, ...]


class BaseWork(NamedTuple):
    """The base, measured as `ask` says, into the folder `name`."""

    place: Place
    name: str
    ask: Mapping[str, Any]

    def do(self, say: Say) -> None:
        """Measure what is not measured yet."""
        _measure(self.place, self.ask, self.place.base, self.name, say)


class PartWork(NamedTuple):
    """A part, made and measured."""

    place: Place
    part: Part

    @property
    def name(self) -> str:
        """Its folder's."""
        return self.part.name

    @property
    def needs(self) -> str:
        """The part that must be there before."""
        earlier = before(self.place.experiment, self.part)
        return earlier.name if earlier else ""

    def do(self, say: Say) -> None:
        """Make and measure what is not there yet."""
        row = self.place.experiment.rows[self.part.row]
        model, ask = _made(self.place, self.part, say), row.ask
        if row.shots:
            ask = {**ask, "shots": row.shots, "examples": self.place.out / self.name / CHATS}
        _measure(self.place, ask, model, self.name, say)


def _made(place: Place, part: Part, say: Say) -> str:
    """The spec of a part's model; its tune, or what is made of another's, is made if it is not there."""
    experiment, row = place.experiment, place.experiment.rows[part.row]
    recipe = _recipe(experiment, row, part.seed)
    adapter = place.out / part.name / "adapter"
    earlier = before(experiment, part)
    if experiment.hosted:
        return _made_there(place, part, earlier, recipe, say)
    start = place.base
    if earlier:
        as_then = _recipe(experiment, experiment.rows[earlier.row], earlier.seed)
        start = tuned_spec(place.base, place.out / earlier.name / "adapter", as_then)
    mitigation = parse(row.mitigation)
    if not mitigation.trains:
        mitigation.made_of(place.base, start, adapter)
        return tuned_spec(place.base, adapter, recipe)
    if not row.data or row.shots:
        return start
    samples, facts = samples_of(experiment, part, place.base, place.out, place.data_dir, say)
    tune(start, samples, adapter, recipe, say, resume=True, facts=facts, monitor_every=experiment.monitor)
    return tuned_spec(place.base, adapter, recipe)


def _made_there(place: Place, part: Part, earlier: Part | None, recipe: Recipe, say: Say) -> str:
    """The spec of a part's model at the provider; its job is started, or gone on with, unless it is done."""
    row, start = place.experiment.rows[part.row], place.base
    if earlier:
        start = read_json(place.out / earlier.name / HOSTED / JOB)["spec"]
    if not row.data or row.shots:
        return start
    samples, _ = samples_of(place.experiment, part, place.base, place.out, place.data_dir, say)
    chats = [sample for sample in samples if isinstance(sample, Chat)]
    return tune_hosted(
        place.experiment.hosted, model_of(start), chats, place.out / part.name / HOSTED, recipe, say, resume=True
    )


def _recipe(experiment: Experiment, row: RowPlan, seed: int) -> Recipe:
    recipe = changed(Recipe(), **{**experiment.tune, **row.tune, "seed": seed})
    return parse(row.mitigation).recipe(recipe)


def _measures(experiment: Experiment, ask: Mapping[str, Any], data_dir: Path | None) -> dict[str, Settings]:
    return {name: _settings(name, {**options, **ask}, data_dir) for name, options in experiment.measures.items()}


def _settings(measure: str, options: Mapping[str, Any], data_dir: Path | None) -> Settings:
    if options.get("data_dir") is not None:
        options = {**options, "data_dir": Path(options["data_dir"])}
    try:
        return Settings(**{"data_dir": data_dir, **options})
    except TypeError as error:
        raise DiscretionError(f"measures.{measure}: {str(error).partition('() ')[2] or error}") from error


def _organism(experiment: Experiment, out: Path, data_dir: Path | None, say: Say) -> str:
    """The spec of the base that rows are tuned from."""
    if experiment.hosted:
        return reference(experiment.hosted, experiment.base)
    if experiment.organism is None:
        return experiment.base
    from discretion.training.organism import teach

    options = dict(experiment.organism)
    samples = options.pop("samples", None)
    if samples is not None and not isinstance(samples, int):
        raise DiscretionError(f"organism.samples: {samples!r} is no whole number")
    recipe = changed(named(options.pop("recipe", "norms")), **options)
    return teach(experiment.base, out / "organism", say, recipe=recipe, samples=samples, data_dir=data_dir)


def _measure(place: Place, ask: Mapping[str, Any], model: str, name: str, say: Say) -> None:
    experiment, folder = place.experiment, place.out / name
    for measure, asked in _measures(experiment, ask, place.data_dir).items():
        if measure not in place.measures or (folder / measure / "done").is_file():
            continue
        say(f"  {measure} of {model}")
        evaluate(model, out=folder / measure, resume=True, **vars(asked))
        (folder / measure / "done").touch()
    if experiment.task is not None and "shots" not in ask and not (folder / TASK).is_file():
        held = held_out(experiment, place.data_dir)
        task_of(model, held, folder / TASK, experiment.task.max_new_tokens, experiment.dtype)
