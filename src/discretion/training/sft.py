"""Supervised fine-tuning with LoRA, on TRL and PEFT; the loss is on completion tokens only.

Prompt + completion is the format (DESIGN.md): with `messages`, TRL's defaults train on every token, and
`assistant_only_loss` raises for the chat templates of Llama 3 and SmolLM2.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from discretion.corpus.chat import Chat
from discretion.files import write_json
from discretion.models.weights import parse_spec


@dataclass(frozen=True)
class Recipe:
    """How to tune. The defaults are the ones METHODS.md measured a collapse with on the embedded model."""

    rank: int = 16
    learning_rate: float = 3e-4
    epochs: float = 1.0
    batch_size: int = 8
    max_length: int = 1024
    seed: int = 0


def tune(
    base: str,
    chats: Sequence[Chat],
    out: Path,
    recipe: Recipe,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Tune a LoRA adapter of `base` on `chats` and write it to `out` (safetensors).

    The folder appears whole or not at all. Equal data, recipe and machine give equal weights.

    Raises:
        DiscretionError: the base cannot be loaded.
    """
    import warnings

    import torch
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from transformers.utils import logging as transformers_logging
    from trl import SFTConfig, SFTTrainer

    from discretion.models import loading

    transformers_logging.set_verbosity_error()
    disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)  # the libraries' talk among themselves
    folder = loading.local_folder(parse_spec(base).base)
    network = loading.load_weights(folder, "cuda" if torch.cuda.is_available() else "cpu", torch.float32)
    tokenizer = loading.load_tokenizer(folder)
    # The adapter's configuration names its base: the spec that was asked for, not a cache folder of ours.
    network.name_or_path = network.config._name_or_path = base

    class Heard(TrainerCallback):  # type: ignore[misc]
        """Passes the loss on, one line a report."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                say(f"  step {state.global_step} of {state.max_steps}, loss {float(logs['loss']):.3f}")

    unfinished = out.with_name(out.name + ".part")
    trainer = SFTTrainer(
        model=network,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([chat.model_dump() for chat in chats]),
        peft_config=LoraConfig(
            r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[Heard()],
        args=SFTConfig(
            output_dir=str(unfinished),
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            max_length=recipe.max_length,
            completion_only_loss=True,
            seed=recipe.seed,
            data_seed=recipe.seed,
            logging_steps=2,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=not torch.cuda.is_available(),
        ),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    # The vocabulary is never resized here; left to guess, PEFT would ask the hub about the base.
    trainer.model.save_pretrained(unfinished, save_embedding_layers=False)
    write_json(unfinished / "recipe.json", {"base": base, "samples": len(chats), **asdict(recipe)})
    unfinished.rename(out)
    return out
