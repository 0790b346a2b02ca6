"""What templates do that a measurement must not depend on."""

import json

import pytest
from transformers import AutoTokenizer

from conftest import CHAT_TEMPLATE, save_model, save_tokenizer
from discretion.errors import DiscretionError
from discretion.models import Question, load_here
from discretion.models.chat import ends, lead, rendered, takes_system

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Who is it?"}
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + CHAT_TEMPLATE
)
STRICT = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + CHAT_TEMPLATE
)
MISTRAL = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}<|end|>{% endif %}{% endfor %}"
)


@pytest.fixture
def tokenizer(tmp_path):
    def made(template):
        save_tokenizer(tmp_path / "t", template)
        return AutoTokenizer.from_pretrained(tmp_path / "t")

    return made


def test_a_system_turn_that_is_refused_goes_before_the_users_words(tokenizer):
    plain, gemma = tokenizer(CHAT_TEMPLATE), tokenizer(GEMMA)
    assert takes_system(plain)
    assert not takes_system(gemma)
    assert "<|system|>" in rendered(plain, [SYSTEM, USER])
    assert rendered(gemma, [SYSTEM, USER]) == "<|user|>\nBe brief.\n\nWho is it?<|end|>\n<|assistant|>\n"
    assert rendered(gemma, [USER]) == rendered(plain, [USER])
    with pytest.raises(DiscretionError, match=r"gem: its chat template takes no such chat \(roles must alternate"):
        rendered(tokenizer(STRICT), [USER, USER], "gem")


def test_the_day_is_always_the_same(tokenizer):
    dated = tokenizer("Today is {{ strftime_now('%d %b %Y') }}.\n" + CHAT_TEMPLATE)
    assert rendered(dated, [USER]).startswith("Today is 26 Jul 2024.\n")


@pytest.mark.parametrize(
    ("opening", "closed"),
    [("<think>\n", "<think>\n\n</think>\n\n"), ("<think>", "<think>\n\n</think>\n\n"),
     ("<|start|>assistant", "<|start|>assistant<|channel|>final<|message|>"), ("<|assistant|>\n", "<|assistant|>\n")],
)  # fmt: skip
def test_no_thought_is_open_where_the_answer_begins(tokenizer, opening, closed):
    asked = rendered(tokenizer(CHAT_TEMPLATE.replace("<|assistant|>\n", opening)), [USER])
    assert asked == f"<|user|>\nWho is it?<|end|>\n{closed}"


def test_of_several_templates_the_default_is_taken(tmp_path, tiny):
    named = {"default": CHAT_TEMPLATE, "tool_use": "{{ tools }}"}  # as Hermes 3 and Command R have them
    (model,) = load_here([str(save_model(tmp_path / "several", template=named))])
    (single,) = load_here([str(tiny)])
    assert model.count_tokens("Who is it?") == single.count_tokens("Who is it?")
    assert model._ends == single._ends
    none = save_model(tmp_path / "none", template={"rag": "x", "tool_use": "{{ tools }}"})
    with pytest.raises(DiscretionError, match=r"has chat templates \(rag, tool_use\) but no default"):
        load_here([str(none)])


def test_a_space_before_the_answer_is_the_answers(tmp_path):
    folder = save_model(tmp_path / "mistral", template=MISTRAL)
    (model,) = load_here([str(folder)])
    assert lead(model.tokenizer) == " "
    prompt, answer = model.encode_turns([USER], "Anna.")
    assert model.tokenizer.decode(prompt) == "[INST] Who is it? [/INST]"
    assert model.tokenizer.decode(answer) == " Anna."
    before, _ = model._prepare(Question("A or B?", ("A", "B")))
    assert model.tokenizer.decode(before) == "[INST] A or B? [/INST] "  # bytes: the space is a token of its own here
    assert model._encoded([]) == []
    assert not model._chat("x").endswith(" ")


def test_no_space_where_the_template_puts_none(tiny):
    (model,) = load_here([str(tiny)])
    assert lead(model.tokenizer) == ""
    assert model.encode_turns([USER], "")[1] == []


def test_every_token_that_ends_a_turn_ends_the_answer(tokenizer):
    plain = tokenizer(CHAT_TEMPLATE)
    end, user = plain.convert_tokens_to_ids("<|end|>"), plain.convert_tokens_to_ids("<|user|>")
    assert ends(plain, None) == [end]
    assert ends(plain, [user, end]) == sorted([end, user])
    plain.eos_token = "<|user|>"
    assert ends(plain, None) == sorted([end, user])  # its template ends turns with <|end|>


def test_a_checkpoints_repetition_penalty_is_not_used(tiny, tmp_path):
    from discretion.models import Draft, Sampling

    folder = save_model(tmp_path / "penalised")
    config = json.loads((folder / "generation_config.json").read_text())
    harsh = {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "suppress_tokens": list(range(40, 200))}
    (folder / "generation_config.json").write_text(json.dumps(config | harsh))
    drafts = [Draft("Say it again and again.", Sampling(24, 0.0, 0))]
    texts = [load_here([str(spec)])[0].generate(drafts) for spec in (tiny, folder)]
    assert texts[0] == texts[1]
