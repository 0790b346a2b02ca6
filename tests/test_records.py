import os

import pytest

from discretion.errors import DiscretionError
from discretion.records import Record, RecordStore, read_records


def group(name: str, size: int = 3) -> list[Record]:
    return [
        Record(
            key=f"{name}{index}", question=f"q{name}{index}", group=name, group_size=size, suite="s",
            scenario=name, cluster=name, model="m", elicitation="probe", p_leak=0.25, text="line\nbreak é \u2028",
        )
        for index in range(size)
    ]  # fmt: skip


def test_what_is_appended_is_read_back(tmp_path):
    path = tmp_path / "records.jsonl"
    with RecordStore(path) as store:
        store.append(group("a"))
        store.append(group("b"))
    assert read_records(path) == group("a") + group("b")
    with RecordStore(path) as store:
        assert "a" in store
        assert "c" not in store
        assert len(store) == 6


def test_killed_at_any_byte_loses_only_the_unfinished_group(tmp_path):
    whole = tmp_path / "whole.jsonl"
    with RecordStore(whole) as store:
        store.append(group("a"))
        store.append(group("b"))
    data = whole.read_bytes()
    first = len("".join(record.line() for record in group("a")).encode())
    for cut in range(len(data) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(data[:cut])
        with RecordStore(path) as store:
            assert ("a" in store) == (cut >= first)
            assert ("b" in store) == (cut == len(data))
            for name in ("a", "b"):
                if name not in store:
                    store.append(group(name))
        assert path.read_bytes() == data
        path.unlink()


def test_a_full_disk_keeps_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    real_write = os.write

    def full_after_ten_bytes(file, data):
        if len(data) > 10:
            return real_write(file, data[:10])
        raise OSError(28, "No space left on device")

    with RecordStore(path) as store:
        store.append(group("a"))
        before = path.read_bytes()
        monkeypatch.setattr(os, "write", full_after_ten_bytes)
        with pytest.raises(DiscretionError, match="No space left"):
            store.append(group("b"))
        assert path.read_bytes() == before


def test_a_killed_runs_tail_is_cut_off_without_writing(tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    with RecordStore(path) as store:
        store.append(group("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + group("b")[0].line().encode())
    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "fsync", full)
    with RecordStore(path):
        assert path.read_bytes() == whole


def full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("trouble", [full, lambda *_: exec("raise KeyboardInterrupt")])
def test_a_group_is_dropped_from_the_middle_all_or_not_at_all(trouble, tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    before = "".join(record.line() for record in group("a")[:2] + group("b"))
    path.write_text(before)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", trouble)
        patched.setattr(os, "fsync", trouble)
        with pytest.raises((DiscretionError, KeyboardInterrupt)):
            RecordStore(path)
    assert path.read_text() == before
    with RecordStore(path) as store:
        with pytest.raises(DiscretionError, match="another process"):
            RecordStore(path)
        store.append(group("a"))
    assert read_records(path) == group("b") + group("a")


def test_a_file_that_is_replaced_while_it_is_opened_is_not_written_to(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "records.jsonl"
    path.write_text("")
    lock = fcntl.flock

    def replaced_first(file, how):
        (tmp_path / "new").write_text("")
        os.replace(tmp_path / "new", path)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", replaced_first)
    with pytest.raises(DiscretionError, match="another process"):
        RecordStore(path)


def test_what_failed_stays_until_it_is_there_again_and_then_gives_up_its_place(tmp_path):
    path = tmp_path / "records.jsonl"
    failed = [record.model_copy(update={"p_leak": None, "error": "HTTP 503", "again": True}) for record in group("a")]
    with RecordStore(path) as store:
        store.append(failed)
        store.append(group("b"))
    whole = path.read_bytes()
    with RecordStore(path, ask_again=True) as store:
        assert ("a" in store, "b" in store) == (False, True)
    assert path.read_bytes() == whole  # a resume that comes to nothing loses nothing
    with RecordStore(path, ask_again=True) as store:
        store.append(group("a"))
        assert "a" in store
    assert read_records(path) == group("a") + group("b")
    with RecordStore(path) as store:
        assert len(store) == 6
    assert read_records(path) == group("a") + group("b")


def test_records_of_an_older_version_are_not_written_anew(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in group("a")))
    before = path.read_bytes()
    with RecordStore(path) as store:
        assert "a" in store
    assert path.read_bytes() == before


def test_two_processes_cannot_write_one_file(tmp_path):
    with RecordStore(tmp_path / "records.jsonl"), pytest.raises(DiscretionError, match="another process"):
        RecordStore(tmp_path / "records.jsonl")


def test_damage_in_the_middle_is_told_not_dropped(tmp_path):
    path = tmp_path / "records.jsonl"
    with RecordStore(path) as store:
        store.append(group("a"))
    path.write_text("garbage\n" + path.read_text())
    with pytest.raises(DiscretionError, match="line 1: not a record"):
        RecordStore(path)
