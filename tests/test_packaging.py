"""Files that describe the same thing agree: pyproject.toml, environment.yml, constraints.txt, Makefile, README.md."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import colorlib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch"}
PYTHONS = ("3.11.9", "3.12.4", "3.13.0")
PLATFORMS = {
    "linux": {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux", "platform_machine": "x86_64"},
    "darwin": {"sys_platform": "darwin", "os_name": "posix", "platform_system": "Darwin", "platform_machine": "arm64"},
    "win32": {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows", "platform_machine": "AMD64"},
}


def direct_requirements():
    """Return {name: bounds} of everything pyproject.toml asks for, all extras included."""
    texts = [*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra)]
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, texts)}


def pins():
    """Return the lines of constraints.txt as requirements."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def conda_requirements():
    """Return {name: bounds} of environment.yml, and the lines it leaves to pip that are not such pairs."""
    described = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [entry for entry in described["dependencies"] if isinstance(entry, str)]
    pip = [line for entry in described["dependencies"] if isinstance(entry, dict) for line in entry["pip"]]
    requirements = [Requirement(text) for text in conda + [line for line in pip if not line.startswith("-")]]
    names = [canonicalize_name(r.name) for r in requirements]
    assert len(names) == len(set(names)), "a name stands twice in environment.yml"
    return dict(zip(names, (r.specifier for r in requirements), strict=True)), [x for x in pip if x.startswith("-")]


def tracked_texts():
    """Yield (name, text) of every text file that git keeps, or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            content = (ROOT / name).read_bytes()
            if b"\0" not in content[:8192]:
                yield name, re.sub(r"base64,[A-Za-z0-9+/=]+", "", content.decode("utf-8", errors="replace"))


def makefile_targets():
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def mentioned_targets(markdown):
    """Return the X of every `make X` in the code of a markdown text."""
    fenced = re.findall(r"^```.*?^```", markdown, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`[^`\n]+`", markdown)
    return set(re.findall(r"(?:^|[`$;&]) *make ([a-z][\w-]*)", "\n".join(fenced + inline), flags=re.MULTILINE))


# --- environment.yml -------------------------------------------------------------------------------------------------


def test_environment_yml_agrees_with_pyproject():
    conda, pip_options = conda_requirements()
    wanted = {CONDA_NAMES.get(name, name): bounds for name, bounds in direct_requirements().items()}
    wanted |= {"python": SpecifierSet(PROJECT["requires-python"]), "pip": SpecifierSet()}
    assert conda == wanted
    assert pip_options == ["-e ."]


# --- constraints.txt -------------------------------------------------------------------------------------------------


def test_every_dependency_is_bounded_on_both_sides():
    for name, bounds in direct_requirements().items():
        assert sorted(spec.operator for spec in bounds) == ["<", ">="], f"{name}{bounds}"


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_pin_every_dependency_within_its_bounds(python, platform):
    machine = {**PLATFORMS[platform], "python_full_version": python, "python_version": python.rpartition(".")[0]}
    machine |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    assert python in SpecifierSet(PROJECT["requires-python"])
    pinned = {}
    for pin in pins():
        if pin.marker is None or pin.marker.evaluate(machine):
            (exact,) = pin.specifier
            assert exact.operator == "==", str(pin)
            assert canonicalize_name(pin.name) not in pinned, f"{pin.name} is pinned twice"
            pinned[canonicalize_name(pin.name)] = Version(exact.version)
    wrong = {n: pinned.get(n) for n, b in direct_requirements().items() if n not in pinned or pinned[n] not in b}
    assert not wrong


def test_the_python_bounds_are_the_ones_tested():
    bounds = SpecifierSet(PROJECT["requires-python"])
    assert [minor for minor in range(30) if f"3.{minor}" in bounds] == [int(p.split(".")[1]) for p in PYTHONS]


# --- what no file may name -------------------------------------------------------------------------------------------

# Put together from pieces, so that this file passes its own test.
HOSTS = re.compile(
    "|".join(["py" + r"pi\.org", "python" + "hosted", "download" + r"\.pytorch", "conda" + r"\.anaconda"])
)
HOMES = re.compile(r"(?<![\w.:/-])/(?:ho" + r"me|ro" + r"ot|Us" + r"ers|wo" + r"rk)/\w|\b[A-Za-z]:\\+Us" + r"ers\\")


@pytest.mark.parametrize("pattern", [HOSTS, HOMES], ids=["package index", "home folder"])
def test_no_file_names(pattern):
    found = [f"{name}: {m.group()}" for name, text in tracked_texts() for m in [pattern.search(text)] if m]
    assert not found


def test_the_patterns_find_what_they_look_for():
    assert HOSTS.search("https://py" + "pi.org/simple") and not HOSTS.search("import pytorch_lightning")
    assert HOMES.search("open('/ho" + "me/ann/x')") and not HOMES.search("https://example.org/ho" + "me/ann")
    assert not HOMES.search("notebooks/work/x")


# --- version, Makefile, README ---------------------------------------------------------------------------------------


def test_version():
    assert getattr(colorlib, "__version__", PROJECT["version"]) == PROJECT["version"]


def test_readme_names_targets_that_exist():
    assert mentioned_targets((ROOT / "README.md").read_text(encoding="utf-8")) <= makefile_targets()


def test_mentioned_targets():
    text = "Please make sure.\n`make lab PYTHON=python3.12` or\n```sh\ncd x && make test\n$ make lint\n```\n"
    assert mentioned_targets(text) == {"lab", "test", "lint"}
    assert makefile_targets() >= {"help", "lab", "test", "lint", "notebooks", "experiments", "bench", "clean"}


def test_phony_targets_are_all_declared():
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(declared.group(1).split()) == makefile_targets()


def test_the_upload_limits_are_the_same():
    limit = 100 * 2**20
    assert f"{limit // 2**20} * 2**20" in (ROOT / "notebooks" / "jupyter_server_config.py").read_text(encoding="utf-8")
    assert yaml.safe_load((ROOT / "voila.json").read_text(encoding="utf-8"))["Voila"]["tornado_settings"] == {
        "websocket_max_message_size": limit
    }
    assert f"UPLOAD_LIMIT := {limit}" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_kernels_are_told_the_upload_limit(monkeypatch):
    """The settings of `make lab` hand their limit to the kernels, which warn where it is lower."""
    from traitlets.config import Config

    from colorlib.lessons.environment import UPLOAD_LIMIT_VARIABLE, upload_limit

    monkeypatch.setenv(UPLOAD_LIMIT_VARIABLE, "1")
    path, config = ROOT / "notebooks" / "jupyter_server_config.py", Config()
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), {"get_config": lambda: config, "__file__": str(path)})
    assert upload_limit() == config.ServerApp.tornado_settings["websocket_max_message_size"] == 100 * 2**20


def test_make_app_serves_the_app_on_this_machine_alone():
    told = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\napp: ")[2].partition("\n\n")[0]
    assert "-m voila notebooks/app.ipynb" in told and "--Voila.ip=127.0.0.1" in told
    assert "COLORLIB_UPLOAD_LIMIT=$(UPLOAD_LIMIT)" in told


def test_results_md_shows_the_stored_runs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import write_results

    text = write_results.RESULTS.read_text()
    assert write_results.with_tables(text) == text, "run: python tools/write_results.py"
    assert "| seed 0, U-Net |" in text
