"""How it is asked: a plan of questions, and the loop that puts it to models."""

from discretion.elicit.act import MAX_NEW_TOKENS, Judge, plan_act
from discretion.elicit.ask import Progress, ask_all
from discretion.elicit.plan import Ask, Group, Outcome
from discretion.elicit.probe import PROTOCOLS, plan_probe
from discretion.elicit.wording import STYLES, PromptStyle

__all__ = [
    "MAX_NEW_TOKENS",
    "PROTOCOLS",
    "STYLES",
    "Ask",
    "Group",
    "Judge",
    "Outcome",
    "Progress",
    "PromptStyle",
    "ask_all",
    "plan_act",
    "plan_probe",
]
