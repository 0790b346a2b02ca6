"""How good a judge is, against labels: CI-RL's PrivacyLens outputs (Apache-2.0), five runs of four models.

The labels are an LLM judge's, about statements that PrivacyLens forbids. Scenarios are split in two halves by a hash
of their name; the fit sees one of them only.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.stats import rankdata

from discretion.elicit import Progress
from discretion.errors import DiscretionError
from discretion.files import digest, read_json
from discretion.judges._types import Piece, Reader
from discretion.judges.acts import MatchJudge
from discretion.judges.known import Quality as KnownQuality
from discretion.judges.match import FEATURES, features, read
from discretion.judges.tokens import tokens
from discretion.models import Failure

FOLDER = "ci_rl/privacylens_outputs"
_ENDING = "_evaluate_leakage.json"
_RIDGE = 1.0


class Labelled(NamedTuple):
    """One statement, the text that may reveal it, and the label."""

    run: str
    scenario: str
    text: str
    item: str
    revealed: bool


class Quality(NamedTuple):
    """A judge on labels. `rate` and `judged` are the shares of items revealed, by label and by the judge."""

    n: int
    auc: float
    sensitivity: float
    specificity: float
    rate: float
    judged: float


def read_labels(data_dir: Path) -> list[Labelled]:
    """All runs that have labels.

    Raises:
        DiscretionError: the folder lacks them, or a file is malformed.
    """
    folder = data_dir / FOLDER
    found = []
    csv.field_size_limit(2**31 - 1)
    for path in sorted(folder.glob(f"*{_ENDING}")):
        texts = path.with_name(path.name.removesuffix(_ENDING) + ".csv")
        judged = read_json(path)
        try:
            with texts.open(encoding="utf-8", newline="") as file:
                said = {row["name"]: row["final_action"] for row in csv.DictReader(file)}
            run = path.name.removesuffix(_ENDING).removeprefix("main_")
            for name, row in judged.items():
                found += [
                    Labelled(run, name, said[name], item, bool(label)) for item, label in row["secret_judgment"]
                ]
        except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise DiscretionError(f"{path}: not the labels of a run ({error!r})") from error
    if not found:
        raise DiscretionError(f"{folder}: holds no labels (*{_ENDING})")
    return found


def cut(rows: Sequence[Labelled], limit: int | None) -> list[Labelled]:
    """The rows of at most `limit` scenarios, always the same ones."""
    kept = set(sorted({row.scenario for row in rows}, key=digest)[:limit])
    return [row for row in rows if row.scenario in kept]


def fitted_half(scenario: str) -> bool:
    """Whether a scenario is in the half that the fit may see."""
    return int(digest(scenario), 16) % 2 == 0


def quality(labels: Sequence[bool], scores: Sequence[float], threshold: float) -> Quality:
    """AUC, and sensitivity and specificity at the threshold."""
    truth, score = np.array(labels, dtype=bool), np.array(scores, dtype=float)
    ones, zeros = int(truth.sum()), int((~truth).sum())
    if not ones or not zeros:
        raise DiscretionError("labels of one kind only say nothing about a judge")
    auc = (rankdata(score)[truth].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    said = score >= threshold
    return Quality(
        len(truth), float(auc), float(said[truth].mean()), float((~said)[~truth].mean()), float(truth.mean()),
        float(said.mean()),
    )  # fmt: skip


def score(
    rows: Sequence[Labelled], reader: Reader | None = None, progress: Progress | None = None
) -> list[float | Failure]:
    """What a judge says of every item, a text's items together; by default the deterministic one."""
    reader = reader or MatchJudge()
    texts: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        texts.setdefault(row.text, []).append(place)
    scores: list[float | Failure] = [0.0] * len(rows)
    if progress:
        progress.start(sum(map(len, texts)), len(texts))
    for text, places in texts.items():
        pieces = [Piece(rows[place].item) for place in places]
        for place, answer in zip(places, reader.p_revealed(pieces, text), strict=True):
            scores[place] = answer
        if progress:
            progress.advance(len(text))
    return scores


def measure(rows: Sequence[Labelled], scores: Sequence[float | Failure], threshold: float) -> dict[str, Quality]:
    """Each run's quality on the half that the fit never saw; items without an answer are left out."""
    measured = {}
    for run in sorted({row.run for row in rows}):
        unseen = [
            (row.revealed, answer)
            for row, answer in zip(rows, scores, strict=True)
            if row.run == run and not fitted_half(row.scenario) and not isinstance(answer, Failure)
        ]
        if not unseen:
            raise DiscretionError(f"{run}: the judge answered nothing")
        measured[run] = quality([label for label, _ in unseen], [answer for _, answer in unseen], threshold)
    return measured


def fit_threshold(rows: Sequence[Labelled], scores: Sequence[float | Failure]) -> float:
    """Between two scores, where the share of revealed items is nearest to the labels' on the half it may see."""
    seen = [
        (answer, row.revealed)
        for row, answer in zip(rows, scores, strict=True)
        if fitted_half(row.scenario) and not isinstance(answer, Failure)
    ]
    values = np.unique([answer for answer, _ in seen])
    if len(values) < 2:
        return 0.5  # it says the same of everything
    wanted = np.mean([label for _, label in seen])
    given = np.array([answer for answer, _ in seen])
    between = (values[1:] + values[:-1]) / 2
    return float(min(between, key=lambda threshold: abs((given >= threshold).mean() - wanted)))


def known_quality(runs: Mapping[str, Quality], threshold: float) -> KnownQuality:
    """What is kept of a judge: means over runs, and the spread between them."""

    def over_runs(name: str) -> tuple[float, float]:
        values = [getattr(run, name) for run in runs.values()]
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    (sensitivity, sensitivity_sd), (specificity, specificity_sd) = over_runs("sensitivity"), over_runs("specificity")
    return KnownQuality(
        threshold=threshold,
        sensitivity=sensitivity,
        specificity=specificity,
        sensitivity_sd=sensitivity_sd,
        specificity_sd=specificity_sd,
        items=sum(run.n for run in runs.values()),
    )


def fit(rows: Sequence[Labelled], idf: Mapping[str, float]) -> dict[str, Any]:
    """Weights (logistic regression, a ridge of 1 on standardised features) and threshold, from the half it may see.

    The threshold makes as many items revealed as the labels do. What it measures on the other half goes with it.
    """
    seen = [row for row in rows if fitted_half(row.scenario)]
    overlaps = np.array([features(row.item, read(row.text), idf) for row in seen])
    labels = np.array([row.revealed for row in seen], dtype=float)
    centre, spread = overlaps.mean(axis=0), overlaps.std(axis=0)
    standard = np.c_[np.ones(len(seen)), (overlaps - centre) / spread]

    def loss(w: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
        score = standard @ w
        return float(np.logaddexp(0, score).sum() - labels @ score + _RIDGE / 2 * w[1:] @ w[1:])

    solved = minimize(loss, np.zeros(standard.shape[1]), method="BFGS").x
    weights = solved[1:] / spread
    bias = float(solved[0] - weights @ centre)
    probability = 1 / (1 + np.exp(-(bias + overlaps @ weights)))
    threshold = float(np.sort(probability)[::-1][int(labels.sum())])
    return {
        "bias": round(bias, 4),
        "weights": [round(float(weight), 4) for weight in weights],
        "features": list(FEATURES),
        "threshold": round(threshold, 4),
    }


def idf_table(documents: Sequence[str]) -> dict[str, float]:
    """Weight of every stem that stands in two documents or more, in (0, 1]; log-scaled inverse document frequency."""
    counts = Counter(stem for text in documents for stem in {token.stem for token in tokens(text)})
    top = np.log((len(documents) + 1) / 0.5)
    return {
        stem: round(float(np.log((len(documents) + 1) / (count + 0.5)) / top), 3)
        for stem, count in sorted(counts.items())
        if count > 1
    }
