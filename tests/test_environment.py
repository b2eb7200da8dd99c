"""The check of the machine in chapter 00."""

import re
import shutil
import sys
from importlib import metadata
from types import SimpleNamespace

import torch

from colorlib.lessons import environment


def test_every_line_is_ok_or_says_what_to_do():
    lines = environment.check_environment().splitlines()
    assert len(lines) == 5
    assert all(re.match(r"\[ok\] \S|\[fix: \w.+\] \S", line) for line in lines)


def test_every_problem_is_named(monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("no kernel image\nmore")

    def version(name):
        if name == "fastai":
            raise metadata.PackageNotFoundError(name)
        return "0.1"

    required = [
        "numpy>=2.1",
        'colorlib[fastai]; extra == "all"',
        'fastai>=2.8; extra == "fastai"',
        'x; extra == "test"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: required)
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    monkeypatch.setattr(torch, "ones", fail)
    monkeypatch.setattr(environment, "_free_memory", lambda: 1e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2e8))
    python, packages, device, memory, disk = environment.check_environment().splitlines()
    assert python.startswith("[fix: use Python 3.11 to 3.13] Python 3.")
    assert packages.startswith("[fix: run make lab")
    assert packages.endswith("] numpy is 0.1, required >=2.1; fastai is missing")
    assert device.startswith("[fix: set COLORLIB_DEVICE=cpu]") and device.endswith(" fails: no kernel image")
    assert memory == "[fix: close other programs; 3 GB should be free] memory: 1.0 GB free"
    assert disk == "[fix: make room; 1 GB should be free] disk: 0.2 GB free"
