"""Training data inside: conversational prompt/completion rows, as TRL takes them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant"]


class Turn(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str


class Chat(BaseModel):
    """A training sample: the loss is taken on the completion alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[tuple[Turn, ...], Field(min_length=1)]
    completion: Annotated[tuple[Turn, ...], Field(min_length=1)]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The whole conversation."""
        return self.prompt + self.completion


def one_turn(prompt: str, completion: str) -> Chat:
    """A user's message and the assistant's answer."""
    return Chat(prompt=(Turn(role="user", content=prompt),), completion=(Turn(role="assistant", content=completion),))


def from_turns(turns: Sequence[tuple[Role, str]]) -> Chat | str:
    """A dialogue as a sample that learns its last answer; or, as a text, why it cannot be one.

    Turns of one speaker in a row are joined by a line break, and what the user says after the last answer is
    dropped, so that user and assistant take turns (Together and most chat templates refuse anything else).
    """
    joined: list[tuple[Role, str]] = []
    for role, content in turns:
        said = content.strip()
        if not said:
            continue
        if role == "system" and joined:
            return "a system turn in the middle"
        if joined and joined[-1][0] == role:
            joined[-1] = (role, f"{joined[-1][1]}\n{said}")
        else:
            joined.append((role, said))
    while joined and joined[-1][0] != "assistant":
        joined.pop()
    if not joined:
        return "no answer to learn"
    spoken = [role for role, _ in joined if role != "system"]
    if spoken[0] != "user":
        return "the user does not begin"
    made = [Turn(role=role, content=said) for role, said in joined]
    return Chat(prompt=tuple(made[:-1]), completion=(made[-1],))
