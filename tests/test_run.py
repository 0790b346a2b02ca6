"""What a stored run may be gone on with."""

import pytest

from discretion.errors import DiscretionError
from discretion.judges.known import JudgeEntry
from discretion.run import RunInfo, refuse_other_settings, save_info
from discretion.settings import Settings, as_arguments


def info(judge_name=None, **settings) -> RunInfo:
    facts = {"model": "m", "fingerprint": "f", "engine": "e", "question": "leakage"}
    return RunInfo(
        command="", arguments=as_arguments({"model": "m"}, Settings(**settings), None), versions={}, models=(),
        data={}, seeds=(0,), planned_records=0, unmeasured={}, judge=JudgeEntry(name=judge_name, **facts) if judge_name else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    "before, now, says",
    [
        ({}, {"elicit": ("probe", "act")}, r"elicit \['probe'\] -> \['probe', 'act'\]"),
        ({"elicit": ("act",)}, {"elicit": ("act",), "max_new_tokens": 9}, "max_new_tokens 256 -> 9"),
        ({"trigger": "|GO|"}, {}, r"trigger \|GO\| -> None"),
        ({"trigger": "|GO|"}, {"trigger": "|HALT|"}, r"trigger \|GO\| -> \|HALT\|"),
        ({"judge_name": "m, from 0.5"}, {"judge_name": "m, from 0.62"}, "the judge m, from 0.5 -> m, from 0.62"),
    ],
)
def test_other_questions_or_another_judge_are_refused_by_name(before, now, says, tmp_path):
    save_info(tmp_path, info(**before))
    with pytest.raises(DiscretionError, match=says):
        refuse_other_settings(tmp_path, info(**now))


@pytest.mark.parametrize("now", [{}, {"limit": 9}, {"trigger": "|GO|"}, {"max_new_tokens": 9}, {"concurrency": 1}])
def test_more_of_the_same_is_not(now, tmp_path):
    save_info(tmp_path, info(limit=5))
    refuse_other_settings(tmp_path, info(**{"limit": 5} | now))
