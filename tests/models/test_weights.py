import json
import shutil
from pathlib import Path

import pytest

from discretion.errors import DiscretionError
from discretion.models import load_models
from discretion.models.weights import fingerprint, parse_spec


def test_an_adapter_folder_knows_its_base(adapter, tiny):
    spec = parse_spec(str(adapter))
    assert (spec.base, spec.adapter) == (str(tiny), str(adapter))
    assert parse_spec(f"{tiny}@{adapter}").adapter == str(adapter)


def test_the_organism_is_the_embedded_model_with_the_adapter_that_ships():
    spec = parse_spec("smollm2-135m-organism")
    assert spec.base == parse_spec("smollm2-135m").base
    assert spec.called == "smollm2-135m"
    assert (Path(spec.adapter) / "adapter_model.safetensors").is_file()
    assert spec.with_adapter(Path("x/y")) == "smollm2-135m@x/y"


@pytest.mark.parametrize(
    "spec, says",
    [
        ("", "empty"),
        ("no-such-model", "no such model"),
        ("missing.gguf", "no such model"),
        ("{tiny}@", "BASE@ADAPTER"),
        ("{tiny}@/no/such/folder", "no such adapter folder"),
        ("{adapter}@{adapter}", "is an adapter"),
        ("smollm2-135m-organism@{adapter}", "what was tuned from it is smollm2-135m@ADAPTER"),
        ("{tiny}@{tiny}", "no adapter_config.json"),
        ("{tmp}", "no config.json"),
    ],
)
def test_wrong_specs_are_told_before_anything_loads(spec, says, tiny, adapter, tmp_path):
    with pytest.raises(DiscretionError, match=says):
        load_models([str(tiny), spec.format(tiny=tiny, adapter=adapter, tmp=tmp_path)])


def test_pickled_weights_and_adapters_are_refused(tiny, adapter, tmp_path):
    pickled = shutil.copytree(tiny, tmp_path / "model")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(DiscretionError, match="pickled weights are never loaded"):
        parse_spec(str(pickled))
    pickled = shutil.copytree(adapter, tmp_path / "adapter")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(DiscretionError, match="pickled adapters are never loaded"):
        parse_spec(str(pickled))


def test_an_unreachable_hub_is_one_line(monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *a, **k: (_ for _ in ()).throw(OSError("offline"))
    )
    with pytest.raises(DiscretionError, match="nobody/nothing: not on this machine and not to be had"):
        load_models(["nobody/nothing"])


def test_damaged_weights_and_gguf_are_one_line(tiny, tmp_path):
    damaged = shutil.copytree(tiny, tmp_path / "model")
    data = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(DiscretionError, match="cannot load the model"):
        load_models([str(damaged)])
    (tmp_path / "x.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(DiscretionError, match="cannot read this GGUF"):
        load_models([str(tmp_path / "x.gguf")])


def test_the_fingerprint_follows_what_decides_answers(tiny, other, tmp_path):
    copy = shutil.copytree(tiny, tmp_path / "copy")
    (copy / "README.md").write_text("a note")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"transformers_version": "9.9"}))
    assert fingerprint(copy) == fingerprint(tiny) != fingerprint(other)
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert fingerprint(copy) != fingerprint(tiny)


def test_a_tokenizer_without_a_chat_template_is_refused(models_dir):
    from conftest import save_model

    bare = save_model(models_dir / "bare", template=None)
    with pytest.raises(DiscretionError, match="has no chat template"):
        load_models([str(bare)])
