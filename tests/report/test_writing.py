"""Files are written whole or not at all."""

import os

import pytest

from tf_genbounds.bounds.result import write_text
from tf_genbounds.report.writing import output_folder

root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0,
    reason="root may write everywhere",
)


def test_write_text_replaces_the_file(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    write_text(path, "é")
    assert path.read_bytes() == "é".encode()
    assert os.listdir(tmp_path) == ["file"]


def test_write_text_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("")
    write_text(tmp_path / "file", "")
    modes = {os.stat(tmp_path / name).st_mode for name in ("usual", "file")}
    assert len(modes) == 1


def test_output_folder_moves_all_files_at_the_end(tmp_path):
    out = tmp_path / "a" / "b"
    with output_folder(out) as folder:
        (folder / "one").write_text("1")
        (folder / "two").write_text("2")
        assert not (out / "one").exists()
    assert sorted(os.listdir(out)) == ["one", "two"]


def test_output_folder_replaces_only_files_of_the_same_name(tmp_path):
    (tmp_path / "one").write_text("old")
    (tmp_path / "mine").write_text("keep")
    with output_folder(tmp_path) as folder:
        (folder / "one").write_text("new")
    assert (tmp_path / "one").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["mine", "one"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_output_folder_leaves_nothing_after_an_error(error, tmp_path):
    with pytest.raises(error, match="mine"):
        with output_folder(tmp_path / "a" / "b") as folder:
            (folder / "one").write_text("1")
            raise error("mine")
    assert os.listdir(tmp_path) == []


def test_output_folder_keeps_what_was_there_after_an_error(tmp_path):
    (tmp_path / "one").write_text("old")
    with pytest.raises(ValueError):
        with output_folder(tmp_path) as folder:
            (folder / "one").write_text("new")
            raise ValueError
    assert os.listdir(tmp_path) == ["one"]
    assert (tmp_path / "one").read_text() == "old"


def test_a_file_in_the_way_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("keep")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="cannot be written to.*Received: out="):
            with output_folder(out):
                pytest.fail("the work has begun")
    assert (tmp_path / "file").read_text() == "keep"


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(OSError, match="cannot be written to"):
        with output_folder(tmp_path) as folder:
            (folder / "one").write_text("1")
    assert os.listdir(tmp_path) == ["one"]


@root
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Permission denied"):
        with output_folder(tmp_path / "out"):
            pytest.fail("the work has begun")
