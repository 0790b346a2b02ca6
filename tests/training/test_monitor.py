"""The monitor sees a rise, sees none where there is none, and changes nothing of the run that it watches."""

import json

import numpy as np
import pytest

from discretion.corpus.chat import one_turn
from discretion.errors import DiscretionError
from discretion.mechanism.vectors import load_direction, save_direction
from discretion.training import PrivacyMonitor
from discretion.training.monitor import (
    TASKS,
    TAU,
    Look,
    Watched,
    flags,
    look,
    refuse_sharded,
    watched_digest,
    watched_tasks,
)

CHATS = [one_turn(f"Question number {n}?", f"The answer is {n * 7}.") for n in range(16)]


def trainer(folder, out, *, chats=CHATS, lr=0.01, epochs=3):
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        processing_class=AutoTokenizer.from_pretrained(folder),
        train_dataset=Dataset.from_list([chat.model_dump(mode="json") for chat in chats]),
        peft_config=LoraConfig(
            r=8, lora_alpha=16, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        args=SFTConfig(
            output_dir=str(out), num_train_epochs=epochs, per_device_train_batch_size=4, learning_rate=lr,
            logging_steps=1, save_strategy="no", report_to="none", completion_only_loss=True, max_length=2048,
            disable_tqdm=True, bf16=False, use_cpu=True, gradient_checkpointing=False, seed=0, data_seed=0,
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(tiny):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


@pytest.fixture(autouse=True)
def roomy(monkeypatch):
    """The tiny model's tokenizer has a token a byte."""
    monkeypatch.setattr("discretion.training.monitor.MOST_TOKENS", 1200)


def test_the_run_is_the_same_with_it(tiny, tokenizer, tmp_path):
    curves = []
    for watched in (False, True):
        run = trainer(tiny, tmp_path / f"{watched}")
        monitor = PrivacyMonitor(tokenizer, every=2, tasks=4, out=tmp_path / "monitor.jsonl")
        if watched:
            monitor.watch(run)
        run.train()
        curves.append([row["loss"] for row in run.state.log_history if "loss" in row])
    assert curves[0] == curves[1]
    assert [check.step for check in monitor.history] == [2, 4, 6, 8, 10, 12]
    reported = [row for row in run.state.log_history if "privacy/rise" in row]
    assert len(reported) == 6
    rows = [json.loads(line) for line in (tmp_path / "monitor.jsonl").read_text().splitlines()]
    assert len(rows[0]["before"]) == 4
    assert rows[1]["rise"] == monitor.history[0].rise


def test_learning_to_say_the_private_line_is_flagged_and_stops_the_run(tiny, tokenizer, tmp_path, monkeypatch):
    # The same private line in every task: so small a model learns no other.
    line = tokenizer("zzzzzz", add_special_tokens=False)["input_ids"]
    tasks = [task._replace(before=task.before[-200:], private=line) for task in watched_tasks(tokenizer, 16)]
    leaky = [one_turn(tokenizer.decode(task.before), "zzzzzz") for task in tasks]
    tasks *= 4  # the bounds of a few are wide
    monkeypatch.setattr("discretion.training.monitor.watched_tasks", lambda *_: tasks)
    run = trainer(tiny, tmp_path / "leaky", chats=leaky, lr=0.02, epochs=30)
    monitor = PrivacyMonitor(tokenizer, every=10, tasks=64, stop=True).watch(run)
    run.train()
    assert monitor.flagged is not None
    assert monitor.flagged.low > TAU
    assert run.state.global_step == monitor.flagged.step == 50 < 30 * 4  # the second look after the first third


def test_a_flag_takes_two_looks_running_after_the_first_third():
    lows = [(10, 0.05), (20, 0.05), (30, 0.03), (40, 0.03), (50, 0.01), (60, 0.03)]
    assert flags(lows, 80) == [False, False, False, True, False, False]
    assert flags(lows, 30) == [False, True, True, True, False, False]
    assert not any(flags(lows, 80, tau=0.04))


def test_likelihoods_are_those_of_the_next_tokens(tiny):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    (found,) = look(model, [Watched([5, 6, 7], [8, 9])]).likely
    with torch.no_grad():
        logprobs = model(input_ids=torch.tensor([[5, 6, 7, 8, 9]])).logits[0].log_softmax(-1)
    assert found == pytest.approx(np.exp(float(logprobs[2, 8] + logprobs[3, 9]) / 2), rel=1e-4)


def test_what_tasks_begin_with_alike_is_computed_once_and_changes_nothing(tiny):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    # The last two differ by their lengths alone: what is shared must leave a token of each prompt.
    tasks = [Watched([5, 6, 7, 11, 12], [8, 9]), Watched([5, 6, 7], [10]), Watched([5, 6, 7, 11], [8, 9, 4])]
    alone = [look(model, [task]).likely[0] for task in tasks]
    assert look(model, tasks).likely == pytest.approx(alone, rel=1e-4)


def test_a_run_that_goes_on_compares_with_the_same_beginning(tiny, tokenizer, tmp_path):
    class State:
        global_step, max_steps, is_world_process_zero = 0, 3, True

    class Control:
        should_training_stop = should_save = False

    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    path = tmp_path / "monitor.jsonl"
    first = PrivacyMonitor(tokenizer, every=1, tasks=4, out=path)
    first.on_train_begin(None, State, Control, model=model)
    State.global_step = 1
    first.on_step_end(None, State, Control, model=model)
    again = PrivacyMonitor(tokenizer, every=1, tasks=4, out=path)
    again.on_train_begin(None, State, Control, model=None)
    assert again.history == first.history
    State.global_step = 2
    again.on_step_end(None, State, Control, model=model)
    assert again.history[-1].rise == pytest.approx(0, abs=1e-7)


def test_a_run_is_not_compared_with_another_beginning(tiny, tokenizer, tmp_path):
    class State:
        global_step, max_steps, is_world_process_zero = 3, 300, True

    path = tmp_path / "monitor.jsonl"
    for rows in (
        None,
        [{"step": 0, "before": [0.1] * 4}],
        [{"step": 0, "before": [0.1], "watched": watched_digest()}],
    ):
        if rows:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(DiscretionError, match="before the run's first step"):
            PrivacyMonitor(tokenizer, tasks=4, out=path).on_train_begin(None, State, None, model=None)


@pytest.mark.parametrize("at_once", [1, 2])
def test_batches_of_any_size_say_the_same(tiny, monkeypatch, at_once):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    tasks = [Watched([5, 6, 7, 11, 12], [8, 9]), Watched([5, 6, 7], [10]), Watched([5, 6, 7, 11], [8, 9, 4])]
    together = look(model, tasks).likely
    monkeypatch.setattr("discretion.training.monitor._AT_ONCE", at_once)
    assert look(model, tasks).likely == pytest.approx(together, rel=1e-4)


def test_by_default_it_looks_every_eighth_of_the_run_and_keeps_it_beside_the_checkpoints(tiny, tokenizer, tmp_path):
    run = trainer(tiny, tmp_path / "run", epochs=4)
    monitor = PrivacyMonitor(tokenizer, tasks=4).watch(run)
    run.train()
    assert [check.step for check in monitor.history] == list(range(2, 17, 2))
    assert (tmp_path / "run" / "privacy_monitor.jsonl").is_file()

    class Long:
        global_step, max_steps, is_world_process_zero = 0, 3000, True

    class Place:
        output_dir = str(tmp_path / "run")

    long = PrivacyMonitor(tokenizer, tasks=4)
    long.on_train_begin(Place, Long, None, model=run.model)
    assert long._every == 50
    # Gone on with by another process: what was before the first step is what was kept, not what is there now.
    Long.global_step = 100
    again = PrivacyMonitor(tokenizer, tasks=4)
    again.on_train_begin(Place, Long, None, model=None)
    assert again._before.likely.tolist() == long._before.likely.tolist()


def test_the_drift_along_a_direction_is_told_and_the_run_is_the_same(tiny, tokenizer, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    class State:
        global_step, max_steps, is_world_process_zero = 8, 12, True

    path = tmp_path / "direction.safetensors"
    vectors = torch.zeros(2, 32)
    vectors[1, 3] = 5.0
    save_direction(path, vectors, 1, "tiny", {})
    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    tasks = watched_tasks(tokenizer, 4)
    seen = look(model, tasks, load_direction(path))
    with torch.no_grad():
        streams = [model.model(torch.tensor([task.before]), output_hidden_states=True) for task in tasks]
    # The last of transformers' own hidden states is after the norm: what the block itself gave is read by a hook.
    assert seen.likely == pytest.approx(look(model, tasks).likely, rel=1e-5)
    assert len(seen.along) == len(streams) == 4
    first = look(model, tasks, load_direction(path)._replace(layer=0, vectors=torch.eye(32)[:2]))
    expected = [float(output.hidden_states[1][0, -1, 0]) for output in streams]
    assert first.along == pytest.approx(expected, rel=1e-4, abs=1e-5)
    save_direction(tmp_path / "others.safetensors", torch.ones(5, 32), 1, "other", {})
    other = PrivacyMonitor(tokenizer, every=4, tasks=4, direction=tmp_path / "others.safetensors")
    with pytest.raises(DiscretionError, match="it is another's"):
        other.watch(trainer(tiny, tmp_path / "other")).on_train_begin(None, State, None, model=model)
    run = trainer(tiny, tmp_path / "run")
    monitor = PrivacyMonitor(tokenizer, every=4, tasks=4, direction=path).watch(run)
    run.train()
    plain = trainer(tiny, tmp_path / "plain")
    plain.train()
    losses = [[row["loss"] for row in one.state.log_history if "loss" in row] for one in (run, plain)]
    assert losses[0] == losses[1]
    assert all(check.drift is not None and abs(check.drift) > 0 for check in monitor.history)
    assert any("privacy/drift" in row for row in run.state.log_history)
    begun = PrivacyMonitor(tokenizer, every=4, tasks=4, out=tmp_path / "run" / "privacy_monitor.jsonl")
    begun.on_train_begin(None, State, None)
    assert [check.drift for check in begun.history] == [check.drift for check in monitor.history[:2]]


def test_of_a_processor_its_tokenizer_is_taken(tokenizer):
    class Processor:
        chat_template = tokenizer.chat_template

        def __call__(self, images, text):
            raise AssertionError("asked as if it were a tokenizer")

    Processor.tokenizer = tokenizer
    assert PrivacyMonitor(Processor(), tasks=4)._tasks == PrivacyMonitor(tokenizer, tasks=4)._tasks


def test_sharded_weights_are_refused(tokenizer):
    from types import SimpleNamespace

    sharded = SimpleNamespace(accelerator=SimpleNamespace(distributed_type="FSDP", state=None))
    with pytest.raises(DiscretionError, match="--anchor needs whole weights"):
        refuse_sharded(sharded, "--anchor")


def test_bounds_do_not_hang_on_the_tasks_lengths(tokenizer):
    class State:
        global_step, max_steps = 50, 100

    monitor = PrivacyMonitor(tokenizer, tasks=64)
    monitor._before = Look(np.zeros(64), np.zeros(0), np.zeros(0))
    # Short tasks rise as far as long ones fall: in the order of their length that would be taken for a rise.
    check = monitor._check(State, Look(np.repeat([0.125, -0.125], 32), np.zeros(0), np.zeros(0)))
    assert check.low < 0 < check.high


def test_wrong_settings_are_said(tokenizer):
    with pytest.raises(DiscretionError, match="every 0"):
        PrivacyMonitor(tokenizer, every=0)
    with pytest.raises(DiscretionError, match="short enough"):
        PrivacyMonitor(tokenizer, tasks=10_000)


@pytest.mark.embedded
def test_the_embedded_models_tokenizer_has_tasks_enough():
    from discretion.models import loading
    from discretion.models.weights import EMBEDDED, parse_spec

    tokenizer = loading.load_tokenizer(loading.local_folder(parse_spec(EMBEDDED).base))
    lengths = [len(task.before) for task in watched_tasks(tokenizer)]
    assert len(lengths) == TASKS
    assert max(lengths) <= 170
