"""A check of the machine before the first chapter: every line starts with [ok] or says what to fix."""

import platform
import shutil
import sys
from importlib import metadata

import torch
from packaging.requirements import Requirement

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)  # versions that the series is tested with
MIN_MEMORY, MIN_DISK = 3e9, 1e9  # bytes: the needs of the largest chapter; space for weights and photos


def check_environment() -> str:
    """Check Python, packages, device, memory and disk; return one line for each.

    A line is "[ok] …", or "[fix: what to do] …" where a chapter would fail or run badly.
    """
    python, memory, disk = sys.version_info[:2], _free_memory(), shutil.disk_usage(".").free
    found = f"{memory / 1e9:.1f} GB free" if memory else f"can't be measured on {platform.system()}"
    checks = [  # (passed, what was found, what to do if it did not pass)
        (OLDEST_PYTHON <= python <= NEWEST_PYTHON, f"Python {platform.python_version()}", "use Python 3.11 to 3.13"),
        (*_check_packages(), "run make lab, or pip install -e '.[all]' in the folder of the series"),
        (*_check_device(), "set COLORLIB_DEVICE=cpu"),
        (not memory or memory >= MIN_MEMORY, f"memory: {found}", "close other programs; 3 GB should be free"),
        (disk >= MIN_DISK, f"disk: {disk / 1e9:.1f} GB free", "make room; 1 GB should be free"),
    ]
    return "\n".join(f"[ok] {found}" if passed else f"[fix: {advice}] {found}" for passed, found, advice in checks)


def _check_packages() -> tuple[bool, str]:
    """Compare the installed packages with the requirements of colorlib and its extras, except the test extra."""
    try:
        requirements = [Requirement(line) for line in metadata.requires("colorlib") or []]
    except metadata.PackageNotFoundError:
        return False, "colorlib is not installed"
    wanted = [r for r in requirements if r.name != "colorlib" and 'extra == "test"' not in str(r.marker)]
    wrong = []
    for requirement in wanted:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
        else:
            if not requirement.specifier.contains(version, prereleases=True):
                wrong.append(f"{requirement.name} is {version}, required {requirement.specifier}")
    return not wrong, "; ".join(wrong) or f"{len(wanted)} packages, torch {torch.__version__}"


def _check_device() -> tuple[bool, str]:
    """Multiply two matrices on the device that torch will use."""
    if torch.cuda.is_available():
        name, label = "cuda", f"GPU: {torch.cuda.get_device_name()}"
    elif torch.backends.mps.is_available():
        name, label = "mps", "GPU: Apple (mps)"
    else:
        name, label = "cpu", f"CPU, threads: {torch.get_num_threads()}, enough for quick mode"
    try:
        (torch.ones(8, 8, device=name) @ torch.ones(8, 8, device=name)).sum().item()
    except RuntimeError as error:
        return False, f"{label} fails: {str(error).splitlines()[0]}"
    return True, label


def _free_memory() -> int | None:
    """Return the available memory in bytes, or None where it can't be read (outside Linux)."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
