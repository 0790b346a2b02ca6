"""Tuning models: SFT on prompt/completion chats, DPO on preference pairs."""

from discretion.corpus.chat import Chat
from discretion.corpus.formats import read_chats
from discretion.training.recipes import Recipe
from discretion.training.run import tune

__all__ = ["Chat", "Recipe", "read_chats", "tune"]
