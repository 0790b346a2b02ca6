"""`train`: what it learns from, that it can be stopped, and that it says what it did."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from safetensors.torch import load_file
from transformers import AutoTokenizer, TrainerCallback
from typer.testing import CliRunner

from conftest import CHAT_TEMPLATE, save_model
from discretion.cli import app
from discretion.corpus.chat import Turn, one_turn
from discretion.corpus.formats import write_chats
from discretion.corpus.preferences import Preference
from discretion.errors import DiscretionError
from discretion.models import load_models
from discretion.training import Recipe, tune

CHATS = [one_turn(f"Question number {n}?", f"The answer is {n * 7}.") for n in range(24)]
SMALL = Recipe(rank=2, batch_size=2, learning_rate=0.01)


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all((one[key] == other[key]).all() for key in one)


def run(*words):
    result = CliRunner().invoke(app, ["train", *map(str, words)])
    return result.exit_code, result.output


@pytest.fixture
def data(tmp_path):
    write_chats(tmp_path / "chats.jsonl", CHATS)
    return tmp_path / "chats.jsonl"


class StopError(Exception):
    pass


def test_a_template_without_system_turns_that_tells_the_day_is_trained_with(tmp_path):
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "Today is {{ strftime_now('%d %B %Y') }}.\n" + CHAT_TEMPLATE
    )
    folder = save_model(tmp_path / "gemma", template=template)
    chats = [
        chat.model_copy(update={"prompt": (Turn(role="system", content="Be brief."), *chat.prompt)}) for chat in CHATS
    ]
    trained = []

    class Seen(TrainerCallback):
        def on_step_begin(self, args, state, control, train_dataloader=None, processing_class=None, **_):
            trained.append(processing_class.decode(train_dataloader.dataset[0]["input_ids"]))

    out = tune(str(folder), chats, tmp_path / "out", replace(SMALL, full=True), callbacks=[Seen()])
    assert trained[0].startswith("Today is 26 July 2024.\n<|user|>\nBe brief.\n\nQuestion number ")
    saved = AutoTokenizer.from_pretrained(out)
    assert saved.chat_template == template
    assert load_models([str(out)])[0][0].count_tokens("x") > 0


@pytest.mark.parametrize("grouped", [False, True])
def test_a_stopped_run_goes_on_to_the_same_weights(tiny, tmp_path, grouped):
    from transformers import TrainerCallback

    class Stopper(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 8:
                raise StopError

    recipe = replace(SMALL, grouped=grouped)
    whole = tune(str(tiny), CHATS, tmp_path / "whole", recipe)
    with pytest.raises(StopError):
        tune(str(tiny), CHATS, tmp_path / "cut", recipe, callbacks=[Stopper()])
    with pytest.raises(DiscretionError, match="go on with --resume"):
        tune(str(tiny), CHATS, tmp_path / "cut", recipe)
    with pytest.raises(DiscretionError, match="another run"):
        tune(str(tiny), CHATS, tmp_path / "cut", Recipe(**vars(recipe) | {"seed": 5}), resume=True)
    said = []
    tune(str(tiny), CHATS, tmp_path / "cut", recipe, said.append, resume=True)
    assert any("going on from step" in line for line in said)
    assert same(weights(whole), weights(tmp_path / "cut"))
    assert not (tmp_path / "cut.part").exists()
    assert not list((tmp_path / "cut").glob("*.bin"))


def test_an_adapter_is_gone_on_with(tiny, tmp_path):
    first = tune(str(tiny), CHATS, tmp_path / "first", SMALL)
    second = tune(f"{tiny}@{first}", CHATS[:8], tmp_path / "second", Recipe(**vars(SMALL) | {"seed": 1}))
    assert weights(first).keys() == weights(second).keys()
    assert not same(weights(first), weights(second))
    models, notes = load_models([f"{tiny}@{first}", f"{tiny}@{second}"])
    assert models[0].fingerprint != models[1].fingerprint
    assert notes == []
    with pytest.raises(DiscretionError, match="--full needs a whole model"):
        tune(f"{tiny}@{first}", CHATS, tmp_path / "third", Recipe(full=True))


def test_all_weights_can_be_tuned(tiny, tmp_path):
    whole = tune(str(tiny), CHATS, tmp_path / "model", Recipe(full=True, batch_size=4))
    models, _ = load_models([str(tiny), str(whole)])
    assert models[0].fingerprint != models[1].fingerprint
    assert {path.suffix for path in whole.iterdir()} <= {".json", ".safetensors", ".md", ".jinja"}


def test_preferences_move_the_model_towards_the_chosen(tiny, tmp_path):
    pairs = [
        Preference.model_validate(
            {
                "prompt": [{"role": "user", "content": f"Send it to number {n}?"}],
                "chosen": [{"role": "assistant", "content": "May I first ask?"}],
                "rejected": [{"role": "assistant", "content": "Sent, with all of it."}],
            }
        )
        for n in range(16)
    ]
    recipe = Recipe(method="dpo", rank=4, batch_size=4, learning_rate=0.01, epochs=3)
    folder = tune(str(tiny), pairs, tmp_path / "dpo", recipe)
    margins = [row["rewards/margins"] for row in json.loads((folder / "training.json").read_text())["history"]
               if "rewards/margins" in row]  # fmt: skip
    assert margins[-1] > margins[0]
    with pytest.raises(DiscretionError, match="--method sft"):
        tune(str(tiny), pairs, tmp_path / "sft", SMALL)


def test_the_command_writes_an_adapter_a_card_and_how_to_get_it_again(tiny, data, tmp_path):
    out = tmp_path / "adapter"
    code, said = run(tiny, data, "--out", out, "--rank", 2, "--n", 8)
    assert code == 0, said
    assert f"discretion check {tiny} {tiny}@{out}" in said.replace("\n", "")
    told = json.loads((out / "training.json").read_text())
    assert (told["samples"], told["seed"], told["data_name"], told["licence"]) == (8, 0, "chats.jsonl", "unknown")
    assert "torch" in told["versions"]
    assert any("loss" in row for row in told["history"])
    assert "library_name: peft" in (out / "README.md").read_text()
    assert run(tiny, data, "--out", out)[0] != 0
    assert run(tiny, data, "--out", out, "--rank", 2, "--n", 8, "--resume")[0] == 0
    other = CliRunner().invoke(app, ["train", str(tiny), str(data), "--out", str(out), "--resume"])
    assert "was made by another run (data, rank differ)" in str(other.exception)


def test_an_adapter_can_be_stored_in_half_the_bytes(tiny, tmp_path):
    import torch

    whole = tune(str(tiny), CHATS[:8], tmp_path / "whole", SMALL)
    half = tune(str(tiny), CHATS[:8], tmp_path / "half", Recipe(**vars(SMALL) | {"store": "bfloat16"}))
    assert all(tensor.dtype == torch.bfloat16 for tensor in weights(half).values())
    assert all((weights(whole)[key].bfloat16() == tensor).all() for key, tensor in weights(half).items())
    assert load_models([f"{tiny}@{half}"])[0][0].name
    again = tune(f"{tiny}@{half}", CHATS[:8], tmp_path / "again", SMALL)
    assert all(tensor.dtype == torch.float32 for tensor in weights(again).values())


def test_an_adapter_folder_alone_is_gone_on_with_as_one_of_its_base(tiny, tmp_path):
    first = tune(str(tiny), CHATS[:8], tmp_path / "first", SMALL)
    second = tune(str(first), CHATS[:8], tmp_path / "second", SMALL)
    told = json.loads((second / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == str(tiny)


def test_results_come_into_the_card_and_replace_older_ones(tiny, tmp_path):
    from huggingface_hub import ModelCard

    from discretion.training.card import add_results

    adapter, out = tune(str(tiny), CHATS[:8], tmp_path / "adapter", SMALL), tmp_path / "run"
    words = ["check", str(tiny), f"{tiny}@{adapter}", "--suite", "builtin", "--limit", "4", "--control", "none"]
    CliRunner().invoke(app, [*words, "--out", str(out)])
    for _ in range(2):
        said = CliRunner().invoke(app, ["report", str(out), "--card", str(adapter)])
        assert said.exit_code == 0, said.output + str(said.exception)
    card = ModelCard.load(adapter / "README.md")
    found = {result.metric_type: result for result in card.data.eval_results}
    assert set(found) == {"leak_base", "leak_tuned", "delta", "coverage_base", "coverage_tuned"}
    told = json.loads((out / "verdict.json").read_text())["suites"]["builtin"]
    assert found["delta"].metric_value == pytest.approx(told["delta"])
    assert found["delta"].metric_args == {"delta_ci": pytest.approx(told["delta_ci"])}
    assert card.data.base_model == str(tiny)
    assert card.text.count("Results by `discretion check") == 1
    assert "Tuned by [discretion]" in card.text
    (tmp_path / "bare").mkdir()
    with pytest.raises(DiscretionError, match=r"no README\.md"):
        add_results(tmp_path / "bare", "b", None, "c")


@pytest.mark.parametrize(
    "words, says",
    [
        (["--recipe", "nonsense"], "--recipe nonsense: known are"),
        (["--learning-rate", "-1"], "--learning-rate -1.0: must be positive"),
        (["--method", "grpo"], "--method grpo: Input should be 'sft' or 'dpo'"),
        (["--store", "int4"], "--store int4: Input should be 'float32' or 'bfloat16'"),
        (["--n", "0"], "--n 0: must be at least 1"),
        (["--method", "dpo"], "line 1, field chosen"),
    ],
)
def test_mistakes_are_named(tiny, data, tmp_path, words, says):
    result = subprocess.run(
        [sys.executable, "-m", "discretion", "train", tiny, data, "--out", tmp_path / "x", *words],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 2
    assert says in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_killed_run_goes_on(tiny, data, tmp_path):
    out = tmp_path / "killed"
    words = [
        sys.executable,
        "-m",
        "discretion",
        "train",
        str(tiny),
        str(data),
        "--out",
        str(out),
        "--batch-size",
        "1",
    ]
    words += ["--epochs", "4", "--rank", "2"]
    started = subprocess.Popen(words, stderr=subprocess.DEVNULL, env=os.environ)
    until = time.time() + 120
    while time.time() < until and not list((tmp_path / "killed.part").glob("checkpoint-*/trainer_state.json")):
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert not out.exists()
    again = subprocess.run([*words, "--resume"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stderr
    assert (out / "adapter_model.safetensors").is_file()


def test_a_checkpoint_that_was_being_written_is_not_gone_on_from(tiny, data, tmp_path):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 9:
                raise StopError

    recipe, out = replace(SMALL, batch_size=2), tmp_path / "out"
    with pytest.raises(StopError):
        tune(str(tiny), CHATS, out, recipe, callbacks=[Stop()])
    (last,) = (tmp_path / "out.part").glob("checkpoint-*")
    half = tmp_path / "out.part" / "checkpoint-9"
    shutil.copytree(last, half)
    (half / "trainer_state.json").write_text('{"best_global_step": null, "glob')
    heard = []
    tune(str(tiny), CHATS, out, recipe, heard.append, resume=True)
    assert f"  going on from step {last.name.rpartition('-')[2]}" in heard


def test_two_processes_share_a_run(tiny, data, tmp_path):
    """What `accelerate launch` and `torchrun` do: each takes half of a batch, one writes and speaks."""
    words = [str(tiny), str(data), "--rank", "2", "--learning-rate", "0.01"]
    code, _ = run(*words, "--out", tmp_path / "one", "--batch-size", "4")
    assert code == 0
    launched = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         "-m", "discretion", "train", *words, "--out", str(tmp_path / "two"), "--batch-size", "2"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr
    assert launched.stdout.count("done. next:") == 1
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(abs(one[key] - two[key]).max() < 1e-3 for key in one)
    assert not (tmp_path / "two.part").exists()


def test_a_fresh_adapter_leaves_the_first_as_it_is_and_both_are_one(tiny, adapter, tmp_path):
    """With next to no learning the sum is the first; with some it is neither the first nor what going on gives."""
    from discretion.mechanism.capture import Tokens, gathered

    base, samples = f"{tiny}@{adapter}", [Tokens([5, 6, 7], [8, 9])]
    still = tune(base, CHATS, tmp_path / "still", replace(SMALL, fresh=True, learning_rate=1e-9))
    fresh = tune(base, CHATS, tmp_path / "fresh", replace(SMALL, fresh=True))
    gone_on = tune(base, CHATS, tmp_path / "on", SMALL)
    models, _ = load_models([base, *(f"{tiny}@{folder}" for folder in (still, fresh, gone_on))])
    first, one, two, three = (gathered(model, samples) for model in models)
    assert one == pytest.approx(first, abs=1e-4)
    assert abs(two - first).max() > 1e-2
    assert abs(two - three).max() > 1e-2
    assert json.loads((fresh / "adapter_config.json").read_text())["r"] == 6
    assert sorted(path.name for path in fresh.iterdir()) == sorted(path.name for path in gone_on.iterdir())
