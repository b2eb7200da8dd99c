"""Files that describe the same thing agree: pyproject.toml, environment.yml, constraints.txt; settings exist."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def direct_requirements():
    """Return {name: bounds} of everything that pyproject.toml requires, with all extras."""
    texts = [*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra)]
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, texts) if r.name != "colorlib"}


def test_environment_yml_agrees_with_pyproject():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    assert "-e ." in pip
    lines = [entry for entry in [*entries, *pip] if isinstance(entry, str) and entry != "-e ."]
    conda = {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines)}
    assert {"python", "pip"} <= set(conda)
    conda["torch"] = conda.pop("pytorch")
    assert {name: conda[name] for name in set(conda) - {"python", "pip"}} == direct_requirements()


def test_constraints_pin_every_requirement_within_its_bounds():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    for name, bounds in direct_requirements().items():
        versions = [spec.version for pin in pins if canonicalize_name(pin.name) == name for spec in pin.specifier]
        assert versions and all(version in bounds for version in versions), f"{name}{bounds} is pinned to {versions}"


def test_the_workflow_runs_the_unit_tests_on_three_systems():
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]["unit"]
    matrix = job["strategy"]["matrix"]
    assert [name.partition("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    assert matrix["python"] == ["3.11", "3.13"]  # strings: 3.10 would be a float
    assert any("pytest tests" in step.get("run", "") for step in job["steps"])


def test_voila_json_has_settings_that_exist():
    """A misspelled setting would be ignored without a word, and abandoned kernels would stay."""
    settings = json.loads((ROOT / "voila.json").read_text(encoding="utf-8"))
    assert list(settings) == [MappingKernelManager.__name__]
    assert set(settings["MappingKernelManager"]) <= set(MappingKernelManager.class_trait_names(config=True))


def test_no_file_names_a_home_folder_or_a_package_index():
    """A path of one machine, or the mirror that a lock file was made with, works nowhere else."""
    # Split, so that this file passes its own test.
    home = r"(?<![\w.:/-])/(?:ho" + r"me|ro" + r"ot|Us" + r"ers|wo" + r"rk)/\w|\b[A-Za-z]:\\+Us" + r"ers\\"
    index = "py" + r"pi\.org|python" + r"hosted|download" + r"\.pytorch|conda" + r"\.anaconda"
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    for name in filter(None, listed.split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in content[:8192]:
            text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", content.decode("utf-8", errors="replace"))
            found = re.search(f"{home}|{index}", text)
            assert not found, f"{name}: {found.group()}"


def test_results_and_readme_show_the_stored_runs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import write_results

    for path, tables in (
        (write_results.RESULTS, write_results.result_tables()),
        (write_results.README, write_results.headlines()),
    ):
        text = path.read_text()
        assert write_results.with_tables(text, tables) == text, "run: python tools/write_results.py"
    assert "| seed 0, U-Net |" in write_results.RESULTS.read_text()
