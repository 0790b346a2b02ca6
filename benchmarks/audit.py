"""Auditing on this machine: samples a second, ours against the usual way, and how much of the matrix rate ours uses.

    python benchmarks/audit.py [--samples 32] [--rounds 3]

The usual way is one sample at a time with `output_hidden_states=True` and the vocabulary's logits of every token.
Ours pools inside hooks on the blocks and skips the head. Both give the same numbers, which is checked. "shared" are
pairs of answers to one prompt (helpful and control), whose prompt ours computes once. Ways take turns, the median is
kept.
"""

import argparse
import statistics
import time

import torch

from discretion.corpus.controlled import controlled_pairs
from discretion.mechanism.anatomy import anatomy
from discretion.mechanism.capture import Tokens, gathered
from discretion.models import EMBEDDED, load_models
from discretion.models.local import LocalModel


def usual(model: LocalModel, samples: list[Tokens]) -> torch.Tensor:
    rows = []
    with model.inside() as network, torch.inference_mode():
        for sample in samples:
            ids = torch.tensor([sample.prompt + sample.response])
            states = network(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
            rows.append(torch.stack([state[0, len(sample.prompt) :].mean(dim=0) for state in states[1:-1]]))
    return torch.stack(rows)


def matrix_rate(width: int, inner: int, tokens: int) -> float:
    """Multiply-adds a second of this machine on matrices of the model's size."""
    left, right = torch.randn(tokens, width), torch.randn(width, inner)
    torch.mm(left, right)
    began, rounds = time.perf_counter(), 200
    for _ in range(rounds):
        torch.mm(left, right)
    return rounds * tokens * width * inner / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    (model,), _ = load_models([EMBEDDED])
    assert isinstance(model, LocalModel)
    pairs = controlled_pairs(asked.samples, 0)

    def tokens(pair, side: str) -> Tokens:
        chat = pair.chat(side)
        turns = [{"role": turn.role, "content": turn.content} for turn in chat.prompt]
        return Tokens(*model.encode_turns(turns, chat.completion[0].content))

    half = pairs[: asked.samples // 2]
    sets = {
        "distinct prompts": [tokens(pair, "helpful") for pair in pairs],
        "shared prompts": [tokens(pair, side) for pair in half for side in ("helpful", "control")],
    }
    with model.inside() as network:
        parts, config = anatomy(network), network.config
        weights = sum(weight.numel() for block in parts.blocks for weight in block.parameters() if weight.dim() == 2)
    for name, samples in sets.items():
        count = sum(len(sample.prompt) + len(sample.response) for sample in samples)
        assert torch.allclose(usual(model, samples[:4]), gathered(model, samples[:4])[:, :-1], atol=2e-3)
        times: dict[str, list[float]] = {"usual": [], "ours": []}
        for _ in range(asked.rounds):
            for way, run in (("usual", usual), ("ours", gathered)):
                began = time.perf_counter()
                run(model, samples)
                times[way].append(time.perf_counter() - began)
        old, new = (statistics.median(times[way]) for way in ("usual", "ours"))
        print(
            f"{name}: {len(samples)} samples, {count} tokens; usual {len(samples) / old:.2f} samples/s "
            f"({count / old:.0f} tokens/s), ours {len(samples) / new:.2f} ({count / new:.0f}); ratio {old / new:.2f}"
        )
        if name == "distinct prompts":
            rate = matrix_rate(config.hidden_size, config.intermediate_size, count // len(samples))
            print(f"  of the matrix rate ({2 * rate / 1e9:.0f} GFLOP/s): {count * weights / new / rate:.0%}")


if __name__ == "__main__":
    main()
