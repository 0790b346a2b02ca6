from collections import Counter, defaultdict

import pytest

from discretion.elicit import plan_probe
from discretion.errors import DiscretionError
from discretion.scenarios import LANGUAGES, Scenario, choose, load_suite
from discretion.scenarios.pairs import Pair


@pytest.fixture(scope="module")
def suite() -> list[Scenario]:
    return load_suite("builtin")


def test_size_and_domains(suite):
    assert len(suite) >= 320
    assert len({scenario.id for scenario in suite}) == len(suite)
    assert min(Counter(scenario.domain for scenario in suite).values()) >= 20


def test_pairs_share_their_facts_and_differ_in_the_flow(suite):
    pairs = defaultdict(list)
    for scenario in suite:
        pairs[scenario.cluster].append(scenario)
    for right, wrong in pairs.values():
        assert right.context == wrong.context
        assert [item.text for item in right.items] == [item.text for item in wrong.items]
        assert right.items[0].appropriate
        assert not wrong.items[0].appropriate
        assert (right.flow.recipient, right.instruction) != (wrong.flow.recipient, wrong.instruction)


def test_values_stand_in_the_context_and_never_in_the_instruction(suite):
    for scenario in suite:
        for item in scenario.items:
            assert item.values, scenario.id
            for value in item.values:
                assert value.lower() in scenario.context.lower(), (scenario.id, value)
                assert value.lower() not in scenario.instruction.lower(), (scenario.id, value)


def test_most_scenarios_hold_items_of_both_kinds(suite):
    both = sum(len({item.appropriate for item in scenario.items}) == 2 for scenario in suite)
    assert both / len(suite) > 0.8


def test_halves_are_split_by_pair_and_cover_every_domain(suite):
    dev, test = load_suite("builtin:dev"), load_suite("builtin:test")
    assert len(dev) + len(test) == len(suite)
    assert not {s.cluster for s in dev} & {s.cluster for s in test}
    assert {s.domain for s in dev} == {s.domain for s in test}


def test_a_limit_keeps_pairs_together(suite):
    for limit, many in ((40, 40), (41, 40), (2, 2), (999, 320)):
        chosen = choose(suite, limit)
        assert set(Counter(scenario.cluster for scenario in chosen).values()) == {2}
        assert chosen == choose(suite, None)[:many]
    assert len(choose(suite, 1)) == 1


def test_a_pair_without_contrast_is_refused():
    flow = {"recipient": "a", "transmission_principle": "b", "instruction": "c", "share": [0]}
    row = {
        "pair": "x-1", "sender": "s", "subject": "t", "information_type": "i", "context": "c",
        "items": [{"text": "f"}], "appropriate": flow, "inappropriate": flow,
    }  # fmt: skip
    with pytest.raises(ValueError, match="focal item"):
        Pair.model_validate(row)


def test_pairs_work_in_a_users_file(tmp_path):
    path = tmp_path / "pairs.yaml"
    path.write_text("- pair: x-1\n  sender: s\n")
    with pytest.raises(DiscretionError, match=r"line 1, field subject"):
        load_suite(str(path))


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_languages_render_pairs_of_the_suite(suite, language):
    rendered = load_suite(f"builtin:{language}")
    assert len(rendered) >= 40
    assert {scenario.language for scenario in rendered} == {language}
    original = {scenario.id: scenario for scenario in suite}
    for scenario in rendered:
        source = original[scenario.cluster + scenario.id[-1]]
        assert scenario.id == f"{source.cluster}.{language}{source.id[-1]}"
        assert [item.appropriate for item in scenario.items] == [item.appropriate for item in source.items]
        assert (scenario.cluster, scenario.domain, scenario.difficulty) == (
            source.cluster,
            source.domain,
            source.difficulty,
        )
    test_pairs_share_their_facts_and_differ_in_the_flow(rendered)
    test_values_stand_in_the_context_and_never_in_the_instruction(rendered)


def test_questions_are_asked_in_the_scenarios_language():
    prompts = {
        language: plan_probe(load_suite(f"builtin:{language}")[:1])[0].asks[0].prompt for language in LANGUAGES
    }
    assert "A. Ja\nB. Nein" in prompts["de"]
    assert "A. Sí\nB. No" in prompts["es"]
    assert "A. 是\nB. 否" in prompts["zh"]
    assert not any("acceptable to include" in prompt for prompt in prompts.values())
