"""Where a served model is and how hard it may be pressed. Nothing here opens a connection or imports what does."""

import math
import os
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from discretion.errors import DiscretionError

INSPECT = "inspect:"
OPENAI = "https://api.openai.com/v1"
TIMEOUT = "DISCRETION_TIMEOUT"


def _timeout() -> float:
    told = os.environ.get(TIMEOUT, "120")
    try:
        seconds = float(told)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise DiscretionError(f"{TIMEOUT}={told}: must be a number of seconds above 0")
    return seconds


@dataclass(frozen=True)
class Pace:
    """How hard a server may be pressed.

    Attributes:
        concurrency: requests under way at once.
        per_minute: requests begun in a minute at most; None: no limit.
        timeout: seconds to wait for an answer; 120, or what DISCRETION_TIMEOUT says.
    """

    concurrency: int = 8
    per_minute: float | None = None
    timeout: float = field(default_factory=_timeout)


class Address(NamedTuple):
    """Where a model is: the interface's URL (ending before /chat/completions) and the model's name there."""

    url: str
    model: str
    key_variable: str


def parse_address(text: str) -> Address | None:
    """`openai/NAME` or `endpoint:URL#NAME`; None for any other spec.

    OpenAI's key is read from OPENAI_API_KEY, that of any other server from DISCRETION_API_KEY, so that the one never
    goes to the other.

    Raises:
        DiscretionError: the URL or the name is missing, or a key is in the URL, which every run would tell.
    """
    if text.startswith("openai/"):
        name = text.removeprefix("openai/")
        if not name:
            raise DiscretionError(f"{text}: name a model, as in openai/gpt-4o-mini")
        return _address("OPENAI_BASE_URL", os.environ.get("OPENAI_BASE_URL", OPENAI), name, "OPENAI_API_KEY")
    if text.startswith("endpoint:"):
        url, _, name = text.removeprefix("endpoint:").partition("#")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not name:
            raise DiscretionError(
                f"{text}: is written endpoint:URL#NAME, as in endpoint:http://localhost:8000/v1#my-model"
            )
        return _address("endpoint", url, name, "DISCRETION_API_KEY")
    return None


def _address(place: str, url: str, name: str, key_variable: str) -> Address:
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise DiscretionError(f"{place}: put no key into the URL; set {key_variable}")
    return Address(url.rstrip("/"), name, key_variable)
