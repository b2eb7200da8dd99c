"""Run the notebooks from top to bottom in quick mode and store their outputs: `make notebooks ARGS="03 04"`."""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from colorlib.files import atomic_write

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
TIMEOUT = 1200  # seconds a cell may take


def find_notebooks(names: list[str], folder: Path) -> list[Path]:
    """Return the notebooks of `folder` that start with one of `names` ("03", or a path); without names, all of them.

    Raises:
        FileNotFoundError: no notebook's name starts with one of `names`.
    """
    paths = sorted(folder.glob("*.ipynb"))
    chosen = []
    for name in names:
        matches = [path for path in paths if path.name.startswith(Path(name).name)]
        if not matches:
            raise FileNotFoundError(f"{name}: no notebook in {folder.name}/ has a name that starts with this.")
        chosen += [path for path in matches if path not in chosen]
    return chosen if names else paths


def execute(notebook: nbformat.NotebookNode, folder: Path, timeout: float = TIMEOUT) -> None:
    """Run all cells of `notebook`, in place, in quick mode, with `folder` as the working directory."""
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        record_timing=False,
        store_widget_state=False,
    )
    environment = {**os.environ, "COLORLIB_RUN": "quick", "TQDM_DISABLE": "1"}
    environment.pop("MPLBACKEND", None)  # the kernel then uses the inline backend, which shows the figures
    client.execute(env=environment)


def tidy(notebook: nbformat.NotebookNode, stem: str) -> None:
    """Remove, in place, what differs between runs and machines; give every cell a stable id."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, max(5, notebook.nbformat_minor)
    seen = set()
    for number, cell in enumerate(notebook.cells):
        if not cell.get("id") or cell.id in seen:
            cell["id"] = hashlib.sha256(f"{stem} {number} {cell.source}".encode()).hexdigest()[:8]
        seen.add(cell.id)
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in ("tags",) if key in cell.metadata})
        for output in cell.get("outputs", []):
            # A view without its state is displayed as an error; its text representation is kept.
            output.get("data", {}).pop(WIDGET_VIEW, None)


def run(path: Path, timeout: float = TIMEOUT) -> None:
    """Run one notebook and write it back. If a cell fails, the file is not changed.

    Raises:
        CellExecutionError, CellTimeoutError, DeadKernelError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, path.parent, timeout)
    tidy(notebook, path.stem)
    nbformat.validate(notebook)
    with atomic_write(path) as file:
        file.write((nbformat.writes(notebook).rstrip("\n") + "\n").encode())


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks named on the command line; return 0, or 1 if any of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the beginning of a file name, such as 03; default: all")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds a cell may take (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        paths = find_notebooks(options.names, FOLDER)
    except FileNotFoundError as error:
        parser.error(str(error))
    failed = []
    for path in paths:
        start = time.perf_counter()
        print(f"{path.name} ...", end=" ", flush=True)
        try:
            run(path, options.timeout)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed.append(path.name)
            print(f"failed, not changed\n{error}")
        else:
            print(f"{time.perf_counter() - start:.0f} s, {path.stat().st_size / 1e6:.2f} MB")
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
