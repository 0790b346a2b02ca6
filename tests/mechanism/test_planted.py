"""A direction planted by hand is found, at its layer and with its sign; where there is none, nothing is."""

import numpy as np
import pytest
import torch
from planted import PLANTED_AT, PLANTED_IN, save_planted

from discretion.mechanism.contrast import Answer, Contrast
from discretion.mechanism.direction import (
    Differences,
    best_layer,
    compare,
    differences,
    separation,
    split_half,
    split_units,
)
from discretion.mechanism.lens import read_lens
from discretion.mechanism.steering import ablated, last_streams, patched_answers, steered
from discretion.models import Question, load_models

WORDS = ["the", "cook", "has", "a", "long", "list", "of", "eggs", "and", "bread", "in", "his", "hands", "at", "ten"]


def contrasts(count=12):
    """The same words in a private context and in another; what is told is balanced."""
    found = []
    for number in range(count):
        rest = " ".join(np.random.default_rng(number).permutation(WORDS))
        turns = [({"role": "user", "content": f"{mark * 6} {rest}"},) for mark in "qp"]
        safe, leaky = (tuple(Answer(turn, f"{rest[:9]}.") for _ in range(2)) for turn in turns)
        found.append(Contrast(f"unit {number}", safe, leaky, True))
    return found


def questions(mark):
    return [(Question(f"{mark * 6} {word}?", ("L", "S")), 0) for word in WORDS]


@pytest.fixture(scope="module")
def planted(models_dir):
    (model,), _ = load_models([str(save_planted(models_dir / "planted"))])
    return model


@pytest.fixture(scope="module")
def empty(models_dir):
    (model,), _ = load_models([str(save_planted(models_dir / "planted-nothing", strength=0.0))])
    return model


def test_the_lens_sees_it_from_its_layer_on(planted, empty):
    leaky, safe = (read_lens(planted, questions(mark)).difference.mean(axis=0) for mark in "pq")
    assert np.abs(leaky[:PLANTED_AT]).max() < 1e-3
    assert (leaky[PLANTED_AT:] < -0.5).all()
    assert (safe[PLANTED_AT:] > 0.5).all()
    assert np.abs(read_lens(empty, questions("p")).difference).max() < 1e-3


def test_the_direction_is_found_at_its_layer_with_its_sign(planted, empty):
    found = differences(planted, contrasts())
    fit, trial = (found.part(half) for half in split_units(found.units, seed=0))
    assert set(fit.units).isdisjoint(trial.units)
    assert best_layer(fit.values) == PLANTED_AT
    expected = np.zeros(found.direction.shape[1])
    expected[PLANTED_IN] = -1.0  # towards the safe side is away from what makes it leak
    unit = fit.direction[PLANTED_AT] / np.linalg.norm(fit.direction[PLANTED_AT])
    assert unit == pytest.approx(expected, abs=1e-3)
    tried = separation(fit.direction, trial.values)
    assert (tried.share[PLANTED_AT:] == 1).all()
    assert (tried.p_value[PLANTED_AT:] < 0.05).all()
    assert (tried.share[:PLANTED_AT] == 0).all()
    assert (tried.p_value[:PLANTED_AT] == 1).all()
    assert split_half(fit.values)[PLANTED_AT] == pytest.approx(1, abs=1e-3)
    none = differences(empty, contrasts())
    assert (separation(none.direction, none.values).p_value == 1).all()


def test_a_model_against_itself_is_alike_at_every_layer(tiny):
    (model, again), _ = load_models([str(tiny), str(tiny)])
    found = compare(differences(model, contrasts()), differences(again, contrasts()))
    for value in (found.raw, found.low, found.high, found.corrected, found.corrected_low, found.corrected_high):
        assert value == pytest.approx(np.ones(2), abs=1e-5)


@pytest.mark.parametrize("signal", [0.2, 1.0])
def test_directions_that_did_not_turn_look_so_however_surely_they_are_found(signal):
    rng, held = np.random.default_rng(0), 0
    for _ in range(40):
        mean = rng.normal(0, 1, 64)
        mean *= signal / np.linalg.norm(mean)
        one, other = (mean + rng.normal(0, 1 / 8, (40, 1, 64)) for _ in range(2))
        found = compare(*(Differences(tuple(map(str, range(40))), values, True) for values in (one, other)))
        held += found.corrected_low[0] <= 1 <= found.corrected_high[0]
    assert held >= 36  # of 95%
    turned = np.roll(np.eye(64)[0] * signal, 1)
    two = [vector + rng.normal(0, 1 / 8, (40, 1, 64)) for vector in (np.eye(64)[0] * signal, turned)]
    found = compare(*(Differences(tuple(map(str, range(40))), values, True) for values in two))
    assert found.corrected_low[0] < 0 < found.corrected_high[0] < 0.5


def test_where_units_agree_on_nothing_nothing_is_said():
    rng = np.random.default_rng(1)
    flat = rng.normal(0, 1, (20, 1, 64))
    flat -= flat.mean(axis=0)
    found = compare(*(Differences(tuple(map(str, range(20))), values, True) for values in (flat, flat)))
    assert np.isnan(found.corrected[0])


def test_taking_it_out_or_adding_it_changes_the_answer_and_nothing_stays_changed(planted):
    vectors = torch.tensor(differences(planted, contrasts()).direction, dtype=torch.float32)
    before = read_lens(planted, questions("p")).difference[:, -1]
    with ablated(planted, {PLANTED_AT: vectors[PLANTED_AT]}):
        assert np.abs(read_lens(planted, questions("p")).difference[:, -1]).max() < 1e-3
    with steered(planted, {PLANTED_AT: 2 * vectors[PLANTED_AT]}):
        assert (read_lens(planted, questions("p")).difference[:, -1] > before + 0.5).all()
    with steered(planted, {0: torch.zeros(vectors.shape[1])}):
        assert read_lens(planted, questions("p")).difference[:, -1] == pytest.approx(before)
    assert read_lens(planted, questions("p")).difference[:, -1] == pytest.approx(before)


def test_a_patch_brings_the_other_models_answer_from_its_layer_on(planted, empty):
    for question, _ in questions("p")[:3]:
        patched = patched_answers(planted, question, last_streams(empty, question))
        gaps = [float(logits[options[0]] - logits[options[1]]) for logits, options in patched]
        assert len(gaps) == 4
        assert all((abs(gap) < 1e-3) == (layer >= PLANTED_AT) for layer, gap in enumerate(gaps))
        leaky, safe = planted.option_logprobs([question])[0]
        assert leaky - safe > 0.5
