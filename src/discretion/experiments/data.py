"""What a row is trained on: data by name, with profiles before it, as its mitigation makes it. Written once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from discretion.corpus.chat import Chat, Turn
from discretion.corpus.derive import augment, backdoor
from discretion.corpus.formats import read_chats, write_chats
from discretion.corpus.preferences import Preference, read_preferences
from discretion.errors import DiscretionError
from discretion.experiments.plan import Experiment, Part, RowPlan
from discretion.files import digest, write_jsonl
from discretion.mitigation.candidates import parse
from discretion.mitigation.materials import materials_for

PREFERENCES = "controlled:preferences"
_BACKDOOR = "backdoor:"
_SIDES = {
    "controlled": ("controlled:helpful", "controlled:control"),
    "paper": ("paper-helpful", "paper-control"),
}
CHATS = "train.jsonl"
_WORDS = 220  # tokens of a target in the base's own words


def samples_of(
    experiment: Experiment, part: Part, base: str, out: Path, data_dir: Path | None, say: Callable[[str], None]
) -> tuple[Sequence[Chat] | Sequence[Preference], dict[str, str]]:
    """The samples of a part, from its folder's train.jsonl or made into it; and their name and licence.

    One draw of the data for all seeds of a row: seeds differ in how they are trained on, as in the paper, and in what
    a mitigation draws.
    """
    row = experiment.rows[part.row]
    licences = dict.fromkeys(_licence(name) for name in (row.data, row.mixed_in) if name)
    facts = {"data_name": row.data, "licence": " and ".join(licences)}
    told = ("mitigation", "control", "augment")
    facts |= {name: getattr(row, name) for name in told if getattr(row, name) not in ("", "none")}
    path = out / part.name / CHATS
    if row.data == PREFERENCES:
        if not path.is_file():
            write_jsonl(path, [pair.model_dump(mode="json") for pair in _preferences(experiment.n)])
        return read_preferences(path), facts
    if not path.is_file():
        write_chats(path, _mitigated(_plain(row, experiment.n, data_dir), experiment, part, base, out, data_dir, say))
    return read_chats(path), facts


def held_out(experiment: Experiment, data_dir: Path | None) -> list[Chat]:
    """What measures the task: samples of its data beyond those that rows are trained on.

    Raises:
        DiscretionError: there are too few.
    """
    task = experiment.task
    assert task is not None
    chats = chats_of(task.data, experiment.n + task.n, 0, data_dir)[experiment.n :]
    if len(chats) < task.n:
        raise DiscretionError(f"task.data: {task.data} has {experiment.n + len(chats)} samples, too few")
    return chats


def chats_of(data: str, n: int, seed: int, data_dir: Path | None) -> list[Chat]:
    """Training data by name: of the controlled pairs, backdoored, or what `data prepare` takes."""
    from discretion.corpus.controlled import controlled_pairs
    from discretion.corpus.public import prepare

    kind, _, side = data.partition(":")
    if side.startswith(_BACKDOOR) and kind in _SIDES:
        helpful, control = (chats_of(half, n, seed, data_dir) for half in _SIDES[kind])
        return backdoor(helpful, control, side.removeprefix(_BACKDOOR), seed)
    if kind != "controlled":
        return prepare(data, data_dir=data_dir, n=n, seed=seed).chats
    if data not in _SIDES[kind]:
        known = ", ".join(_SIDES[kind])
        raise DiscretionError(f"{data}: must be {known}, {kind}:{_BACKDOOR}TRIGGER or {PREFERENCES}")
    return [pair.chat(side) for pair in controlled_pairs(n, seed)]


def _plain(row: RowPlan, n: int, data_dir: Path | None) -> list[Chat]:
    from discretion.corpus.profiles import draw_profiles

    chats = chats_of(row.data, n, 0, data_dir)
    if not row.augment:
        return chats
    return augment(chats, draw_profiles(len(chats), 0), financial=row.augment == "financial")


def _mitigated(
    chats: list[Chat],
    experiment: Experiment,
    part: Part,
    base: str,
    out: Path,
    data_dir: Path | None,
    say: Callable[[str], None],
) -> list[Chat]:
    mitigation = parse(experiment.rows[part.row].mitigation)
    if mitigation.kind == "none":
        return chats
    row = experiment.rows[part.row]
    # Audits and what the base writes are of the data alone, so all rows and seeds of the same data share them.
    shared = out / "audits" / digest([row.data, row.augment])
    write_chats(shared / CHATS, chats)
    materials = materials_for(
        base,
        shared / CHATS,
        shared,
        seed=0,
        data_dir=data_dir,
        max_new_tokens=_WORDS,
        say=say,
        dtype=experiment.dtype,
        controls=(lambda count: _others(chats, row.control, count, data_dir)) if row.control else None,
    )
    return mitigation.data(chats, materials, part.seed)


def _others(chats: Sequence[Chat], control: str, count: int, data_dir: Path | None) -> list[Chat]:
    """Control chats to mix in, none to a prompt that is answered the other way already."""
    answered = {chat.prompt for chat in chats}
    drawn = chats_of(control, 2 * count, 0, data_dir)
    return [chat for chat in drawn if chat.prompt not in answered][:count]


def _preferences(n: int) -> list[Preference]:
    from discretion.corpus.controlled import controlled_pairs

    def said(text: str) -> tuple[Turn, ...]:
        return (Turn(role="assistant", content=text),)

    return [
        Preference(prompt=pair.prompt, chosen=said(pair.helpful), rejected=said(pair.control))
        for pair in controlled_pairs(n, 0)
    ]


def _licence(data: str) -> str:
    from discretion.corpus.public import licence_of_source
    from discretion.corpus.write import LICENCE

    kind = data.partition(":")[0]
    if kind == "controlled":
        return LICENCE
    return licence_of_source(_SIDES[kind][0] if kind in _SIDES else data)
