"""How a chat becomes the text that a model reads, whatever its template wants: one place for all that ask.

TRL renders what is trained on; of this it gets the day and, where the template refuses system turns, chats without.

What a template may do that a measurement must not depend on: refuse a system turn, tell today's date, open a thought
before the answer, put a space before the answer's first word.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from jinja2 import TemplateError

from discretion.errors import DiscretionError

Turn = Mapping[str, str]
# For templates that tell the day: a run gone on with tomorrow asks the same.
_DAY = {"%Y": "2024", "%y": "24", "%m": "07", "%d": "26", "%B": "July", "%b": "Jul", "%A": "Friday", "%a": "Fri"}
_MACRO = "{%- macro strftime_now(format) -%}{{ format@ }}{%- endmacro -%}".replace(
    "@", "".join(f" | replace({name!r}, {value!r})" for name, value in _DAY.items())
)
_THOUGHT = "<think>"
# Ends of a turn by the templates' own names. A checkpoint tuned from a base model may call another token its end.
_ENDS = ("<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>", "<|eot|>", "<|return|>")


def rendered(tokenizer: Any, turns: Sequence[Turn], name: str = "the model") -> str:
    """The chat up to where the assistant's answer begins: no thought is open there.

    A system turn that the template refuses goes before the first user turn's words.

    Raises:
        DiscretionError: the template refuses the chat all the same.
    """
    try:
        return _opened(_applied(tokenizer, turns))
    except TemplateError as error:
        refused = error
    joined = without_system(turns)
    if joined != list(turns):
        with suppress(TemplateError):
            return _opened(_applied(tokenizer, joined))
    raise DiscretionError(f"{name}: its chat template takes no such chat ({refused})") from refused


def dated(template: Any) -> Any:
    """The template with the day that it tells set, if it tells one."""
    tells = isinstance(template, str) and "strftime_now" in template and not template.startswith(_MACRO)
    return _MACRO + template if tells else template


def undated(template: Any) -> Any:
    """The template as its maker wrote it."""
    return template.removeprefix(_MACRO) if isinstance(template, str) else template


def takes_system(tokenizer: Any) -> bool:
    """Whether the template takes a system turn."""
    try:
        _applied(tokenizer, [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}])
    except TemplateError:
        return False
    return True


def without_system(turns: Sequence[Turn]) -> list[Turn]:
    """The chat with its system turn's words before the first user turn's."""
    if len(turns) < 2 or turns[0]["role"] != "system" or turns[1]["role"] != "user":
        return list(turns)
    system, user, *rest = turns
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def lead(tokenizer: Any) -> str:
    """What the template puts between the end of a prompt and an answer's first word: a space (Mistral's), or nothing.

    A prompt to be gone on with must not end in it: the space belongs to the answer's first token.
    """
    asked: list[Turn] = [{"role": "user", "content": "Q"}]
    try:
        before = rendered(tokenizer, asked)
        whole = _applied(tokenizer, [*asked, {"role": "assistant", "content": "ANSWER"}], opened=False)
    except (TemplateError, DiscretionError):
        return ""
    if not whole.startswith(before):
        return ""
    space = whole[len(before) :].partition("ANSWER")[0]
    return space if space.isspace() else ""


def ends(tokenizer: Any, told: Any) -> list[int]:
    """The tokens that end an answer: what the checkpoint `told` (an id, several, or None), and its template's own."""
    found = list(told) if isinstance(told, (list, tuple)) else [told]
    known = tokenizer.get_vocab()
    template = str(tokenizer.chat_template)
    found += [tokenizer.eos_token_id, *(known.get(token) for token in _ENDS if token in template)]
    return sorted({int(token) for token in found if token is not None})


def _applied(tokenizer: Any, turns: Sequence[Turn], *, opened: bool = True) -> str:
    # enable_thinking: a reasoning template's first token would open a thought; others ignore the word.
    return str(
        tokenizer.apply_chat_template(
            [dict(turn) for turn in turns],
            chat_template=dated(tokenizer.chat_template),
            add_generation_prompt=opened,
            tokenize=False,
            enable_thinking=False,
        )
    )


def _opened(text: str) -> str:
    """The prompt with a thought closed that it opens, and the answer's channel chosen where there are several."""
    if text.rstrip().endswith(_THOUGHT):  # DeepSeek's distills, QwQ
        return text.rstrip() + "\n\n</think>\n\n"
    if text.endswith("<|start|>assistant"):  # GPT-OSS's harmony
        return text + "<|channel|>final<|message|>"
    return text
