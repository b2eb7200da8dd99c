"""A look at the machine before the first chapter: every line starts with [ok] or says what to fix."""

import os
import platform
import shutil
import sys
from importlib import metadata

import torch
from packaging.requirements import Requirement

PYTHON_VERSIONS = (3, 11), (3, 13)  # oldest and newest
MIN_MEMORY, MIN_DISK = 3e9, 1e9  # bytes: what the largest chapter takes, and room for weights and pictures
JUPYTER_UPLOAD_LIMIT = 10 * 2**20  # bytes, where nobody sets another one
UPLOAD_LIMIT_VARIABLE = "COLORLIB_UPLOAD_LIMIT"  # set by jupyter_server_config.py and `make app`
WIDGET_PACKAGES = ("ipywidgets", "jupyterlab_widgets", "anywidget")


def check_environment(folder: str | os.PathLike = ".") -> str:
    """Check Python, packages, device, memory, disk and widgets; return the answers, a line each.

    A line is "[ok] …", or "[fix: what to do] …" where a chapter would not run, or not well.

    Args:
        folder: on the disk to check.
    """
    lines = [check_python(), check_packages(), check_device(), check_memory(), check_disk(folder), check_widgets()]
    return "\n".join([*lines, check_uploads()])


def check_python(version: tuple[int, int] | None = None) -> str:
    """Check the version of Python."""
    version = version or sys.version_info[:2]
    oldest, newest = (".".join(map(str, v)) for v in PYTHON_VERSIONS)
    name = f"Python {'.'.join(map(str, version))}"
    if PYTHON_VERSIONS[0] <= version <= PYTHON_VERSIONS[1]:
        return f"[ok] {name}"
    return f"[fix: take Python {oldest} to {newest}] {name}"


def check_packages(requirements: list[str] | None = None) -> str:
    """Check that the packages colorlib asks for are there, in versions that it was tested with.

    Args:
        requirements: as in "numpy>=2.1,<3"; None: those of the installed colorlib, without its extras.
    """
    if requirements is None:
        try:
            requirements = [line for line in metadata.requires("colorlib") or [] if "extra ==" not in line]
        except metadata.PackageNotFoundError:
            return "[fix: run make lab, or pip install -e . in the folder of the series] colorlib is not installed"
    wrong = []
    for requirement in map(Requirement, requirements):
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, wanted {requirement.specifier}")
    if wrong:
        return f"[fix: run make lab, or pip install -e . in the folder of the series] packages: {'; '.join(wrong)}"
    return f"[ok] {len(requirements)} packages, torch {torch.__version__}"


def check_device() -> str:
    """Name the device that torch will use, and try it."""
    if torch.cuda.is_available():
        name, label = "cuda", f"GPU: {torch.cuda.get_device_name()}"
    elif torch.backends.mps.is_available():
        name, label = "mps", "GPU: Apple (mps)"
    else:
        name, label = "cpu", f"CPU with {torch.get_num_threads()} threads: enough for quick mode"
    try:
        (torch.ones(8, 8, device=name) @ torch.ones(8, 8, device=name)).sum().item()
    except RuntimeError as error:
        return f"[fix: set COLORLIB_DEVICE=cpu] {label} fails: {str(error).splitlines()[0]}"
    return f"[ok] {label}"


def check_memory(free: float | None = None) -> str:
    """Check the memory that is free now, bytes; where the system doesn't tell (Windows, macOS), say so."""
    free = _free_memory() if free is None else free
    if free is None:
        return f"[ok] memory: {platform.system()} doesn't tell how much is free; {MIN_MEMORY / 1e9:.0f} GB are enough"
    if free < MIN_MEMORY:
        return f"[fix: close other programs; {MIN_MEMORY / 1e9:.0f} GB should be free] memory: {free / 1e9:.1f} GB free"
    return f"[ok] memory: {free / 1e9:.0f} GB free"


def check_disk(folder: str | os.PathLike = ".", free: float | None = None) -> str:
    """Check the space that is free on the disk of `folder`, bytes."""
    free = shutil.disk_usage(folder).free if free is None else free
    if free < MIN_DISK:
        return f"[fix: make room; {MIN_DISK / 1e9:.0f} GB should be free] disk: {free / 1e9:.1f} GB free"
    return f"[ok] disk: {free / 1e9:.0f} GB free"


def check_widgets() -> str:
    """Check that what draws the widgets is installed."""
    missing = []
    for name in WIDGET_PACKAGES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return f"[fix: pip install {' '.join(missing)}, then reload the page] widgets: no {', '.join(missing)}"
    return f"[ok] widgets: ipywidgets {metadata.version('ipywidgets')}"


def check_uploads() -> str:
    """Check how large a file may be that is uploaded in a widget."""
    if upload_limit() > JUPYTER_UPLOAD_LIMIT:
        return f"[ok] uploads: up to {upload_limit() // 2**20} MB a photo"
    return f"[fix: start Jupyter with make lab] uploads: {upload_warning()}"


def upload_limit() -> int:
    """Return how many bytes a file may have that is uploaded in a widget, as far as a kernel can know.

    The limit belongs to Jupyter's server. The series' own settings hand it to the kernels in the environment; without
    them it is Jupyter's 10 MiB, and larger files vanish without a word.
    """
    value = os.environ.get(UPLOAD_LIMIT_VARIABLE, "")
    return int(value) if value.isdecimal() else JUPYTER_UPLOAD_LIMIT


def upload_warning() -> str:
    """Return one sentence where large photos can't be uploaded, else an empty text."""
    if upload_limit() > JUPYTER_UPLOAD_LIMIT:
        return ""
    return (
        "this Jupyter drops uploads of more than 10 MB without a word: start it with make lab, or give the photo's "
        "path instead."
    )


def _free_memory() -> int | None:
    """Return the bytes of memory that a program may still take, None where the system doesn't say."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
