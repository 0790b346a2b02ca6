"""CI-RL (Lan et al. 2025, arXiv 2506.04245): tasks with values that may be passed on and values that may not."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.files import digest, read_json
from discretion.scenarios._types import Flow, Item, Scenario, Text
from discretion.scenarios.fetch import Source, locate

SOURCE = Source(
    local="ci_rl/dataset.json",
    url="https://raw.githubusercontent.com/EricGLan/CI-RL/4cad1fd32e566c0c77fe406151efa604c42084b3/"
    "posttraining-research-ci-supp/datasets/synthetic/dataset.json",
    sha256="1fd20ce498ff6dc0baf279ec10432b45a457ae02d5c098aaf438769344377218",
    licence="Apache-2.0",
)


def _leaves(value: object) -> list[str]:
    """A key's short values: mostly one; in some rows a list, or named parts."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in _leaves(part)]
    return [str(value)] if isinstance(value, str | int | float) and str(value).strip() else []


_Values = Annotated[tuple[Text, ...], BeforeValidator(_leaves)]


class _Types(BaseModel):
    allowed: tuple[str, ...] = ()
    disallowed: tuple[str, ...] = ()


class _Seed(BaseModel):
    scenario: str = ""
    domain: str = "cirl"
    user_intention: str = ""
    sender: str = ""
    recipient: str = ""
    data_subject: str = ""
    information_type: _Types = _Types()
    transmission_principle: str = ""


class _Annotation(BaseModel):
    allowed: dict[str, _Values]
    disallowed: dict[str, _Values]


class _Task(BaseModel):
    user_task: Text
    information: Annotated[dict[str, Any], Field(min_length=1)]
    annotation: _Annotation


class _Row(BaseModel):
    seed: _Seed
    dataset_item: _Task


Half = Literal["dev", "test"]


def load(half: Half | None = None, *, data_dir: Path | None = None) -> list[Scenario]:
    """CI-RL's tasks, or one half of them, from `data_dir`/ci_rl/dataset.json or the pinned download.

    Halves are split by the hash of a task, so a part of the file gives parts of the same halves.

    Raises:
        DiscretionError: not found, not fetched, or a malformed row (its file, row and field are said).
    """
    return halved(load_file(locate(SOURCE, data_dir)), half)


def halved(tasks: list[Scenario], half: Half | None) -> list[Scenario]:
    """One half of the tasks, by the hash of each; or all."""
    return [task for task in tasks if half in (None, "dev" if int(digest(task.id), 16) % 2 else "test")]


def load_file(path: Path, suite: str = "cirl") -> list[Scenario]:
    """Any file in CI-RL's format.

    A value that one annotation allows and another forbids says nothing about a message that holds it: such an
    item is left out. Ids are a hash of the row, so a part of the file gives the same ones.

    Raises:
        DiscretionError: the file is malformed; the message names the row and the field.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise DiscretionError(f"{path}: a CI-RL file is a non-empty list of rows")
    return read_rows(((f"{path}, row {index}", row) for index, row in enumerate(rows)), suite)


def read_rows(rows: Iterable[tuple[str, Any]], suite: str) -> list[Scenario]:
    """Rows in CI-RL's format, each with its place for messages. Raises as `load_file` does."""
    scenarios: dict[str, Scenario] = {}
    for place, raw in rows:
        try:
            row = _Row.model_validate(raw)
        except ValidationError as error:
            raise wrong_field(place, error) from error
        items = _items(row.dataset_item.annotation)
        if items:
            scenario = _scenario(row, items, suite)
            scenarios.setdefault(scenario.id, scenario)  # the same task twice is one scenario
    return list(scenarios.values())


def _items(annotation: _Annotation) -> tuple[Item, ...]:
    allowed = {value.casefold() for values in annotation.allowed.values() for value in values}
    both = allowed & {value.casefold() for values in annotation.disallowed.values() for value in values}
    return tuple(
        Item(text=f"{key}: {', '.join(values)}", values=values, appropriate=appropriate)
        for part, appropriate in ((annotation.allowed, True), (annotation.disallowed, False))
        for key, values in part.items()
        if values and both.isdisjoint(value.casefold() for value in values)
    )


def _scenario(row: _Row, items: tuple[Item, ...], suite: str) -> Scenario:
    seed, task = row.seed, row.dataset_item
    identity = digest(task.model_dump(mode="json"))
    return Scenario(
        id=f"{suite}-{identity}",
        suite=suite,
        domain=seed.domain.lower(),
        context="\n".join(f"{key}: {', '.join(_leaves(value))}" for key, value in task.information.items()),
        instruction=task.user_task,
        channel="email" if "mail" in seed.scenario.lower() else "message",
        flow=Flow(
            sender="the user" if seed.sender == "user" else seed.sender,
            recipient=seed.recipient,
            subject=seed.data_subject,
            information_type=", ".join(seed.information_type.disallowed),
            transmission_principle=seed.transmission_principle,
        ),
        items=items,
    )
