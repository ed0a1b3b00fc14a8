"""The journal: what was confirmed is there after any crash, and nothing else is taken for it."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re2tal.report.review import Journal, ReviewError

INPUTS = {"detections": "aa", "annotations": None}


def opened(path: Path, **inputs: str) -> Journal:
    return Journal(path, inputs={**INPUTS, **inputs})


def entries_of(path: Path) -> list[Any]:
    with opened(path) as journal:
        return journal.entries


def test_entries_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with opened(tmp_path / "j.jsonl") as journal:
        journal.append([{"a": 1}, {"b": "\u2028\n\ud800"}])
    with opened(tmp_path / "j.jsonl") as again:
        assert again.entries == [{"a": 1}, {"b": "\u2028\n\ud800"}] and again.id == journal.id and not again.torn


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_whatever_is_torn_off_the_end_whole_entries_stay(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("torn") / "j.jsonl"
    ends = []
    with opened(path) as journal:
        for number in range(4):
            journal.append([{"number": number, "text": "x" * number}])
            ends.append(path.stat().st_size)
    first = path.read_bytes().index(b"\n") + 1
    size = data.draw(st.integers(first, ends[-1]))
    os.truncate(path, size)
    whole = sum(end <= size for end in ends)
    with opened(path) as again:
        assert [entry["number"] for entry in again.entries] == list(range(whole))
        assert again.torn == (size not in (first, *ends))
        again.append([{"number": "new"}])
    with opened(path) as last:
        assert [entry["number"] for entry in last.entries] == [*range(whole), "new"] and not last.torn


def test_a_last_line_of_zeros_is_a_torn_one(tmp_path: Path) -> None:
    """As some file systems leave it after a loss of power."""
    with opened(tmp_path / "j.jsonl") as journal:
        journal.append([{"a": 1}])
    with journal.path.open("ab") as file:
        file.write(b"\0" * 40)
    assert entries_of(journal.path) == [{"a": 1}]


def test_a_broken_line_in_the_middle_is_told_and_nothing_is_cut(tmp_path: Path) -> None:
    with opened(tmp_path / "j.jsonl") as journal:
        journal.append([{"a": 1}, {"b": 2}])
    content = journal.path.read_bytes().replace(b'{"a": 1}', b'{"a": 1')
    journal.path.write_bytes(content)
    with pytest.raises(ReviewError, match="line 2 of the journal .* is broken"):
        opened(journal.path)
    assert journal.path.read_bytes() == content


def test_a_journal_of_other_files_is_refused_by_name(tmp_path: Path) -> None:
    opened(tmp_path / "j.jsonl").close()
    with pytest.raises(ReviewError, match="--detections differ"):
        opened(tmp_path / "j.jsonl", detections="bb")
    (tmp_path / "other.jsonl").write_text('{"journal": "something else"}\n')
    with pytest.raises(ReviewError, match="is no journal of a review"):
        opened(tmp_path / "other.jsonl")


@pytest.mark.skipif(os.name != "posix", reason="files are locked on POSIX only")
def test_a_second_review_of_the_same_output_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "j.jsonl") as journal:
        with pytest.raises(ReviewError, match="another review is at work"):
            opened(journal.path)
        journal.append([{"a": 1}])
    assert entries_of(journal.path) == [{"a": 1}]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ReviewError, match="edits cannot be kept"):
        opened(tmp_path / "j.jsonl")


def test_a_path_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReviewError, match="edits cannot be kept in .*; give an --out in a folder"):
        opened(tmp_path / "file" / "j.jsonl")


def test_what_a_full_disk_has_not_taken_is_not_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path / "j.jsonl") as journal:
        journal.append([{"a": 1}])
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                journal.append([{"b": 2}])
        journal.append([{"c": 3}])
    assert entries_of(journal.path) == [{"a": 1}, {"c": 3}]
