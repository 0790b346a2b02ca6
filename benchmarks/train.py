"""Training on a CPU: tokens a second as TRL does it, and with each thing that `discretion train` does besides.

    python benchmarks/train.py [--samples 32] [--rounds 3] [--bfloat16]

Each way runs in a process of its own (the allocator cannot be told twice), in turns, and the median is kept.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

# What is on, one thing more each time.
WAYS = {
    "TRL's own": (),
    "freed memory kept": ("memory",),
    "attention written out": ("memory", "attention"),
    "prompts left out of the logits": ("memory", "attention", "logits"),
}


def once(on: tuple[str, ...], precision: str, samples: int) -> dict[str, float]:
    from discretion.corpus.norms import norm_samples
    from discretion.models import EMBEDDED
    from discretion.training import Recipe, run

    if "memory" not in on:
        run.keep_freed_memory = lambda: False
    if "attention" not in on:
        run.eager_fits = lambda *_: False
    if "logits" not in on:
        run.completions_alone_are_scored = nullcontext
    chats = [sample.chat for sample in norm_samples(2 * samples, 0) if sample.kind == "act"][:samples]
    began = 0.0

    def heard(line: str) -> None:
        nonlocal began
        began = began or time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        out = run.tune(EMBEDDED, chats, Path(folder) / "x", Recipe(precision=precision, batch_size=4), heard)
        took = time.perf_counter() - began
        history = json.loads((out / "training.json").read_text())["history"]
    counted = [entry["num_tokens"] for entry in history if "num_tokens" in entry]
    return {"tokens": counted[-1] - counted[0], "seconds": took, "loss": history[-1]["train_loss"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--way", default=None)
    asked = parser.parse_args()
    precision = "bfloat16" if asked.bfloat16 else "float32"
    if asked.way is not None:
        print(json.dumps(once(WAYS[asked.way], precision, asked.samples)))
        return
    paces: dict[str, list[float]] = {way: [] for way in WAYS}
    losses: dict[str, float] = {}
    for _ in range(asked.rounds):
        for way in WAYS:
            words = [sys.executable, __file__, "--way", way, "--samples", str(asked.samples)]
            words += ["--bfloat16"] if asked.bfloat16 else []
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            paces[way].append(found["tokens"] / found["seconds"])
            losses[way] = found["loss"]
    first = statistics.median(next(iter(paces.values())))
    print(f"| {precision} | tokens a second | ratio | loss |\n|---|---|---|---|")
    for way, found in paces.items():
        pace = statistics.median(found)
        print(f"| {way} | {pace:.0f} | {pace / first:.2f} | {losses[way]:.4f} |")


if __name__ == "__main__":
    main()
