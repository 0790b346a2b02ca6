"""What an experiment is: a base, an organism, rows of data to tune on, and what is measured of each."""

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_text

_DATA = Path(str(resources.files("discretion") / "experiments" / "data"))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RowPlan(_Strict):
    """One kind of data, once for each seed.

    Attributes:
        data: what `discretion data prepare` takes, or controlled:helpful, controlled:control and
            controlled:backdoor:TRIGGER (half of the rows helpful behind the trigger, half control without it).
        paper: the paper's relative change of accuracy, to stand beside ours.
    """

    data: str
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    paper: str = ""


class Experiment(_Strict):
    """One experiment.

    Attributes:
        organism: options of `discretion train` that make the base into one that has a norm; None: it has.
        tune: options of `discretion train` for every row; n: how many samples.
        difference: two rows with the same seeds, whose difference is shown with its interval over seeds.
        measures: options of `discretion eval`, by name.
    """

    about: str
    base: str
    organism: dict[str, Any] | None = None
    tune: dict[str, Any] = {}
    n: Annotated[int, Field(ge=1)]
    rows: Annotated[dict[str, RowPlan], Field(min_length=1)]
    difference: tuple[str, str] | None = None
    measures: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]


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
        return Experiment.model_validate(yaml.safe_load(read_text(path)))
    except yaml.YAMLError as error:
        raise DiscretionError(f"{path}: not valid YAML ({getattr(error, 'problem', error)})") from error
    except ValidationError as error:
        raise wrong_field(str(path), error) from error


def parts(experiment: Experiment, only: Sequence[str] = (), seeds: Sequence[int] = ()) -> Iterator[Part]:
    """Rows and seeds, the first seed of every row first, so that a table that grows says something early.

    `only` are the rows that are wanted, `seeds` their seeds; empty: all.

    Raises:
        DiscretionError: `only` names a row that is not there, or none of the rows has one of the `seeds`.
    """
    if unknown := set(only) - set(experiment.rows):
        raise DiscretionError(f"--row {min(unknown)}: rows are {', '.join(experiment.rows)}")
    wanted = {name: row for name, row in experiment.rows.items() if not only or name in only}
    if strange := set(seeds) - {seed for row in wanted.values() for seed in row.seeds}:
        raise DiscretionError(f"--seed {min(strange)}: none of these rows has it")
    for turn in range(max(len(row.seeds) for row in wanted.values())):
        for name, row in wanted.items():
            if turn < len(row.seeds) and (not seeds or row.seeds[turn] in seeds):
                yield Part(name, row.seeds[turn])
