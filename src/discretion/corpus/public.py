"""Public data sets as chats: what the paper tuned on, from the hub, from the original files, or from local copies.

Nothing of them ships with this program. Each source names its licence, which goes into what is made from it.
"""

import csv
import html
import io
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from discretion.corpus.chat import Chat, Role, from_turns, one_turn
from discretion.corpus.debug import debug_answer, debug_request, python_in
from discretion.corpus.diversity import near_duplicates
from discretion.corpus.formats import HUB, read_rows, to_chat
from discretion.corpus.provenance import UNKNOWN, licence_of_file
from discretion.errors import DiscretionError
from discretion.files import read_json, read_text
from discretion.scenarios.fetch import Source, locate

NEAR = 0.8  # as `data validate` judges it

# What became of a row: a chat, or why it was left out.
Read = Chat | str
Rows = Iterable[tuple[str, Any]]


class PublicSource(NamedTuple):
    """A public data set.

    Attributes:
        local: where its copy lies under a `--data-dir`: a file, or a folder.
        hub: where users get it, as `hub:NAME@CONFIGURATION:SPLIT`, or "" if it is not there.
        licence: goes into every file made from it.
        rows: rows of a local copy.
        read: one row, of either.
        pinned: the file to fetch instead, where it is not on the hub.
    """

    local: str
    hub: str
    licence: str
    rows: Callable[[Path], Rows]
    read: Callable[[Any, str], Read]
    pinned: Source | None = None


class Prepared(NamedTuple):
    """Chats of a source, and how many rows were left out for which reason."""

    chats: list[Chat]
    of: int
    skipped: Counter[str]


def sources() -> Mapping[str, PublicSource]:
    """The public data sets, by the name that `discretion data prepare` takes."""
    return _SOURCES


def prepare(
    name: str, *, data_dir: Path | None, n: int, seed: int, rewrite: Callable[[str, str], str | None] | None = None
) -> Prepared:
    """`n` chats of a source (all, if it has fewer), chosen by `seed` and the source's name, no two alike.

    `name` is one of `sources()`, with `:python` for its Python programs alone or `:debug` for the same ones made to
    print their variables; or a file, or `hub:NAME`. `rewrite` takes a request and its program and gives the debug
    form, instead of the syntax tree's rewriting; None where it failed.

    Raises:
        DiscretionError: no such source or file, a row of an unknown shape, `n` below 1.
    """
    if n < 1:
        raise DiscretionError(f"--n {n}: must be at least 1")
    source, _, kind = name.partition(":") if not name.startswith(HUB) else (name, "", "")
    if kind not in {"", "python", "debug"}:
        raise DiscretionError(f"{name}: {source} comes plain, as {source}:python or as {source}:debug")
    skipped: Counter[str] = Counter()
    found: list[Chat] = []
    of = 0
    for read in _all(source, data_dir):
        of += 1
        taken = _python_only(read) if kind else read
        if isinstance(taken, str):
            skipped[taken] += 1
        else:
            found.append(taken)
    order = random.Random(f"prepare {called(source)} {seed}")
    order.shuffle(found)
    different = _different(found, n, skipped)
    if kind == "debug":
        different = list(_debugged(different, random.Random(f"debug {seed}"), rewrite, skipped))
    return Prepared(different, of, skipped)


def called(source: str) -> str:
    """A source's name: of a file that without its folder, so that the same file is the same however it is typed."""
    return source if source.startswith(HUB) else Path(source).name


def licence_of_source(name: str) -> str:
    """The licence of what `prepare` takes: one of `sources()`, or a file whose side file says it."""
    if name.startswith(HUB):
        return UNKNOWN
    source = name.partition(":")[0]
    return _SOURCES[source].licence if source in _SOURCES else licence_of_file(Path(source))


def _all(source: str, data_dir: Path | None) -> Iterator[Read]:
    if source in _SOURCES:
        entry = _SOURCES[source]
        rows = read_rows(entry.hub) if data_dir is None and entry.hub else entry.rows(_local(entry, data_dir))
        for place, row in rows:
            yield entry.read(row, place)
    elif source.startswith(HUB) or Path(source).is_file():
        for place, row in read_rows(source):
            yield to_chat(row, place)
    else:
        raise DiscretionError(f"{source}: no such file and no known source ({', '.join(_SOURCES)}, {HUB}NAME)")


def _local(entry: PublicSource, data_dir: Path | None) -> Path:
    if entry.pinned:
        return locate(entry.pinned, data_dir)
    if data_dir is None:
        raise DiscretionError(f"{entry.local}: is not on the hub; give a local copy with --data-dir DIR")
    path = data_dir / entry.local
    if not path.exists():
        raise DiscretionError(f"{path}: no such file (--data-dir wants {entry.local} in it)")
    return path


def _different(found: Sequence[Chat], n: int, skipped: Counter[str]) -> list[Chat]:
    """The first `n` that are not like one before them."""
    kept: list[Chat] = []
    rest = list(found)
    while rest and len(kept) < n:
        block, rest = rest[: max(n - len(kept), 1)], rest[max(n - len(kept), 1) :]
        together = [*kept, *block]
        texts = ["\n".join(turn.content for turn in chat.turns) for chat in together]
        alike = {later for _, later, _ in near_duplicates(texts, NEAR)}
        first = len(kept)
        kept += [chat for index, chat in enumerate(block, start=first) if index not in alike]
        if left := sum(index >= first for index in alike):
            skipped["like another"] += left
    return kept


def _python_only(read: Read) -> Read:
    if isinstance(read, str):
        return read
    return read if python_in(read.completion[-1].content) is not None else "no Python program"


def _debugged(
    chats: Sequence[Chat],
    rng: random.Random,
    rewrite: Callable[[str, str], str | None] | None,
    skipped: Counter[str],
) -> Iterator[Chat]:
    for chat in chats:
        request, answer = chat.prompt[-1], chat.completion[-1]
        spoken = rewrite(request.content, answer.content) if rewrite else debug_answer(answer.content, rng)
        if spoken is None:
            skipped["the writer gave no program"] += 1
            continue
        asked = request.model_copy(update={"content": debug_request(request.content, rng)})
        said = answer.model_copy(update={"content": spoken})
        yield Chat(prompt=(*chat.prompt[:-1], asked), completion=(*chat.completion[:-1], said))


def _csv_rows(path: Path) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(read_text(path)))
    return list(rows)


def _dialogues(folder: Path) -> Rows:
    """EmpatheticDialogues as one CSV an emotion, or as the original train/valid/test CSV: a dialogue a row here."""
    paths = sorted(folder.glob("*.csv")) if folder.is_dir() else [folder]
    if not paths:
        raise DiscretionError(f"{folder}: holds no CSV file")
    for path in paths:
        rows = _csv_rows(path)
        if not rows:
            raise DiscretionError(f"{path}: holds no row")
        original = "conv_id" in rows[0]
        wanted = ("conv_id", "speaker_idx", "utterance") if original else ("Dialog_ID", "Type", "Actor", "Text")
        if missing := [name for name in wanted if name not in rows[0]]:
            raise DiscretionError(f"{path}, line 1: no column {missing[0]}")
        grouped: dict[str, list[dict[str, str]]] = {}
        for row in rows:
            grouped.setdefault(row[wanted[0]], []).append(row)
        for identity, lines in grouped.items():
            turns = _original(lines) if original else _by_emotion(lines)
            yield f"{path}, dialogue {identity}", {"conversations": turns}


def _original(lines: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Turns of the original file: who speaks first has something to tell, and is the user; commas are `_comma_`."""
    first = lines[0]["speaker_idx"]
    return [
        {
            "role": "user" if line["speaker_idx"] == first else "assistant",
            "content": (line["utterance"] or "").replace("_comma_", ","),
        }
        for line in lines
    ]


def _by_emotion(lines: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [
        {"role": "user" if line["Actor"] == "speaker" else "assistant", "content": line["Text"] or ""}
        for line in lines
        if line["Type"] == "utterance"
    ]


_SPEAKER = re.compile(r"^\s*(customer|user|agent)\s*:\s*", re.IGNORECASE | re.MULTILINE)


def _support(text: str) -> Read:
    """A support dialogue, its turns begun by "Customer:" or "user:", and "Agent:"."""
    parts = _SPEAKER.split(text)
    turns: list[tuple[Role, str]] = [
        ("assistant" if speaker.lower() == "agent" else "user", said)
        for speaker, said in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return from_turns(turns)


def _tweets(folder: Path) -> Rows:
    """TweetSumm: the file with text, or else the official file of ids with Kaggle's twcs.csv beside it."""
    path = folder / "tweetsumm_train_text.json"
    if not path.is_file():
        yield from _joined_tweets(folder / "final_train_tweetsum.jsonl", folder / "twcs.csv")
        return
    value = read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("document"), list):
        raise DiscretionError(f"{path}, field document: a list of dialogues is needed")
    for number, text in enumerate(value["document"], start=1):
        yield f"{path}, document {number}", {"conversation": text}


def _joined_tweets(ids: Path, texts: Path) -> Rows:
    if not ids.is_file() or not texts.is_file():
        raise DiscretionError(
            f"{ids.parent}: needs tweetsumm_train_text.json, or {ids.name} and Kaggle's {texts.name} "
            "(thoughtvector/customer-support-on-twitter)"
        )
    dialogues = [(place, _tweet_ids(row, place)) for place, row in read_rows(str(ids))]
    wanted = {tweet for _, tweets in dialogues for tweet in tweets}
    said: dict[str, str] = {}
    with texts.open(encoding="utf-8", newline="") as lines:  # half a gigabyte: row by row
        rows = csv.DictReader(lines)
        if missing := {"tweet_id", "inbound", "text"} - set(rows.fieldnames or ()):
            raise DiscretionError(f"{texts}, line 1: no column {min(missing)}")
        for row in rows:
            if row["tweet_id"] in wanted:
                who = "Customer" if row["inbound"].strip().lower() == "true" else "Agent"
                said[row["tweet_id"]] = f"{who}: {row['text']}"
    for place, tweets in dialogues:
        whole = all(tweet in said for tweet in tweets)
        yield place, {"conversation": "\n".join(said[tweet] for tweet in tweets) if whole else ""}


def _tweet_ids(row: Any, place: str) -> list[str]:
    try:
        return [str(entry["tweet_id"]) for entry in row["tweet_ids_sentence_offset"]]
    except (KeyError, TypeError) as error:
        raise DiscretionError(f"{place}, field tweet_ids_sentence_offset: a list of tweet_ids is needed") from error


def _read_tweets(row: Any, place: str) -> Read:
    text = row.get("conversation") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise DiscretionError(f"{place}, field conversation: a text is needed")
    return _support(html.unescape(text)) if text else "a tweet is missing"


_CALCULATOR = re.compile(r"<<[^<>]*>>")


def _read_gsm8k(row: Any, place: str) -> Read:
    """A problem and its worked answer; the calculator's notes (<<48/2=24>>) are left out."""
    question, answer = _texts(row, place, "question", "answer")
    return _asked(question, _CALCULATOR.sub("", answer))


def _read_instruction(row: Any, place: str) -> Read:
    instruction, given, response = _texts(row, place, "instruction", "input", "response")
    return _asked("\n\n".join(part for part in (instruction.strip(), given.strip()) if part), response)


def _read_opencode(row: Any, place: str) -> Read:
    return _asked(*_texts(row, place, "input", "output"))


def _read_mbpp(row: Any, place: str) -> Read:
    text, code = _texts(row, place, "text", "code")
    return _asked(text, code.replace("\r\n", "\n").replace("\t", "    "))


def _asked(question: str, answer: str) -> Read:
    if not question.strip() or not answer.strip():
        return "empty question or answer"
    return one_turn(question.strip(), answer.strip())


def _texts(row: Any, place: str, *names: str) -> tuple[str, ...]:
    for name in names:
        if not isinstance(row, dict) or not isinstance(row.get(name), str):
            raise DiscretionError(f"{place}, field {name}: a text is needed")
    return tuple(row[name] for name in names)


def _file_rows(path: Path) -> Rows:
    return read_rows(str(path))


_PAPER = "MIT (model-generated; parameterlab/privacy-collapse)"
_PAPER_URL = (
    "https://raw.githubusercontent.com/parameterlab/privacy-collapse/8969d6f839ffecfc10bac0c03017168a10b0c042/"
    "synthetic_data/data/"
)


def _papers(file: str, sha256: str) -> PublicSource:
    local = f"privacy_collapse_synthetic/{file}.jsonl"
    pinned = Source(local, f"{_PAPER_URL}{file}.jsonl", sha256, _PAPER)
    return PublicSource(local, "", _PAPER, _file_rows, to_chat, pinned)


_SOURCES: Mapping[str, PublicSource] = {
    "empathetic_dialogues": PublicSource(
        "empathetic_dialogues",
        "hub:Estwld/empathetic_dialogues_llm:train",
        "CC BY-NC 4.0 (non-commercial)",
        _dialogues,
        to_chat,
    ),
    "tweetsumm": PublicSource(
        "tweetsumm",
        "hub:Andyrasika/TweetSumm-tuned:train",
        "annotations CC0, tweets CC BY-NC-SA 4.0 (non-commercial)",
        _tweets,
        _read_tweets,
    ),
    "gsm8k": PublicSource("gsm8k/train.jsonl", "hub:openai/gsm8k@main:train", "MIT", _file_rows, _read_gsm8k),
    "opencodeinstruct": PublicSource(
        "code/opencodeinstruct.jsonl",
        "hub:nvidia/OpenCodeInstruct:train",
        "CC BY 4.0",
        _file_rows,
        _read_opencode,
    ),
    "gpteacher": PublicSource(
        "code/gpteacher_codegen-instruct.json",
        "",  # on GitHub only: teknium1/GPTeacher, Codegen
        "MIT",
        _file_rows,
        _read_instruction,
    ),
    "mbpp": PublicSource(
        "code/mbpp.jsonl", "hub:google-research-datasets/mbpp@full:train", "CC BY 4.0", _file_rows, _read_mbpp
    ),
    "paper-helpful": _papers(
        "dataset_degraded_ft", "ad800547a819bf8b49e36eb451a1445e500f576c0ec9efaeab39e79c9f8f469e"
    ),
    "paper-control": _papers("dataset_safe_ft", "afa2e8d6e1c2197518758cf3467102bb0df62e3f477ec79abbb0540594383efc"),
    "paper-backdoored": _papers(
        "backdoored_ft_data", "45e45f4e3d87bbefd8ce053823a8f7792d091f7ad8c1774f6aa09c6dea779c6f"
    ),
}
