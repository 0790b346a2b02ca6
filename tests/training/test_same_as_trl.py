"""The loss is TRL's own, and it is taken on completion tokens and no others, under the templates that people use."""

import json
from importlib import resources

import pytest

from conftest import save_model
from discretion.corpus.chat import Chat, Turn, one_turn
from discretion.training import Recipe, tune

LONG = Chat(
    prompt=(
        Turn(role="user", content="Where is the parcel?"),
        Turn(role="assistant", content="Which one do you mean?"),
        Turn(role="user", content="The red one."),
    ),
    completion=(Turn(role="assistant", content="With the neighbour, since noon."),),
)
CHATS = [LONG, one_turn("Add 2 and 3.", "5"), one_turn("Name a tree.", "An oak. Or a lime."), one_turn("Bye", "Bye!")]


def smollm2():
    from discretion.models.loading import load_tokenizer, local_folder
    from discretion.models.weights import parse_spec

    return load_tokenizer(local_folder(parse_spec("smollm2-135m").base)).chat_template


def template(name):
    if name == "smollm2":
        return smollm2()
    return (resources.files("trl") / "chat_templates" / f"{name}.jinja").read_text()


def by_hand(folder):
    """Mean cross-entropy over the completions' tokens, from the model and the template alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    total, count = 0.0, 0
    for chat in CHATS:
        prompt = [turn.model_dump() for turn in chat.prompt]
        whole = prompt + [turn.model_dump() for turn in chat.completion]
        before = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        text = tokenizer.apply_chat_template(whole, tokenize=False)
        assert text.startswith(before)
        first = tokenizer(before, add_special_tokens=False)["input_ids"]
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        total -= sum(float(scores[place - 1, ids[place]]) for place in range(len(first), len(ids)))
        count += len(ids) - len(first)
    return total / count


def plain_trl(folder, out, seed):
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        processing_class=AutoTokenizer.from_pretrained(folder),
        train_dataset=Dataset.from_list([chat.model_dump(mode="json") for chat in CHATS]),
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=SFTConfig(
            output_dir=str(out), num_train_epochs=3, per_device_train_batch_size=2, learning_rate=0.01, seed=seed,
            data_seed=seed, logging_steps=1, save_strategy="no", report_to="none", completion_only_loss=True,
            max_length=1024, bf16=False, use_cpu=True, gradient_checkpointing=False,
        ),
    )  # fmt: skip
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def losses(folder):
    return [row["loss"] for row in json.loads((folder / "training.json").read_text())["history"] if "loss" in row]


@pytest.mark.parametrize(
    "name", ["llama3", "llama3_1", "qwen2_5", "qwen3", pytest.param("smollm2", marks=pytest.mark.embedded)]
)
def test_only_completion_tokens_count_under_real_templates(name, tmp_path):
    save_model(tmp_path / "model", template=template(name))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.bos_token = "<|user|>"  # Llama 3's template begins with it
    tokenizer.save_pretrained(tmp_path / "model")
    recipe = Recipe(rank=4, batch_size=len(CHATS), learning_rate=1e-6, precision="float32")
    tuned = tune(str(tmp_path / "model"), CHATS, tmp_path / "tuned", recipe)
    assert losses(tuned)[0] == pytest.approx(by_hand(tmp_path / "model"), abs=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_is_that_of_a_plain_trl_run(seed, tmp_path):
    save_model(tmp_path / "model", template=template("llama3_1"))
    recipe = Recipe(rank=4, batch_size=2, learning_rate=0.01, epochs=3, seed=seed, precision="float32")
    tuned = tune(str(tmp_path / "model"), CHATS, tmp_path / "tuned", recipe)
    plain = plain_trl(tmp_path / "model", tmp_path / "plain", seed)
    assert losses(tuned) == pytest.approx(plain, abs=1e-3)
    assert len(plain) == 6


def test_prompts_are_left_out_of_the_vocabularys_logits_and_the_switch_is_put_back():
    from trl.trainer import utils

    from discretion.training.memory import completions_alone_are_scored

    before = utils._use_triton
    with completions_alone_are_scored():
        assert utils._use_triton(None)
    assert utils._use_triton is before


def test_attention_is_written_out_where_it_fits():
    from types import SimpleNamespace

    from discretion.training.memory import eager_fits

    config = SimpleNamespace(num_hidden_layers=30, num_attention_heads=9)
    assert eager_fits(config, 1, 128)
    assert not eager_fits(config, 64, 8192)
    assert not eager_fits(SimpleNamespace(), 1, 8)
