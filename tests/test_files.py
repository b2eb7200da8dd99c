"""Atomic writes: a file is complete or absent."""

import os
import stat

import pytest

from colorlib.files import atomic_write


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), atomic_write(path) as file:
            file.write(b"half of the new")
            raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights.bin"]


def test_a_finished_write_has_the_permissions_of_any_new_file(tmp_path):
    with atomic_write(tmp_path / "new" / "file") as file:
        file.write(b"new")
    assert (tmp_path / "new" / "file").read_bytes() == b"new"
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_name_of_the_greatest_length_and_a_drive_without_modes(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    path = tmp_path / ("祖" * 83 + ".png")  # 253 bytes
    with atomic_write(path) as file:
        file.write(b"photo")
    assert path.read_bytes() == b"photo" and len(os.listdir(tmp_path)) == 1
