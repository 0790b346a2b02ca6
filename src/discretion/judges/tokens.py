"""Text to comparable tokens: lemmas of a sort, numbers, money and dates in one form whatever they were written as."""

import calendar
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import snowballstemmer

_MONTHS = [name.lower() for name in calendar.month_name[1:]]  # English unless a locale was set, which we never do
_MONTH = {name[:length]: number for number, name in enumerate(_MONTHS, 1) for length in (3, len(name))} | {"sept": 9}
_NAMES = "|".join(sorted(_MONTH, key=len, reverse=True))
_DATES = (
    # March 1(st)(, 2022) / 1(st) (of) March (2022) / 2022-03-01; the year is left as a token of its own
    re.compile(rf"\b(?P<m>{_NAMES})\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?!\d|:)", re.I),
    re.compile(rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m>{_NAMES})\b\.?", re.I),
    re.compile(r"\b(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})\b"),
)
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.I)
_THOUSANDS = re.compile(r"(?<=\d)[, \u00a0\u202f'’](?=\d{3}\b)")
_SHORT_SCALE = re.compile(r"(?<=\d) ?(k|thousand|m|mn|million|bn|billion)\b", re.I)
_SCALES = {"k": 3, "thousand": 3, "m": 6, "mn": 6, "million": 6, "bn": 9, "billion": 9}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\x00(\d)")
_CLOCK = re.compile(r"\b(\d{1,2})(?:[:.](\d{2}))? ?([ap])\.?m\b\.?", re.I)
_TOKEN = re.compile(r"\d+(?:[.:]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)?")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+|\s[-–•*]\s")

STOPWORDS = frozenset(
    " ".join(
        [
            "a an the this that these those i you he she it we they me him her us them my your his its our their",
            "mine yours who whom whose which what when where why how if whether because since while although though",
            "until unless and or but nor so yet not no of in on at by for from to with without about against between",
            "into through during before after above below up down out off over under again then once here there all",
            "any both each few more most other some such only own same than too very just also as am is are was were",
            "be been being have has had having do does did doing will would shall should can could may might must",
            "s t re ve ll d m",
        ]
    ).split()
)
# Forms that no suffix rule reaches.
_IRREGULAR = dict(
    pair.split(":")
    for pair in " ".join(
        [
            "threw:throw thrown:throw went:go gone:go felt:feel lost:lose found:find told:tell said:say gave:give",
            "given:give got:get took:take taken:take made:make left:leave kept:keep met:meet paid:pay sent:send",
            "spent:spend began:begin begun:begin broke:break broken:break brought:bring bought:buy caught:catch",
            "chose:choose chosen:choose came:come dealt:deal drank:drink drove:drive driven:drive ate:eat",
            "fell:fall fallen:fall fought:fight forgot:forget grew:grow grown:grow heard:hear held:hold hid:hide",
            "hidden:hide knew:know known:know led:lead lent:lend meant:mean ran:run rose:rise risen:rise saw:see",
            "seen:see sold:sell shook:shake shown:show slept:sleep spoke:speak spoken:speak stood:stand",
            "stole:steal stolen:steal struck:strike taught:teach thought:think understood:understand wore:wear",
            "won:win wrote:write written:write died:dead death:dead deceased:dead married:marriage marry:marriage",
            "children:child men:man women:woman wives:wife lives:life",
        ]
    ).split()
)
_STEMMER = snowballstemmer.stemmer("english")


class Token(NamedTuple):
    """A word or number.

    Attributes:
        stem: what is compared.
        capital: written with a capital.
        number: a number, date or clock time.
    """

    stem: str
    capital: bool
    number: bool


def normalise(text: str) -> str:
    """One spelling for quotes, dates, amounts and clock times; case is kept."""
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    for pattern in _DATES:
        text = pattern.sub(_date, text)
    text = _CLOCK.sub(_clock, text)
    text = _ORDINAL.sub(r"\1", _THOUSANDS.sub("", text))
    text = _SHORT_SCALE.sub(lambda match: f"\x00{_SCALES[match.group(1).lower()]}", text)
    return _AMOUNT.sub(lambda match: f"{float(match.group(1)) * 10 ** int(match.group(2)):.0f}", text)


def tokens(text: str, *, stopwords: bool = False) -> list[Token]:
    """The text's tokens in order; stop words are left out unless asked for. CJK characters are tokens each."""
    found = []
    for match in _TOKEN.finditer(_CJK.sub(lambda sign: f" {sign.group()} ", normalise(text))):
        word = match.group()
        low = word.casefold().removesuffix("'s")
        if not stopwords and low in STOPWORDS:
            continue
        found.append(Token(_stem(low), word[0].isupper(), word[0].isdigit()))
    return found


def sentences(text: str) -> list[str]:
    """Sentences, list entries and lines."""
    return [part for part in _SENTENCE.split(text) if part.strip()]


@lru_cache(maxsize=200_000)
def _stem(word: str) -> str:
    if word[0].isdigit():
        return word.rstrip(".:")
    return str(_STEMMER.stemWord(_IRREGULAR.get(word, word)))


_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\u00a0": " ", "\u202f": " "})


def _date(match: "re.Match[str]") -> str:
    month = match.group("m")
    number = int(month) if month.isdigit() else _MONTH[month.lower()]
    year = match.groupdict().get("y")
    if not (1 <= number <= 12 and 1 <= int(match.group("d")) <= 31):
        return match.group()
    day = f"{_MONTHS[number - 1].capitalize()} {int(match.group('d'))}"
    return f"{day} {year}" if year else day


def _clock(match: "re.Match[str]") -> str:
    hour, minute, half = int(match.group(1)), match.group(2) or "00", match.group(3).lower()
    if not 1 <= hour <= 12:
        return match.group()
    return f"{hour % 12 + (12 if half == 'p' else 0)}:{minute}"
