"""The built wheel, used from another folder in an environment that has only the core requirements."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
GPU_PACKAGES = ("nvidia-", "cuda-", "triton")  # what torch's Linux wheels bring
pytestmark = pytest.mark.slow


def closure(requirements: list[str]) -> dict[str, Distribution]:
    """Return the installed distributions that the requirements ask for, and what those require in turn."""
    found, seen, todo = {}, set(), list(map(Requirement, requirements))
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) not in seen:
            seen.add((name, extras))
            found[name] = distribution(name)
            for needed in map(Requirement, found[name].requires or []):
                if not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                    todo.append(needed)
    return found


@pytest.fixture(scope="module")
def core() -> dict[str, Distribution]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return closure(project["dependencies"])


@pytest.fixture(scope="module")
def bare(core, tmp_path_factory):
    """Install the wheel beside links to the core distributions; return a function that runs a command there."""
    folder = tmp_path_factory.mktemp("bare")
    source, outside = folder / "source", folder / "outside"
    source.mkdir()
    outside.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "colorlib", source / "colorlib", ignore=shutil.ignore_patterns("__pycache__"))

    venv.create(folder / "env", with_pip=False)
    paths = {"base": str(folder / "env"), "platbase": str(folder / "env")}
    packages, scripts = (Path(sysconfig.get_path(name, "venv", paths)) for name in ("purelib", "scripts"))
    for package in core.values():
        for top in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
            if not top.endswith(".pth") and not (packages / top).exists():
                try:
                    (packages / top).symlink_to(package.locate_file(top))
                except OSError as error:
                    pytest.skip(f"no symbolic links here: {error}")

    python = scripts / Path(sys.executable).name
    pip, offline = [sys.executable, "-m", "pip", "--disable-pip-version-check"], ["--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", *offline, wheel], check=True)

    def run(command: str, *arguments: str) -> subprocess.CompletedProcess:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COLORLIB", "PYTHON"))}
        kept |= {"HOME": str(outside), "TQDM_DISABLE": "1"}
        return subprocess.run(
            [scripts / command, *arguments], cwd=outside, env=kept, capture_output=True, text=True, timeout=300
        )

    run.folder, run.python = outside, python.name
    return run


def test_the_core_is_small(core):
    names = sorted(name for name in core if not name.startswith(GPU_PACKAGES))
    print(len(names), *names)
    assert len(names) <= 30
    assert not {"fastai", "jupyterlab", "ipywidgets", "matplotlib", "scikit-learn", "pandas"} & set(names)


def test_photos_are_colored_trained_on_and_scored_without_any_extra(bare):
    random = np.random.default_rng(0)
    (bare.folder / "photos").mkdir()
    for number in range(16):  # smooth in color, 48 x 40 pixels
        small = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        small.resize((48, 40), Image.Resampling.BICUBIC).save(bare.folder / "photos" / f"{number}.png")
    data = ["--source", "photos", "--size", "32", "--n-test", "4", "--device", "cpu"]
    small_net = ["--epochs", "1", "--base-channels", "4", "--n-down", "2"]
    for arguments, result in [
        (["colorize", "photos/3.png", "--out", "colored", "--device", "cpu"], "colored/3.png"),
        (["train", *data, *small_net, "--out", "run"], "run/reconstruction.safetensors"),
        (["evaluate", *data, "--weights", "run/reconstruction.safetensors"], None),
    ]:
        done = bare("colorlib", *arguments)
        assert done.returncode == 0, done.stderr
        assert result is None or (bare.folder / result).exists()
    assert "PSNR" in done.stdout


SCRIPT = """
import json
from importlib.metadata import version
from pathlib import Path

import colorlib

package = Path(colorlib.__file__).parent
answers = {
    "version": colorlib.__version__ == version("colorlib"),
    "typed": (package / "py.typed").exists(),
    "installed": package.parent.name == "site-packages",
}
for name, call in {
    "show": lambda: colorlib.show,
    "resnet": lambda: colorlib.resnet_unet(weights=None),
    "photo": lambda: colorlib.data.bundled_photo("china"),
    "stored": lambda: colorlib.lessons.experiments.stored(next(iter(colorlib.lessons.experiments.EXPERIMENTS))),
}.items():
    try:
        answers[name] = f"no error: {call()}"
    except (colorlib.MissingExtra, FileNotFoundError) as error:
        answers[name] = str(error)
    except Exception as error:
        answers[name] = repr(error)
print(json.dumps(answers))
"""


def test_what_needs_an_extra_says_so_in_one_sentence(bare):
    done = bare(bare.python, "-c", "import colorlib.lessons.experiments" + SCRIPT)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert "checkout" in answers.pop("stored")  # which has the stored runs; the wheel does not
    sentence = "{} is not installed; install it with: pip install 'colorlib[{}]'."
    assert answers == {
        "version": True,
        "typed": True,
        "installed": True,
        "show": sentence.format("matplotlib", "notebooks"),
        "resnet": sentence.format("fastai", "fastai"),
        "photo": sentence.format("scikit-learn", "notebooks"),
    }
