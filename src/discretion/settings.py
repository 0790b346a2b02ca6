"""What is asked for: the settings of a run, checked, and as words of its command line."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from discretion.elicit import MAX_NEW_TOKENS, PROTOCOLS, STYLES
from discretion.elicit.probe import Protocol
from discretion.elicit.wording import PromptStyle
from discretion.errors import DiscretionError
from discretion.judges.llm import QUESTIONS, QuestionKind
from discretion.models import Pace

ELICITATIONS = ("probe", "act")
MATCH, SELF = "match", "self"


@dataclass(frozen=True)
class Settings:
    """What is asked and how. See `discretion check --help` for each.

    Attributes:
        shots: so many chats of `examples` stand before every question to the tuned (or only) model.
    """

    suites: Sequence[str] = ("builtin",)
    elicit: Sequence[str] = ("probe",)
    limit: int | None = None
    protocol: Protocol = "default"
    prompt: PromptStyle = "naive"
    trigger: str | None = None
    shots: int = 0
    examples: Path | None = None
    samples: int = 1
    seeds: Sequence[int] = (0,)
    max_new_tokens: int = MAX_NEW_TOKENS
    controls: Sequence[str] | None = None
    data_dir: Path | None = None
    skip_long: bool = False
    device: str | None = None
    dtype: str | None = None
    judge: str = MATCH
    judge_question: QuestionKind = "leakage"
    concurrency: int = 8
    requests_per_minute: float | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise DiscretionError(f"--protocol {self.protocol}: known are {', '.join(PROTOCOLS)}")
        if not self.elicit or len(set(self.elicit)) < len(self.elicit) or set(self.elicit) - set(ELICITATIONS):
            raise DiscretionError(f"--elicit {' '.join(self.elicit)}: give {' or '.join(ELICITATIONS)}, each once")
        if self.max_new_tokens < 1:
            raise DiscretionError(f"--max-new-tokens {self.max_new_tokens}: must be at least 1")
        paced(self.concurrency, self.requests_per_minute)
        if self.judge != MATCH and "act" not in self.elicit:
            raise DiscretionError(f"--judge {self.judge}: a probe needs no judge; it is for --elicit act")
        if self.judge_question not in QUESTIONS:
            raise DiscretionError(f"--judge-question {self.judge_question}: known are {', '.join(QUESTIONS)}")
        refuse_unasked(self.judge, self.judge_question)
        if self.prompt not in STYLES:
            raise DiscretionError(f"--prompt {self.prompt}: known are {', '.join(STYLES)}")
        if self.protocol == "paper" and self.prompt not in ("naive", "privacy_enhanced"):
            raise DiscretionError(f"--prompt {self.prompt}: the paper's protocol has its own wording, naive or not")
        if self.trigger is not None and not self.trigger.strip():
            raise DiscretionError("--trigger: is empty")
        if self.shots < 0 or bool(self.shots) != (self.examples is not None):
            raise DiscretionError(f"--shots {self.shots}: so many chats of --examples FILE are shown; give both")
        if self.limit is not None and self.limit < 1:
            raise DiscretionError(f"--limit {self.limit}: must be at least 1")
        if self.samples < 1 or not self.seeds:
            raise DiscretionError("--samples must be at least 1, and there must be a seed")
        if len(set(self.seeds)) < len(self.seeds):
            raise DiscretionError(f"--seeds: one stands twice in {','.join(map(str, self.seeds))}")
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise DiscretionError(f"--data-dir {self.data_dir}: no such folder")
        if not self.suites or len(set(self.suites)) < len(self.suites):
            raise DiscretionError("--suite: give each suite once, and at least one")


def refuse_unasked(judge: str, question: str) -> None:
    """Refuse a question to a model where no model judges."""
    if judge == MATCH and question != "leakage":
        raise DiscretionError(f"--judge-question {question}: is asked of a model; add --judge MODEL")


def paced(concurrency: int, per_minute: float | None) -> Pace:
    """How hard servers are pressed.

    Raises:
        DiscretionError: not at all.
    """
    if concurrency < 1:
        raise DiscretionError(f"--concurrency {concurrency}: must be at least 1")
    if per_minute is not None and per_minute <= 0:
        raise DiscretionError(f"--requests-per-minute {per_minute:g}: must be positive")
    return Pace(concurrency, per_minute)


@dataclass(frozen=True)
class Thresholds:
    """What counts as a rise, as unchanged, how sure to be, and whether to stop as soon as that is known."""

    tau: float = 0.05
    epsilon: float = 0.02
    alpha: float = 0.05
    stop_early: bool = False

    def __post_init__(self) -> None:
        for name, high in (("tau", 1.0), ("epsilon", 1.0), ("alpha", 0.5)):
            value = getattr(self, name)
            if not 0 < value < high:
                raise DiscretionError(f"--{name} {value}: must lie between 0 and {high:g}")


def as_arguments(names: dict[str, str], asked: Settings, limits: Thresholds | None) -> dict[str, Any]:
    """The arguments of a run, as `run.json` keeps them."""
    values: dict[str, Any] = dict(names)
    for entry in fields(asked):
        value = getattr(asked, entry.name)
        values[entry.name] = str(value) if isinstance(value, Path) else value
    return values | (vars(limits) if limits else {})


def as_options(asked: Settings, limits: Thresholds | None) -> list[str]:
    """The options of a run as words of its command line; defaults are left out."""
    words: list[str] = []
    spelled = {"suites": "--suite", "controls": "--control", "elicit": "--elicit"}
    for entry in fields(asked):
        value = getattr(asked, entry.name)
        if value == entry.default or value is None:
            continue
        flag = spelled.get(entry.name, "--" + entry.name.replace("_", "-"))
        if entry.name in spelled:
            words += [word for name in value for word in (flag, name)]
        elif entry.name == "seeds":
            words += [flag, ",".join(map(str, value))]
        else:
            words += [flag] if value is True else [flag, str(value)]
    return words + (threshold_options(limits) if limits else [])


def threshold_options(limits: Thresholds) -> list[str]:
    """Thresholds as words of the command line; defaults are left out."""
    words = [
        word
        for entry in fields(limits)
        if entry.name != "stop_early" and getattr(limits, entry.name) != entry.default
        for word in (f"--{entry.name}", f"{getattr(limits, entry.name):g}")
    ]
    return words + (["--stop-early"] if limits.stop_early else [])
