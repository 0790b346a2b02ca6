"""Scores of training samples before anyone trains on them; in each, more is worse.

| score              | what it is                                                                           |
|--------------------|--------------------------------------------------------------------------------------|
| projection         | the answer's mean stream on the privacy direction, the other way round (the paper's) |
| projection_prompt  | the same, less that of the prompt's last token                                       |
| projection_own     | the same, less that of the model's own answer (`--baseline own`)                     |
| influence          | how a step on the sample would move the leak (`--influence`)                         |
| loss               | mean negative log-likelihood of the answer, nats: a baseline                         |
| length             | tokens of the answer: a baseline                                                     |
| random_0 ...       | the stream on random directions of the same layer: what chance finds                 |

On the paper's own data loss and length do better than projections (measured), so they always stand beside them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from discretion.corpus.chat import Chat
from discretion.errors import DiscretionError
from discretion.mechanism.capture import PROMPT, RESPONSE, Tokens, capture
from discretion.mechanism.features import features
from discretion.mechanism.influence import Influence
from discretion.models.local import LocalModel

RANDOM_DIRECTIONS = 16
Row = dict[str, float | int | None]


class Scorer(NamedTuple):
    """What scores chats: a model, a direction (width,) at a layer, and what else is asked for.

    Attributes:
        own_tokens: of the model's own answer to each prompt, which is then subtracted; 0: none.
        max_length: tokens of a sample; what is longer is cut at the end, as in training.
    """

    model: LocalModel
    layer: int
    direction: torch.Tensor
    seed: int = 0
    influence: Influence | None = None
    own_tokens: int = 0
    max_length: int = 1024

    def rows(self, chats: Sequence[Chat], first: int) -> list[Row]:
        """A row a chat, `index` counting from `first`.

        A chat without an answer within the length, or one that the model's template refuses, has no scores.
        """
        samples = []
        for chat in chats:
            try:
                samples.append(self._tokens(chat, chat.completion[-1].content))
            except DiscretionError:
                samples.append(Tokens([], []))
        places = [place for place, sample in enumerate(samples) if sample.response]
        rows: list[Row] = [
            {"index": first + place, "length": len(sample.response), **features(chat)}
            for place, (chat, sample) in enumerate(zip(chats, samples, strict=True))
        ]
        kept = [samples[place] for place in places]
        units = torch.cat([-_unit(self.direction)[None], self._random()])
        at_prompt = torch.zeros(len(kept))
        for captured in capture(self.model, kept, with_loss=True):
            stream = captured.residual[:, :, self.layer] @ units.T  # (samples, pools, directions)
            for number, place in enumerate(captured.places):
                along, loss = stream[number], float(captured.loss[number])
                at_prompt[place] = along[PROMPT, 0]
                rows[places[place]] |= {
                    "projection": _rounded(along[RESPONSE, 0]),
                    "projection_prompt": _rounded(along[RESPONSE, 0] - along[PROMPT, 0]),
                    "loss": round(loss, 6),
                    **{f"random_{n}": _rounded(along[RESPONSE, n + 1]) for n in range(RANDOM_DIRECTIONS)},
                }
        if self.own_tokens and places:
            self._subtract_own([chats[place] for place in places], places, rows, units[:1])
        if self.influence and places:
            for place, score in zip(places, self.influence.scores(kept), strict=True):
                rows[place]["influence"] = round(float(score), 8)
        return rows

    def _subtract_own(
        self, chats: Sequence[Chat], places: Sequence[int], rows: Sequence[Row], unit: torch.Tensor
    ) -> None:
        answers = self.model.answer_turns([turns_before(chat) for chat in chats], self.own_tokens)
        own = [self._tokens(chat, answer or " ") for chat, answer in zip(chats, answers, strict=True)]
        said = [number for number, sample in enumerate(own) if sample.response]
        for captured in capture(self.model, [own[number] for number in said]):
            along = (captured.residual[:, RESPONSE, self.layer] @ unit.T)[:, 0]
            for number, place in enumerate(captured.places):
                row = rows[places[said[place]]]
                row["projection_own"] = round(float(row["projection"] or 0.0) - float(along[number]), 6)

    def _tokens(self, chat: Chat, answer: str) -> Tokens:
        prompt, response = self.model.encode_turns(turns_before(chat), answer)
        return Tokens(prompt, response[: max(0, self.max_length - len(prompt))])

    def _random(self) -> torch.Tensor:
        drawn = torch.randn(
            RANDOM_DIRECTIONS, len(self.direction), generator=torch.Generator().manual_seed(self.seed)
        )
        units: torch.Tensor = drawn / drawn.norm(dim=-1, keepdim=True)
        return units


def turns_before(chat: Chat) -> list[dict[str, str]]:
    """A chat up to its last answer, as templates take it."""
    return [{"role": turn.role, "content": turn.content} for turn in (*chat.prompt, *chat.completion[:-1])]


def _unit(vector: torch.Tensor) -> torch.Tensor:
    unit: torch.Tensor = vector.float() / vector.float().norm().clamp_min(1e-12)
    return unit


def _rounded(value: torch.Tensor) -> float:
    return round(float(value), 6)
