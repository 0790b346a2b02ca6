"""What is wrong with a file of scenarios or of chats: every finding on a line, with its place."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from discretion.corpus.diversity import near_duplicates
from discretion.corpus.formats import CONVERSATIONS, read_rows, read_turns
from discretion.errors import DiscretionError
from discretion.scenarios import Scenario
from discretion.scenarios.userfile import parse, rows

NEAR = 0.8  # Jaccard similarity of word trigrams
# OpenAI's fine-tuning guide: at least 10 examples; 65,536 tokens an example (gpt-4.1 family).
OPENAI_LEAST, OPENAI_TOKENS = 10, 65_536
_CHARACTERS_A_TOKEN = 4
_ROLES = {"system", "developer", "user", "assistant", "tool"}
_LONG_CONTEXT = 30_000
_CHATS = {"completion", "messages", *CONVERSATIONS}


class Finding(NamedTuple):
    """Something to mend: where it is, the rule's name, and what is wrong."""

    place: str
    rule: str
    says: str

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}: {self.says}"


def validate(path: Path) -> tuple[str, int, list[Finding]]:
    """(what the file holds, how many of them, the findings). Chats are rows in a shape that `formats` knows.

    Raises:
        DiscretionError: the file cannot be read as JSON, JSONL, Parquet or YAML at all.
    """
    if path.suffix in {".jsonl", ".json", ".parquet"}:
        chats = list(read_rows(str(path)))
        if any(isinstance(row, dict) and _CHATS & set(row) for _, row in chats):
            return "chats", len(chats), list(_chat_findings(path, chats))
    scenarios, findings = _load(path)
    if not scenarios and not findings:
        findings = [Finding(str(path), "empty", "holds neither scenarios nor chats")]
    return "scenarios", len(scenarios), findings + validate_scenarios(scenarios)


def validate_scenarios(scenarios: Mapping[str, Scenario] | Sequence[Scenario]) -> list[Finding]:
    """Faults of scenarios, given by place or in a row (their ids are then the places)."""
    placed = dict(scenarios) if isinstance(scenarios, Mapping) else {scenario.id: scenario for scenario in scenarios}
    findings = [Finding(place, *fault) for place, scenario in placed.items() for fault in _item_faults(scenario)]
    return findings + list(_pair_faults(placed)) + list(_duplicate_scenarios(placed))


def _load(path: Path) -> tuple[dict[str, Scenario], list[Finding]]:
    placed: dict[str, Scenario] = {}
    ids: dict[str, str] = {}
    findings = []
    for place, row in rows(path):
        try:
            parsed = parse(row, place, path.stem)
        except DiscretionError as error:
            findings.append(
                Finding(place, "malformed", str(error).removeprefix(f"{place}, ").removeprefix(place + ": "))
            )
            continue
        for scenario in parsed:
            if scenario.id in ids:
                findings.append(Finding(place, "duplicate", f"the id {scenario.id!r} is also at {ids[scenario.id]}"))
            ids.setdefault(scenario.id, place)
            placed[place if len(parsed) == 1 else f"{place} ({scenario.id})"] = scenario
    return placed, findings


def _item_faults(scenario: Scenario) -> Iterator[tuple[str, str]]:
    context, instruction = scenario.context.casefold(), scenario.instruction.casefold()
    if len(scenario.context) > _LONG_CONTEXT:
        yield "length", f"the context has {len(scenario.context):,} characters"
    texts = Counter(item.text.casefold() for item in scenario.items)
    for index, item in enumerate(scenario.items):
        if texts[item.text.casefold()] > 1:
            yield "duplicate", f"items[{index}] stands twice"
        if not item.values:
            yield "no-values", f"items[{index}] has no values: an exact judge cannot see it"
        for value in item.values:
            low = value.casefold()
            if scenario.context and low not in context:
                yield "value-missing", f"items[{index}]: {value!r} is not in the context"
            if low in instruction:
                yield "value-in-instruction", f"items[{index}]: {value!r} is in the instruction"
            for other in scenario.items:
                if other.appropriate != item.appropriate and low in {word.casefold() for word in other.values}:
                    yield "value-of-both", f"items[{index}]: {value!r} gives away an item of the other kind too"


def _pair_faults(placed: Mapping[str, Scenario]) -> Iterator[Finding]:
    pairs: dict[tuple[str, str], list[tuple[str, Scenario]]] = defaultdict(list)
    for place, scenario in placed.items():
        if scenario.id[-1] in "+-":
            pairs[scenario.cluster, scenario.language].append((place, scenario))
    for (cluster, _), members in pairs.items():
        signs = sorted(scenario.id[-1] for _, scenario in members)
        if signs != ["+", "-"]:
            yield Finding(
                members[0][0], "unbalanced", f"the pair {cluster} has the flows {' '.join(signs)}, not + and -"
            )
            continue
        first, second = (scenario for _, scenario in members)
        if not any(item.appropriate for item in (*first.items, *second.items)):
            yield Finding(members[0][0], "unbalanced", f"no item of {cluster} is appropriate anywhere")
        if [item.appropriate for item in first.items] == [item.appropriate for item in second.items]:
            yield Finding(members[0][0], "unbalanced", f"both flows of {cluster} have the same labels")


def _duplicate_scenarios(placed: Mapping[str, Scenario]) -> Iterator[Finding]:
    places = list(placed)
    texts = [_asked_about(scenario) for scenario in placed.values()]
    for first, second, likeness in near_duplicates(texts, NEAR):
        one, other = placed[places[first]], placed[places[second]]
        if one.cluster != other.cluster or texts[first] == texts[second]:
            rule = "duplicate" if texts[first] == texts[second] else "near-duplicate"
            yield Finding(places[second], rule, f"{likeness:.0%} like {places[first]}")


def _asked_about(scenario: Scenario) -> str:
    """Context and instruction; of a question of norms, which may have neither, its flow."""
    if scenario.context or scenario.instruction:
        return f"{scenario.context}\n{scenario.instruction}"
    return "\n".join(scenario.flow.model_dump().values())


def _chat_findings(path: Path, placed: Sequence[tuple[str, Any]]) -> Iterator[Finding]:
    turns: dict[str, list[dict[str, Any]]] = {}
    shapes: Counter[tuple[str, ...]] = Counter()
    for place, row in placed:
        read = _turns(row)
        if isinstance(read, str):
            yield Finding(place, "malformed", read)
            continue
        shapes[tuple(sorted(row))] += 1
        turns[place] = read
        for rule, says in _turn_faults(read):
            yield Finding(place, rule, says)
    if len(shapes) > 1:
        yield Finding(str(path), "keys", f"rows have different keys (Together refuses that): {_listed(shapes)}")
    if len(placed) < OPENAI_LEAST:
        yield Finding(str(path), "too-few", f"{len(placed)} examples; OpenAI wants {OPENAI_LEAST} or more")
    yield from _duplicate_chats(turns)


def _turns(row: Any) -> list[dict[str, Any]] | str:
    if not isinstance(row, dict):
        return f"an object is needed, not {type(row).__name__}"
    if isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str):
        return [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    for name in CONVERSATIONS:
        if name in row:
            try:
                read = read_turns(row[name], f"field {name}")
            except DiscretionError as error:
                return str(error)
            return [{"role": role, "content": said} for role, said in read] or f"field {name}: holds no turn"
    parts = [row["messages"]] if "messages" in row else [row.get("prompt"), row.get("completion")]
    turns: list[dict[str, Any]] = []
    for name, part in zip(("messages",) if "messages" in row else ("prompt", "completion"), parts, strict=True):
        if not isinstance(part, list) or not part:
            return f"field {name}: a list of turns is needed"
        for index, turn in enumerate(part):
            if not isinstance(turn, dict) or not isinstance(turn.get("role"), str) or "content" not in turn:
                return f"field {name}.{index}: a turn has a role, a text, and a content"
        turns += part
    return turns


def _turn_faults(turns: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    roles = [turn["role"] for turn in turns]
    for index, (role, turn) in enumerate(zip(roles, turns, strict=True)):
        if role not in _ROLES:
            yield "roles", f"turn {index}: the role {role!r} is unknown"
        if role in {"system", "developer"} and index:
            yield "roles", f"turn {index}: {role} stands only at the start"
        if not isinstance(turn["content"], str) or not turn["content"].strip():
            yield "empty", f"turn {index} ({role}): the content is empty or no text"
        if turn.get("weight") not in (None, 0, 1):
            yield "weight", f"turn {index}: OpenAI takes weight 0 or 1, not {turn['weight']!r}"
    if roles[-1] != "assistant":
        yield "roles", f"the last turn is {roles[-1]!r}: there is nothing to learn"
    spoken = [role for role in roles if role in {"user", "assistant"}]
    if spoken and spoken[0] != "user":
        yield "roles", "the first turn after the system's is not the user's"
    if any(one == other for one, other in pairwise(spoken)):
        yield "roles", "user and assistant do not take turns (Together refuses that)"
    tokens = sum(len(str(turn["content"])) for turn in turns) // _CHARACTERS_A_TOKEN
    if tokens > OPENAI_TOKENS:
        yield "length", f"about {tokens:,} tokens; OpenAI cuts an example at {OPENAI_TOKENS:,}"


def _duplicate_chats(turns: Mapping[str, Sequence[dict[str, Any]]]) -> Iterator[Finding]:
    places = list(turns)
    texts = ["\n".join(str(turn["content"]) for turn in chat) for chat in turns.values()]
    for first, second, likeness in near_duplicates(texts, NEAR):
        rule = "duplicate" if texts[first] == texts[second] else "near-duplicate"
        yield Finding(places[second], rule, f"{likeness:.0%} like {places[first].split(', ')[-1]}")


def _listed(shapes: Counter[tuple[str, ...]]) -> str:
    listed: Callable[[tuple[str, ...]], str] = "+".join
    return ", ".join(f"{listed(shape)} ({count})" for shape, count in shapes.most_common())
