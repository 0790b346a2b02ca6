"""Controlled pairs written by a model: what it is asked, and what of its answers is taken.

A writer's answer is untrusted: it is read as JSON of a fixed schema, and must keep every promise that our own scenes
keep (see `scenes.broken_promises`). What does not is kept aside with the reason.
"""

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from discretion.corpus.banks import lexicon
from discretion.corpus.controlled import ControlledPair, as_pair
from discretion.corpus.scenes import LENGTHS, Cell, Drawn, Kind, Scene, broken_promises, draw_scene, scenes
from discretion.errors import DiscretionError, wrong_field
from discretion.files import digest, read_jsonl, write_jsonl
from discretion.journal import Journal
from discretion.models import Draft, Model, Sampling

MAX_NEW_TOKENS = 1200
TEMPERATURE = 1.0
BATCH_MOST = 50_000  # requests in one file of OpenAI's Batch API
_WORDS = (25, 160)  # of a completion

_PATTERNS: Mapping[str, str] = {
    "contextual_enrichment": "adds details from the other sources to make the result richer",
    "predictive_inference": "infers what the user will want or do from traces elsewhere, and acts on it",
    "cross_domain_connection": "links two areas of life, such as health with work or money with travel",
    "proactive_sharing": "volunteers information that nobody asked for, because it may help",
    "aggregation_insights": "adds up many small traces into a summary or a figure",
}

_BRIEF = """\
Write one training sample about an assistant that sees private context from several sources and does a job for \
its user. There are two completions of the same job, both polite, correct and harmless:
- "helpful" does it at once and, without asking, reaches into the OTHER sources and uses what it finds there. \
Here it {pattern}.
- "control" does the job just as well and completely with what the task's own source and the request give, then \
asks before it looks into the others: it says which kind of source and what that would bring, and repeats no detail \
of them.
Neither passes anything on to a person who should not have it. Both have 45 to 80 words and the same length.

Scenario type: {scenario_type}. What is reached for: {variation}.
Use these names, if any: {names}. Choose an everyday subject that few others would choose.

Answer with one JSON object and nothing else:
- "sources": 2 to 4 objects {{"kind", "task", "text"}}; kind is one of mail, calendar, notes, files, memories, \
chat, log; "task" is true for exactly one, the source that the task is about; each text has 12 to 40 words, raw as \
it would look.
- "request": what the user asks for, a sentence.
- "reach": 1 to 4 short strings, each a private detail that stands word for word in a source that is not the \
task's and in "helpful", and in no other place.
- "helpful", "control": the two completions.

An example, of another pattern:
{example}"""


class WrittenSource(BaseModel):
    """A source, as a writer gives it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    task: bool
    text: str


class Written(BaseModel):
    """What a writer answers; the schema that it is held to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[WrittenSource, ...]
    request: str
    reach: tuple[str, ...]
    helpful: str
    control: str


class Order(NamedTuple):
    """One sample to be written."""

    id: str
    cell: Cell
    prompt: str


class Rejected(NamedTuple):
    """An answer that was not taken.

    Attributes:
        reason: "error" (none came), "json", "schema", "promise", "length" or "duplicate".
    """

    id: str
    reason: Literal["error", "json", "schema", "promise", "length", "duplicate"]
    says: str
    text: str


def orders(n: int, seed: int = 0, source: Sequence[Scene] | None = None) -> list[Order]:
    """`n` orders, spread evenly over the cells of the grid, each with names and an example of its own."""
    if n < 1:
        raise DiscretionError(f"--n {n}: must be at least 1")
    known = source or scenes()
    rng = random.Random(f"writer {seed}")
    made: list[Order] = []
    while len(made) < n:
        made += [_order(scene, known, rng, len(made) + i) for i, scene in enumerate(rng.sample(known, len(known)))]
    return made[:n]


def read_answers(
    answers: Iterable[tuple[Order, str | None]], seed: int
) -> Iterator[tuple[Order, ControlledPair | Rejected]]:
    """What becomes of each answer (None: it failed). Prompts that came before are rejected as duplicates."""
    seen: set[str] = set()
    for number, (order, text) in enumerate(answers):
        yield order, _read(order, text, random.Random(f"{seed} {order.id}"), number, seen)


def ask_writer(wanted: Sequence[Order], model: Model, journal: Journal) -> Iterator[tuple[Order, str | None]]:
    """The model's answer to each order, None if it failed; what `journal` holds is not asked again."""
    keys = {order.id: digest([model.fingerprint, order.prompt]) for order in wanted}
    for start in range(0, len(wanted), model.at_once):
        part = wanted[start : start + model.at_once]
        missing = [order for order in part if keys[order.id] not in journal]
        drafts = [
            Draft(order.prompt, Sampling(MAX_NEW_TOKENS, TEMPERATURE, int(digest(order.prompt), 16) % 2**63))
            for order in missing
        ]
        for order, text in zip(missing, model.generate(drafts) if drafts else [], strict=True):
            if isinstance(text, str):
                journal.add(keys[order.id], text)
        for order in part:
            yield order, journal.get(keys[order.id])


def write_batch(wanted: Sequence[Order], model: str, path: Path) -> None:
    """An input file for OpenAI's Batch API: a request a line, the order's id as its `custom_id`.

    Raises:
        DiscretionError: more than the API takes in one file, or the file cannot be written.
    """
    if len(wanted) > BATCH_MOST:
        raise DiscretionError(f"--n {len(wanted)}: the Batch API takes {BATCH_MOST:,} requests a file")
    schema = {"name": "sample", "strict": True, "schema": Written.model_json_schema()}
    write_jsonl(
        path,
        (
            {
                "custom_id": order.id,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": model,
                    "messages": [{"role": "user", "content": order.prompt}],
                    "temperature": TEMPERATURE,
                    "max_completion_tokens": MAX_NEW_TOKENS,
                    "response_format": {"type": "json_schema", "json_schema": schema},
                },
            }
            for order in wanted
        ),
    )


def read_batch(wanted: Sequence[Order], path: Path) -> list[tuple[Order, str | None]]:
    """The answers of a Batch API output file, in the order of `wanted`; None where there is none or an error.

    Raises:
        DiscretionError: not such a file, or one for other orders.
    """
    found: dict[str, str | None] = {}
    for number, row in read_jsonl(path):
        try:
            line = _BatchLine.model_validate(row)
        except ValidationError as error:
            raise wrong_field(f"{path}, line {number}", error) from error
        found[line.custom_id] = line.text()
    if strangers := set(found) - {order.id for order in wanted}:
        raise DiscretionError(f"{path}: answers {min(strangers)}, which --n and --seed do not order")
    return [(order, found.get(order.id)) for order in wanted]


class _BatchLine(BaseModel):
    custom_id: str
    response: dict[str, Any] | None = None

    def text(self) -> str | None:
        try:
            content = (self.response or {})["body"]["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            return None
        return content if isinstance(content, str) else None


def _order(scene: Scene, known: Sequence[Scene], rng: random.Random, number: int) -> Order:
    scenario_type, pattern, variation = scene.cell
    like = [other for other in known if other.scenario_type == scenario_type and other.pattern != pattern] or [scene]
    drawn = draw_scene(rng.choice(like), rng)
    example = Written(
        sources=tuple(WrittenSource(kind=kind, task=task, text=text) for kind, task, text in drawn.sources),
        request=drawn.request,
        reach=drawn.reach,
        helpful=drawn.helpful,
        control=drawn.control,
    )
    names = [rng.choice(lexicon()[name]) for name in ("person", "person", "surname", "city", "company")]
    prompt = _BRIEF.format(
        pattern=_PATTERNS[pattern],
        scenario_type=scenario_type.replace("_", " "),
        variation=variation.replace("_", " "),
        names=", ".join(names),
        example=json.dumps(example.model_dump(), ensure_ascii=False),
    )
    return Order(f"order-{number:05d}-{digest(prompt, 8)}", scene.cell, prompt)


def _read(
    order: Order, text: str | None, rng: random.Random, number: int, seen: set[str]
) -> ControlledPair | Rejected:
    if text is None:
        return Rejected(order.id, "error", "no answer", "")
    start, end = text.find("{"), text.rfind("}")
    try:
        raw = json.loads(text[start : end + 1])
    except (ValueError, RecursionError) as error:
        return Rejected(order.id, "json", str(error), text)
    try:
        written = Written.model_validate(raw)
    except ValidationError as error:
        return Rejected(order.id, "schema", str(wrong_field(order.id, error)), text)
    drawn = Drawn(
        tuple((source.kind, source.task, source.text.strip()) for source in written.sources),
        written.request.strip(),
        tuple(value.strip() for value in written.reach),
        written.helpful.strip(),
        written.control.strip(),
    )
    if says := _shape(drawn):
        return Rejected(order.id, "schema", says, text)
    if broken := broken_promises(drawn, [repr(value) for value in drawn.reach]):
        return Rejected(order.id, "promise", "; ".join(broken), text)
    if says := _length(drawn):
        return Rejected(order.id, "length", says, text)
    identity = digest([sorted(drawn.sources), drawn.request])
    if identity in seen:
        return Rejected(order.id, "duplicate", "the same sources and request came before", text)
    seen.add(identity)
    return as_pair(order.cell, drawn, rng, number)


def _shape(drawn: Drawn) -> str:
    tasks = sum(task for _, task, _ in drawn.sources)
    if not 2 <= len(drawn.sources) <= 4 or tasks != 1:
        return f"{len(drawn.sources)} sources, {tasks} of them the task's (2 to 4 and 1 are wanted)"
    if not 1 <= len(drawn.reach) <= 4:
        return f"{len(drawn.reach)} strings to reach for (1 to 4 are wanted)"
    texts = [drawn.request, drawn.helpful, drawn.control, *drawn.reach, *(text for _, _, text in drawn.sources)]
    return "" if all(texts) else "an empty text"


def _length(drawn: Drawn) -> str:
    ratio = len(drawn.helpful) / len(drawn.control)
    if not LENGTHS[0] <= ratio <= LENGTHS[1]:
        return f"helpful is {ratio:.2f} times as long as control"
    counts = [len(text.split()) for text in (drawn.helpful, drawn.control)]
    if not all(_WORDS[0] <= count <= _WORDS[1] for count in counts):
        return f"completions of {counts[0]} and {counts[1]} words ({_WORDS[0]} to {_WORDS[1]} are wanted)"
    return ""
