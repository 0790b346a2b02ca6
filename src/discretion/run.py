"""A run's folder: what was asked for (`run.json`), what was observed (`records.jsonl`), what came of it."""

import json
import math
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from discretion import __version__
from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_json, write_json
from discretion.judges.known import JudgeEntry
from discretion.records import Record, read_records

_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "numpy", "scipy", "statsmodels")


class ModelEntry(BaseModel):
    """A model of a run."""

    model_config = ConfigDict(frozen=True)

    role: Literal["base", "tuned", "model"]
    name: str
    fingerprint: str
    engine: str


class RunInfo(BaseModel):
    """`run.json`: how to get the run again, and what its records are of.

    `usage` is what servers counted (requests, tokens in and out), by model; a killed run's last part is not in it.
    """

    model_config = ConfigDict(frozen=True)

    command: str
    arguments: dict[str, Any]
    versions: dict[str, str]
    models: tuple[ModelEntry, ...]
    data: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    planned_records: int
    unmeasured: dict[str, str]
    notes: tuple[str, ...] = ()
    judge: JudgeEntry | None = None
    usage: dict[str, dict[str, int]] = {}

    def model(self, *roles: str) -> ModelEntry:
        """The model that has one of these roles, the first named first.

        Raises:
            DiscretionError: the run has none.
        """
        for role in roles:
            for entry in self.models:
                if entry.role == role:
                    return entry
        raise DiscretionError(f"this run has no {' or '.join(roles)} model")


def versions() -> dict[str, str]:
    """Versions of this program, of Python and of the libraries that compute the numbers."""
    found = {"discretion": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def command_line(arguments: list[str]) -> str:
    """The shell command of a run."""
    import shlex

    return shlex.join(["discretion", *arguments])


def prepare(folder: Path, *, resume: bool) -> Path:
    """The run's folder, ready to be written to; returns the path of its records.

    Raises:
        DiscretionError: it holds a run already and `resume` is off, or it is not a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise DiscretionError(f"{folder}: is a file, --out wants a folder")
    records = folder / "records.jsonl"
    if not resume and folder.is_dir() and any(folder.iterdir()):
        what = "a run already; --resume goes on with it" if records.exists() else "other files"
        raise DiscretionError(f"{folder}: holds {what}. Choose another --out to start afresh")
    return records


def save_info(folder: Path, info: RunInfo) -> None:
    """Write `run.json`."""
    write_json(folder / "run.json", info.model_dump(mode="json"))


def read_usage(folder: Path) -> dict[str, dict[str, int]]:
    """What the servers counted for the run that is there; nothing if there is none."""
    return _read_info(folder).usage if (folder / "run.json").is_file() else {}


def refuse_other_settings(folder: Path, info: RunInfo) -> None:
    """Answers to other questions or of other models must not end up in one folder; more of the same may.

    Raises:
        DiscretionError: the folder's run was made with other settings; the message names them.
    """
    if not (folder / "run.json").is_file():
        return
    before = _read_info(folder)
    decisive = ["suites", "elicit", "protocol", "prompt", "samples", "seeds", "controls", "judge", "judge_question"]
    old, new = (json.loads(json.dumps(run.arguments)) for run in (before, info))
    if old.get("trigger"):  # without one, the same questions are asked as beside one
        decisive.append("trigger")
    if "act" in new["elicit"]:
        decisive.append("max_new_tokens")
    changed = [f"{name} {old.get(name)} -> {new.get(name)}" for name in decisive if old.get(name) != new.get(name)]
    if before.judge and info.judge and before.judge.name != info.judge.name:
        changed.append(f"the judge {before.judge.name} -> {info.judge.name}")
    if bool(old.get("stop_early")) != bool(new.get("stop_early")):
        changed.append("--stop-early")
    elif new.get("stop_early"):  # where it stopped hangs on these
        decides = ("tau", "alpha")
        changed += [f"{name} {old[name]} -> {new[name]}" for name in decides if old[name] != new[name]]
    if (new.get("limit") or math.inf) < (old.get("limit") or math.inf):
        changed.append(f"limit {old.get('limit')} -> {new['limit']}")
    for one, other in zip(before.models, info.models, strict=False):
        if (one.fingerprint, one.engine) != (other.fingerprint, other.engine):
            changed.append(f"{other.role} {one.name} -> {other.name} (other weights, device or number format)")
    for name, entry in before.data.items():
        now = info.data.get(name, {})
        planned = [told.get("planned", told.get("scenarios")) for told in (entry, now)]
        if planned[0] == planned[1] and now.get("fingerprint") != entry.get("fingerprint"):
            changed.append(f"the content of {name}")
        if planned[0] is not None and planned[1] is not None and planned[1] < planned[0]:
            changed.append(f"the scenarios of {name}, {planned[0]} -> {planned[1]}")
    if changed:
        raise DiscretionError(
            f"{folder}: holds a run with other settings ({'; '.join(changed)}); choose another --out"
        )


def _read_info(folder: Path) -> RunInfo:
    try:
        return RunInfo.model_validate(read_json(folder / "run.json"))
    except ValidationError as error:
        raise wrong_field(str(folder / "run.json"), error) from error


def load_run(folder: Path) -> tuple[RunInfo, list[Record]]:
    """A finished run's information and records.

    Raises:
        DiscretionError: no run there, a damaged file, or a run that is not finished.
    """
    if not (folder / "run.json").is_file():
        raise DiscretionError(f"{folder}: holds no run.json, so it is no run's folder")
    info = _read_info(folder)
    known = {entry.fingerprint for entry in info.models}
    records = [row for row in read_records(folder / "records.jsonl") if row.model in known]
    if len(records) > info.planned_records:
        raise DiscretionError(
            f"{folder}: holds {len(records)} answers where {info.planned_records} were planned (of other settings?)"
        )
    if len(records) < info.planned_records:
        raise DiscretionError(
            f"{folder}: is not finished ({len(records)} of {info.planned_records} answers); go on with: "
            f"{info.command}{'' if '--resume' in info.command else ' --resume'}"
        )
    return info, records
