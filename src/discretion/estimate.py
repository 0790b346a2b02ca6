"""What a run would take, before anything is asked: requests, tokens, and the price of them (`--dry-run`)."""

from collections.abc import Sequence
from typing import NamedTuple

from discretion.elicit import Group
from discretion.errors import DiscretionError
from discretion.models.remote import ANSWER_TOKENS, DRAWN, estimate_tokens

_JUDGE_PROMPT = 220  # tokens of a judge's question around the text and the item
_JUDGE_ANSWER = 300  # tokens of a judge's JSON answer, about


class Price(NamedTuple):
    """Dollars for a million tokens, in and out."""

    tokens_in: float
    tokens_out: float


class Work(NamedTuple):
    """What one model is asked. Tokens in are estimated by bytes, tokens out are the most that may be written."""

    model: str
    requests: int
    tokens_in: int
    tokens_out: int

    def cost(self, price: Price) -> float:
        """In dollars."""
        return (self.tokens_in * price.tokens_in + self.tokens_out * price.tokens_out) / 1e6


def parse_price(text: str | None) -> Price | None:
    """`IN,OUT`, as in "0.15,0.60".

    Raises:
        DiscretionError: it is not two numbers.
    """
    if text is None:
        return None
    try:
        tokens_in, tokens_out = (float(part) for part in text.split(","))
    except ValueError as error:
        raise DiscretionError(f"--price {text}: two numbers, dollars for a million tokens in and out") from error
    if min(tokens_in, tokens_out) < 0:
        raise DiscretionError(f"--price {text}: a price is not negative")
    return Price(tokens_in, tokens_out)


def estimate(model: str, groups: Sequence[Group], *, drawn: bool = False, before: int = 0) -> Work:
    """What `groups` take of one model.

    `drawn`: where a server gives no log-probabilities. `before`: tokens of what stands before every question.
    """
    requests = tokens_in = tokens_out = 0
    for ask in (ask for group in groups for ask in group.asks):
        times = DRAWN if drawn and not ask.sampling else 1
        each = ask.sampling.max_new_tokens if ask.sampling else ANSWER_TOKENS if drawn else 1
        requests += times
        tokens_in += times * (before + estimate_tokens(ask.prompt))
        tokens_out += times * each
    return Work(model, requests, tokens_in, tokens_out)


def estimate_judge(model: str, groups: Sequence[Group], question: str, models: int) -> Work:
    """What judging the texts of `models` models takes at most: no text is longer than it may be."""
    requests = tokens_in = tokens_out = 0
    for group in groups:
        for ask in group.asks:
            if not ask.sampling or group.elicitation != "act":
                continue
            text = ask.sampling.max_new_tokens
            items = [estimate_tokens(str(part["item_text"])) for part in ask.parts]
            if question == "leakage":
                calls = 2 * len(items) + 1
                requests += calls
                tokens_in += calls * (_JUDGE_PROMPT + text) + 2 * sum(items)
                tokens_out += calls
            else:
                requests += 1
                tokens_in += _JUDGE_PROMPT + text + sum(items)
                tokens_in += estimate_tokens(ask.prompt) if question == "single" else 0
                tokens_out += _JUDGE_ANSWER
    return Work(f"{model} (judge)", models * requests, models * tokens_in, models * tokens_out)
