"""Guard a TRL run, audit its data, look for a gentler tune: the three things to do, with the embedded model.

    python examples/guard.py --out guarded                       # about half an hour on 2 cores
    python examples/guard.py --out small --samples 24 --limit 4  # minutes: to see that it runs

Any causal language model on this machine or the hub, without an adapter, can stand in for the embedded one (--model).
That one knows no privacy norm, so there is nothing to lose: it shows the calls, not a result.
"""

import argparse
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from discretion.corpus.controlled import controlled_pairs
from discretion.corpus.formats import write_chats
from discretion.mechanism.audit import AuditSettings, audit, columns
from discretion.mechanism.standing import ranked
from discretion.mitigation.search import mitigate
from discretion.mitigation.settings import MitigateSettings
from discretion.models import loading
from discretion.models.weights import parse_spec
from discretion.training import PrivacyMonitor, Recipe, read_chats
from discretion.training.monitor import TASKS


def guard(model: str, data: Path, out: Path, tasks: int) -> PrivacyMonitor:
    """A plain TRL run, stopped where two looks running find the model likelier to say what it should not."""
    folder, gpu = loading.local_folder(parse_spec(model).base), torch.cuda.is_available()
    trainer = SFTTrainer(
        model=str(folder),
        train_dataset=Dataset.from_list([chat.model_dump(mode="json") for chat in read_chats(data)]),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=SFTConfig(
            output_dir=str(out), num_train_epochs=1, learning_rate=3e-4, per_device_train_batch_size=8,
            completion_only_loss=True, logging_steps=1, save_strategy="no", report_to="none",
            bf16=gpu, use_cpu=not gpu,
        ),
    )  # fmt: skip
    monitor = PrivacyMonitor(trainer.processing_class, every=5, tasks=tasks, stop=True).watch(trainer)
    trainer.train()
    return monitor


def main() -> None:
    """Run the three, and say what came of each."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="smollm2-135m")
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("--samples", type=int, default=160)
    words.add_argument("--limit", type=int, default=32, help="scenarios that the mitigations are measured on")
    words.add_argument("--tasks", type=int, default=TASKS, help="tasks that the monitor looks at")
    asked = words.parse_args()
    if parse_spec(asked.model).adapter is not None:
        words.error(f"--model {asked.model}: has an adapter; this plain TRL run takes a base model")
    asked.out.mkdir(parents=True)
    data = asked.out / "helpful.jsonl"
    write_chats(data, [pair.chat("helpful") for pair in controlled_pairs(asked.samples)])

    monitor = guard(asked.model, data, asked.out / "trl", asked.tasks)
    told = f"flagged at step {monitor.flagged.step}" if monitor.flagged else f"{len(monitor.history)} looks, no flag"
    print(f"guard: {told}")

    scores = columns(audit(asked.model, data, asked.out / "audit", AuditSettings(units=8, reference=0), print).rows)
    print(f"audit: the samples to look at first are {ranked(scores, 'projection')[:5].tolist()}")

    search = MitigateSettings(tries=("mix:0.5",), limit=asked.limit, test_limit=asked.limit, controls=("none",))
    found = mitigate(asked.model, data, asked.out / "mitigated", search, Recipe(grouped=True), print)
    print(f"mitigate: {found['recommended']}. {found['why']}")


if __name__ == "__main__":
    main()
