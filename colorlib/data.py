"""Load images from a source, and split them into training, validation and test batches, by image.

Images are stored as uint8 RGB (3 bytes per pixel, lossless); `batches` converts them to `(L, ab)`.
"""

import hashlib
import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from colorlib.batches import Batches
from colorlib.color import rgb_to_lab, to_tensor
from colorlib.downloads import DATASETS, fetch_photos
from colorlib.extras import MissingExtra
from colorlib.images import ImageReadError, find_images, fit_square, read_image
from colorlib.scenes import Scenes, paint_scenes

# Held-out scenes have separate seeds, which `make_loaders` rejects for training.
VALID_SEED, TEST_SEED = 900_000_001, 900_000_002
# Photos that come with scikit-image, and two (china, flower) with scikit-learn. Valid and test are never trained on.
BUNDLED_TRAIN = ("astronaut", "coffee", "rocket", "retina", "hubble_deep_field", "motorcycle_left")
BUNDLED_VALID = ("chelsea",)
BUNDLED_TEST = ("china", "flower")
BUNDLED_REPEATS = 64  # crops per photo and epoch, because an epoch of only six images would be too short
MIN_SIZE = 11  # pixels: the window of SSIM, which is measured on held-out images
GRAY_CHROMA = 1.0  # Lab units: a photo with a lower mean chroma counts as gray


@dataclass(frozen=True)
class Loaders:
    """Training, validation and test batches. `train` is shuffled; `valid` and `test` have a fixed order."""

    train: Batches
    valid: Batches
    test: Batches
    source: str
    skipped: list[str] = field(default_factory=list)  # one sentence per file that could not be read
    classes: tuple[str, ...] = ()  # names of the class labels, see `make_loaders`

    @property
    def masks(self) -> Scenes | None:
        """The test scenes, which include the masks; None for photos. The validation scenes are `valid.masks`."""
        return self.test.masks

    def settings(self) -> dict:
        """Return all that determines the batches, as plain values, to compare a checkpoint's with."""
        train, valid = self.train.settings(), self.valid.settings()
        key = "checksum of the images"
        return {"source": self.source} | train | {"n_test": valid["n_train"], key: [train[key], valid[key]]}

    def __repr__(self) -> str:
        counts = " · ".join(f"{len(getattr(self, part).rgb):,} {part}" for part in ("train", "valid", "test"))
        left_out = f" · {len(self.skipped)} files left out" if self.skipped else ""
        return f"{self.source}: {counts} images, {self.train.size}×{self.train.size} px{left_out}"


def make_loaders(
    source: str | os.PathLike = "scenes",
    size: int = 64,
    batch_size: int = 4,
    *,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
    store_size: int | None = None,
    vary_tone: bool = False,
    labels: bool = False,
    device: str = "cpu",
    workers: int = 0,
) -> Loaders:
    """Make train, valid and test batches from a source, split by image, never by crop.

    Args:
        source: "scenes" (painted), "bundled" (nine photos that scikit-image and scikit-learn ship), "imagenette",
            "imagenette-320" or "coco" (downloaded once), or a folder of photos.
        size: side of the training images, pixels.
        batch_size: images per batch.
        n_train: number of training images; default 1,500 scenes, or all photos.
        n_test: number of images in each of valid and test; default 200 scenes, or 5 % of the photos.
        seed: determines the painted training scenes and every random draw. Held-out images do not depend on it.
        store_size: side at which training photos are stored, pixels; crops are taken at scales between it and `size`.
            Default 2 × size. Held-out photos are cropped to their central square.
        vary_tone: augment the L of training images, see `batches.vary_tone`.
        labels: use the names of class folders as class labels: `train` yields (L, ab, labels), and all three parts have
            a `labels` attribute. Class folders are sibling folders that contain photos; other photos get label -100.
        device: where images are stored and batches are made.
        workers: processes that prepare training batches ahead of a GPU, see `batches.Batches`. Not on Windows.
    Raises:
        ValueError: unknown source, a folder with fewer than three readable photos, a number out of range, or labels
            requested from a source without class folders.
        DownloadError: the photos can't be downloaded.
        MissingExtra: the source is "bundled", and scikit-learn is not installed.
    """
    store_size = 2 * size if store_size is None else store_size
    counts = {"batch_size": batch_size, "n_train": n_train, "n_test": n_test}
    limits = [("size", size, MIN_SIZE), ("workers", workers, 0), *((*count, 1) for count in counts.items())]
    for name, value, lowest in limits:
        if value is not None and value < lowest:
            raise ValueError(f"{name} must be at least {lowest}, got {value}.")
    if workers and "fork" not in torch.multiprocessing.get_all_start_methods():
        raise ValueError("workers share the images by forking, which this system can't do: use workers=0.")
    if store_size < size:
        raise ValueError(f"store_size must be at least size ({size}), got {store_size}.")
    if labels and source in ("scenes", "bundled"):
        raise ValueError(f"The source {source!r} has no class folders, so it can't give labels.")
    fixed = {"size": size, "batch_size": batch_size, "device": device}
    training = fixed | {"shuffled": True, "seed": seed, "vary_tone": vary_tone, "workers": workers}
    if source == "scenes":
        if seed in (VALID_SEED, TEST_SEED):
            raise ValueError(f"seed {seed} paints the held-out scenes; choose another one to train on.")
        valid, test = (paint_scenes(n_test or 200, size, held_out_seed) for held_out_seed in (VALID_SEED, TEST_SEED))
        train = Batches(paint_scenes(n_train or 1500, size, seed).rgb, **training)
        return Loaders(train, *(Batches(part.rgb, masks=part, **fixed) for part in (valid, test)), source="scenes")
    if source == "bundled":
        parts = ((BUNDLED_TRAIN, store_size), (BUNDLED_VALID, size), (BUNDLED_TEST, size))
        train, valid, test = (_stack([fit_square(bundled_photo(n), side) for n in names]) for names, side in parts)
        train = Batches(train, repeats=BUNDLED_REPEATS, **training)
        return Loaders(train, Batches(valid, **fixed), Batches(test, **fixed), source="bundled")

    folder = fetch_photos(source) if source in DATASETS else Path(source)
    if not folder.is_dir():
        names = ", ".join(["scenes", "bundled", *DATASETS])
        raise ValueError(f"source is {str(source)!r}, which is neither a folder nor one of: {names}.")
    paths = _in_split_order(folder)
    n_test = n_test or _default_n_test(paths)
    photos, paths, skipped, gray = _read_squares(paths, store_size, 2 * n_test + n_train if n_train else None)
    if len(photos) < 2 * n_test + 1:
        raise ValueError(
            f"{folder}: {len(photos)} different photos could be read and {len(skipped)} could not; "
            f"at least {2 * n_test + 1} are needed: {n_test} for validation, {n_test} for testing, the rest to train."
        )
    if skipped:
        warnings.warn(f"{len(skipped)} files were left out: {' '.join(skipped[:5])}", stacklevel=2)
    if gray:
        names = ", ".join(str(path.relative_to(folder)) for path in gray[:2])
        warnings.warn(
            f"{len(gray)} of the {len(photos)} photos in {folder} have no color (such as {names}): networks learn from "
            "them to predict gray, so take them out unless you mean it.",
            stacklevel=2,
        )
    classes, of_parts = (), (None, None, None)
    if labels:
        classes, all_labels = class_labels(paths)
        if not classes:
            raise ValueError(f"{folder} has no class folders, sibling folders of photos, so it can't give labels.")
        of_parts = all_labels.tensor_split([n_test, 2 * n_test])
    held_out = [_stack([fit_square(p, size) for p in photos[i : i + n_test]]) for i in (0, n_test)]
    test, valid = (Batches(rgb, labels=part, **fixed) for rgb, part in zip(held_out, of_parts))
    train = Batches(_stack(photos[2 * n_test :]), labels=of_parts[2], **training)
    return Loaders(train, valid, test, str(folder), skipped, classes)


def class_labels(paths: list[Path]) -> tuple[tuple[str, ...], torch.Tensor]:
    """Derive class labels from folders: classes are sibling folders that contain photos.

    Returns:
        The class names, sorted, and the class index of each path, (N,) int64, -100 for a photo outside of class
        folders. Folders of the same name in two places are one class.
    """
    siblings = Counter(folder.parent for folder in {path.parent for path in paths})
    names = [path.parent.name if siblings[path.parent.parent] > 1 else None for path in paths]
    classes = tuple(sorted(set(names) - {None}))
    index = {name: i for i, name in enumerate(classes)} | {None: -100}
    return classes, torch.tensor([index[name] for name in names])


def held_out_files(folder: str | os.PathLike, part: str, n_test: int | None = None) -> list[Path]:
    """List the photos of a folder that `make_loaders(folder, n_test=n_test)` holds out.

    The list is exact if every photo can be read and no photo has a duplicate: `make_loaders` skips such files.

    Args:
        folder: folder of photos.
        part: "valid" or "test".
        n_test: as in `make_loaders`.
    Raises:
        ValueError: `part` is something else, or there is no such folder.
    """
    if part not in ("valid", "test"):
        raise ValueError(f"part is 'valid' or 'test', got {part!r}.")
    paths = _in_split_order(Path(folder))
    n_test = n_test or _default_n_test(paths)
    return paths[:n_test] if part == "test" else paths[n_test : 2 * n_test]


def bundled_photo(name: str) -> np.ndarray:
    """Read a photo that scikit-image or scikit-learn ships, by name, as in "astronaut": (H, W, 3) uint8.

    Raises:
        ValueError: there is no photo of that name.
        MissingExtra: "china" and "flower" need scikit-learn.
    """
    package, folder = ("sklearn", "datasets/images") if name in BUNDLED_TEST else ("skimage", "data")
    spec = find_spec(package)  # locates the files without importing the package, which would take seconds
    if spec is None:
        raise MissingExtra("scikit-learn", "notebooks")
    names = (*BUNDLED_TRAIN, *BUNDLED_VALID, *BUNDLED_TEST)
    if name not in names:
        raise ValueError(f"There is no bundled photo {name!r}; there are: {', '.join(names)}.")
    return read_image(next((Path(spec.origin).parent / folder).glob(f"{name}.*")))


def _in_split_order(folder: Path) -> list[Path]:
    # Sorting by a hash of the name splits at random, yet the same way on every machine and in every run.
    return sorted(find_images(folder), key=lambda path: _hash(path.relative_to(folder).as_posix().encode()))


def _default_n_test(paths: list[Path]) -> int:
    return max(1, round(0.05 * len(paths)))


def _read_squares(
    paths: list[Path], side: int, limit: int | None
) -> tuple[list[np.ndarray], list[Path], list[str], list[Path]]:
    """Read photos as side×side squares until there are `limit`; leave out duplicates and files that can't be read.

    Returns:
        The squares, their paths, one sentence per file that could not be read, and the paths of the gray ones.
    """
    squares, sources, skipped, seen, is_gray = [], [], [], set(), []

    def read(path: Path) -> tuple[np.ndarray, bool] | str:
        try:
            square = fit_square(read_image(path), side)
        except ImageReadError as error:
            return str(error)
        chroma = rgb_to_lab(to_tensor(square[::4, ::4]))[1:].norm(dim=0)  # a sixteenth of the pixels is enough
        return square, bool(chroma.mean() < GRAY_CHROMA)

    with ThreadPoolExecutor() as pool, tqdm(total=limit or len(paths), desc="reading photos", leave=False) as bar:
        for start in range(0, len(paths), 256):
            some = paths[start : start + 256]
            for path, found in zip(some, pool.map(read, some), strict=True):
                if isinstance(found, str):
                    skipped.append(found)
                elif (key := _hash(found[0].tobytes())) not in seen:
                    seen.add(key)
                    squares.append(found[0])
                    sources.append(path)
                    is_gray.append(found[1])
                    bar.update()
            if limit and len(squares) >= limit:
                break
    gray = [path for path, found in zip(sources[:limit], is_gray) if found]
    return squares[:limit], sources[:limit], skipped, gray


def _stack(squares: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)  # (N, 3, S, S)


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
