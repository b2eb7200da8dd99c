"""Coloring whole albums: every photo in files and folders gets a result file of its own in another folder."""

import os
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from colorlib.colorizer import Colorizer
from colorlib.images import SAVE_FORMATS, find_images, save_image


def color_album(
    colorizer: Colorizer,
    inputs: list[str],
    out: str | os.PathLike,
    failed: Callable[[str], None],
    *,
    render_size: int | None = None,
    saturation: float = 1.0,
    overwrite: bool = False,
) -> int:
    """Color every photo among files and folders, save the results, and show progress.

    Args:
        colorizer: colors the photos.
        inputs: photo files, and folders of photos, searched to any depth.
        out: folder for the results. Subfolders are kept; see `plan_results` for the names.
        failed: called with one sentence for each photo or folder that can't be done; the rest is done.
        render_size, saturation: as in `Colorizer.colorize`.
        overwrite: replace existing results. An input is never replaced.
    Returns:
        The number of photos colored.
    """
    done, jobs = 0, plan_results(inputs, Path(out), lambda error: failed(str(error)))
    originals = {_file_id(photo) for photo, _ in jobs} - {None}
    for photo, result in tqdm(jobs, unit="photo", disable=None):  # None: no bar unless the output is a terminal
        try:
            if _file_id(result) in originals:
                raise FileExistsError(f"{photo}: its result would replace the input {result}; choose another --out.")
            if os.path.lexists(result) and not overwrite:
                raise FileExistsError(f"{photo}: {result} exists already; add --overwrite to replace it.")
            save_image(colorizer.colorize(photo, render_size, saturation), result, overwrite)
            done += 1
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            failed(str(error) if str(photo) in str(error) else f"{photo}: {error}")
    return done


def plan_results(inputs: list[str], out: Path, failed: Callable[[Exception | str], None]) -> list[tuple[Path, Path]]:
    """Return (photo, result) for each photo among the files and in the folders; results have distinct names.

    A result keeps its photo's name, format and place below the folder given; GIF and unknown suffixes become PNG. Of
    two photos with the same name the second gets a number. Photos inside `out` are not inputs.
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
    kept = SAVE_FORMATS.keys() - {".gif"}  # a GIF has 256 colors, too few
    jobs, taken = [], set()
    for photo, place in sorted(photos.values(), key=lambda job: job[0].suffix.lower() not in kept):
        suffix = photo.suffix if photo.suffix.lower() in kept else ".png"
        number, result = 1, out / place.with_suffix(suffix)
        while str(result).casefold() in taken:  # some disks take X.jpg and x.jpg for the same name
            number += 1
            result = out / place.with_name(f"{place.stem}-{number}{suffix}")
        taken.add(str(result).casefold())
        jobs.append((photo, result))
    return jobs


def _file_id(path: Path) -> tuple[int, int] | None:
    """Return what all names of one file have in common; None if there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return None
    return status.st_dev, status.st_ino
