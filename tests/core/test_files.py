"""Files come to be beside their place; what a killed run left goes with the next one of the same result."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from geoseg.core.errors import OutputError
from geoseg.core.files import draft_of, hidden_name, publish, workspace


def leave_unfinished(output: Path) -> None:
    """Have a process end in a workspace without any word."""
    child = os.fork()
    if not child:
        with workspace(output) as folder:
            (folder / "half").write_text("half")
            os._exit(0)
    os.waitpid(child, 0)


def test_what_a_killed_run_left_goes_with_the_next_of_the_same_result(tmp_path: Path) -> None:
    for output in (tmp_path / "a.gpkg", tmp_path / "b.gpkg"):
        leave_unfinished(output)
    assert len(list(tmp_path.iterdir())) == 4  # a folder and a lock each
    with workspace(tmp_path / "a.gpkg") as folder:
        assert not list(folder.iterdir())
    assert {path.name.split(".0.")[0] for path in tmp_path.iterdir()} == {".b.gpkg"}


def test_what_two_killed_runs_left_at_once_goes_with_one(tmp_path: Path) -> None:
    with workspace(tmp_path / "a.gpkg"):
        leave_unfinished(tmp_path / "a.gpkg")
    assert list(tmp_path.iterdir())
    with workspace(tmp_path / "a.gpkg"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_living_run_keeps_its_files_and_the_last_to_finish_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with draft_of(path) as first:
        first.write_text("first")
        with draft_of(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("end", [".0.geoseg-tmp", ".0.geoseg-lock"])
def test_links_under_the_names_of_scratch_files_lead_nowhere(tmp_path: Path, end: str) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    out.mkdir()
    (elsewhere / "kept").write_text("kept")
    target = elsewhere / "kept" if end.endswith("lock") else elsewhere
    (out / hidden_name("a.txt", end)).symlink_to(target)
    with draft_of(out / "a.txt") as draft:
        draft.write_text("new")
    assert (out / "a.txt").read_text() == "new"
    assert [path.read_text() for path in elsewhere.iterdir()] == ["kept"]


@pytest.mark.parametrize("is_written", [True, False])
def test_a_folder_that_is_removed_in_the_middle_is_an_error_in_one_line(tmp_path: Path, is_written: bool) -> None:
    def write() -> None:
        with draft_of(tmp_path / "new" / "a.txt") as draft:
            if is_written:
                draft.write_text("new")
            shutil.rmtree(tmp_path / "new")
            if not is_written:
                draft.write_text("new")

    with pytest.raises(OutputError, match=r"cannot write .*a\.txt: .*No such file or directory"):
        write()


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    def fail() -> None:
        with draft_of(tmp_path / "a.txt") as draft:
            draft.write_text("ne")
            raise OSError(28, "No space left on device")

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OutputError, match="No space left"):
        fail()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_name_of_any_length_has_a_hidden_one(tmp_path: Path) -> None:
    names = [f"{'a' * 240}{end}.tif" for end in "12"] + ["ä" * 121 + ".tif"]
    for name in names:
        with draft_of(tmp_path / name) as draft:
            draft.write_text(name)
    assert {path.name for path in tmp_path.iterdir()} == {path.read_text() for path in tmp_path.iterdir()} == set(names)
    assert len({hidden_name(name, ".end") for name in names}) == len(names)


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr("geoseg.core.files.sync", lambda path: done.append(f"sync {path.name}"))
    monkeypatch.setattr("geoseg.core.files.os.replace", lambda old, new: done.append(f"{old.name} -> {new.name}"))
    (tmp_path / "draft.aux.xml").touch()
    publish(tmp_path / "draft", tmp_path / "a.tif")
    assert done == ["sync draft", "draft -> a.tif", "sync draft.aux.xml", "draft.aux.xml -> a.tif.aux.xml"]


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("geoseg.core.files.FileLock.acquire", fail)
    with draft_of(tmp_path / "a.txt") as first, draft_of(tmp_path / "a.txt") as second:
        first.write_text("first")
        second.write_text("second")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["first"]
