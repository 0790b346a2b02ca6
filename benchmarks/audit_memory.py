"""Memory of an audit by the number of samples: it must not grow with them.

    python benchmarks/audit_memory.py [--sizes 10000 100000]

A tiny random model (the embedded one's tokenizer) audits synthetic chats, each size in a process of its own; the peak
of resident memory is the operating system's count (`wait4`).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from discretion.models import EMBEDDED
from discretion.models.loading import load_tokenizer, local_folder
from discretion.models.weights import parse_spec


def tiny(folder: Path) -> None:
    tokenizer = load_tokenizer(local_folder(parse_spec(EMBEDDED).base))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def samples(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as lines:
        for number in range(count):
            prompt = [{"role": "user", "content": f"What is known of case {number}, and who asked for it?"}]
            answer = [{"role": "assistant", "content": f"Case {number} was asked for by desk {number % 97}."}]
            lines.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")


def peak(command: list[str]) -> float:
    """MiB of resident memory at the most."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: failed")
    return usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    asked = parser.parse_args()
    with TemporaryDirectory() as place:
        folder = Path(place)
        tiny(folder / "model")
        first = 0.0
        for size in asked.sizes:
            samples(folder / f"{size}.jsonl", size)
            began = time.monotonic()
            used = peak(
                [sys.executable, "-m", "discretion", "audit", str(folder / "model"), str(folder / f"{size}.jsonl"),
                 "--out", str(folder / f"out-{size}"), "--reference", "0"]
            )  # fmt: skip
            first = first or used
            took = time.monotonic() - began
            print(
                f"{size:,} samples: {used:.0f} MiB at most, {used / first:.3f} of the first, {took:.0f} s", flush=True
            )


if __name__ == "__main__":
    main()
