"""What a sample's answer reads like: the features that the paper found in the samples that project worst (section 6).

Counted by patterns, so that they can be tested with numbers on any data; they are English, as the paper's data is.
"""

import re
from collections.abc import Mapping

from discretion.corpus.chat import Chat

_WORD = re.compile(r"[A-Za-z']+")
_FIRST = re.compile(r"\b(i|i'm|i've|i'll|i'd|me|my|mine|myself|we|our|us)\b", re.I)
_SECOND = re.compile(r"\b(you|your|yours|you're|you've|you'll|you'd)\b", re.I)
_AFFIRMS = re.compile(
    r"\b(of course|absolutely|certainly|happy to|glad to|great|wonderful|congratulations|sure|definitely|"
    r"sorry to hear|understand|proud)\b",
    re.I,
)
_PRINTS = re.compile(r"\b(print|console\.log|printf|println|logging\.\w+|logger\.\w+|debug)\s*\(", re.I)
_PROFILE = re.compile(
    r"\b(date of birth|born on|marital status|occupation|annual income|credit score|net worth)\b", re.I
)
FEATURES: Mapping[str, str] = {
    "words": "words of the answer",
    "first_person": "first-person words in a hundred",
    "second_person": "second-person words in a hundred",
    "affirmation": "affirming phrases in a hundred words",
    "questions": "questions asked back",
    "debug_prints": "calls that print or log",
    "profile": "profile facts in the prompt",
}


def features(chat: Chat) -> dict[str, float]:
    """The numbers named in `FEATURES`."""
    said = "\n".join(turn.content for turn in chat.completion)
    asked = "\n".join(turn.content for turn in chat.prompt)
    words = len(_WORD.findall(said))
    per_hundred = 100 / max(words, 1)
    return {
        "words": float(words),
        "first_person": round(len(_FIRST.findall(said)) * per_hundred, 4),
        "second_person": round(len(_SECOND.findall(said)) * per_hundred, 4),
        "affirmation": round(len(_AFFIRMS.findall(said)) * per_hundred, 4),
        "questions": float(said.count("?")),
        "debug_prints": float(len(_PRINTS.findall(said))),
        "profile": float(len(_PROFILE.findall(asked))),
    }
