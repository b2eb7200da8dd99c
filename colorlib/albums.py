"""Where the results of a whole album go: for each photo in files and folders, a file of its own in another folder."""

import os
from collections.abc import Callable
from pathlib import Path

from colorlib.images import SAVE_FORMATS, find_images


def plan_results(inputs: list[str], out: Path, failed: Callable[[Exception | str], None]) -> list[tuple[Path, Path]]:
    """Return (photo, result) for each photo among the files and in the folders; no two results have one name."""
    photos = {}  # absolute path -> the photo and its place below `out`; what is named twice is done once
    results = Path(os.path.realpath(out))
    for path in map(Path, inputs):
        if not os.path.isdir(path):
            photos.setdefault(os.path.abspath(path), (path, Path(path.name)))
            continue
        found = find_images(path, on_error=failed)
        if Path(os.path.realpath(path)) in results.parents:  # what an earlier run left there is not to be colored again
            found = [photo for photo in found if results not in Path(os.path.realpath(photo)).parents]
        if not found:
            failed(f"{path}: there are no photos in this folder.")
        for photo in found:
            photos.setdefault(os.path.abspath(photo), (photo, photo.relative_to(path)))
    # A GIF has 256 colors, too few; and a suffix that names no format can't be saved under.
    kept = SAVE_FORMATS.keys() - {".gif"}
    jobs, taken = [], set()
    for photo, place in sorted(photos.values(), key=lambda job: job[0].suffix.lower() not in kept):
        suffix = photo.suffix if photo.suffix.lower() in kept else ".png"
        number, result = 1, out / place.with_suffix(suffix)
        while str(result).casefold() in taken:  # casefold: some disks take X.jpg and x.jpg for one
            number += 1
            result = out / place.with_name(f"{place.stem}-{number}{suffix}")
        taken.add(str(result).casefold())
        jobs.append((photo, result))
    return jobs


def file_id(path: Path) -> tuple[int, int] | None:
    """Return what two names of one file have in common, None where there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return None
    return status.st_dev, status.st_ino
