"""What an experiment is: a base, an organism, rows of models made from it, and what is measured of each."""

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from discretion.corpus.scenes import scenes_digest
from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_yaml
from discretion.mitigation.candidates import parse

BASE, ROW = "base", "row.json"
_DATA = Path(str(resources.files("discretion") / "experiments" / "data"))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RowPlan(_Strict):
    """One model, once for each seed: made by a tune, by something else, or only asked in another way.

    Attributes:
        data: what `discretion data prepare` takes, controlled:helpful, controlled:control,
            controlled:backdoor:TRIGGER or paper:backdoor:TRIGGER (half of the rows helpful behind the trigger, half
            control without it), or controlled:preferences (for DPO: helpful chosen, control rejected). "": nothing is
            trained.
        augment: a profile of the user before every sample: demographic, or financial (which holds both).
        mitigation: as `discretion mitigate --try` takes it; its filters are of this very data.
        control: what `mix` and `chosen` mix in, as `data` is named; "": control pairs of ours.
        after: another row, whose model (of the same seed, or its first) is gone on from instead of the base.
        tune: options of `discretion train` that differ for this row.
        ask: options of `discretion eval` that differ for this row; the base is asked so as well.
        shots: so many samples of the data are put before every question instead of being trained on.
        paper: the paper's relative change of accuracy, to stand beside ours.
    """

    data: str = ""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    augment: Literal["", "demographic", "financial"] = ""
    mitigation: str = "none"
    control: str = ""
    after: str = ""
    tune: dict[str, Any] = {}
    ask: dict[str, Any] = {}
    shots: Annotated[int, Field(ge=0)] = 0
    paper: str = ""

    @property
    def mixed_in(self) -> str:
        """What `mix` and `chosen` mix in, as `data` is named; "": nothing."""
        return (self.control or "controlled:control") if self.mitigation.startswith(("mix:", "chosen:")) else ""


class TaskPlan(_Strict):
    """What of the task a tune keeps: its loss on `n` samples of `data` that no row is trained on, and its answers."""

    data: str
    n: Annotated[int, Field(ge=4)] = 48
    max_new_tokens: Annotated[int, Field(ge=1)] = 110


class Experiment(_Strict):
    """One experiment.

    Attributes:
        organism: options of `discretion train` that make the base into one that has a norm; None: it has.
        tune: options of `discretion train` for every row; n: how many samples.
        differences: pairs of rows with the same seeds, whose difference is shown with its interval over seeds.
        unmitigated: the row that the others shall better: how much of its rise each removes, and whether its task
            is kept.
        measures: options of `discretion eval`, by name.
        monitor: every so many steps of a tune the privacy monitor looks; 0: never.
        hosted: where the base is tuned (`training.hosted`); "": here.
    """

    about: Annotated[str, Field(min_length=1)]
    base: str
    organism: dict[str, Any] | None = None
    tune: dict[str, Any] = {}
    n: Annotated[int, Field(ge=1)]
    rows: Annotated[dict[str, RowPlan], Field(min_length=1)]
    differences: tuple[tuple[str, str], ...] = ()
    unmitigated: str = ""
    task: TaskPlan | None = None
    measures: dict[str, dict[str, Any]] = {}
    monitor: Annotated[int, Field(ge=0)] = 0
    hosted: Literal["", "openai", "together"] = ""

    @model_validator(mode="after")
    def _sound(self) -> "Experiment":
        for name, row in self.rows.items():
            if name == BASE:
                raise ValueError(f"rows.{name}: is what the rows are compared with")
            if row.after and (row.after not in self.rows or self.rows[row.after].after):
                raise ValueError(f"rows.{name}.after: {row.after!r} is no row that is made from the base itself")
            if not row.data and not row.after:
                raise ValueError(f"rows.{name}: is the base; give it data, or a row to go on from")
            if row.after and self.rows[row.after].shots:
                raise ValueError(f"rows.{name}.after: {row.after} trains nothing to go on from")
            if row.shots and (not row.data or row.shots > self.n):
                raise ValueError(f"rows.{name}.shots: {row.shots} samples are to be shown; n is {self.n}")
            if len(set(row.seeds)) < len(row.seeds):
                raise ValueError(f"rows.{name}.seeds: one stands twice")
            if "+" in row.mitigation:
                raise ValueError(f"rows.{name}: {row.mitigation} is two rows, the second after the first")
            if row.mitigation != "none" and parse(row.mitigation).trains == (not row.data):
                raise ValueError(f"rows.{name}: {row.mitigation} needs {'no data' if row.data else 'data'}")
            if row.control and not row.mixed_in:
                raise ValueError(f"rows.{name}.control: {row.mitigation} mixes nothing in")
        if self.hosted and (self.task or self.monitor or self.organism):
            raise ValueError("hosted: the task's loss, the monitor and an organism need the weights; leave them out")
        if not self.measures and not self.monitor and self.task is None:
            raise ValueError("measures: nothing is measured")
        named = [
            *(name for pair in self.differences for name in pair),
            *([self.unmitigated] if self.unmitigated else []),
        ]
        if unknown := set(named) - set(self.rows):
            raise ValueError(f"{min(unknown)!r} is no row")
        return self

    @property
    def dtype(self) -> str | None:
        """In what a model is loaded for what is no measure: as it is tuned, or the best for the device."""
        return "float32" if self.tune.get("precision") == "float32" else None

    def told(self, row: str) -> dict[str, Any]:
        """What a row is, and the row that it goes on from: what may not change under its parts."""
        own = self.rows[row].model_dump(mode="json", exclude={"seeds", "paper"})
        if not own["control"]:
            del own["control"]  # as it was told before there was one
        earlier = self.rows[row].after
        if "controlled" in own["data"] or "controlled" in self.rows[row].mixed_in:
            own["scenes"] = scenes_digest()
        return own | {"after": self.told(earlier) if earlier else ""}

    def asked(self, row: str) -> str:
        """The folder of the base's measurements that this row is compared with: its own, if it is asked otherwise."""
        return f"{BASE}-{row}" if self.rows[row].ask else BASE


class Part(NamedTuple):
    """One row and seed: what is made and measured at a time."""

    row: str
    seed: int

    @property
    def name(self) -> str:
        """Its folder's."""
        return f"{self.row}-{self.seed}"


def names() -> list[str]:
    """The experiments that ship."""
    return sorted(path.stem for path in _DATA.glob("*.yaml"))


def load(name: str) -> Experiment:
    """An experiment by its name, or from a YAML file.

    Raises:
        DiscretionError: none of that name, or a malformed file (its field is said).
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _DATA / f"{name}.yaml"
    if not path.is_file():
        raise DiscretionError(f"{name}: no such experiment; known are {', '.join(names())}, or a .yaml file")
    try:
        return Experiment.model_validate(read_yaml(path))
    except ValidationError as error:
        raise wrong_field(str(path), error) from error


def parts(experiment: Experiment, only: Sequence[str] = (), seeds: Sequence[int] = ()) -> Iterator[Part]:
    """Rows and seeds, the first seed of every row first, so that a table that grows says something early.

    A row that goes on from another brings that one along, before it.

    `only` are the rows that are wanted, `seeds` their seeds; empty: all.

    Raises:
        DiscretionError: `only` names a row that is not there, or none of the rows has one of the `seeds`.
    """
    if unknown := set(only) - set(experiment.rows):
        raise DiscretionError(f"--row {min(unknown)}: rows are {', '.join(experiment.rows)}")
    wanted = {name: row for name, row in experiment.rows.items() if not only or name in only}
    if strange := set(seeds) - {seed for row in wanted.values() for seed in row.seeds}:
        raise DiscretionError(f"--seed {min(strange)}: none of these rows has it")
    given: set[Part] = set()
    for turn in range(max(len(row.seeds) for row in wanted.values())):
        for name, row in wanted.items():
            if turn < len(row.seeds) and (not seeds or row.seeds[turn] in seeds):
                part = Part(name, row.seeds[turn])
                new = [entry for entry in (before(experiment, part), part) if entry and entry not in given]
                given.update(new)
                yield from new


def before(experiment: Experiment, part: Part) -> Part | None:
    """The part that this one goes on from."""
    name = experiment.rows[part.row].after
    if not name:
        return None
    seeds = experiment.rows[name].seeds
    return Part(name, part.seed if part.seed in seeds else seeds[0])
