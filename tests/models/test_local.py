import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import save_adapter, save_model, save_tokenizer
from discretion.errors import DiscretionError
from discretion.models import Draft, Question, Sampling, load_models
from discretion.models.loading import alters_base, check_adapter_fits, load_weights
from discretion.models.prefix import common_prefix, rewinds

FAMILIES = {
    "llama": {},
    "qwen2": {},
    "mistral": {"sliding_window": 64},
    "gemma2": {"sliding_window": 64},
    "gpt2": {},
    "gpt_neox": {},
}


def write(model, sampling, prompt="hello"):
    return model.generate([Draft(prompt, sampling)])[0]


def questions(count=3):
    context = "The notes say that Ana is away for surgery. " * 6
    return [
        Question(f"{context}\nQuestion {number}: share it?\nA. {first}\nB. {second}", ("A", "B"))
        for number in range(count)
        for first, second in (("Yes", "No"), ("No", "Yes"))
    ]


def plain(folder, question):
    """The answer the long way: the whole prompt through transformers, no cache, all logits."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    text = tokenizer.apply_chat_template(question.messages, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logprobs = torch.log_softmax(network(ids).logits[0, -1], -1)
    return [logprobs[tokenizer.convert_tokens_to_ids(option)].item() for option in question.options]


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prefixes_change_no_answer(family, models_dir):
    folder = save_model(models_dir / family, family, **FAMILIES[family])
    (model,), _ = load_models([str(folder)])
    together = model.option_logprobs(questions())
    for question, answer in zip(questions(), together, strict=True):
        assert answer == pytest.approx(plain(folder, question), abs=2e-4)
        assert answer == pytest.approx(model.option_logprobs([question])[0], abs=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_asked_in_one_pass_as_on_a_gpu_changes_no_answer(family, models_dir, monkeypatch):
    folder = save_model(models_dir / family, family, **FAMILIES[family])
    (model,), _ = load_models([str(folder)])
    asked = [
        Question("Short?\nA. Yes\nB. No", ("A", "B")),
        *questions(),
        Question("And this one, is it?", ("A", "B")),
    ]
    alone = [model.option_logprobs([question])[0] for question in asked]
    longest = max(model.count_tokens(question.prompt) for question in asked)
    monkeypatch.setattr(model, "batches", True)
    sizes = []
    forward = model._together
    monkeypatch.setattr(model, "_together", lambda prompts: sizes.append(len(prompts)) or forward(prompts))
    for fill, together in ((40 * longest, 8), (2 * longest, 2), (1, 0)):
        monkeypatch.setattr(model, "_fill", fill)
        for one, other in zip(model.option_logprobs(asked), alone, strict=True):
            assert one == pytest.approx(other, abs=2e-4)
        assert sizes[-1] == together


def test_examples_stand_before_every_question(tiny):
    from transformers import AutoTokenizer

    (model,), _ = load_models([str(tiny)])
    shown = [[{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "Four."}]]
    primed = model.primed(shown)
    chat = AutoTokenizer.from_pretrained(tiny).apply_chat_template(
        [*shown[0], {"role": "user", "content": "hello"}], add_generation_prompt=True, tokenize=False
    )
    assert primed.count_tokens("hello") == len(model._encode(chat)) > model.count_tokens("hello")
    assert primed.fingerprint != model.fingerprint == load_models([str(tiny)])[0][0].fingerprint
    assert primed.name == f"{model.name} after 1 examples"
    greedy = Sampling(6, 0.0, 0)
    before = write(model, greedy)
    assert model.primed([]).generate([Draft("hello", greedy)]) == [before]
    asked = questions(1)
    assert primed.option_logprobs(asked) != model.option_logprobs(asked)
    assert write(model, greedy) == before


def test_a_full_sliding_window_is_never_wound_back():
    from transformers import AutoConfig, DynamicCache

    cache = DynamicCache(config=AutoConfig.for_model("mistral", sliding_window=64, num_hidden_layers=2))
    assert rewinds(cache, 63)
    assert not rewinds(cache, 64)


def test_prefix_work_is_done_once(tiny):
    (model,), _ = load_models([str(tiny)])
    seen = []
    with model.inside() as network:
        network.register_forward_pre_hook(
            lambda _, __, named: seen.append(named["input_ids"].shape[1]), with_kwargs=True
        )
    asked = questions()
    model.option_logprobs(asked)
    whole = model.count_tokens(asked[0].prompt)
    assert seen[0] == whole
    assert all(count < whole / 4 for count in seen[1:])


def test_base_and_adapters_share_weights_and_keep_their_answers(tiny, adapter, other, models_dir):
    second = save_adapter(models_dir / "second", tiny, seed=3)
    specs = [str(tiny), str(adapter), f"{tiny}@{second}"]
    models, _ = load_models(specs)
    assert len({id(model._engine) for model in models}) == 1
    assert len({model.fingerprint for model in models}) == 3
    together = [model.option_logprobs(questions(1)) for model in models]
    for spec, answers in zip(specs, together, strict=True):
        (alone,), _ = load_models([spec])
        for one, two in zip(answers, alone.option_logprobs(questions(1)), strict=True):
            assert one == pytest.approx(two, abs=1e-5)
    assert together[0] != together[1] != together[2]


def test_an_adapter_with_zero_b_changes_nothing(tiny, zero_adapter):
    (base, tuned), _ = load_models([str(tiny), str(zero_adapter)])
    assert base.fingerprint != tuned.fingerprint
    for one, two in zip(base.option_logprobs(questions()), tuned.option_logprobs(questions()), strict=True):
        assert one == pytest.approx(two, abs=1e-6)


def test_an_adapter_for_another_base_is_refused_by_its_shapes(models_dir, adapter):
    wide = save_model(models_dir / "wide", hidden_size=64, head_dim=16)
    with pytest.raises(DiscretionError, match=r"made for another base: .* is 64 wide here and 32"):
        load_models([f"{wide}@{adapter}"])
    shallow = save_model(models_dir / "shallow", num_hidden_layers=1)
    with pytest.raises(DiscretionError, match=r"this one has no model.layers.1"):
        load_models([f"{shallow}@{adapter}"])


def test_every_adapters_shapes_are_compared(models_dir, adapter):
    shallow = save_model(models_dir / "one-block", num_hidden_layers=1)
    fits = save_adapter(models_dir / "fits", shallow)
    with pytest.raises(DiscretionError, match=r"this one has no model.layers.1"):
        load_models([str(fits), f"{shallow}@{adapter}"])


@pytest.mark.parametrize("kind", ["PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING"])
def test_an_adapter_that_learns_a_prompt_is_refused(kind, tiny, tmp_path):
    from peft import get_peft_config, get_peft_model
    from transformers import AutoModelForCausalLM

    config = get_peft_config({"peft_type": kind, "task_type": "CAUSAL_LM", "num_virtual_tokens": 4})
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config).save_pretrained(tmp_path / "prompt")
    with pytest.raises(DiscretionError, match=f"is of the kind {kind}, which learns a prompt"):
        load_models([f"{tiny}@{tmp_path / 'prompt'}"])


def test_a_base_of_another_name_only_warns(tiny, other, adapter):
    models, warnings = load_models([f"{other}@{adapter}"])
    assert len(models) == 1
    assert "its shapes fit" in warnings[0]
    assert load_models([f"{tiny}@{adapter}"])[1] == []


def test_an_adapter_of_another_base_is_not_compared_silently(tiny, other, adapter):
    with pytest.raises(DiscretionError, match=f"write {other}@{adapter} to put it on that"):
        load_models([str(other), str(adapter)], pair=True)
    assert len(load_models([str(other), f"{other}@{adapter}"], pair=True)[0]) == 2
    assert len(load_models([str(other), str(other), str(adapter)], pair=True)[0]) == 3  # a judge may be of any base


def test_an_adapter_that_changes_its_base_has_weights_of_its_own(tiny, adapter, tmp_path):
    changing = tmp_path / "changing"
    shutil.copytree(adapter, changing)
    config = json.loads((changing / "adapter_config.json").read_text())
    (changing / "adapter_config.json").write_text(json.dumps(config | {"bias": "all"}))
    models, _ = load_models([str(tiny), str(adapter), str(changing)])
    assert models[0]._engine is models[1]._engine
    assert models[2]._engine is not models[0]._engine
    for begun, alters in (("pissa_niter_4", True), ("olora", True), (True, False), ("gaussian", False)):
        (changing / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": begun}))
        assert alters_base(changing) == alters


def test_an_adapters_tokenizer_without_a_template_takes_its_bases(tiny, adapter, tmp_path):
    with_tokenizer = tmp_path / "with"
    shutil.copytree(adapter, with_tokenizer)
    save_tokenizer(with_tokenizer, None)
    (model,), _ = load_models([str(with_tokenizer)])
    assert model.count_tokens("x") == load_models([str(tiny)])[0][0].count_tokens("x")


def test_experts_are_left_to_peft(tiny, tmp_path):
    (network,) = [load_models([str(tiny)])[0][0]._engine.network]
    key = "base_model.model.model.layers.0.mlp.experts.base_layer.lora_A.weight"
    save_file({key: torch.zeros(4, 7)}, tmp_path / "adapter_model.safetensors")
    check_adapter_fits(network, tmp_path, "moe")
    save_file({key.replace("experts", "gone"): torch.zeros(4, 7)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(DiscretionError, match="made for another base"):
        check_adapter_fits(network, tmp_path, "moe")


def test_weights_may_be_spread_over_what_there_is(tiny):
    (spread,), _ = load_models([str(tiny)], device="auto")
    (here,), _ = load_models([str(tiny)], device="cpu")
    assert spread.option_logprobs(questions(1)) == here.option_logprobs(questions(1))
    assert spread.engine == here.engine


@pytest.mark.parametrize(
    ("places", "slow"), [((0, 1), False), ((0, "cpu"), True), (("cpu", "disk"), True), (("cpu",), False)]
)
def test_weights_that_did_not_fit_on_gpus_are_told(places, slow, tiny, monkeypatch):
    def spread(*arguments):
        network = load_weights(*arguments)
        network.hf_device_map = dict(enumerate(places))
        return network

    monkeypatch.setattr("discretion.models.loading.load_weights", spread)
    assert any("not all of it fits" in warning for warning in load_models([str(tiny)], device="auto")[1]) == slow


def test_weights_that_do_not_fit_say_what_to_do(tiny, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", full)
    with pytest.raises(DiscretionError, match=r"--device auto.*endpoint:URL#NAME.*`discretion eval` each"):
        load_models([str(tiny)], device="cpu")


def test_nan_is_an_error_not_an_answer(tiny, tmp_path):
    folder = save_model(tmp_path / "nan")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"].fill_(math.nan)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (model,), _ = load_models([str(folder)])
    with pytest.raises(DiscretionError, match="returned NaN"):
        model.option_logprobs(questions(1))
    with pytest.raises(DiscretionError, match="returned NaN"):
        write(model, Sampling(3, 1.0, 0))


def test_generation_follows_its_seed_alone(tiny):
    (model,), _ = load_models([str(tiny)])
    drawn = [write(model, Sampling(12, 1.0, seed)) for seed in (1, 2, 1)]
    assert drawn[0] == drawn[2] != drawn[1]
    state = torch.random.get_rng_state()
    write(model, Sampling(3, 1.0, 5))
    assert torch.equal(state, torch.random.get_rng_state())
    assert write(model, Sampling(4, 0.0, 1)) == write(model, Sampling(4, 0.0, 2))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_does_not_depend_on_its_batch(family, tmp_path):
    (model,), _ = load_models([str(save_model(tmp_path / family, family, **FAMILIES[family]))])
    drafts = [
        Draft(prompt, Sampling(10, temperature, seed))
        for prompt in ("hello", "a much longer prompt, which needs no padding at all")
        for temperature, seed in ((1.0, 1), (1.0, 2), (0.0, 3))
    ] + [Draft("alone", Sampling(10, 1.0, 1)), Draft("cut", Sampling(3, 0.0, 0))]
    together = model.generate(drafts)
    assert together == [model.generate([draft])[0] for draft in drafts]
    assert len(set(together)) > len(drafts) / 2


def test_drawing_follows_the_models_probabilities(tiny):
    """Gumbel noise on logits draws from the softmax: compare first tokens with the exact distribution."""
    (model,), _ = load_models([str(tiny)])
    tokens = model._encode(model._chat("hello"))
    with torch.inference_mode():
        logits = model._engine.network(torch.tensor([tokens])).logits[0, -1]
    expected: dict[str, float] = {}
    for token, p in enumerate(torch.softmax(logits, -1).tolist()):  # many byte tokens are the same text alone
        text = model._text([token], [0])
        expected[text] = expected.get(text, 0.0) + p
    n = 400
    texts = model.generate([Draft("hello", Sampling(1, 1.0, seed)) for seed in range(n)])
    for text, p in sorted(expected.items(), key=lambda entry: -entry[1])[:4]:
        assert abs(texts.count(text) / n - p) < 4 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_what_plain_generation_writes(models_dir, family, monkeypatch):
    folder = save_model(models_dir / f"writes-{family}", family, **FAMILIES[family])
    (model,), _ = load_models([str(folder)], device="cpu")
    drafts = [Draft("word " * (number % 3) + f"{number}?", Sampling(20, 0.0, 0)) for number in range(5)]
    model._ends = [0, *range(60, 75)]  # some are done early
    ours = model.generate(drafts)
    monkeypatch.setattr("discretion.models.local.rewinds", lambda *_: False)
    assert model.generate(drafts) == ours


def test_the_checkpoints_own_sampling_is_not_used(tiny, tmp_path):
    """A checkpoint that ships top_k = 1 would make every draw greedy."""
    folder = save_model(tmp_path / "greedy")
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"do_sample": True, "top_k": 1, "top_p": 0.1}))
    (model,), _ = load_models([str(folder)])
    assert len({write(model, Sampling(12, 1.0, seed)) for seed in range(6)}) > 3


def testcommon_prefix():
    assert common_prefix([[1, 2, 3], [1, 2, 4], [1, 2]]) == 2
    assert common_prefix([[], [1]]) == 0
    assert common_prefix([[5, 6]]) == 2


@pytest.mark.parametrize("flag", [{"device": "gpu9"}, {"device": "cuda:99"}, {"dtype": "int3"}])
def test_unknown_device_or_dtype_is_said_before_anything_is_loaded(tiny, flag, monkeypatch):
    monkeypatch.setattr("discretion.models.loading.load_weights", None)
    ((name, value),) = flag.items()
    with pytest.raises(DiscretionError, match=f"--{name} {value}"):
        load_models([str(tiny)], **flag)
