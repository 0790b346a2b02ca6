"""How fast is probing? This engine against the two usual ways, on the same questions in one run.

    python benchmarks/probe.py --data-dir ../shared/data --n 40

40 PrivacyLens trajectories in both option orders, the embedded model: (a) one `generate` call a question through
transformers, (b) lm-evaluation-harness's `hf` model (log-likelihoods of the two letters). Prints questions per
second, ratios, and what share of this machine's fp32 matrix-multiply rate the engine reaches, counting each shared
token once. The ways take turns, scenario by scenario, so that a noisy machine troubles them alike; (b), which
batches by itself, gets its questions in blocks.
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path

import torch

from discretion.elicit import plan_probe
from discretion.models import load_models
from discretion.models.local import LocalModel
from discretion.models.prefix import common_prefix
from discretion.scenarios import choose, load_suite


def matrix_rate(size: int = 3000, repeats: int = 5) -> float:
    """Best observed fp32 multiply-add rate of square matrices, in floating-point operations a second."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times[1:])


def operations(network, lengths: list[tuple[int, int]]) -> float:
    """Floating-point operations of forward passes over `new` tokens after `seen` cached ones.

    Two for each weight of the blocks and token, four for each attended position, head and width.
    """
    config = network.config
    weights = sum(
        p.numel() for name, p in network.named_parameters() if "embed" not in name and "lm_head" not in name
    )
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    total = 0.0
    for seen, new in lengths:
        attended = new * seen + new * (new + 1) / 2
        total += 2 * weights * new + 4 * attended * width * config.num_hidden_layers
    return total


def by_generate(model: LocalModel, prompts: list[str]) -> list[int]:
    """(a): one greedy token a question through `generate`."""
    answers = []
    network, tokenizer = model._engine.network, model.tokenizer
    for prompt in prompts:
        ids = torch.tensor([model._encode(model._chat(prompt))])
        output = network.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        answers.append(int(output[0, -1]))
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--block", type=int, default=10, help="scenarios between turns of the harness")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/probe.json"))
    options = parser.parse_args()

    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    (model,), _ = load_models(["smollm2-135m"])
    assert isinstance(model, LocalModel)
    network = model._engine.network
    harness = HFLM(pretrained=network, tokenizer=model.tokenizer, batch_size=1, max_length=8192, backend="causal")
    groups = plan_probe(choose(load_suite("privacylens", data_dir=options.data_dir), options.n))

    model.option_logprobs([ask.question for ask in groups[0].asks])  # warm up
    spent = {"discretion": 0.0, "generate": 0.0, "lm-eval": 0.0}
    rates, lengths, differences = [], [], []
    for start in range(0, len(groups), options.block):
        block = groups[start : start + options.block]
        rates.append(matrix_rate())
        requests, ours = [], []
        for group in block:
            questions = [ask.question for ask in group.asks]
            begin = time.perf_counter()
            ours += model.option_logprobs(questions)
            spent["discretion"] += time.perf_counter() - begin
            begin = time.perf_counter()
            by_generate(model, [question.prompt for question in questions])
            spent["generate"] += time.perf_counter() - begin
            first, second = (model._prepare(question)[0] for question in questions)
            shared = common_prefix([first, second])
            lengths += [(0, len(first)), (shared, len(second) - shared)]
            requests += [
                Instance("loglikelihood", {}, (model._chat(question.prompt), option), 0)
                for question in questions
                for option in question.options
            ]
        begin = time.perf_counter()
        theirs = [value for value, _ in harness.loglikelihood(requests, disable_tqdm=True)]
        spent["lm-eval"] += time.perf_counter() - begin
        differences += [abs(one - two) for one, two in zip((v for pair in ours for v in pair), theirs, strict=True)]
        print(f"{start + len(block)} of {len(groups)} scenarios: {spent}", flush=True)

    questions = 2 * len(groups)
    rate = statistics.median(rates)
    share = operations(network, lengths) / spent["discretion"] / rate
    result = {
        "scenarios": len(groups), "questions": questions, "threads": torch.get_num_threads(),
        "tokens": sum(new for _, new in lengths), "seconds": spent,
        "questions_per_second": {name: questions / seconds for name, seconds in spent.items()},
        "faster_than_generate": spent["generate"] / spent["discretion"],
        "faster_than_lm_eval": spent["lm-eval"] / spent["discretion"],
        "matrix_rate_gflops": rate / 1e9, "share_of_matrix_rate": share,
        # The harness moves the template's last line break from the prompt to the answer and adds its log-probability.
        "largest_logprob_difference_to_lm_eval": max(differences),
    }  # fmt: skip
    assert not math.isnan(share)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
