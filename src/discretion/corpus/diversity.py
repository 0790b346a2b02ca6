"""How alike texts are, and how cheaply two kinds of them can be told apart."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse, stats

_WORD = re.compile(r"[\w']+")
# English function words: articles, pronouns, prepositions, conjunctions, auxiliaries, wh-words, particles.
_FUNCTION_WORDS = frozenset(
    " ".join(
        [
            "a an the this that these those i you he she it we they me him her us them my your his its our their",
            "mine yours who whom whose which what when where why how if whether because since while although though",
            "unless until and or but nor so yet not no of in on at by for from to with without about against between",
            "into through during before after above below up down out off over under again then once here there all",
            "any both each few more most other some such only own same than too very just also as am is are was were",
            "be been being have has had having do does did doing will would shall should can could may might must",
        ]
    ).split()
)
_ROWS_AT_ONCE = 2000


class Telltale(NamedTuple):
    """How well word counts tell two kinds of text apart.

    Attributes:
        auroc: of a linear discriminant, cross-validated by group.
        words: the words, the one that tells most by itself first, with its own AUROC (above 0.5: the first kind).
    """

    auroc: float
    words: tuple[tuple[str, float], ...]


def words(text: str) -> list[str]:
    """Lower-case words."""
    return _WORD.findall(text.lower())


def distinct(texts: Sequence[str], n: int) -> float:
    """Different word n-grams as a share of all (Li et al. 2016, distinct-n); 1 if there is none."""
    grams = Counter(gram for text in texts for gram in _grams(words(text), n))
    return len(grams) / total if (total := grams.total()) else 1.0


def near_duplicates(texts: Sequence[str], threshold: float = 0.5, n: int = 3) -> list[tuple[int, int, float]]:
    """Pairs of texts whose sets of word n-grams have a Jaccard similarity of `threshold` or more.

    Exact, by sparse products: (first index, second index, similarity), first < second.
    """
    vocabulary: dict[tuple[str, ...], int] = {}
    rows, columns = [], []
    for row, text in enumerate(texts):
        tokens = words(text)
        grams = set(_grams(tokens, n)) or {tuple(tokens)}
        rows += [row] * len(grams)
        columns += [vocabulary.setdefault(gram, len(vocabulary)) for gram in grams]
    held = sparse.csr_array(
        (np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(len(texts), max(len(vocabulary), 1))
    )
    sizes = np.asarray(held.sum(axis=1)).ravel()
    found = []
    for start in range(0, len(texts), _ROWS_AT_ONCE):
        shared = (held[start : start + _ROWS_AT_ONCE] @ held.T).tocoo()
        first, second = shared.row + start, shared.col
        likeness = shared.data / (sizes[first] + sizes[second] - shared.data)
        near = (first < second) & (likeness >= threshold)
        found += list(zip(first[near].tolist(), second[near].tolist(), likeness[near].tolist(), strict=True))
    return sorted(found)


def auroc(first: Sequence[float], second: Sequence[float]) -> float:
    """The chance that a random one of `first` exceeds a random one of `second`; ties count half."""
    return float(stats.mannwhitneyu(first, second).statistic / (len(first) * len(second)))


def function_words(first: Sequence[str], second: Sequence[str], groups: Sequence[str], count: int = 20) -> Telltale:
    """How well the `count` commonest function words tell `first` from `second`.

    `groups[i]` names what `first[i]` and `second[i]` were made from; no group is in both training and test part
    of a fold, so a wording that was learned by heart does not count.
    """
    texts = [Counter(words(text)) for text in (*first, *second)]
    totals = Counter[str]()
    for text in texts:
        totals.update({word: times for word, times in text.items() if word in _FUNCTION_WORDS})
    chosen = [word for word, _ in totals.most_common(count)]
    rates = np.array([[text[word] / max(text.total(), 1) for word in chosen] for text in texts])
    labels = np.array([1.0] * len(first) + [0.0] * len(second))
    members = np.array([*groups, *groups])
    single = {
        word: auroc(rates[labels == 1, place].tolist(), rates[labels == 0, place].tolist())
        for place, word in enumerate(chosen)
    }
    scores = _cross_validated(rates, labels, members)
    total = auroc(scores[labels == 1].tolist(), scores[labels == 0].tolist())
    return Telltale(total, tuple(sorted(single.items(), key=lambda entry: -abs(entry[1] - 0.5))))


def _cross_validated(
    rates: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
    labels: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    members: "np.ndarray[tuple[int], np.dtype[np.str_]]",
    folds: int = 5,
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Fisher's linear discriminant (a little ridge), scored on folds that share no group."""
    fold = {name: index % folds for index, name in enumerate(sorted(set(members.tolist())))}
    place = np.array([fold[name] for name in members.tolist()])
    scores = np.zeros(len(labels))
    for index in range(folds):
        train, test = place != index, place == index
        if not test.any() or not train.any():
            continue
        ones, zeros = rates[train & (labels == 1)], rates[train & (labels == 0)]
        within = np.cov(ones.T) + np.cov(zeros.T) + 1e-6 * np.eye(rates.shape[1])
        scores[test] = rates[test] @ np.linalg.solve(within, ones.mean(axis=0) - zeros.mean(axis=0))
    return scores


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[index : index + n]) for index in range(len(tokens) - n + 1)]
