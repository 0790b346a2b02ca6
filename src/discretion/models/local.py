"""Models on this machine, through transformers: one forward pass a question, shared prefixes computed once.

What is known to matter (measured): the two option orders of a probe share 97% of their tokens, so
a shared prefix cache is 1.84 times faster; only the last position's logits are needed (1.2 times); batching does
not help on CPU; bf16 on a CPU without AMX is slower and flips near ties, hence fp32 there.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.cache_utils import Cache

from discretion.errors import DiscretionError
from discretion.files import digest
from discretion.mechanism.anatomy import adding, anatomy
from discretion.models import loading
from discretion.models._protocol import Draft, Question, Sampling, primed_name
from discretion.models.cache import Reading, gathered
from discretion.models.chat import ends, lead, rendered
from discretion.models.prefix import common_prefix, rewinds
from discretion.models.weights import Spec, fingerprint
from discretion.models.writing import Draw, Encoded, batches, in_halves, write

# What a GPU computes in the time that it takes to launch a pass: with fewer tokens than this allows it is idle. A
# prompt of which _FEW would fill a pass is asked with those that share its beginning instead, which is computed once.
_OPERATIONS, _FEW = 2e12, 4


@dataclass
class Engine:
    """Weights in memory, with any adapters on top; `LocalModel`s are views of it."""

    network: Any
    device: str
    dtype: torch.dtype
    base_fingerprint: str
    adapters: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Counted before any adapter is put on: base and tuned model are asked in the same batches (where memory
        # is short, in halves of them).
        self.fill = max(1, int(_OPERATIONS / self.network.num_parameters()))
        # A checkpoint's own repetition penalty or top_p would be used wherever a call says nothing.
        self.told_ends = self.network.generation_config.eos_token_id
        self.network.generation_config = GenerationConfig()

    @property
    def label(self) -> str:
        """What the digits of an answer depend on besides the weights."""
        return f"transformers/{self.device.split(':')[0]}/{str(self.dtype).removeprefix('torch.')}"

    def add_adapter(self, folder: Any, name: str) -> str:
        """Put an adapter on the shared weights and return its handle.

        Raises:
            DiscretionError: it was made for another base, or is none of its weights.
        """
        from peft import PeftConfig, PeftModel

        bare = self.network.get_base_model() if self.adapters else self.network
        loading.check_adapter_fits(bare, folder, name)
        handle = f"adapter{len(self.adapters)}"
        try:
            kind = PeftConfig.from_pretrained(folder)
            if kind.is_prompt_learning:  # it puts its own before every pass; prefixes that are shared take several
                raise DiscretionError(
                    f"{name}: is of the kind {kind.peft_type.value}, which learns a prompt; only adapters of the "
                    "weights (LoRA and its like) can be measured"
                )
            if self.adapters:
                self.network.load_adapter(folder, handle)
            else:
                self.network = PeftModel.from_pretrained(bare, folder, adapter_name=handle)
        except (ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
            said = " ".join(str(error).split())[:400]
            hint = "; it has a vocabulary of its own: merge it and check the folder" if "embed" in said else ""
            raise DiscretionError(f"{name}: cannot put this adapter on the base ({said}){hint}") from error
        self.network.eval()
        self.adapters.append(handle)
        return handle

    @contextmanager
    def acting_as(self, handle: str | None) -> Iterator[Any]:
        """The network with one adapter on, or with none."""
        if not self.adapters:
            yield self.network
        elif handle is None:
            with self.network.disable_adapter():
                yield self.network
        else:
            self.network.set_adapter(handle)
            yield self.network


class LocalModel:
    """One model of an `Engine`: its base, or the base with one adapter. See `Model` for the contract."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        tokenizer: Any,
        identity: str,
        handle: str | None = None,
        steering: Mapping[int, torch.Tensor] | None = None,
    ) -> None:
        """Make a view; `identity` is the fingerprint of weights, adapter and steering (block to what is added)."""
        self.name = name
        self.tokenizer = tokenizer
        self.fingerprint = identity
        self.engine = engine.label
        # Writing is bound by reading the weights: 16 texts at once cost a third more time than 8 (SmolLM2, 2 cores).
        self.remote = False
        self.batches = engine.device != "cpu"
        self.at_once = 256 if self.batches else 32
        self._engine = engine
        self._handle = handle
        self._steering = dict(steering or {})
        self._within = False
        self._before: list[dict[str, str]] = []
        self._fill = engine.fill
        self._ends, self._lead = ends(tokenizer, engine.told_ends), lead(tokenizer)
        limits = [
            getattr(engine.network.config.get_text_config(), "max_position_embeddings", None),
            tokenizer.model_max_length,
        ]
        self.window = int(min(limit for limit in limits if limit))

    def primed(self, examples: Sequence[Sequence[Mapping[str, str]]]) -> "LocalModel":
        """See `Model.primed`."""
        model = copy.copy(self)
        model._before = [dict(turn) for turns in examples for turn in turns]
        model.name, model.fingerprint = primed_name(self.name, examples), digest([self.fingerprint, model._before])
        return model

    def count_tokens(self, prompt: str) -> int:
        """Length of the prompt in tokens, chat template included."""
        return len(self._encode(self._chat(prompt)))

    def option_logprobs(self, questions: Sequence[Question]) -> list[tuple[float, ...]]:
        """See `Model.option_logprobs`. Whatever a prompt shares with the one before it is not computed again.

        On a GPU short prompts are asked together instead: there a pass takes as long for many as for one.
        """
        if not self.batches:
            return [self._read(logits, options) for logits, options in self.answers(questions)]
        asked = [self._prepare(question) for question in questions]
        short = [place for place, (tokens, _) in enumerate(asked) if len(tokens) * _FEW <= self._fill]
        alone = [place for place, (tokens, _) in enumerate(asked) if len(tokens) * _FEW > self._fill]
        found = dict(zip(alone, self.answers([questions[place] for place in alone]) if alone else (), strict=True))
        together = self._together([asked[place][0] for place in short])
        found |= {place: (logits, asked[place][1]) for place, logits in zip(short, together, strict=True)}
        return [self._read(*found[place]) for place in range(len(questions))]

    @torch.inference_mode()
    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[torch.Tensor, list[int]]]:
        """For each question the logits (vocabulary,) in the answer's place, and each option's token there."""
        asked = [self._prepare(question) for question in questions]
        prompts = [tokens for tokens, _ in asked]
        with self.inside() as network, self._room(max(map(len, prompts))):
            for logits, (_, options) in zip(Reading(network).each(prompts), asked, strict=True):
                yield logits, options

    @torch.inference_mode()
    def _together(self, prompts: Sequence[list[int]]) -> list[torch.Tensor]:
        """The last logits of each prompt, those of like length in one pass."""
        found: dict[int, torch.Tensor] = {}
        places = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        while places:
            longest = len(prompts[places[-1]])
            batch = places[-max(1, self._fill // longest) :]
            del places[-len(batch) :]
            with self._room(longest):
                last = in_halves([prompts[place] for place in batch], self._last)
            found |= dict(zip(batch, last, strict=True))
        return [found[place] for place in range(len(prompts))]

    def _last(self, prompts: Sequence[list[int]]) -> list[torch.Tensor]:
        ids, mask = self._padded(prompts)
        with self.inside() as network:
            output = network(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                use_cache=False,
                logits_to_keep=1,
            )
        return list(output.logits[:, -1])

    def _padded(self, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """The prompts as one tensor, padded on the left, and which of it is theirs: both (prompts, tokens)."""
        pad = self.tokenizer.pad_token_id or 0
        gaps = [max(map(len, prompts)) - len(prompt) for prompt in prompts]
        rows = [[pad] * gap + prompt for gap, prompt in zip(gaps, prompts, strict=True)]
        mask = [[0] * gap + [1] * len(prompt) for gap, prompt in zip(gaps, prompts, strict=True)]
        return torch.tensor(rows, device=self._engine.device), torch.tensor(mask, device=self._engine.device)

    def answer_with_gradient(self, question: Question) -> tuple[torch.Tensor, list[int]]:
        """As `answers`, for one question and with what autograd needs."""
        tokens, options = self._prepare(question)
        with self.inside() as network, torch.enable_grad():
            ids = torch.tensor([tokens], device=self._engine.device)
            return network(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].float(), options

    def answer_turns(self, chats: Sequence[Sequence[Mapping[str, str]]], max_new_tokens: int) -> list[str]:
        """The model's own answer to each chat (`role` and `content` each), greedily."""
        greedy = Sampling(max_new_tokens, 0.0, 0)
        encoded = [Encoded(place, self.encode_turns(turns, "")[0], greedy) for place, turns in enumerate(chats)]
        return self._texts(encoded)

    @contextmanager
    def inside(self) -> Iterator[Any]:
        """The network as this model is, its adapter on and no other: for what looks or reaches into it."""
        with self._engine.acting_as(self._handle) as network:
            if not self._steering or self._within:  # who is inside already and asks is steered once
                yield network
                return
            self._within = True
            try:
                with adding(anatomy(network).blocks, self._steering):
                    yield network
            finally:
                self._within = False

    def encode_turns(self, turns: Sequence[Mapping[str, str]], answer: str) -> tuple[list[int], list[int]]:
        """The tokens of a chat (`role` and `content` each) up to the assistant's turn, and those of its answer."""
        before = rendered(self.tokenizer, turns, self.name)
        prompt, whole = self._encode(before), self._encode(before + self._lead + answer if answer else before)
        shared = common_prefix([prompt, whole])
        return whole[:shared], whole[shared:]

    def generate(self, drafts: Sequence[Draft]) -> list[str]:
        """See `Model.generate`. Sampling is untruncated: the checkpoint's own top_k and top_p are not used.

        Drafts of one prompt share its prefix; others are batched with those of like length. Every draft has a
        random stream of its own, so its text does not depend on its place in a batch.
        """
        return self._texts(self._encoded(drafts))

    @torch.inference_mode()
    def _texts(self, encoded: Sequence[Encoded]) -> list[str]:
        texts: dict[int, str] = {}
        with self.inside() as network:
            reading = Reading(network)
            for batch in batches(encoded, self._engine.device):
                with self._room(max(len(entry.tokens) for entry in batch)):
                    written = in_halves(batch, partial(self._write, network, reading))
                texts |= {entry.place: text for entry, text in zip(batch, written, strict=True)}
        return [texts[place] for place in range(len(encoded))]

    def _encoded(self, drafts: Sequence[Draft]) -> list[Encoded]:
        return [
            Encoded(place, self._encode(self._chat(draft.prompt)), draft.sampling)
            for place, draft in enumerate(drafts)
        ]

    def _write(self, network: Any, reading: Reading, batch: Sequence[Encoded]) -> list[str]:
        stops = self._ends
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else next(iter(stops), 0)
        ids, mask = self._padded([entry.tokens for entry in batch])
        draw = Draw([entry.sampling for entry in batch])
        cache = self._begun(network, reading, batch)
        texts = write(network, ids, mask, cache, draw, most=batch[0].sampling.max_new_tokens, stops=stops, pad=pad)
        if draw.damaged:
            raise self._not_numbers()
        return [self._text(tokens, stops) for tokens in texts]

    def _begun(self, network: Any, reading: Reading, batch: Sequence[Encoded]) -> Cache | None:
        """What is read of the prompts before they are written on: all on a CPU, else what drafts of one share."""
        prompt, most = batch[0].tokens, batch[0].sampling.max_new_tokens
        lengths = [len(entry.tokens) for entry in batch]
        if self._engine.device == "cpu" and min(lengths) > 1 and rewinds(reading.cache, max(lengths) + most):
            return gathered((reading.layers_of(entry.tokens[:-1]) for entry in batch), room=most)
        if len(batch) == 1 or len(prompt) < 2 or any(entry.tokens != prompt for entry in batch):
            return None
        shared = Reading(network)
        if not rewinds(shared.cache, len(prompt)):
            return None
        shared.read(prompt[:-1])
        shared.cache.batch_repeat_interleave(len(batch))
        return shared.cache

    def _text(self, tokens: list[int], stops: Sequence[int]) -> str:
        end = next((place for place, token in enumerate(tokens) if token in stops), len(tokens))
        return str(self.tokenizer.decode(tokens[:end], skip_special_tokens=True))

    def _chat(self, prompt: str) -> str:
        return rendered(self.tokenizer, [*self._before, {"role": "user", "content": prompt}], self.name)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _prepare(self, question: Question) -> tuple[list[int], list[int]]:
        """The tokens before the answer, and each option's token in that place.

        An option's token is taken in its context: the texts that end in each option are encoded whole, and
        what they have in common is the prompt (never " A" blindly).
        """
        chat = self._chat(question.prompt) + self._lead
        ended = [self._encode(chat + option) for option in question.options]
        shared = common_prefix(ended)
        options = [tokens[shared] for tokens in ended if len(tokens) > shared]
        if len(set(options)) != len(question.options):
            raise DiscretionError(f"{self.name}: its tokenizer cannot tell the options {question.options} apart")
        return ended[0][:shared], options

    def _read(self, logits: torch.Tensor, options: list[int]) -> tuple[float, ...]:
        logprobs = torch.log_softmax(logits.float(), dim=-1)[options]
        values = tuple(logprobs.tolist())
        if any(math.isnan(value) for value in values):
            raise self._not_numbers()
        return values

    @contextmanager
    def _room(self, tokens: int) -> Iterator[None]:
        """What is done inside needs memory, for one text of so many tokens at least."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise DiscretionError(
                f"{self.name}: out of memory on {self._engine.device} at one text of up to {tokens} tokens"
            ) from error

    def _not_numbers(self) -> DiscretionError:
        return DiscretionError(
            f"{self.name}: returned NaN instead of probabilities; its weights are damaged or overflow in "
            f"{self._engine.label.split('/')[-1]} (try --dtype float32)"
        )


def load_local(
    specs: Sequence[Spec], device: str | None, dtype: str | None, *, pair: bool = False
) -> tuple[list[LocalModel], list[str]]:
    """Load models so that every base is in memory once, whatever adapters sit on it.

    Of a `pair`, the first two, the second is compared with the first and must be of the same base.

    Returns the models in the order of `specs`, and warnings for the user.
    """
    place = device or _best_device()
    if place != loading.AUTO:
        loading.check_device(place)
    form = _dtype(dtype, _best_device() if place == loading.AUTO else place)
    engines: dict[str, Engine] = {}
    models, warnings = [], []
    first = ""
    for number, spec in enumerate(specs):
        folder = loading.local_folder(spec.base)
        identity = fingerprint(folder)
        first = first or identity
        on_top = loading.adapter_folder(spec.adapter) if spec.adapter else None
        named, at, _ = spec.text.partition("@")
        if pair and number == 1 and on_top and not at and identity != first and spec.text == spec.adapter:
            raise DiscretionError(
                f"{spec.text}: is an adapter of {spec.called}, which is not {specs[0].text}, so more than the tune "
                f"would differ; write {specs[0].called}@{spec.text} to put it on that"
            )
        tokenizer = loading.load_tokenizer(folder)
        own = f"{identity} {on_top}" if on_top and loading.alters_base(on_top) else identity
        if own not in engines:
            network = loading.load_weights(folder, place, form)
            held = {str(part) for part in getattr(network, "hf_device_map", {}).values()}
            if held & {"cpu", "disk"} and held != {"cpu"}:
                warnings.append(f"{spec.text}: not all of it fits on GPUs; what is on cpu or disk makes it slow")
            engines[own] = Engine(network, str(network.device) if place == loading.AUTO else place, form, identity)
        engine = engines[own]
        if on_top is None:
            models.append(LocalModel(spec.text, engine, tokenizer, identity))
            continue
        other = loading.base_name_differs(on_top, named) if at else None
        if other:
            warnings.append(f"{spec.adapter} says it was trained on {other}; its shapes fit, so it is used")
        handle = engine.add_adapter(on_top, str(spec.adapter))
        if (on_top / "tokenizer.json").is_file() or (on_top / "tokenizer.model").is_file():
            tokenizer = loading.load_tokenizer(on_top, tokenizer.chat_template)
        both = loading.adapter_fingerprint(on_top, identity)
        steering = loading.steering_of(on_top, engine.network.config.get_text_config())
        models.append(LocalModel(spec.text, engine, tokenizer, both, handle, steering))
    return models, warnings


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(name: str | None, device: str) -> torch.dtype:
    if name is None:
        return torch.float32 if device == "cpu" else torch.bfloat16
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise DiscretionError(f"--dtype {name}: known are {', '.join(known)}")
    return known[name]
