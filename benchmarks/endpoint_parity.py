"""Does a served model answer as the same weights in memory do?

    python benchmarks/endpoint_parity.py LOCAL endpoint:http://localhost:8000/v1#NAME [--scenarios 6]

Prints the greatest difference of an option's probability (if the server gives log-probabilities) and how many greedy
texts are equal. Start a server with, for instance:

    transformers serve FOLDER --device cpu --dtype float32
    python -m llama_cpp.server --model FILE.gguf --n_ctx 4096 --logits_all true --model_alias NAME
"""

import argparse
import math

from discretion.elicit import plan_act, plan_probe
from discretion.judges.acts import MatchJudge
from discretion.models import Failure, Pace, load_models
from discretion.scenarios import choose, load_suite


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("local")
    parser.add_argument("served")
    parser.add_argument("--scenarios", type=int, default=6)
    parser.add_argument("--texts", type=int, default=6)
    options = parser.parse_args()
    scenarios = choose(load_suite("builtin"), options.scenarios)
    (local, served), warnings = load_models([options.local, options.served], pace=Pace(1, timeout=600))
    print("\n".join([served.engine, *warnings]))
    if "log-probabilities" in served.engine:
        differences = []
        for group in plan_probe(scenarios):
            questions = [ask.question for ask in group.asks]
            for ours, theirs in zip(local.option_logprobs(questions), served.option_logprobs(questions), strict=True):
                if isinstance(ours, Failure) or isinstance(theirs, Failure):
                    raise SystemExit(f"not answered: {theirs}")
                differences += [abs(math.exp(a) - math.exp(b)) for a, b in zip(ours, theirs, strict=True)]
        print(f"{len(differences)} option probabilities differ by at most {max(differences):.4f}")
    plan = plan_act(scenarios, MatchJudge(), max_new_tokens=64)
    drafts = [ask.draft for group in plan for ask in group.asks][: options.texts]
    equal = [a == b for a, b in zip(local.generate(drafts), served.generate(drafts), strict=True)]
    print(f"{sum(equal)} of {len(equal)} greedy texts are equal")


main()
