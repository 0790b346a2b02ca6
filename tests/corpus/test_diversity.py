import itertools

import pytest

from discretion.corpus.diversity import auroc, distinct, function_words, near_duplicates, words


def test_distinct_is_the_share_of_different_ngrams():
    assert distinct(["a b c", "a b d"], 1) == pytest.approx(4 / 6)
    assert distinct(["a b c", "a b d"], 2) == pytest.approx(3 / 4)
    assert distinct([], 2) == 1


def test_near_duplicates_equal_the_plain_definition():
    base = ["the", "cat", "sat", "on", "the", "mat", "and", "looked", "at", "the", "moon"]
    texts = [
        " ".join(base),
        " ".join([*base, "again"]),
        " ".join(base[3:]),
        "nothing of the kind is said in here",
        "x",
    ]

    def grams(text):
        tokens = words(text)
        return {tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)} or {tuple(tokens)}

    def likeness(one, other):
        return len(grams(one) & grams(other)) / len(grams(one) | grams(other))

    expected = [
        (i, j, likeness(texts[i], texts[j]))
        for i, j in itertools.combinations(range(len(texts)), 2)
        if likeness(texts[i], texts[j]) >= 0.3
    ]
    assert near_duplicates(texts, 0.3) == [(i, j, pytest.approx(value)) for i, j, value in expected]
    assert expected


def test_auroc_counts_ties_half():
    assert auroc([2, 3], [0, 1]) == 1
    assert auroc([1, 1], [1, 1]) == 0.5


def test_function_words_find_a_planted_word_and_nothing_in_equal_texts():
    groups = [f"g{i % 10}" for i in range(100)]
    plain = [f"the dog of {i} and a cat in the house at {i * 3 % 7}" for i in range(100)]
    asking = [text.replace("the dog", "you dog") for text in plain]
    told = function_words(asking, plain, groups)
    assert told.auroc > 0.99
    assert {word for word, _ in told.words[:2]} == {"you", "the"}
    assert function_words(plain, plain, groups).auroc == pytest.approx(0.5)
