"""Asking a plan of a model and recording the answers, resumably."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from discretion.elicit.plan import Ask, Group, Labels, Outcome
from discretion.errors import DiscretionError
from discretion.files import digest
from discretion.journal import Journal
from discretion.models import Draft, Failure, Model
from discretion.records import Record, RecordStore


class Progress(Protocol):
    """Told how much work lies ahead and how much of it is done, in tokens."""

    def start(self, tokens: int, groups: int) -> None:
        """`tokens` and `groups` are still to be computed."""
        ...

    def advance(self, tokens: int) -> None:
        """One group of `tokens` is recorded."""
        ...


def ask_all(
    models: Sequence[Model],
    plan: Sequence[Group],
    store: RecordStore,
    progress: Progress | None = None,
    *,
    skip_long: bool = False,
) -> list[Record]:
    """Put every group of the plan to every model and return their records, old and new.

    What `store` already holds is not asked again. Models with equal fingerprints give equal answers, so
    they are asked once. Base and tuned answer each scenario in turn: an interrupted run is balanced.

    Raises:
        DiscretionError: a prompt exceeds a model's window and `skip_long` is off (said before anything is
            computed), a model returned NaN, or the records cannot be written.
    """
    asked = _different(models)
    work = _missing(asked, plan, store)
    lengths = dict(zip((key for _, _, key in work), _lengths(work, skip_long), strict=True))
    if progress:
        progress.start(sum(lengths.values()), len(work))
    if work and skip_long:
        # What is stored may be asked again beside what is missing: its length decides, as the first time, if it is.
        stored = [
            (group, model, key)
            for group in plan
            for model in asked
            if (key := group.key(model.fingerprint, model.engine)) not in lengths
        ]
        lengths |= dict(zip((key for _, _, key in stored), _lengths(stored, skip_long), strict=True))
    for part in _parts(plan, asked):
        for model in asked:
            wanted = [(group, group.key(model.fingerprint, model.engine)) for group in part]
            for key, records in _answers(wanted, model, store, lengths):
                store.append(records)
                if progress:
                    progress.advance(lengths[key])
    return [
        record
        for group in plan
        for model in asked
        for record in store.group(group.key(model.fingerprint, model.engine))
    ]


def left(
    models: Sequence[Model], plan: Sequence[Group], store: RecordStore, *, skip_long: bool = False
) -> tuple[int, int]:
    """How many tokens and groups of a plan `ask_all` would have to compute.

    Raises:
        DiscretionError: a prompt exceeds a model's window and `skip_long` is off.
    """
    work = _missing(_different(models), plan, store)
    return sum(_lengths(work, skip_long)), len(work)


def _different(models: Sequence[Model]) -> list[Model]:
    return list({(model.fingerprint, model.engine): model for model in models}.values())


def _missing(asked: Sequence[Model], plan: Sequence[Group], store: RecordStore) -> list[tuple[Group, Model, str]]:
    """What `store` does not hold: group, model and the key of both."""
    return [
        (group, model, key)
        for group in plan
        for model in asked
        if (key := group.key(model.fingerprint, model.engine)) not in store
    ]


def _lengths(work: Sequence[tuple[Group, Model, str]], skip_long: bool) -> list[int]:
    lengths = []
    counted: dict[tuple[int, str], int] = {}
    for group, model, _ in work:
        tokenizer = (id(group), model.name)
        if tokenizer not in counted:
            room = max((ask.sampling.max_new_tokens if ask.sampling else 1) for ask in group.asks)
            counted[tokenizer] = max(model.count_tokens(ask.prompt) for ask in group.asks) + room
        length = counted[tokenizer]
        if length > model.window and not skip_long:
            raise DiscretionError(
                f"{group.suite}, {group.scenario}: {length} tokens with its answer, but {model.name} sees "
                f"{model.window}; --skip-long records such scenarios as errors and goes on"
            )
        lengths.append(length)
    return lengths


def _parts(plan: Sequence[Group], asked: Sequence[Model]) -> Iterator[Sequence[Group]]:
    """What is put to a model in one go: a group of questions alone (servers, GPUs: many), groups to write in batches.

    The parts follow from the plan alone, so a resumed run writes in the same batches.
    """
    at_once = min(model.at_once for model in asked)
    side_by_side = all(model.remote or model.batches for model in asked)
    batch: list[Group] = []
    for group in plan:
        together = group.writes or side_by_side
        if batch and (not together or sum(len(entry.asks) for entry in batch) >= at_once):
            yield batch
            batch = []
        if together:
            batch.append(group)
        else:
            yield [group]
    if batch:
        yield batch


def _answers(
    wanted: Sequence[tuple[Group, str]], model: Model, store: RecordStore, lengths: Mapping[str, int]
) -> Iterator[tuple[str, list[Record]]]:
    if all(key in store for _, key in wanted):
        return
    if model.remote:  # each answer stands by itself, and may have been paid for
        wanted = [(group, key) for group, key in wanted if key not in store]
    # Here, those that are stored are written again beside the missing ones: digits depend on who is in a batch.
    fits = {key for _, key in wanted if lengths.get(key, 0) <= model.window}
    drafts = [ask.draft for group, key in wanted if key in fits for ask in group.asks if ask.sampling]
    texts = iter(_texts(drafts, model, store.texts))
    again = [group for group, key in wanted if key in fits and (model.batches or key not in store)]
    questions = [ask.question for group in again for ask in group.asks if ask.read_options]
    logprobs = iter(model.option_logprobs(questions) if questions else [])
    for group, key in wanted:
        written = [next(texts) if ask.sampling and key in fits else None for ask in group.asks]
        if key in store and not model.batches:
            continue
        chosen = [next(logprobs) if ask.read_options and key in fits else None for ask in group.asks]
        if key not in store:
            yield key, _records(group, model, key, lengths[key], written, chosen)


def _texts(drafts: Sequence[Draft], model: Model, kept: Journal | None) -> Sequence[str | Failure]:
    """What the model writes; what is kept of it is not written again."""
    if kept is None or not drafts:
        return model.generate(drafts) if drafts else []
    keys = [digest([model.fingerprint, model.engine, draft.prompt, list(draft.sampling)]) for draft in drafts]
    places = [place for place, key in enumerate(keys) if key not in kept]
    if places and not model.remote:  # as above
        places = list(range(len(drafts)))
    answers = model.generate([drafts[place] for place in places]) if places else []
    fresh = dict(zip(places, answers, strict=True))
    for place, text in fresh.items():
        if isinstance(text, str) and keys[place] not in kept:
            kept.add(keys[place], text)
    return [fresh[place] if place in fresh else kept[key] for place, key in enumerate(keys)]


def _records(
    group: Group,
    model: Model,
    key: str,
    length: int,
    texts: Sequence[str | Failure | None],
    logprobs: Sequence[tuple[float, ...] | Failure | None],
) -> list[Record]:
    if length > model.window:
        failed = Outcome(error=f"{length} tokens exceed the window of {model.window}")
        return [
            record
            for ask in group.asks
            for record in _of_ask(group, model, key, ask, [failed] * len(ask.parts), None)
        ]
    records = []
    for ask, text, chosen in zip(group.asks, texts, logprobs, strict=True):
        answer = chosen if ask.read_options else text
        if isinstance(answer, Failure):
            outcomes: Sequence[Outcome] = [Outcome(error=answer.reason, again=answer.passing)] * len(ask.parts)
        elif isinstance(answer, str):
            assert ask.read_text is not None
            outcomes = ask.read_text(answer)
        else:
            assert ask.read_options is not None
            assert answer is not None
            outcomes = [ask.read_options(answer)]
        # One copy of a text that many items share.
        records += _of_ask(group, model, key, ask, outcomes, answer if isinstance(answer, str) else None)
    return records


def _of_ask(
    group: Group, model: Model, key: str, ask: Ask, outcomes: Sequence[Outcome], text: str | None
) -> list[Record]:
    parts = zip(ask.parts, group.questions(ask), outcomes, strict=True)
    return [
        _record(group, model, key, ask, part, question, outcome, None if place else text)
        for place, (part, question, outcome) in enumerate(parts)
    ]


def _record(
    group: Group, model: Model, key: str, ask: Ask, part: Labels, question: str, outcome: Outcome, text: str | None
) -> Record:
    return Record(
        key=digest([key, ask.identity, dict(part)]),
        question=question,
        group=key,
        group_size=group.size,
        suite=group.suite,
        condition=group.condition,
        scenario=group.scenario,
        cluster=group.cluster,
        model=model.fingerprint,
        elicitation=group.elicitation,
        variant=ask.variant,
        sample=ask.sample,
        text=text,
        **part,
        **outcome._asdict() | {"judge": outcome.judge or ask.judge},
    )
