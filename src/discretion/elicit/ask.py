"""Asking a plan of a model and recording the answers, resumably."""

from collections.abc import Sequence
from typing import Protocol

from discretion.elicit.plan import Ask, Group, Outcome
from discretion.errors import DiscretionError
from discretion.files import digest
from discretion.models import Model
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
    asked = list({(model.fingerprint, model.engine): model for model in models}.values())
    work = [
        (group, model, key)
        for group in plan
        for model in asked
        if (key := group.key(model.fingerprint, model.engine)) not in store
    ]
    lengths = _lengths(work, skip_long)
    if progress:
        progress.start(sum(lengths), len(work))
    for (group, model, key), length in zip(work, lengths, strict=True):
        store.append(_answer(group, model, key, length))
        if progress:
            progress.advance(length)
    return [
        record
        for group in plan
        for model in asked
        for record in store.group(group.key(model.fingerprint, model.engine))
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


def _answer(group: Group, model: Model, key: str, length: int) -> list[Record]:
    if length > model.window:
        error = f"{length} tokens exceed the window of {model.window}"
        return [_record(group, model, key, ask, Outcome(), None, error) for ask in group.asks]
    by_options = [ask for ask in group.asks if ask.read_options]
    logprobs = iter(model.option_logprobs([ask.question for ask in by_options]) if by_options else [])
    records = []
    for ask in group.asks:
        text = None
        if ask.read_options:
            outcome = ask.read_options(next(logprobs))
        else:
            assert ask.sampling is not None
            assert ask.read_text is not None
            text = model.generate(ask.prompt, ask.sampling)
            outcome = ask.read_text(text)
        records.append(_record(group, model, key, ask, outcome, text, None))
    return records


def _record(
    group: Group, model: Model, key: str, ask: Ask, outcome: Outcome, text: str | None, error: str | None
) -> Record:
    return Record(
        key=digest([key, ask.identity, dict(ask.labels)]),
        question=digest([ask.identity, group.suite, group.condition, group.scenario, dict(ask.labels)]),
        group=key,
        group_size=len(group.asks),
        suite=group.suite,
        condition=group.condition,
        scenario=group.scenario,
        cluster=group.cluster,
        model=model.fingerprint,
        elicitation=group.elicitation,
        variant=ask.variant,
        sample=ask.sample,
        judge=ask.judge,
        text=text,
        error=error,
        **ask.labels,
        **outcome._asdict(),
    )
