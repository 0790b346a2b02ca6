"""Our own 320 questions, half knowledge and half reasoning: a control that needs no download."""

from importlib import resources
from pathlib import Path

from discretion.controls._types import Choice
from discretion.files import read_jsonl


def load() -> list[Choice]:
    """The questions, four choices each, the right letter equally often in every place."""
    path = Path(str(resources.files("discretion") / "controls" / "data" / "questions.jsonl"))
    return [Choice.model_validate(row) for _, row in read_jsonl(path)]
