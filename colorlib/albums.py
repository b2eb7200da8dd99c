"""Color whole albums: every photo in the given files and folders gets its own result file in another folder."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from colorlib.colorizer import Colorizer
from colorlib.images import SAVE_FORMATS, SUFFIXES, find_images, save_image

KEPT = SAVE_FORMATS.keys() - {".gif"}  # formats of results; a GIF has too few colors


@dataclass
class Tally:
    """Numbers of photos that were colored, that were skipped because a result existed, and that failed."""

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
    finish: Callable[[Image.Image], Image.Image] | None = None,
    overwrite: bool = False,
) -> Tally:
    """Color every photo among files and folders, save the results, and show progress.

    Photos that already have a result are skipped, so that the same call continues an interrupted album.

    Args:
        colorizer: colors the photos.
        inputs: photo files, and folders to search recursively. They are never modified.
        out: folder for the results. Subfolders are kept; see `plan_results` for the names.
        report: called with one sentence for each photo or folder that fails; the others are still colored.
        render_size, saturation: as in `Colorizer.colorize`.
        finish: called with each colored photo; what it returns is saved. By default the colored photo is.
        overwrite: replace existing results. An input is never replaced.
    Returns:
        The numbers of colored, skipped and failed photos.
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
            colored = colorizer.colorize(photo, render_size, saturation)
            save_image(finish(colored) if finish else colored, result, overwrite)
            tally.colored += 1
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            failed(error if str(photo) in str(error) else f"{photo}: {error}")
    return tally


def plan_results(
    inputs: Sequence[str | os.PathLike], out: Path, failed: Callable[[Exception | str], None]
) -> list[tuple[Path, Path]]:
    """Choose a distinct result path for each photo.

    A result keeps the name, the format and the subfolder of its photo. It becomes a PNG if the format is unknown, can't
    be written, or has too few colors (GIF). If two photos have the same name, the second result gets a number. When an
    input folder contains `out`, the photos inside `out` are not inputs.

    Args:
        inputs, out: as in `color_album`.
        failed: called with the error for each folder that can't be listed or contains no photos.
    Returns:
        (photo, result) for each photo.
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
        first = str(result).casefold()  # on a case-insensitive file system X.jpg and x.jpg are the same file
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
    """Return (device, inode), which identifies a file under any of its names; None if there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return None
    return status.st_dev, status.st_ino
