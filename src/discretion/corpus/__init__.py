"""Training data: chats, controlled pairs, and how alike or telling they are."""

from discretion.corpus.chat import Chat, Turn, read_chats

__all__ = ["Chat", "Turn", "read_chats"]
