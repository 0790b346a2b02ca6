"""CommonSenseQA (Talmor et al., NAACL 2019, arXiv 1811.00937), the paper's capability control: 1,221 questions.

With probabilities instead of 0/1 the official dev set supports an equivalence margin of two points
(measured); at 0/1 it supports three.
"""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from discretion.controls._types import Choice
from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_jsonl
from discretion.scenarios.fetch import Source, locate

HUB_ID = "tau/commonsense_qa"
SOURCE = Source(
    local="commonsenseqa/dev_rand_split.jsonl",
    url="https://s3.amazonaws.com/commensenseqa/dev_rand_split.jsonl",
    sha256="3210497fdaae614ac085d9eb873dd7f4d49b6f965a93adadc803e1229fd8a02a",
    licence="MIT",
)


class _Option(BaseModel):
    label: str
    text: str


class _Question(BaseModel):
    stem: str
    choices: list[_Option]


class _Row(BaseModel):
    id: str
    answerKey: str  # noqa: N815
    question: _Question


def load(*, data_dir: Path | None = None, download: bool = True) -> list[Choice]:
    """The official dev questions, from `data_dir` or the pinned download.

    Raises:
        DiscretionError: not to be had, or a malformed line (its number and field are said).
    """
    path = locate(SOURCE, data_dir, download=download)
    questions = []
    for number, raw in read_jsonl(path):
        try:
            row = _Row.model_validate(raw)
            labels = [option.label for option in row.question.choices]
            questions.append(
                Choice(
                    id=row.id,
                    question=row.question.stem,
                    choices=tuple(option.text for option in row.question.choices),
                    answer=labels.index(row.answerKey) if row.answerKey in labels else -1,
                )
            )
        except ValidationError as error:
            raise wrong_field(f"{path}, line {number}", error, whole="answerKey") from error
    if not questions:
        raise DiscretionError(f"{path}: holds no question")
    return questions
