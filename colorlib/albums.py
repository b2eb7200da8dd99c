"""Coloring whole albums: every photo in files and folders gets a result file of its own in another folder."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from colorlib.colorizer import Colorizer
from colorlib.images import SAVE_FORMATS, SUFFIXES, find_images, save_image

KEPT = SAVE_FORMATS.keys() - {".gif"}  # formats of results; a GIF has too few colors


@dataclass
class Tally:
    """How many photos of an album were colored, skipped because their result existed, and failed."""

    colored: int = 0
    skipped: int = 0
    failed: int = 0


def color_album(
    colorizer: Colorizer,
    inputs: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    report: Callable[[str], None],
    *,
    render_size: int | None = None,
    saturation: float = 1.0,
    overwrite: bool = False,
) -> Tally:
    """Color every photo among files and folders, save the results, and show progress.

    Photos whose result exists are skipped, so that the same call continues an interrupted album.

    Args:
        colorizer: colors the photos.
        inputs: photo files, and folders of photos, searched to any depth. They are only read.
        out: folder for the results. Subfolders are kept; see `plan_results` for the names.
        report: called with one sentence for each photo or folder that fails; the rest is done.
        render_size, saturation: as in `Colorizer.colorize`.
        overwrite: color again and replace results that exist. An input is never replaced.
    Returns:
        The counts.
    """
    tally = Tally()

    def failed(error: Exception | str) -> None:
        tally.failed += 1
        report(" ".join(str(error).splitlines()) or type(error).__name__)

    jobs = plan_results(inputs, Path(out), failed)
    originals = {_file_id(photo) for photo, _ in jobs} - {None}
    for photo, result in tqdm(jobs, unit="photo", disable=None):  # None: no bar unless the output is a terminal
        try:
            if _file_id(result) in originals:
                raise FileExistsError(f"{photo}: its result would replace the input {result}; choose another --out.")
            if os.path.lexists(result) and not overwrite:
                tally.skipped += 1
                continue
            save_image(colorizer.colorize(photo, render_size, saturation), result, overwrite)
            tally.colored += 1
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            failed(error if str(photo) in str(error) else f"{photo}: {error}")
    return tally


def plan_results(
    inputs: Sequence[str | os.PathLike], out: Path, failed: Callable[[Exception | str], None]
) -> list[tuple[Path, Path]]:
    """Return (photo, result) for each photo among the files and in the folders; results have distinct names.

    A result keeps its photo's name, format and place below the folder given. A format that can't hold it (GIF), can't
    be written or is unknown becomes PNG. Of two photos with the same name the second gets a number. Photos inside `out`
    are not inputs.
    """
    photos = {}  # absolute path -> (photo, place below `out`), so that a photo named twice is done once
    results = Path(os.path.realpath(out))
    for path in map(Path, inputs):
        if not os.path.isdir(path):
            photos.setdefault(os.path.abspath(path), (path, Path(path.name)))
            continue
        found = find_images(path, on_error=failed)
        if Path(os.path.realpath(path)) in results.parents:
            found = [photo for photo in found if results not in Path(os.path.realpath(photo)).parents]
        if not found:
            failed(f"{path}: there are no photos in this folder.")
        for photo in found:
            photos.setdefault(os.path.abspath(photo), (photo, photo.relative_to(path)))
    jobs, taken, numbers = [], set(), {}
    for photo, place in sorted(photos.values(), key=lambda job: job[0].suffix.lower() not in KEPT):
        result = out / _result_name(place)
        first = str(result).casefold()  # some disks take X.jpg and x.jpg for the same name
        stem = result.name.removesuffix(result.suffix)
        while str(result).casefold() in taken:
            numbers[first] = numbers.get(first, 1) + 1
            result = result.with_name(f"{stem}-{numbers[first]}{result.suffix}")
        taken.add(str(result).casefold())
        jobs.append((photo, result))
    return jobs


def _result_name(place: Path) -> Path:
    """Return the name of a photo's result: "a.jpg" -> "a.jpg", "a.gif" -> "a.png", "Oma 12.05" -> "Oma 12.05.png"."""
    if place.suffix.lower() in KEPT:
        return place
    return place.with_suffix(".png") if place.suffix.lower() in SUFFIXES else place.with_name(f"{place.name}.png")


def _file_id(path: Path) -> tuple[int, int] | None:
    """Return what all names of one file have in common; None if there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return None
    return status.st_dev, status.st_ino
