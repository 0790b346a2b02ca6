"""One training run on TRL and PEFT: an adapter or a whole model, from checkpoints if it was stopped.

Prompt + completion is the format (DESIGN.md): with `messages`, TRL's defaults train on every token, and
`assistant_only_loss` raises for the chat templates of Llama 3 and SmolLM2. Several GPUs: `accelerate launch -m
discretion train ...`.
"""

import json
import math
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from discretion.corpus.chat import Chat
from discretion.corpus.preferences import Preference
from discretion.corpus.provenance import fingerprint
from discretion.errors import DiscretionError
from discretion.files import read_json, write_json
from discretion.models.chat import dated, takes_system, undated, without_system
from discretion.models.weights import STEERING, parse_spec
from discretion.models.weights import fingerprint as weights_fingerprint
from discretion.training.adapters import CONFIG, WEIGHTS, combine, refuse_other_than_lora
from discretion.training.memory import completions_alone_are_scored, eager_fits, keep_freed_memory
from discretion.training.order import by_length
from discretion.training.recipes import Recipe

Samples = Sequence[Chat] | Sequence[Preference]
_ASKED, TRAINING = "asked.json", "training.json"
_PLACE = ("processes", "device")  # where an unfinished run is made
_CHECKPOINTS = 10  # so many a run
_LARGE = 1e9  # parameters from which on activations are computed again on a GPU, for want of memory
_CHATTER = ("total_flos", "runtime", "per_second", "grad_norm")


def tune(
    base: str,
    samples: Samples,
    out: Path,
    recipe: Recipe | None = None,
    say: Callable[[str], None] = lambda line: None,
    *,
    resume: bool = False,
    report_to: str = "none",
    facts: Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] = (),
    monitor_every: int = 0,
    stop_if_flagged: bool = False,
    direction: Path | None = None,
) -> Path:
    """Tune `base` on `samples` and write what was learned to `out` (safetensors, `training.json`, model card).

    A base with an adapter (BASE@ADAPTER) is gone on with: `out` is then an adapter of BASE. The folder appears whole
    or not at all; beside it, OUT.part holds the checkpoints that `resume` goes on from; what is done stays as it is.
    Equal data, recipe and machine give equal weights, stopped in between or not. With `monitor_every` a
    `PrivacyMonitor` looks every so many steps, and keeps what it saw in the folder's monitor.jsonl; with `direction`
    (of `discretion explain`) it tells the drift along it.

    Raises:
        DiscretionError: the base cannot be loaded, the samples do not fit the method, OUT or OUT.part is of another
            run, or `resume` is off and OUT is there.
    """
    recipe = recipe or Recipe()
    kind = Preference if recipe.method == "dpo" else Chat
    if not samples or not all(isinstance(sample, kind) for sample in samples):
        raise DiscretionError(
            f"--method {recipe.method}: the data must be {kind.__name__.lower()}s, and at least one"
        )
    unfinished = out.with_name(out.name + ".part")
    processes = _processes()
    with processes.main_process_first():  # it makes the folder; the others find it
        asked = {"base": base, "base_is": base_fingerprint(base), "data": fingerprint(samples), **asdict(recipe)}
        if (out / TRAINING).is_file():
            return _done(out, asked, resume)
        # The order of samples and what is rounded depend on these: only the same goes on to the same weights.
        there = dict(zip(_PLACE, (processes.num_processes, processes.device.type), strict=True))
        checkpoint = _checkpoint(unfinished, asked | there, resume or not processes.is_main_process)
    from torch import OutOfMemoryError

    _quiet()
    keep_freed_memory()
    trainer = _trainer(base, samples, recipe, unfinished, report_to, [*callbacks, _heard(say)])
    if monitor_every:
        from discretion.training.monitor import PrivacyMonitor

        PrivacyMonitor(
            trainer.processing_class, every=monitor_every, stop=stop_if_flagged, out=unfinished / "monitor.jsonl",
            direction=direction,
        ).watch(trainer)  # fmt: skip
    if (kept := len(trainer.train_dataset)) < len(samples) and processes.is_main_process:
        say(f"  {len(samples) - kept} of {len(samples)} samples have no completion within {recipe.max_length} tokens")
    if not kept:
        raise DiscretionError(f"none of the samples has a completion within --max-length {recipe.max_length} tokens")
    if recipe.anchor:
        from discretion.training.monitor import refuse_sharded

        refuse_sharded(trainer, "--anchor")
    if checkpoint and processes.is_main_process:
        say(f"  going on from step {checkpoint.name.rpartition('-')[2]}")
    on_cpu = bool(trainer.args.use_cpu)
    try:
        with completions_alone_are_scored() if on_cpu else nullcontext():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except OutOfMemoryError as error:
        raise DiscretionError(
            f"{base}: {recipe.batch_size} samples at once do not fit into the GPU's memory; give a smaller "
            "--batch-size and more --accumulate, or a smaller --max-length"
        ) from error
    with processes.main_process_first():  # so that `out` is there, whoever returns
        if processes.is_main_process:
            # Of a run that was stopped only the last sitting's time is known.
            told = {**(facts or {}), "seconds": None if checkpoint else _spent(trainer)}
            _finish(trainer, unfinished, out, asked, len(samples), told)
    return out


def _processes() -> Any:
    """This process among those that a launcher started (accelerate, torchrun): mostly it is the only one."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def tuned_spec(base: str, out: Path, recipe: Recipe) -> str:
    """The spec of what `tune` wrote."""
    return str(out) if recipe.full else parse_spec(base).with_adapter(out)


def _trainer(
    base: str, samples: Sequence[Any], recipe: Recipe, folder: Path, report_to: str, callbacks: Sequence[Any]
) -> Any:
    import torch
    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from transformers.trainer_callback import PrinterCallback

    from discretion.models import loading

    spec = parse_spec(base)
    on_top = loading.adapter_folder(spec.adapter) if spec.adapter else None
    if on_top and (on_top / STEERING).is_file():
        raise DiscretionError(f"{base}: is steered, which no tune can go on with; tune the adapter without it")
    gpu = torch.cuda.is_available()
    low = recipe.precision == "bfloat16" or (recipe.precision == "auto" and gpu and torch.cuda.is_bf16_supported())
    trainer_class, configuration = _method(recipe)
    if recipe.anchor or recipe.prevent:  # before the weights are there a second time
        trainer_class = _mitigated(trainer_class, base, recipe)
    folder_of_base = loading.local_folder(spec.base)
    # Weights that learn nothing need no more digits on a GPU than they are multiplied with.
    form = torch.bfloat16 if gpu and low and not recipe.full and not on_top else torch.float32
    network = loading.load_weights(folder_of_base, "cuda" if gpu else "cpu", form)
    tokenizer = loading.load_tokenizer(folder_of_base)
    tokenizer.chat_template = dated(tokenizer.chat_template)
    adapter = None
    if on_top:
        if recipe.full:
            raise DiscretionError(f"{base}: an adapter is gone on with as an adapter; --full needs a whole model")
        if recipe.fresh:
            refuse_other_than_lora(on_top)
        network = PeftModel.from_pretrained(network, on_top, is_trainable=not recipe.fresh)
        if recipe.fresh:
            network = network.merge_and_unload()
    if not recipe.full and (recipe.fresh or not on_top):
        adapter = LoraConfig(
            r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
    at_once = recipe.batch_size * recipe.accumulate * _processes().num_processes
    steps = -(-len(samples) // at_once) * recipe.epochs
    arguments = configuration(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulate,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        warmup_steps=int(steps * recipe.warmup),
        max_length=recipe.max_length,
        seed=recipe.seed,
        data_seed=recipe.seed,
        logging_steps=max(1, int(steps) // 50),
        train_sampling_strategy="sequential" if recipe.grouped else "random",
        save_strategy="steps",
        save_steps=max(1, int(steps) // _CHECKPOINTS),
        save_total_limit=1,
        report_to=report_to,
        disable_tqdm=True,
        gradient_checkpointing=gpu and network.num_parameters() > _LARGE,
        bf16=low,
        use_cpu=not gpu,
    )
    if arguments.n_gpu > 1:  # seen by one process: TRL trains on one of them, or on all by a launcher
        arguments._n_gpu = 1
    system = takes_system(tokenizer)
    trainer = trainer_class(
        model=network,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([_as_row(sample, system) for sample in samples]),
        peft_config=adapter,
        callbacks=list(callbacks),
        args=arguments,
    )
    if recipe.freeze:
        from discretion.mitigation.prevent import freeze_middle

        freeze_middle(trainer.model, recipe.freeze)
    if recipe.grouped:
        lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
        trainer.train_dataset = trainer.train_dataset.select(by_length(lengths, at_once, recipe.seed))
    if (
        not gpu
        and (longest := _longest(trainer.train_dataset))
        and eager_fits(network.config, recipe.batch_size, longest)
    ):
        network.set_attn_implementation("eager")
    trainer.remove_callback(PrinterCallback)
    _name_base(trainer.model, str(folder_of_base))  # or every checkpoint would look for the base on the hub
    return trainer


def _as_row(sample: Any, system: bool) -> dict[str, Any]:
    """A sample as TRL reads it; without a `system` turn, if the template takes none."""
    row: dict[str, Any] = sample.model_dump(mode="json")
    return row if system else row | {"prompt": without_system(row["prompt"])}


def _mitigated(trainer_class: Any, base: str, recipe: Recipe) -> Any:
    """The trainer that uses what `base` is before the tune; that model is let go of before it begins."""
    from discretion.mitigation.anchor import anchor_prompts, anchored, held_once
    from discretion.mitigation.norm_direction import norm_direction
    from discretion.mitigation.prevent import prevented
    from discretion.models.local import LocalModel, load_local

    @cache
    def before() -> LocalModel:
        (model,), _ = load_local([parse_spec(base)], None, "float32")
        return model

    if recipe.prevent:
        trainer_class = prevented(trainer_class, norm_direction(before()), recipe.prevent)
    if recipe.anchor:
        prompts = anchor_prompts(recipe.anchor_prompts, recipe.seed, recipe.anchor_on)
        held = held_once(base_fingerprint(base), before, prompts)
        trainer_class = anchored(trainer_class, held, recipe.anchor, recipe.seed, surgery=recipe.surgery)
    return trainer_class


def _longest(samples: Any) -> int:
    """Tokens of the longest sample; 0 if the trainer keeps them otherwise (DPO)."""
    if "input_ids" not in (samples.column_names or ()):
        return 0
    return max(map(len, samples["input_ids"]), default=0)


def _name_base(model: Any, name: str) -> None:
    """What the adapter's configuration says that it is an adapter of."""
    for configuration in getattr(model, "peft_config", {}).values():
        configuration.base_model_name_or_path = name


def _method(recipe: Recipe) -> tuple[Callable[..., Any], Callable[..., Any]]:
    from functools import partial

    if recipe.method == "dpo":
        from trl import DPOConfig, DPOTrainer

        return DPOTrainer, partial(DPOConfig, beta=recipe.beta)
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer, partial(SFTConfig, completion_only_loss=True)


def _heard(say: Callable[[str], None]) -> Any:
    from transformers import TrainerCallback

    class Heard(TrainerCallback):  # type: ignore[misc]
        """Passes the loss on, one line a report, with the time that is left."""

        def __init__(self) -> None:
            self.began: tuple[float, int] | None = None

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            import time

            self.began = self.began or (time.monotonic(), state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            import time

            if logs and "privacy/rise" in logs and state.is_world_process_zero:
                bounds = f"[{logs['privacy/low']:+.3f}, {logs['privacy/high']:+.3f}]"
                flag = ", flagged: it is getting likelier to say what it should not" * bool(logs["privacy/flagged"])
                drift = f", drift {logs['privacy/drift']:+.3f}" if "privacy/drift" in logs else ""
                say(f"  step {state.global_step}, privacy {logs['privacy/rise']:+.3f} {bounds}{drift}{flag}")
            if not logs or "loss" not in logs or not self.began or not state.is_world_process_zero:
                return
            start, first = self.began
            pace = (time.monotonic() - start) / max(1, state.global_step - first)
            left = int(pace * (state.max_steps - state.global_step))
            say(
                f"  step {state.global_step} of {state.max_steps}, loss {float(logs['loss']):.3f}, "
                f"{left // 60}:{left % 60:02d} left"
            )

    return Heard()


def _done(out: Path, asked: Mapping[str, Any], resume: bool) -> Path:
    if not resume:
        raise DiscretionError(f"{out}: is there already; give another --out")
    before = read_json(out / TRAINING)
    if "stopped_at" in before:
        raise DiscretionError(
            f"{out}: was stopped by the monitor at step {before['stopped_at']}; give another --out, or remove it"
        )
    # The base may be spelled otherwise now; its fingerprint says whether it is the same.
    if different := [name for name in asked if name != "base" and before.get(name, _default(name)) != asked[name]]:
        raise DiscretionError(
            f"{out}: was made by another run ({', '.join(different)} differ); give another --out, or remove it"
        )
    _tidy(out)
    return out


def _default(name: str) -> Any:
    """What a run that does not name a setting had: one made before there was such a setting."""
    return asdict(Recipe()).get(name)


def _checkpoint(unfinished: Path, asked: Mapping[str, Any], resume: bool) -> Path | None:
    """Where to go on from, if anywhere; leftovers of a run that nobody resumes are removed."""
    if not unfinished.exists():
        unfinished.mkdir(parents=True)
        write_json(unfinished / _ASKED, asked)
        return None
    if not resume:
        raise DiscretionError(f"{unfinished}: an unfinished run is there; go on with --resume, or remove it")
    before = read_json(unfinished / _ASKED) if (unfinished / _ASKED).is_file() else dict(asked)
    # Where it was made was not always told.
    told = {name: asked[name] if name in _PLACE else _default(name) for name in asked} | before
    if different := [name for name in asked if told[name] != asked[name]]:
        raise DiscretionError(
            f"{unfinished}: is of another run ({', '.join(different)} differ); give another --out, or remove it"
        )
    write_json(unfinished / _ASKED, asked)
    whole = [path for path in unfinished.glob("checkpoint-*") if _is_whole(path)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_whole(checkpoint: Path) -> bool:
    """Whether what is written last of a checkpoint was written to its end."""
    try:
        return "global_step" in json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _finish(
    trainer: Any, unfinished: Path, out: Path, asked: dict[str, Any], samples: int, facts: dict[str, Any]
) -> None:
    """Weights, `training.json` and the card; the checkpoints go; the folder takes its name."""
    from discretion.run import versions
    from discretion.training.card import write_card

    if asked["full"]:
        trainer.processing_class.chat_template = undated(trainer.processing_class.chat_template)
        trainer.processing_class.save_pretrained(unfinished)
        if asked["store"] == "bfloat16":
            trainer.model.bfloat16()
        trainer.model.save_pretrained(unfinished)
    else:
        # The spec that was asked for, not a cache folder of ours.
        _name_base(trainer.model, parse_spec(asked["base"]).called)
        # The vocabulary is never resized here; left to guess, PEFT would ask the hub about the base.
        trainer.model.save_pretrained(unfinished, save_embedding_layers=False)
        if asked["fresh"]:
            _add_before(asked["base"], unfinished)
        if asked["store"] == "bfloat16":
            _halve(unfinished / "adapter_model.safetensors")
    history = [
        {name: _number(value) for name, value in entry.items() if not any(part in name for part in _CHATTER)}
        for entry in trainer.state.log_history
    ]
    told = {**asked, "samples": samples, **facts, "versions": versions(), "history": history}
    if trainer.state.global_step < trainer.state.max_steps:
        told["stopped_at"] = trainer.state.global_step
    write_json(unfinished / TRAINING, told)
    write_card(unfinished, out.name, told)
    unfinished.rename(out)
    _tidy(out)


def _number(value: Any) -> Any:
    """What JSON can hold: a loss that is no number is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _spent(trainer: Any) -> float | None:
    """Seconds of training."""
    return next((entry["train_runtime"] for entry in trainer.state.log_history if "train_runtime" in entry), None)


def _tidy(out: Path) -> None:
    """Remove what only an unfinished run needs; a kill may have left it."""
    for path in out.glob("checkpoint-*"):
        shutil.rmtree(path)
    for leftover in (_ASKED, "training_args.bin"):  # pickled arguments are of no use to anyone
        (out / leftover).unlink(missing_ok=True)


def _add_before(base: str, folder: Path) -> None:
    """The new adapter and the base's own as one adapter of the bare base."""
    from discretion.models import loading

    spec = parse_spec(base)
    if spec.adapter is None:
        return
    with TemporaryDirectory(dir=folder) as place:
        new = Path(place) / "new"
        new.mkdir()
        for name in (WEIGHTS, CONFIG):
            shutil.copy(folder / name, new / name)
        made = combine([(1.0, loading.adapter_folder(spec.adapter)), (1.0, new)], Path(place) / "both")
        for name in (WEIGHTS, CONFIG):
            (made / name).replace(folder / name)


def _halve(path: Path) -> None:
    """The adapter's numbers in bfloat16: half the bytes. PEFT computes in float32 again."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def base_fingerprint(base: str) -> str:
    """What the base's weights, and its adapter's, are."""
    from discretion.models import loading

    spec = parse_spec(base)
    folders = [loading.local_folder(spec.base), *([loading.adapter_folder(spec.adapter)] if spec.adapter else [])]
    return " ".join(weights_fingerprint(folder) for folder in folders)


def _quiet() -> None:
    """The libraries' talk among themselves is not for users."""
    from datasets import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)
