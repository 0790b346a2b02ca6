"""Training data: chats, controlled pairs, and how alike or telling they are."""

from discretion.corpus.chat import Chat, Turn
from discretion.corpus.formats import read_chats

__all__ = ["Chat", "Turn", "read_chats"]
