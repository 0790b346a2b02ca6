"""An audit's summary, its table as Parquet, and its page with the worst and the best samples."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from discretion.corpus.chat import Chat
from discretion.files import write_json, write_text
from discretion.mechanism.standing import SCORES, Columns, ranked, separates, standing, worst_features
from discretion.report.files import environment

_SHOWN, _CUT = 8, 1200
_LIKE = 0.25  # of the way between control and helpful: as one of them


def summary(data: Columns, references: Mapping[str, Columns], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the page says, as it is written to audit.json."""
    known = "helpful" in references and "control" in references
    found = {
        **facts,
        "samples": len(data.get("index", ())),
        "scored": len(ranked(data, "projection")),
        "means": {
            name: {score: _mean(columns, score) for score in SCORES if score in columns}
            for name, columns in {"data": data, **references}.items()
        },
        "separates": separates(references["helpful"], references["control"]) if known else {},
        "standing": standing(data, references["helpful"], references["control"]) if known else {},
        "features": worst_features(data),
    }
    return found | {"verdict": verdict(found)}


def verdict(found: Mapping[str, Any]) -> str:
    """What may be said of the whole set."""
    tells, stands = found["separates"].get("projection"), found["standing"].get("projection")
    if tells is None:
        return "No reference sets were scored, so the set as a whole has no standing; samples can still be ranked."
    area = f"{tells['auroc']:.2f} [{tells['low']:.2f}, {tells['high']:.2f}]"
    if stands is None and not tells["low"] <= 0.5 <= tells["high"]:
        return (
            f"Too few samples have scores for the set to have a standing; samples can still be ranked (AUROC {area})."
        )
    if stands is None:
        return (
            f"Projection does not tell our helpful from our control samples on this model (AUROC {area}), so it says "
            "nothing about this set."
        )
    if tells["high"] < 0.5:
        return (
            f"Projection ranks our control samples above our helpful ones on this model (AUROC {area}), which is the "
            "other way round, so it says nothing about this set."
        )
    place = f"{stands['place']:.2f} [{stands['low']:.2f}, {stands['high']:.2f}]"
    if stands["low"] > 1 - _LIKE:
        kind = "moves the privacy direction as helpful data does, or more"
    elif stands["high"] < _LIKE:
        kind = "moves the privacy direction no more than control data does"
    else:
        kind = "lies between control and helpful data, or cannot be told from either"
    said = f"The set {kind}: it stands at {place}, where our control data is at 0 and our helpful data at 1."
    # A baseline whose low scores are the helpful ones tells them apart as well.
    rivals = {
        name: max(entry["high"], 1 - entry["low"])
        for name, entry in found["separates"].items()
        if name in ("loss", "length", "random")
    }
    as_good = [name for name, most in rivals.items() if most >= tells["low"]]
    said += f" Projection tells helpful from control with an AUROC of {area}; "
    said += (
        f"that it does so better than {', '.join(as_good)} is not shown." if as_good else "no baseline does so well."
    )
    return said + " Whether training without the worst samples leaks less, only training shows."


def write_audit(found: Mapping[str, Any], data: Columns, chats: Iterable[Chat], folder: Path) -> None:
    """Write audit.json, scores.parquet and report.html; `chats` are read once more, for the samples that are shown.

    Raises:
        DiscretionError: a file cannot be written.
    """
    order = ranked(data, "projection")
    shown = {"worst": order[:_SHOWN].tolist(), "best": order[::-1][:_SHOWN].tolist()}
    wanted = {place for places in shown.values() for place in places}
    texts = {place: chat for place, chat in enumerate(chats) if place in wanted}
    _write_parquet(data, folder / "scores.parquet")
    write_json(folder / "audit.json", dict(found))
    samples = {kind: [_told(place, texts[place], data) for place in places] for kind, places in shown.items()}
    filled = environment(escapes=True).get_template("audit.html.j2")
    write_text(folder / "report.html", filled.render(found=found, samples=samples, scores=SCORES))


def _told(place: int, chat: Chat, data: Columns) -> dict[str, Any]:
    prompt = "\n\n".join(f"{turn.role}: {turn.content}" for turn in chat.prompt)
    return {
        "row": place,
        "projection": data["projection"][place],
        "prompt": _cut(prompt),
        "answer": _cut("\n".join(turn.content for turn in chat.completion)),
    }


def _cut(text: str) -> str:
    return text if len(text) <= _CUT else f"{text[:_CUT]} ..."


def _mean(columns: Columns, name: str) -> float | None:
    column = np.asarray(columns[name], dtype=np.float64)
    return None if np.isnan(column).all() else round(float(np.nanmean(column)), 6)


def _write_parquet(data: Columns, path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    names: Sequence[str] = [name for name in data if not name.startswith("random_")]
    columns = {
        name: pyarrow.array(
            np.asarray(data[name], dtype=np.int64 if name == "index" else np.float64), from_pandas=True
        )
        for name in names  # NaN becomes null: no score
    }
    unfinished = path.with_name(path.name + ".part")
    parquet.write_table(pyarrow.table(columns), unfinished)
    unfinished.replace(path)
