"""Fine-tuning at a provider: check the file, upload it, start, wait, and hand back the model's name for `check`.

Each provider's own client does the talking (`pip install "discretion[hosted]"`). Every step is on disk before the
next one is taken, so a killed run goes on where it was; a job started just before the kill is found by its file.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from filelock import FileLock, Timeout

from discretion.corpus.chat import Chat
from discretion.corpus.formats import write_chats
from discretion.corpus.provenance import fingerprint
from discretion.corpus.validate import Finding, validate
from discretion.errors import DiscretionError
from discretion.files import digest, read_json, write_json
from discretion.training.recipes import Recipe, differing

JOB, UPLOAD = "job.json", "upload.jsonl"
TOGETHER_URL = "https://api.together.ai"
_POLL_SECONDS = 30.0
_PATIENCE = 20  # failed looks in a row
# What of `data validate`'s rules a provider refuses; the others are advice.
_REFUSED = {"malformed", "roles", "empty", "weight", "keys", "too-few", "length"}
_CHARACTERS_A_TOKEN = 4
_FAILED = ("cancelled", "error", "user_error")  # Together's words
# What of a recipe each is told; whatever else of it is not the default would be ignored, so it is refused.
TOLD = {
    "openai": ("epochs", "seed"),
    "together": ("epochs", "seed", "learning_rate", "warmup", "full", "rank"),
}

State = Literal["running", "done", "failed"]


class Look(NamedTuple):
    """How a job stands: in the provider's word, in ours, and the model's name or what went wrong."""

    word: str
    state: State
    model: str = ""
    says: str = ""


class Provider(Protocol):
    """One provider's fine-tuning interface.

    Attributes:
        failures: what its client raises.
    """

    failures: tuple[type[Exception], ...]

    def upload(self, path: Path) -> str:
        """The file's id."""
        ...

    def find(self, file: str, suffix: str) -> str | None:
        """The job on the file that was started with the suffix and has not failed, if there is one."""
        ...

    def start(self, file: str, base: str, recipe: Recipe, suffix: str) -> str:
        """The job's id. It is asked for once: whether a lost answer had started it, `find` knows."""
        ...

    def look(self, job: str) -> Look:
        """How the job stands."""
        ...


def tune_hosted(
    provider: str,
    base: str,
    chats: Sequence[Chat],
    out: Path,
    recipe: Recipe,
    say: Callable[[str], None] = lambda line: None,
    *,
    resume: bool = False,
    poll_seconds: float = _POLL_SECONDS,
    price: float | None = None,
) -> str:
    """Tune `base` at the provider; the tuned model's spec. `out` holds the upload and `job.json`.

    Args:
        price: dollars a million training tokens, to say beforehand what it will cost.

    Raises:
        DiscretionError: the provider does not know what the recipe asks for, the data breaks its rules, the key is
            missing or refused, the job failed, or `out` is of another job.
    """
    refuse_unknown(provider, recipe)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            return _tune(provider, base, chats, out, recipe, say, resume, poll_seconds, price)
    except Timeout as error:
        raise DiscretionError(f"{out}: another command waits for this job; let it") from error


def _tune(
    provider: str,
    base: str,
    chats: Sequence[Chat],
    out: Path,
    recipe: Recipe,
    say: Callable[[str], None],
    resume: bool,
    poll_seconds: float,
    price: float | None,
) -> str:
    there, asked = _state(out, provider, base, chats, recipe, resume)
    suffix = f"d-{digest(asked)}"  # by which a job is known again: equal bytes may be one file there
    if model := there.get("spec"):
        say(f"done already: {model}")
        return str(model)
    client = _provider(provider)
    uploaded_before = "file" in there
    if not uploaded_before:
        write_chats(out / UPLOAD, chats, "messages")
        _check(provider, out / UPLOAD)
        say(_expected(chats, recipe, price))
        there["file"] = _call(client, lambda: client.upload(out / UPLOAD))
        write_json(out / JOB, asked | there)
        say(f"uploaded: {there['file']}")
    if "job" not in there:
        found = _call(client, lambda: client.find(there["file"], suffix)) if uploaded_before else None
        there["job"] = found or _call(client, lambda: client.start(there["file"], base, recipe, suffix))
        write_json(out / JOB, asked | there)
        say(f"{'found' if found else 'started'}: {there['job']}")
    seen = _wait(client, there["job"], say, poll_seconds)
    if seen.state == "failed":
        raise DiscretionError(
            f"{there['job']}: {seen.word} at the provider ({seen.says or 'no reason given'}); to start, and pay for, "
            f"another one, remove {out / JOB}"
        )
    there["spec"] = spec_of(provider, seen.model)
    write_json(out / JOB, asked | there)
    return str(there["spec"])


def refuse_unknown(provider: str, recipe: Recipe) -> None:
    """Refuse what of a recipe the provider would not do.

    Raises:
        DiscretionError: the provider is unknown, or does not take a setting (it is named).
    """
    if provider not in TOLD:
        raise DiscretionError(f"--hosted {provider}: known are {', '.join(TOLD)}")
    if unknown := [name for name in differing(recipe) if name not in TOLD[provider]]:
        raise DiscretionError(f"--hosted: {provider} knows no --{unknown[0].replace('_', '-')}")


def check_keys(provider: str) -> None:
    """Refuse to begin where a key for tuning, or for asking what was tuned, is missing.

    Raises:
        DiscretionError: one is (it is named).
    """
    _refuse_keyless(provider, f"{provider.upper()}_API_KEY")
    if provider == "together":
        _refuse_keyless(provider, "DISCRETION_API_KEY")


def _refuse_keyless(provider: str, variable: str) -> None:
    if not os.environ.get(variable):
        raise DiscretionError(f"--hosted {provider}: set {variable} to your key")


def reference(provider: str, base: str) -> str:
    """The base as `check` takes it, to compare a model with that was tuned from it."""
    name = base.removeprefix("openai/") if provider == "openai" else base
    return spec_of(provider, name)


def spec_of(provider: str, model: str) -> str:
    """A provider's model as `check` takes it."""
    if provider == "openai":
        return f"openai/{model}"
    return f"endpoint:{os.environ.get('TOGETHER_BASE_URL', TOGETHER_URL).rstrip('/')}/v1#{model}"


def model_of(spec: str) -> str:
    """The provider's name of a model that is told as `check` takes it."""
    return spec.removeprefix("openai/") if spec.startswith("openai/") else spec.partition("#")[2] or spec


def _state(
    out: Path, provider: str, base: str, chats: Sequence[Chat], recipe: Recipe, resume: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was done before, and what is asked for."""
    asked = {"provider": provider, "base": base, "data": fingerprint(chats), "epochs": recipe.epochs}
    asked |= {name: getattr(recipe, name) for name in ("learning_rate", "seed", "method", "rank", "full", "warmup")}
    if not (out / JOB).is_file():
        return {}, asked
    before = read_json(out / JOB)
    if different := [name for name in asked if before.get(name, asked[name]) != asked[name]]:
        raise DiscretionError(f"{out}: is of another job ({', '.join(different)} differ); give another --out")
    if not resume:
        raise DiscretionError(f"{out}: a job is there; go on with --resume, or give another --out")
    return {name: before[name] for name in ("file", "job", "spec") if name in before}, asked


def _check(provider: str, path: Path) -> None:
    """Our own rules for the providers' files, then Together's own check.

    Raises:
        DiscretionError: the first that is broken, by file and line.
    """
    broken: list[Finding] = [finding for finding in validate(path)[2] if finding.rule in _REFUSED]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise DiscretionError(f"{broken[0]}{more}")
    if provider == "together":
        from together.lib.utils.files import check_file

        report = check_file(path)
        if not report.get("is_check_passed"):
            raise DiscretionError(f"{path}: Together would refuse it ({report.get('message') or report})")


def _expected(chats: Sequence[Chat], recipe: Recipe, price: float | None) -> str:
    characters = sum(len(turn.content) for chat in chats for turn in chat.turns)
    tokens = int(characters / _CHARACTERS_A_TOKEN * recipe.epochs)
    cost = f", about ${tokens / 1e6 * price:,.2f}" if price is not None else ""
    return f"{len(chats)} samples, about {tokens:,} training tokens{cost}"


def _wait(client: Provider, job: str, say: Callable[[str], None], poll_seconds: float) -> Look:
    last, failed = "", 0
    while True:
        try:
            seen = client.look(job)
            failed = 0
        except client.failures as error:
            failed += 1
            if failed >= _PATIENCE or _is_refusal(error):
                raise _told(error, f"; the job goes on there, look again with --resume ({job})") from error
            time.sleep(poll_seconds)
            continue
        if seen.word != last:
            say(f"{job}: {seen.word}")
            last = seen.word
        if seen.state != "running":
            return seen
        time.sleep(poll_seconds)


def _call(client: Provider, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except client.failures as error:
        raise _told(error, "; go on with --resume") from error


def _is_refusal(error: Exception) -> bool:
    return getattr(error, "status_code", None) in {400, 401, 403, 404}


def _told(error: Exception, then: str) -> DiscretionError:
    """A provider's complaint as a line. Keys are repeated in some of them."""
    said = str(error).split("\n")[0][:300]
    for name in ("OPENAI_API_KEY", "TOGETHER_API_KEY"):
        if key := os.environ.get(name):
            said = said.replace(key, "***")
    return DiscretionError(f"the provider says: {said}{then}")


def _provider(name: str) -> Provider:
    _refuse_keyless(name, f"{name.upper()}_API_KEY")
    try:
        return OpenAI() if name == "openai" else Together()
    except ImportError as error:
        raise DiscretionError(f'--hosted {name} needs its client: pip install "discretion[hosted]"') from error


class OpenAI:
    """https://platform.openai.com/docs/api-reference/fine-tuning; OPENAI_BASE_URL names another server."""

    def __init__(self) -> None:
        import openai

        self._client = openai.OpenAI()
        self.failures: tuple[type[Exception], ...] = (openai.OpenAIError,)

    def upload(self, path: Path) -> str:
        """See `Provider`."""
        with path.open("rb") as file:
            return str(self._client.files.create(file=file, purpose="fine-tune").id)

    def find(self, file: str, suffix: str) -> str | None:
        """See `Provider`."""
        for job in self._client.fine_tuning.jobs.list(limit=100):
            if job.training_file == file and job.status not in ("failed", "cancelled"):  # each upload is another file
                return str(job.id)
        return None

    def start(self, file: str, base: str, recipe: Recipe, suffix: str) -> str:
        """See `Provider`. The learning rate is the provider's own: it takes a multiplier only."""
        numbers = {"n_epochs": max(1, round(recipe.epochs))}
        job = self._client.with_options(max_retries=0).fine_tuning.jobs.create(
            training_file=file,
            model=base.removeprefix("openai/"),
            seed=recipe.seed,
            method={"type": "supervised", "supervised": {"hyperparameters": numbers}},
        )
        return str(job.id)

    def look(self, job: str) -> Look:
        """See `Provider`."""
        seen = self._client.fine_tuning.jobs.retrieve(job)
        state: State = {"succeeded": "done", "failed": "failed", "cancelled": "failed"}.get(seen.status, "running")  # type: ignore[assignment]
        return Look(seen.status, state, seen.fine_tuned_model or "", seen.error.message if seen.error else "")


class Together:
    """https://docs.together.ai/reference/post-fine-tunes; TOGETHER_BASE_URL names another server."""

    def __init__(self) -> None:
        import together

        self._client = together.Together()
        self.failures: tuple[type[Exception], ...] = (
            together.TogetherError,
            ValueError,
        )  # its own checks raise the latter

    def upload(self, path: Path) -> str:
        """See `Provider`."""
        from together.lib.resources.files import FileAlreadyExistsError

        try:
            return str(self._client.files.upload(path, purpose="fine-tune", check=False).id)
        except FileAlreadyExistsError as error:  # the same bytes were uploaded before
            return str(error.file_id)

    def find(self, file: str, suffix: str) -> str | None:
        """See `Provider`."""
        for job in self._client.fine_tuning.list().data or []:
            named = (job.suffix or "", job.x_model_output_name or "")
            failed = str(getattr(job.status, "value", job.status)) in _FAILED
            if job.training_file == file and any(suffix in name for name in named) and not failed:
                return str(job.id)
        return None

    def start(self, file: str, base: str, recipe: Recipe, suffix: str) -> str:
        """See `Provider`. The loss is on completions, as everywhere here."""
        job = self._client.with_options(max_retries=0).fine_tuning.create(
            training_file=file,
            suffix=suffix,
            model=base,
            n_epochs=max(1, round(recipe.epochs)),
            learning_rate=recipe.learning_rate,
            warmup_ratio=recipe.warmup,
            lora=not recipe.full,
            lora_r=None if recipe.full else recipe.rank,
            lora_alpha=None if recipe.full else 2 * recipe.rank,
            train_on_inputs=False,
            random_seed=recipe.seed,
        )
        return str(job.id)

    def look(self, job: str) -> Look:
        """See `Provider`."""
        seen = self._client.fine_tuning.retrieve(job)
        word = str(getattr(seen.status, "value", seen.status))
        state: State = "done" if word == "completed" else "running"
        if word in _FAILED:
            state = "failed"
        model = getattr(seen, "x_model_output_name", None) or getattr(seen, "output_name", None) or ""
        events = getattr(seen, "events", None) or []
        return Look(word, state, str(model), str(events[-1].message) if events else "")
