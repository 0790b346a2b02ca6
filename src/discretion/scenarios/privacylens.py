"""PrivacyLens (Shao et al., NeurIPS 2024, arXiv 2409.00138): 493 flows that a norm forbids, at three levels.

seed: one sentence. vignette: a story. trajectory: an agent's tool calls and what they returned, the level the
paper on privacy collapse reports. Every item is inappropriate, so accuracy here never shows a model that
refuses everything; measure coverage on a suite with items of both kinds.

The data set's extension files (ConfAIde and CultureBank subsets) have the same format and load by path.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_json
from discretion.scenarios._types import Agent, ContextKind, Flow, Item, Scenario, Text
from discretion.scenarios.fetch import Source, locate

Level = Literal["seed", "vignette", "trajectory"]
LEVELS: tuple[Level, ...] = ("seed", "vignette", "trajectory")

HUB_ID = "SALT-NLP/PrivacyLens"
SOURCE = Source(
    local="privacylens/main_data.json",
    url="https://raw.githubusercontent.com/SALT-NLP/PrivacyLens/"
    "9c2ee07b080dc54ed4924af11d9751e81753c94d/data/main_data.json",
    sha256="2a8b3bfa470ffa9e50b12866857b17d62b422a2fea926b1249220a0244991941",
    licence="MIT (hub card: CC BY 4.0)",
)


class _Seed(BaseModel):
    data_type: Text
    data_subject: Text
    data_sender: Text
    data_sender_name: str = ""
    data_recipient: Text
    transmission_principle: Text
    source: str = ""


class _Vignette(BaseModel):
    story: Text
    data_type_concrete: Text
    data_subject_concrete: Text
    data_sender_concrete: Text
    data_recipient_concrete: Text


class _Trajectory(BaseModel):
    user_name: str = ""
    user_email: str = ""
    user_instruction: Text
    toolkits: tuple[str, ...] = ()
    executable_trajectory: Text
    final_action: str = ""
    sensitive_info_items: Annotated[tuple[Text, ...], Field(min_length=1)]


class _Row(BaseModel):
    name: Text
    seed: _Seed
    vignette: _Vignette
    trajectory: _Trajectory


def load(level: Level = "trajectory", *, data_dir: Path | None = None) -> list[Scenario]:
    """PrivacyLens at one level, from `data_dir`/privacylens/main_data.json or the pinned download.

    Raises:
        DiscretionError: not found, not fetched, or a malformed row (its file, name and field are said).
    """
    return load_file(locate(SOURCE, data_dir), level)


def load_file(path: Path, level: Level = "trajectory", suite: str = "privacylens") -> list[Scenario]:
    """Any file in PrivacyLens' format: its own, its extensions, or a team's.

    Raises:
        DiscretionError: the file is malformed; the message names the row and the field.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise DiscretionError(f"{path}: a PrivacyLens file is a non-empty list of rows")
    scenarios = [_scenario(_row(path, index, raw), level, suite) for index, raw in enumerate(rows)]
    names: set[str] = set()
    for scenario in scenarios:
        if scenario.id in names:
            raise DiscretionError(f"{path}: the name {scenario.id!r} stands twice")
        names.add(scenario.id)
    return scenarios


def _row(path: Path, index: int, raw: Any) -> _Row:
    try:
        return _Row.model_validate(raw)
    except ValidationError as error:
        name = raw.get("name") if isinstance(raw, dict) else None
        raise wrong_field(f"{path}, row {index} ({name})", error) from error


def _scenario(row: _Row, level: Level, suite: str) -> Scenario:
    seed, vignette, trajectory = row.seed, row.vignette, row.trajectory
    context, kind, instruction, agent = _what_the_model_sees(row, level)
    data_type, subject = _without_article(seed.data_type), seed.data_subject
    sender, recipient = f"{seed.data_sender_name}, {seed.data_sender}".strip(", "), seed.data_recipient
    if level == "vignette":
        data_type = _without_article(vignette.data_type_concrete).lower().strip(".")
        subject, sender = vignette.data_subject_concrete, vignette.data_sender_concrete
        recipient = vignette.data_recipient_concrete
    return Scenario(
        id=row.name,
        suite=suite,
        domain=seed.source or "privacylens",
        context_kind=kind,
        context=context,
        instruction=instruction,
        channel=_channel(seed.transmission_principle),
        flow=Flow(
            sender=sender,
            recipient=recipient,
            subject=subject,
            information_type=data_type,
            transmission_principle=seed.transmission_principle,
        ),
        items=tuple(Item(text=text, appropriate=False) for text in trajectory.sensitive_info_items),
        topic=f"{subject}'s {data_type}",
        agent=agent,
    )


def _what_the_model_sees(row: _Row, level: Level) -> tuple[str, ContextKind, str, Agent]:
    trajectory = row.trajectory
    if level == "seed":
        return "", "none", "", Agent()
    if level == "vignette":
        return row.vignette.story, "story", "", Agent()
    agent = Agent(
        user_name=trajectory.user_name,
        user_email=trajectory.user_email,
        tools=trajectory.toolkits,
        final_action=trajectory.final_action,
    )
    return trajectory.executable_trajectory, "trajectory", trajectory.user_instruction, agent


def _without_article(text: str) -> str:
    lowered = text.lower()
    return text[2:] if lowered.startswith("a ") else text[3:] if lowered.startswith("an ") else text


def _channel(principle: str) -> str:
    """The short word for what is sent, as PrivacyLens' probes say it."""
    for word in ("email", "message", "post"):
        if word in principle.lower():
            return word
    return "communication"
