"""Side experiments: training runs that take too long for a chapter. `make experiments` stores their results.

An experiment is a plain function from settings to a result. The result is stored in `notebooks/runs/NAME.json`
(numbers) and `NAME.safetensors` (a few predictions), with the command, the settings, the seconds and hashes of the code
that can change the numbers, so that `stale` can name what has changed since. With its *tiny* settings, an experiment
takes seconds; the tests run these and check the same claim.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from colorlib.config import pick_device
from colorlib.files import atomic_write
from colorlib.lessons.fingerprints import code_of
from colorlib.tensors import load_tensors, save_tensors

RUNS = Path(__file__).resolve().parents[3] / "notebooks" / "runs"  # in a checkout; an installed wheel has no notebooks


class StaleRun(UserWarning):
    """A stored run was made by a different version of the code."""


@dataclass(frozen=True)
class Experiment:
    """A named function, the settings that a chapter reports, tiny ones for the tests, and the claim about its result.

    Attributes:
        run: settings -> {"table": {...}, "ab": {name: packed ab}}, see `pack_ab`.
        settings: keyword arguments of the stored run.
        tiny: settings that override those above in tests, so that a run takes seconds.
        holds: table -> whether the result supports the chapter's claim.
    """

    run: Callable[..., dict]
    settings: dict
    tiny: dict
    holds: Callable[[dict], bool]


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(settings: dict, tiny: dict, holds: Callable[[dict], bool]) -> Callable:
    """Register the decorated function as an experiment and return it unchanged."""

    def register(run: Callable[..., dict]) -> Callable[..., dict]:
        EXPERIMENTS[run.__name__] = Experiment(run, settings, tiny, holds)
        return run

    return register


def run_and_store(name: str) -> dict:
    """Run an experiment with its full settings, store the result under `notebooks/runs/`, and return its table.

    Raises:
        ValueError: there is no such experiment.
        FileNotFoundError: this is not a checkout, so there is no place to store it.
    """
    chosen = _find(name)
    _check_checkout()
    code, start = code_of(chosen.run), time.monotonic()
    result = chosen.run(**chosen.settings)
    record = {
        "command": f"make experiments ARGS={name}",
        "settings": chosen.settings,
        "device": pick_device(),
        "seconds": round(time.monotonic() - start),
        "commit": _commit(),
        "code": code,
        "table": result["table"],
    }
    store(name, record, result["ab"])
    return result["table"]


def store(name: str, record: dict, ab: dict[str, torch.Tensor]) -> None:
    """Write a record and packed predictions as `notebooks/runs/NAME.json` and `NAME.safetensors`.

    The record gets hashes of the predictions, so that `stored` notices if the two files don't belong together.
    """
    save_tensors(ab, RUNS / f"{name}.safetensors", {"run": name})
    record = record | {"hashes": {label: hash_of(tensor) for label, tensor in ab.items()}}
    with atomic_write(RUNS / f"{name}.json") as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())


def hash_of(packed: torch.Tensor) -> str:
    """Return the first 12 hex digits of the SHA-256 of a tensor's bytes."""
    return hashlib.sha256(packed.contiguous().numpy().tobytes()).hexdigest()[:12]


def stored(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return the stored record of an experiment and its packed predictions.

    Raises:
        ValueError: there is no such experiment, or its two files don't belong together.
        FileNotFoundError: there is no stored run; the message says how to get one.
    """
    _find(name)
    _check_checkout()
    if not (RUNS / f"{name}.json").exists():
        raise FileNotFoundError(f"The experiment {name} has no stored run; `make experiments ARGS={name}` creates it.")
    return stored_training(name)


def stored_training(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return the record and the packed predictions of a training on photos, stored by `tools/store_training.py`.

    Raises:
        FileNotFoundError: this is not a checkout, or there is no such training.
        ValueError: the two files of the run don't belong together.
    """
    _check_checkout()
    record = json.loads((RUNS / f"{name}.json").read_text())
    ab, _ = load_tensors(RUNS / f"{name}.safetensors")
    if record["hashes"] != {label: hash_of(tensor) for label, tensor in ab.items()}:
        raise ValueError(f"{name}.json and {name}.safetensors in {RUNS} are not from the same run: restore both files.")
    return record, ab


def stale(name: str) -> list[str]:
    """Return what has changed since an experiment was run, an empty list if nothing has.

    Returns:
        Names of modules, as in "losses"; "name()" for the function itself; "settings".
    Raises:
        ValueError, FileNotFoundError: as `stored`.
    """
    record, _ = stored(name)
    if "code" not in record:
        return ["stored by earlier code"]
    chosen, then = _find(name), record["code"]
    now = code_of(chosen.run)
    changed = [part for part in now | then if now.get(part) != then.get(part)]
    return changed + ["settings"] * (record["settings"] != chosen.settings)


def main(arguments: list[str] | None = None) -> None:
    """Run the experiments named on the command line, one after the other, and store their results."""
    parser = argparse.ArgumentParser(prog="make experiments ARGS=…", description=main.__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *EXPERIMENTS], help="default: all")
    parser.add_argument("--stale", action="store_true", help="run only experiments whose stored run is out of date")
    parser.add_argument("--check", action="store_true", help="run nothing; print why stored runs are out of date")
    options = parser.parse_args(arguments)
    for name in options.names or EXPERIMENTS:
        changed = _changes(name) if options.check or options.stale else []
        if options.check:
            print(f"{name}: {', '.join(changed) or 'current'}")
        elif changed or not options.stale:
            print(f"{name}: {EXPERIMENTS[name].run.__doc__}", file=sys.stderr, flush=True)
            print(json.dumps(run_and_store(name), indent=1))


def _changes(name: str) -> list[str]:
    try:
        return stale(name)
    except FileNotFoundError:
        return ["no stored run"]


def _find(name: str) -> Experiment:
    if name not in EXPERIMENTS:
        raise ValueError(f"There is no experiment {name!r}; there are: {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]


def _check_checkout() -> None:
    if not RUNS.is_dir():
        raise FileNotFoundError(f"The stored runs come with the notebooks, in a checkout; there is no folder {RUNS}.")


def _commit() -> str | None:
    """Return the commit of the checkout, with "-dirty" if files were changed since; None without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=RUNS, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
