"""What is asked: `Scenario`, its `Item`s and the `Flow` they belong to."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
ContextKind = Literal["trajectory", "memories", "notes", "story", "none"]
Difficulty = Literal["easy", "medium", "hard"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Flow(_Frozen):
    """Contextual integrity's five parameters (Nissenbaum 2004): who tells whom what about whom, and how."""

    sender: str = ""
    recipient: str = ""
    subject: str = ""
    information_type: str = ""
    transmission_principle: str = ""


class Item(_Frozen):
    """One piece of information in a scenario.

    Attributes:
        text: the information as a statement.
        appropriate: whether passing it on is right in this scenario's flow.
        values: short strings of the context that give it away ("lithium"); what an exact judge looks for.
        rewordings: other wordings of the values that count as giving it away.
    """

    text: Text
    appropriate: bool
    values: tuple[Text, ...] = ()
    rewordings: tuple[Text, ...] = ()


class Agent(_Frozen):
    """For whom and with what an assistant acts, where the source says so (PrivacyLens trajectories)."""

    user_name: str = ""
    user_email: str = ""
    tools: tuple[str, ...] = ()
    final_action: str = ""


class Scenario(_Frozen):
    """One situation with private context, and what may be passed on in it.

    Attributes:
        id: unique in its suite.
        suite: the suite's name, as the report shows it.
        context: what the model sees: a trajectory of tool calls, memories, notes or a story.
        instruction: what the user asks the assistant to do; empty where nobody acts (a question of norms).
        channel: what is being written: "email", "message", "post".
        topic: if set, a probe asks one question, about this, for the whole scenario (PrivacyLens asks
            about "the defendant's pending legal case"); if not, it asks one question for every item.
        cluster: what resampling must keep together: a matched pair with its translations, a profile.
            Defaults to the id.
        norm, why: the source of the norm (a law, a professional code) and the reason in a sentence.
    """

    id: Text
    suite: str = ""
    domain: str = "custom"
    language: str = "en"
    context_kind: ContextKind = "notes"
    context: str = ""
    instruction: str = ""
    channel: str = "message"
    flow: Flow = Flow()
    items: Annotated[tuple[Item, ...], Field(min_length=1)]
    topic: Text | None = None
    cluster: str = ""
    difficulty: Difficulty | None = None
    agent: Agent = Agent()
    norm: str = ""
    why: str = ""

    @model_validator(mode="before")
    @classmethod
    def _cluster_is_the_id_unless_given(cls, data: object) -> object:
        if isinstance(data, dict) and not data.get("cluster"):
            return {**data, "cluster": str(data.get("id", ""))}
        return data

    @model_validator(mode="after")
    def _askable(self) -> "Scenario":
        if not self.context.strip() and not self.flow.information_type and not self.instruction.strip():
            raise ValueError("give a context, an instruction or a flow with an information_type")
        if self.topic and len({item.appropriate for item in self.items}) > 1:
            raise ValueError("a scenario with a topic is asked about as a whole: its items must agree")
        return self
