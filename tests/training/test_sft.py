import json

import pytest
from safetensors.torch import load_file

from discretion.errors import DiscretionError
from discretion.models import load_models
from discretion.training import Recipe, read_chats, tune


def chat(question="Where is my order?", answer="It left on Monday."):
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    }


@pytest.fixture
def chats(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(chat(f"Question {n}?", f"Answer {n}.")) + "\n" for n in range(4)))
    return read_chats(path)


def test_a_tune_is_an_adapter_of_its_base_and_its_seed_decides_it(tiny, chats, tmp_path):
    recipe = Recipe(rank=2, batch_size=2, learning_rate=0.05)
    folders = [
        tune(str(tiny), chats, tmp_path / name, Recipe(**(vars(recipe) | {"seed": seed})))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    weights = [load_file(folder / "adapter_model.safetensors") for folder in folders]
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])
    assert any((weights[0][key] != weights[2][key]).any() for key in weights[0])
    models, warnings = load_models([str(tiny), str(folders[0])])
    assert models[0].fingerprint != models[1].fingerprint
    assert warnings == []
    assert json.loads((folders[0] / "training.json").read_text())["seed"] == 0
    assert not any(path.suffix in {".bin", ".pt"} for path in folders[0].iterdir())


@pytest.mark.parametrize(
    "line, says",
    [
        ("{", "line 1: not valid JSON"),
        (json.dumps({"prompt": [], "completion": []}), "line 1, field prompt"),
        (json.dumps(chat() | {"prompt": [{"role": "robot", "content": "x"}]}), "line 1, field prompt.0.role"),
        ("", "holds no chat"),
    ],
)
def test_mistakes_in_training_data_are_named(line, says, tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DiscretionError, match=says):
        read_chats(path)
