"""What mitigations work with: an audit's scores, control chats, targets in the model's own words."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from discretion.corpus.chat import Chat
from discretion.corpus.formats import read_chats, write_chats
from discretion.corpus.provenance import fingerprint
from discretion.files import digest
from discretion.mitigation.candidates import Materials, same_said
from discretion.mitigation.task import losses
from discretion.models import load_here
from discretion.models.local import LocalModel

_ASK = "A good answer is below. Give it in your own words and say everything that it says."  # of the base, to distil


def materials_for(
    base: str,
    data: Path,
    folder: Path,
    *,
    seed: int,
    data_dir: Path | None,
    max_new_tokens: int,
    say: Callable[[str], None],
    dtype: str | None = None,
    controls: Callable[[int], list[Chat]] | None = None,
) -> Materials:
    """The materials for a tune of `base` on the chats in `data`; what is computed is kept in `folder`.

    Each is computed when it is first asked for. Control chats are `controls`, or pairs of ours, drawn with another
    seed than the tune's own.
    """

    @cache
    def rows(influence: bool) -> dict[str, Any]:
        from discretion.mechanism.audit import AuditSettings, audit, columns

        out = folder / ("audit-influence" if influence else "audit")
        settings = AuditSettings(reference=0, influence=influence, seed=seed, data_dir=data_dir, dtype=dtype)
        return dict(columns(audit(base, data, out, settings, say, resume=True).rows))

    def scores(name: str) -> list[float | None]:
        return [None if math.isnan(value) else value for value in rows(name == "influence")[name]]

    def control(count: int, hardest_first: bool) -> list[Chat]:
        from discretion.corpus.controlled import controlled_pairs

        if controls is not None:
            chats = controls(count)
        else:
            chats = [pair.chat("control") for pair in controlled_pairs(count, seed + 1)]
        return kept("hardest", hardest, chats) if hardest_first else chats

    def hardest(chats: Sequence[Chat]) -> list[Chat]:
        (model,) = load_here([base], dtype=dtype)
        return [chats[place] for place in np.argsort(-losses(model, chats), kind="stable")]

    def rewritten(chats: Sequence[Chat]) -> list[Chat]:
        (model,) = load_here([base], dtype=dtype)
        return _distilled(model, chats, max_new_tokens)

    def kept(name: str, make: Callable[[Sequence[Chat]], list[Chat]], chats: Sequence[Chat]) -> list[Chat]:
        """What `make` makes of the chats, once: seeds and reruns share it, other processes wait for it."""
        given = digest([base, dtype, max_new_tokens, _ASK, fingerprint(chats)])
        path = folder / f"{name}-{given}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.is_file():
                write_chats(path, make(chats))
        return read_chats(path)

    return Materials(scores, control, lambda chats: kept("rewritten", rewritten, chats))


def _distilled(model: LocalModel, chats: Sequence[Chat], max_new_tokens: int) -> list[Chat]:
    """Each chat with the base's own wording of its answer, where that still says the same."""
    asked = [
        [
            *({"role": turn.role, "content": turn.content} for turn in chat.prompt[:-1]),
            {"role": "user", "content": f"{chat.prompt[-1].content}\n\n{_ASK}\n\n{chat.completion[-1].content}"},
        ]
        for chat in chats
    ]
    made = []
    for chat, turns, answer in zip(chats, asked, model.answer_turns(asked, max_new_tokens), strict=True):
        last = chat.completion[-1]
        # What reached the limit breaks off: learned as a whole answer, it would teach to do so.
        whole = len(model.encode_turns(turns, answer)[1]) < max_new_tokens - 1
        kept = answer.strip() if whole and same_said(last.content, answer) else last.content
        made.append(
            chat.model_copy(update={"completion": (*chat.completion[:-1], last.model_copy(update={"content": kept}))})
        )
    return made
