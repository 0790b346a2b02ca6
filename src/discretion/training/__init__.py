"""Tuning models: LoRA SFT on prompt/completion chats."""

from discretion.corpus.chat import Chat
from discretion.corpus.formats import read_chats
from discretion.training.sft import Recipe, tune

__all__ = ["Chat", "Recipe", "read_chats", "tune"]
