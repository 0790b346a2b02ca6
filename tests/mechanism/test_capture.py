"""The pooled stream is what transformers' own hidden states say, in every family and however samples are batched."""

import pytest
import torch

from conftest import save_model
from discretion.errors import DiscretionError
from discretion.mechanism.anatomy import anatomy
from discretion.mechanism.capture import Tokens, _shares, capture, gathered
from discretion.mechanism.lens import read_lens
from discretion.models import Question, load_models

FAMILIES = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": 64},
    "gemma2": {"sliding_window": 64},
    "gpt2": {},
    "gpt_neox": {},
}
SHARED = list(range(40, 60))
SAMPLES = [
    Tokens(SHARED, [7, 8, 9]),
    Tokens(list(range(100, 130)), [11, 12]),
    Tokens(SHARED, [13]),
    Tokens([5, 6, 7], list(range(60, 90))),
    Tokens(SHARED, [7, 8, 9, 10, 11]),
    # What they share is longer than a sliding window.
    Tokens(list(range(20, 120)), [7, 8, 9]),
    Tokens(list(range(20, 120)), [10] * 5),
]


def by_hand(folder, sample):
    """Layers' mean over the answer and value at the prompt's end, and the answer's mean loss."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    streams = {}
    for number, block in enumerate(anatomy(model).blocks):
        block.register_forward_hook(
            lambda module, args, output, number=number: streams.__setitem__(
                number, output[0] if isinstance(output, tuple) else output
            )
        )
    ids = torch.tensor([sample.prompt + sample.response])
    with torch.no_grad():
        output = model(input_ids=ids, output_hidden_states=True, use_cache=False)
    for number in range(len(streams) - 1):  # the last of transformers' own is after the norm
        assert torch.equal(streams[number][0], output.hidden_states[number + 1][0])
    first = len(sample.prompt)
    stack = torch.stack([streams[number][0] for number in range(len(streams))])
    loss = torch.nn.functional.cross_entropy(output.logits[0, first - 1 : -1], ids[0, first:])
    return stack[:, first:].mean(dim=1), stack[:, first - 1], float(loss)


def test_what_recurrent_layers_keep_is_not_shared(tiny, monkeypatch):
    """Their caches cannot be given to several samples: such models read every prompt as often as it comes."""
    from transformers.cache_utils import LinearAttentionAndFullAttentionLayer, LinearAttentionLayer

    (model,), _ = load_models([str(tiny)])
    with model.inside() as network:
        assert _shares(network)
        for kind in (LinearAttentionLayer, LinearAttentionAndFullAttentionLayer):
            cache = type("Cache", (), {"__init__": lambda self, config, kind=kind: setattr(self, "layers", [kind()])})
            with monkeypatch.context() as patched:
                patched.setattr("discretion.mechanism.capture.DynamicCache", cache)
                assert not _shares(network)
    shared = gathered(model, SAMPLES)
    monkeypatch.setattr("discretion.mechanism.capture._shares", lambda network: False)
    monkeypatch.setattr("discretion.mechanism.capture._prefix", None)
    assert torch.allclose(gathered(model, SAMPLES), shared, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_pools_and_losses_are_those_of_the_whole_stream(family, models_dir):
    folder = save_model(models_dir / f"capture-{family}", family, **FAMILIES[family])
    (model,), _ = load_models([str(folder)])
    seen = []
    for captured in capture(model, SAMPLES, with_loss=True):
        for row, place in enumerate(captured.places):
            seen.append(place)
            mean, last, loss = by_hand(folder, SAMPLES[place])
            assert torch.allclose(captured.residual[row, 0], mean, atol=2e-4)
            assert torch.allclose(captured.residual[row, 1], last, atol=2e-4)
            assert float(captured.loss[row]) == pytest.approx(loss, abs=2e-4)
    assert sorted(seen) == list(range(len(SAMPLES)))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lens_ends_in_the_answer_and_begins_nowhere_else(family, models_dir):
    folder = save_model(models_dir / f"capture-{family}", family, **FAMILIES[family])
    (model,), _ = load_models([str(folder)])
    questions = [(Question(f"Share it with {who}?\nA. Yes\nB. No", ("A", "B")), 0) for who in ("Bo", "the boss")]
    lens = read_lens(model, questions)
    for row, (question, _) in enumerate(questions):
        yes, no = model.option_logprobs([question])[0]
        assert lens.difference[row, -1] == pytest.approx(no - yes, abs=2e-4)
        alone = read_lens(model, [questions[row]])
        assert lens.difference[row] == pytest.approx(alone.difference[0], abs=2e-4)
    assert lens.difference.shape == lens.mass.shape == lens.rank.shape == (2, 2)
    assert ((lens.mass > 0) & (lens.mass <= 1)).all()


def test_an_adapter_is_on_for_its_model_alone(tiny, adapter):
    (base, tuned), _ = load_models([str(tiny), f"{tiny}@{adapter}"])
    plain, changed = gathered(base, SAMPLES), gathered(tuned, SAMPLES)
    assert not torch.allclose(plain, changed, atol=1e-3)
    assert torch.equal(plain, gathered(base, SAMPLES))
    (alone,), _ = load_models([str(tiny)])
    assert torch.allclose(plain, gathered(alone, SAMPLES), atol=1e-6)


def test_a_sample_without_an_answer_is_refused(tiny):
    (model,), _ = load_models([str(tiny)])
    with pytest.raises(DiscretionError, match="no tokens"):
        list(capture(model, [Tokens([1, 2], [])]))
