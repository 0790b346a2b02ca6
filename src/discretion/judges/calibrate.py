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

from discretion.errors import DiscretionError
from discretion.files import digest, read_json
from discretion.judges.match import FEATURES, Calibration, features, p_revealed, read
from discretion.judges.tokens import tokens

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


def measure(rows: Sequence[Labelled], known: Calibration) -> dict[str, Quality]:
    """Each run's quality on the half that the fit never saw."""
    measured = {}
    for run in sorted({row.run for row in rows}):
        unseen = [row for row in rows if row.run == run and not fitted_half(row.scenario)]
        scores = [p_revealed(row.item, (), read(row.text)) for row in unseen]
        measured[run] = quality([row.revealed for row in unseen], scores, known.threshold)
    return measured


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
