"""How good a model judge is: measured by `discretion calibrate --judge`, kept on this machine, said in every run."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from discretion.errors import DiscretionError
from discretion.files import digest, read_json, write_json
from discretion.scenarios.fetch import cache_folder


class Quality(BaseModel):
    """A judge on labels that its threshold never saw.

    Attributes:
        threshold: an item is revealed from this probability on; fitted on the other half of the labels.
        sensitivity, specificity: means over runs; their `sd` is the spread between runs of different models.
        items: how many labels they were measured on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float
    sensitivity: float
    specificity: float
    sensitivity_sd: float
    specificity_sd: float
    items: int

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1: 0 is guessing."""
        return self.sensitivity + self.specificity - 1


class JudgeEntry(BaseModel):
    """A run's judge, as `run.json` names it; `quality` is None where nobody has measured it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: str
    fingerprint: str
    engine: str
    question: str
    quality: Quality | None = None


def find_quality(fingerprint: str, engine: str, question: str) -> Quality | None:
    """What was measured of the judge on this machine, if anything was.

    Raises:
        DiscretionError: the file is damaged.
    """
    path = _path(fingerprint, engine, question)
    if not path.is_file():
        return None
    try:
        return Quality.model_validate(read_json(path)["quality"])
    except (ValidationError, KeyError, TypeError) as error:
        raise DiscretionError(f"{path}: not a judge's quality; delete it, and measure it again") from error


def keep_quality(fingerprint: str, engine: str, question: str, quality: Quality) -> Path:
    """Write down what was measured; returns where."""
    path = _path(fingerprint, engine, question)
    write_json(
        path, {"quality": quality.model_dump(), "fingerprint": fingerprint, "engine": engine, "question": question}
    )
    return path


def _path(fingerprint: str, engine: str, question: str) -> Path:
    return cache_folder() / "judges" / f"{digest([fingerprint, engine, question])}.json"
