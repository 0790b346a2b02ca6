"""Matched pairs: one set of facts, one flow in which passing the focal item on is right and one in which not.

The two flows differ in recipient, purpose or transmission principle, never in wording alone, so a model
that shares everything and one that refuses everything both answer half of a pair wrong.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from discretion.scenarios._types import Agent, ContextKind, Difficulty, Flow, Item, Scenario, Text


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(_Strict):
    """An item before its label: what a flow shares decides whether it is appropriate there."""

    text: Text
    values: tuple[Text, ...] = ()
    rewordings: tuple[Text, ...] = ()


class PairFlow(_Strict):
    """One of a pair's two flows; `share` lists the items (by index, from 0) that are right to pass on."""

    recipient: Text
    transmission_principle: Text
    channel: Text = "message"
    instruction: Text
    share: tuple[int, ...]
    norm: str = ""
    why: str = ""


class Pair(_Strict):
    """Facts, the person who acts on them, and the two flows. `items[0]` is the focal item.

    `translation_of` names the pair that this one renders in another language; the two are one cluster.
    """

    pair: Text
    translation_of: str = ""
    domain: str = "custom"
    language: str = "en"
    difficulty: Difficulty | None = None
    sender: Text
    subject: Text
    information_type: Text
    user_name: str = ""
    user_email: str = ""
    context_kind: ContextKind = "notes"
    context: Text
    items: Annotated[tuple[Fact, ...], Field(min_length=1)]
    appropriate: PairFlow
    inappropriate: PairFlow

    @model_validator(mode="after")
    def _matched(self) -> "Pair":
        for name, flow in (("appropriate", self.appropriate), ("inappropriate", self.inappropriate)):
            if any(not 0 <= index < len(self.items) for index in flow.share):
                raise ValueError(f"{name}.share names an item that is not there: {list(flow.share)}")
        if 0 not in self.appropriate.share or 0 in self.inappropriate.share:
            raise ValueError("the focal item, items[0], must be shared in `appropriate` and only there")
        return self

    def scenarios(self, suite: str) -> list[Scenario]:
        """The pair's two scenarios, ids ending in `+` (focal item appropriate) and `-`; one cluster."""
        return [
            self._scenario(suite, "+", self.appropriate),
            self._scenario(suite, "-", self.inappropriate),
        ]

    def _scenario(self, suite: str, sign: str, flow: PairFlow) -> Scenario:
        return Scenario(
            id=self.pair + sign,
            suite=suite,
            domain=self.domain,
            language=self.language,
            context_kind=self.context_kind,
            context=self.context,
            instruction=flow.instruction,
            channel=flow.channel,
            flow=Flow(
                sender=self.sender,
                recipient=flow.recipient,
                subject=self.subject,
                information_type=self.information_type,
                transmission_principle=flow.transmission_principle,
            ),
            items=tuple(
                Item(
                    text=fact.text,
                    values=fact.values,
                    rewordings=fact.rewordings,
                    appropriate=index in flow.share,
                )
                for index, fact in enumerate(self.items)
            ),
            cluster=self.translation_of or self.pair,
            difficulty=self.difficulty,
            agent=Agent(user_name=self.user_name, user_email=self.user_email),
            norm=flow.norm,
            why=flow.why,
        )
