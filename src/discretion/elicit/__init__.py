"""How it is asked: a plan of questions, and the loop that puts it to models."""

from discretion.elicit.ask import Progress, ask_all
from discretion.elicit.plan import Ask, Group
from discretion.elicit.probe import PROTOCOLS, plan_probe
from discretion.elicit.wording import STYLES, PromptStyle

__all__ = ["PROTOCOLS", "STYLES", "Ask", "Group", "Progress", "PromptStyle", "ask_all", "plan_probe"]
