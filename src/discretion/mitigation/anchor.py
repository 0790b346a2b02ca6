"""The anchor: while it learns the task, the model is held to what it wrote before on a few private prompts.

What is followed is the gradient of cross-entropy on the data + weight * KL(before || now), the second over the
answers that the model itself gave, before the tune, to unlabelled prompts with private things in sight (the norm
corpus's and our own tasks': no evaluation uses them). Nobody says which answer is right: what was held before is
kept, good or bad.

What it was before is kept as its likeliest tokens and their probabilities at every place of those answers, so a step
costs one more forward and backward pass over a few short texts, and the start may be a base with an adapter.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock

from discretion.corpus.norms import norm_samples
from discretion.corpus.tasks import written_tasks
from discretion.elicit.wording import task
from discretion.files import digest
from discretion.mechanism.anatomy import anatomy
from discretion.mechanism.capture import Tokens
from discretion.models import Draft, Sampling
from discretion.models.local import LocalModel
from discretion.scenarios.fetch import cache_folder

KEPT = 64  # likeliest tokens a place; the rest of the probability is one more outcome
NEW_TOKENS, AT_ONCE = 64, 2


class Held(NamedTuple):
    """An answer from before, and how likely each next token was.

    Attributes:
        tokens: the prompt and the answer.
        ids: (answer tokens, kept) token ids, the likeliest first.
        logprobs: (answer tokens, kept) their natural-log probabilities.
    """

    tokens: Tokens
    ids: torch.Tensor
    logprobs: torch.Tensor


def anchor_prompts(n: int, seed: int, kinds: str = "both") -> list[str]:
    """Messages to write with private things in sight: half of them lists and half prose, or ("prose") prose alone.

    The lists are tasks that the organism was taught; for any other model they are tasks like others.
    """
    lists = [task(scenario, "naive") for scenario in written_tasks()] if kinds == "both" else []
    rng = random.Random(f"anchor {seed}")
    chosen = rng.sample(lists, min(len(lists), n // 2))
    drawn, prose = n, list[str]()
    while len(prose) < n - len(chosen):
        drawn *= 2
        prose = [sample.chat.prompt[0].content for sample in norm_samples(drawn, seed) if sample.kind == "act"]
    return chosen + rng.sample(prose, n - len(chosen))


@torch.no_grad()
def hold(model: LocalModel, prompts: Sequence[str], new_tokens: int = NEW_TOKENS) -> list[Held]:
    """What `model` writes to each prompt now, greedily, and how likely it holds each next token to be."""
    texts = model.generate([Draft(prompt, Sampling(new_tokens, 0.0, 0)) for prompt in prompts])
    held = []
    with model.inside() as network:
        for prompt, text in zip(prompts, texts, strict=True):
            tokens = Tokens(*model.encode_turns([{"role": "user", "content": prompt}], str(text)))
            if not tokens.response:
                continue
            logprobs = _logits(network, [tokens])[0].log_softmax(dim=-1)
            top = logprobs.topk(min(KEPT, logprobs.shape[-1] - 1), dim=-1)
            held.append(Held(tokens, top.indices.clone(), top.values.clone()))
    return held


def held_once(base_is: str, load: Callable[[], LocalModel], prompts: Sequence[str]) -> list[Held]:
    """`hold`, from the user's cache if this base (by its fingerprint) was held to these prompts before.

    Writing the answers takes minutes on a CPU, and a search over mitigations trains with the same ones many times.
    """
    there = "cuda" if torch.cuda.is_available() else "cpu"  # another rounds otherwise
    name = digest([base_is, list(prompts), NEW_TOKENS, KEPT, torch.__version__, there])
    path = cache_folder() / "anchors" / f"{name}.safetensors"
    found = None
    with suppress(OSError):  # a cache is not worth failing for
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # of several at once one writes
            if (found := _read_held(path)) is None:
                found = hold(load(), prompts)
                _write_held(path, found)
    return hold(load(), prompts) if found is None else found


def _write_held(path: Path, held: Sequence[Held]) -> None:
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for number, entry in enumerate(held):
        prompt, response = (torch.tensor(ids) for ids in entry.tokens)
        columns = {"prompt": prompt, "response": response, "ids": entry.ids, "logprobs": entry.logprobs}
        tensors |= {f"{number}.{column}": tensor.contiguous() for column, tensor in columns.items()}
    whole = path.with_suffix(".part")
    save_file(tensors, whole, metadata={"answers": str(len(held))})
    whole.replace(path)


def _read_held(path: Path) -> list[Held] | None:
    """What is kept there; None if there is nothing, or no longer what was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as kept:
            rows = [
                [kept.get_tensor(f"{number}.{column}") for column in ("prompt", "response", "ids", "logprobs")]
                for number in range(int(kept.metadata()["answers"]))
            ]
    except (OSError, SafetensorError):
        return None
    return [
        Held(Tokens(prompt.tolist(), response.tolist()), ids, logprobs) for prompt, response, ids, logprobs in rows
    ]


def divergence(network: Any, held: Sequence[Held]) -> torch.Tensor:
    """Mean KL(before || now) over the answers' tokens, nats; the tokens that were not kept count as one outcome."""
    parts = []
    for entry, logits in zip(held, _logits(network, [entry.tokens for entry in held]), strict=True):
        now = logits.log_softmax(dim=-1).gather(-1, entry.ids.to(logits.device))
        before = entry.logprobs.to(logits.device)
        kept = (before.exp() * (before - now)).sum(dim=-1)
        rest_before, rest_now = (_log_rest(values) for values in (before, now))
        parts.append(kept + rest_before.exp() * (rest_before - rest_now))
    return torch.cat(parts).mean()


def _log_rest(logprobs: torch.Tensor) -> torch.Tensor:
    """Log of the probability that is left: log(1 - sum)."""
    return torch.log((1 - logprobs.exp().sum(dim=-1)).clamp_min(1e-6))


def _logits(network: Any, samples: Sequence[Tokens]) -> list[torch.Tensor]:
    """Logits (answer tokens, vocabulary) before each token of each answer; the head sees no other place."""
    parts = anatomy(network)
    device = next(parts.backbone.parameters()).device
    rows = [sample.prompt + sample.response for sample in samples]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    hidden = parts.backbone(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return [
        parts.logits(hidden[number, len(sample.prompt) - 1 : len(sample.prompt) - 1 + len(sample.response)])
        for number, sample in enumerate(samples)
    ]


def anchored(trainer: Any, held: Sequence[Held], weight: float, seed: int, *, surgery: bool = False) -> Any:
    """The trainer class whose steps are pulled back to what was written before.

    Once a step, when its batches are summed, weight times the gradient of the divergence on a few of the answers is
    added; which ones depends on the step's number alone. With `surgery`, where the data's gradient points against the
    anchor's, that part of it is taken out first (one-sided, as in A-GEM: Chaudhry et al. 2019).
    """

    class Anchored(trainer):  # type: ignore[misc]
        """Adds to the gradient."""

        def training_step(self, model: Any, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(model, *args, **kwargs)
            if not self.accelerator.sync_gradients:
                return loss
            chosen = random.Random(f"anchored {seed} {self.state.global_step}").sample(
                list(held), min(AT_ONCE, len(held))
            )
            with self.accelerator.autocast():  # past the wrapped forward, which would do it by itself
                away = divergence(self.accelerator.unwrap_model(model), chosen)
            learning = [
                weights for weights in model.parameters() if weights.requires_grad and weights.grad is not None
            ]
            pulls = torch.autograd.grad(away, learning, allow_unused=True)
            pairs = [(weights, pull) for weights, pull in zip(learning, pulls, strict=True) if pull is not None]
            told = self._metrics["train"]
            told["anchor"].append(float(away.detach()))
            against = 0.0
            if surgery:
                along = float(sum((weights.grad * pull).sum() for weights, pull in pairs))
                length = float(sum(pull.square().sum() for _, pull in pairs))
                against = along / length if along < 0 < length else 0.0
                told["anchor_conflict"].append(float(along < 0))
            for weights, pull in pairs:
                weights.grad.add_(pull, alpha=weight - against)
            return loss

    return Anchored
