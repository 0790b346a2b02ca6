"""Tuning models: SFT on prompt/completion chats, DPO on preference pairs, and the monitor that watches a run."""

from typing import TYPE_CHECKING, Any

from discretion.corpus.chat import Chat
from discretion.corpus.formats import read_chats
from discretion.training.recipes import Recipe
from discretion.training.run import tune

if TYPE_CHECKING:
    from discretion.training.monitor import PrivacyMonitor

__all__ = ["Chat", "PrivacyMonitor", "Recipe", "read_chats", "tune"]


def __getattr__(name: str) -> Any:
    """The monitor is a transformers callback, so it is imported when it is used."""
    if name == "PrivacyMonitor":
        from discretion.training.monitor import PrivacyMonitor

        return PrivacyMonitor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
