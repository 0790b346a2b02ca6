"""What the tools that agents' final actions use take, in our own words. The names are PrivacyLens'."""

from collections.abc import Mapping

# Tool -> (what it does, the fields of its input with what goes into each).
TOOLS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "GmailSendEmail": (
        "sends an e-mail",
        {"to": "the recipient's address", "subject": "the subject line", "body": "the text"},
    ),
    "MessengerSendMessage": (
        "sends a direct message",
        {"recipient_id": "the recipient", "message": "the text"},
    ),
    "SlackSendMessage": (
        "posts to a channel or a person",
        {"recipient": "the channel or person", "message": "the text"},
    ),
    "FacebookManagerCreatePost": (
        "publishes a post",
        {"content": "the text", "privacy_setting": "who sees it: public, friends or only_me"},
    ),
}


def describe(tool: str) -> str:
    """What the tool does and takes; a tool that we do not know is named only."""
    if tool not in TOOLS:
        return tool
    does, fields = TOOLS[tool]
    given = ", ".join(f'"{name}": "<{what}>"' for name, what in fields.items())
    return f"{tool} ({does}), input {{{given}}}"
