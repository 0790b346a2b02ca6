"""Training on a CPU: tokens a second with freed memory kept or given back, in float32 and bfloat16, side by side.

    python benchmarks/train.py [--samples 32]

Each way runs in a process of its own (the allocator cannot be told twice), in turns, and the median of three is kept.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = [("float32", False), ("float32", True), ("bfloat16", False), ("bfloat16", True)]


def once(precision: str, keep: bool, samples: int) -> dict[str, float]:
    from discretion.corpus.norms import norm_samples
    from discretion.models import EMBEDDED
    from discretion.training import Recipe, run

    if not keep:
        run.keep_freed_memory = lambda: False
    chats = [sample.chat for sample in norm_samples(4 * samples, 0) if sample.kind == "act"][:samples]
    began = 0.0

    def heard(line: str) -> None:
        nonlocal began
        began = began or time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        out = run.tune(EMBEDDED, chats, Path(folder) / "x", Recipe(precision=precision, batch_size=8), heard)
        took = time.perf_counter() - began
        history = json.loads((out / "training.json").read_text())["history"]
    counted = [entry["num_tokens"] for entry in history if "num_tokens" in entry]
    return {"tokens": counted[-1] - counted[0], "seconds": took, "loss": history[-1]["train_loss"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--way", type=int, default=None)
    asked = parser.parse_args()
    if asked.way is not None:
        print(json.dumps(once(*WAYS[asked.way], asked.samples)))
        return
    paces: dict[int, list[float]] = {way: [] for way in range(len(WAYS))}
    losses: dict[int, float] = {}
    for _ in range(3):
        for way in paces:
            words = [sys.executable, __file__, "--way", str(way), "--samples", str(asked.samples)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            paces[way].append(found["tokens"] / found["seconds"])
            losses[way] = found["loss"]
    first = statistics.median(paces[0])
    print("| arithmetic | freed memory | tokens a second | ratio | loss |\n|---|---|---|---|---|")
    for way, (precision, keep) in enumerate(WAYS):
        pace = statistics.median(paces[way])
        kept = "kept" if keep else "given back"
        print(f"| {precision} | {kept} | {pace:.0f} | {pace / first:.2f} | {losses[way]:.4f} |")


if __name__ == "__main__":
    main()
