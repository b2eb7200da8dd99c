"""Pictures to learn from: a source becomes three sets of batches, split by picture.

Pictures are kept as uint8 RGB (3 bytes a pixel, lossless); `batches` turns them into `(L, ab)`.
"""

import hashlib
import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from colorlib.batches import NO_LABEL, Batches, Masks
from colorlib.downloads import DATASETS, fetch_photos
from colorlib.images import ImageReadError, find_images, fit_square, read_image
from colorlib.scenes import Scenes, paint_scenes

# Held-out scenes are painted from seeds of their own, so that no training seed can meet them.
VALID_SEED, TEST_SEED = 900_000_001, 900_000_002
# Photos inside scikit-image (s) and scikit-learn (l). The held-out ones never train anything.
BUNDLED_TRAIN = ("s:astronaut", "s:coffee", "s:rocket", "s:retina", "s:hubble_deep_field", "s:motorcycle_left")
BUNDLED_VALID = ("s:chelsea",)
BUNDLED_TEST = ("l:china", "l:flower")
BUNDLED_REPEATS = 64  # six photos make a short epoch: draw each this often, cropped anew


@dataclass(frozen=True)
class Loaders:
    """The three parts of a source: `train` shuffled, `valid` to choose by and `test` to report, both fixed."""

    train: Batches
    valid: Batches
    test: Batches
    source: str
    skipped: list[str] = field(default_factory=list)  # one sentence a file that could not be read
    classes: tuple[str, ...] = ()  # names of the labels that `train` gives, see `make_loaders`

    @property
    def masks(self) -> Masks | None:
        """The masks of the test scenes (`valid.masks` has the others); None for photos."""
        return self.test.masks

    def __repr__(self) -> str:
        counts = " · ".join(f"{len(getattr(self, part).rgb):,} {part}" for part in ("train", "valid", "test"))
        left_out = f" · {len(self.skipped)} files left out" if self.skipped else ""
        return f"{self.source}: {counts} pictures, {self.train.size}×{self.train.size} px{left_out}"


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
) -> Loaders:
    """Make train, valid and test batches from a source, split by picture, never by crop.

    Args:
        source: "scenes" (painted), "bundled" (nine photos that come with scikit-image and scikit-learn), "imagenette"
            or "coco" (downloaded once), or a folder of photos.
        size: side of the training pictures, pixels.
        batch_size: pictures a batch.
        n_train: training pictures; default 1,500 scenes, or all photos there are.
        n_test: pictures in each of valid and test; default 200 scenes, or 5 % of the photos.
        seed: decides the painted training scenes and every random draw. Held-out pictures do not depend on it.
        store_size: side at which training photos are kept, pixels; crops are taken at scales between it and `size`.
            Default 2 × size. Held-out photos are seen whole.
        vary_tone: train on photos whose L varies as that of stored gray photos does; see `batches.vary_tone`.
        labels: tell which class folder a photo lies in: `train` yields (L, ab, labels), all parts have `labels`. Class
            folders are those that hold photos and stand side by side; a photo elsewhere has `NO_LABEL`.
        device: where the store lives and the batches come out.
    Raises:
        ValueError: unknown source, a folder with fewer than three readable photos, a number out of range, or labels
            asked of a source that has no class folders.
        DownloadError: the photos must be downloaded and can't be.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    store_size = store_size or 2 * size
    if store_size < size:
        raise ValueError(f"store_size must be at least size ({size}), got {store_size}.")
    common = {"size": size, "batch_size": batch_size, "device": device}
    if labels and source in ("scenes", "bundled"):
        raise ValueError(f"The source {source!r} has no class folders, so it can't give labels.")
    if source == "scenes":
        return _scene_loaders(n_train or 1500, n_test or 200, seed, common)
    if source == "bundled":
        train = [fit_square(bundled_photo(name), store_size) for name in BUNDLED_TRAIN]
        valid, test = (
            [fit_square(bundled_photo(name), size) for name in part] for part in (BUNDLED_VALID, BUNDLED_TEST)
        )
        return _photo_loaders("bundled", train, valid, test, [], seed, BUNDLED_REPEATS, vary_tone, common)
    folder = fetch_photos(source) if source in DATASETS else Path(source)
    if not folder.is_dir():
        names = ", ".join(["scenes", "bundled", *DATASETS])
        raise ValueError(f"source is {str(source)!r}, which is neither a folder nor one of: {names}.")
    return _folder_loaders(folder, n_train, n_test, store_size, seed, vary_tone, labels, common)


def _scene_loaders(n_train: int, n_test: int, seed: int, common: dict) -> Loaders:
    if seed in (VALID_SEED, TEST_SEED):
        raise ValueError(f"seed {seed} paints the held-out scenes; choose another one to train on.")
    size = common["size"]
    train = paint_scenes(n_train, size, seed)
    valid, test = paint_scenes(n_test, size, VALID_SEED), paint_scenes(n_test, size, TEST_SEED)
    return Loaders(
        Batches(train.rgb, shuffled=True, seed=seed, **common),
        Batches(valid.rgb, masks=_masks(valid), **common),
        Batches(test.rgb, masks=_masks(test), **common),
        source="scenes",
    )


def _masks(scenes: Scenes) -> Masks:
    return Masks(scenes.determined, scenes.ambiguous, scenes.edges, scenes.objects)


def _folder_loaders(
    folder: Path,
    n_train: int | None,
    n_test: int | None,
    store_size: int,
    seed: int,
    tone: bool,
    labeled: bool,
    common: dict,
) -> Loaders:
    paths = _in_split_order(folder)
    n_test = n_test or _default_n_test(paths)
    pictures, read, skipped = _read_squares(paths, store_size, 2 * n_test + n_train if n_train else None)
    if len(pictures) < 2 * n_test + 1:
        raise ValueError(
            f"{folder}: {len(pictures)} different photos could be read and {len(skipped)} could not; "
            f"training needs at least {2 * n_test + 1}: {n_test} to choose by, {n_test} to test, the rest to learn."
        )
    if skipped:
        warnings.warn(f"{len(skipped)} of {len(paths)} files were left out: {' '.join(skipped[:5])}", stacklevel=3)
    test, valid, train = pictures[:n_test], pictures[n_test : 2 * n_test], pictures[2 * n_test :]
    valid, test = ([fit_square(picture, common["size"]) for picture in part] for part in (valid, test))
    loaders = _photo_loaders(str(folder), train, valid, test, skipped, seed, 1, tone, common)
    if not labeled:
        return loaders
    classes, labels = class_labels(read)
    if not classes:
        raise ValueError(f"{folder} has no class folders, folders of photos side by side, so it can't give labels.")
    labels = labels.to(common["device"])
    loaders.test.labels, loaders.valid.labels, loaders.train.labels = labels.tensor_split([n_test, 2 * n_test])
    return replace(loaders, classes=classes)


def class_labels(paths: list[Path]) -> tuple[tuple[str, ...], torch.Tensor]:
    """Tell classes by folders: those that hold photos and stand side by side.

    Returns:
        The names of the classes, sorted, and for each path the index of its own, (N,) int64, or `NO_LABEL`. Folders of
        one name in two places are one class.
    """
    siblings = Counter(folder.parent for folder in {path.parent for path in paths})
    names = [path.parent.name if siblings[path.parent.parent] > 1 else None for path in paths]
    classes = tuple(sorted(set(names) - {None}))
    index = {name: i for i, name in enumerate(classes)} | {None: NO_LABEL}
    return classes, torch.tensor([index[name] for name in names])


def held_out_files(folder: str | os.PathLike, part: str, n_test: int | None = None) -> list[Path]:
    """List the photos of a folder that `make_loaders(folder, n_test=n_test)` keeps from training.

    Args:
        part: "valid", the ones to choose by, or "test", the ones to report on.
    Raises:
        ValueError: `part` is neither, or there is no such folder.
    """
    if part not in ("valid", "test"):
        raise ValueError(f"part is 'valid' or 'test', got {part!r}.")
    paths = _in_split_order(Path(folder))
    n_test = n_test or _default_n_test(paths)
    return paths[:n_test] if part == "test" else paths[n_test : 2 * n_test]


def _in_split_order(folder: Path) -> list[Path]:
    # Sorting by a hash of the name splits at random, yet the same way on every machine and in every run.
    return sorted(find_images(folder), key=lambda path: _hash(path.relative_to(folder).as_posix().encode()))


def _default_n_test(paths: list[Path]) -> int:
    return max(1, round(0.05 * len(paths)))


def _read_squares(paths: list[Path], side: int, limit: int | None) -> tuple[list[np.ndarray], list[Path], list[str]]:
    """Read photos as side×side squares until `limit` are there; leave out what can't be read and what comes twice.

    Returns:
        The squares, the paths that they came from, and a sentence for each that could not be read.
    """
    pictures, sources, skipped, seen = [], [], [], set()

    def read(path: Path) -> np.ndarray | str:
        try:
            return fit_square(read_image(path), side)
        except ImageReadError as error:
            return str(error)

    with ThreadPoolExecutor() as pool, tqdm(total=limit or len(paths), desc="reading photos", leave=False) as bar:
        for start in range(0, len(paths), 256):
            some = paths[start : start + 256]
            for path, square in zip(some, pool.map(read, some), strict=True):
                if isinstance(square, str):
                    skipped.append(square)
                elif (key := _hash(square.tobytes())) not in seen:
                    seen.add(key)
                    pictures.append(square)
                    sources.append(path)
                    bar.update()
            if limit and len(pictures) >= limit:
                break
    return pictures[:limit], sources[:limit], skipped


def _photo_loaders(
    source: str,
    train: list,
    valid: list,
    test: list,
    skipped: list[str],
    seed: int,
    repeats: int,
    tone: bool,
    common: dict,
) -> Loaders:
    train, valid, test = (torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2) for part in (train, valid, test))
    return Loaders(
        Batches(train, shuffled=True, seed=seed, repeats=repeats, vary_tone=tone, **common),
        Batches(valid, **common),
        Batches(test, **common),
        source=source,
        skipped=skipped,
    )


def bundled_photo(name: str) -> np.ndarray:
    """Read one of the photos inside scikit-image ("s:name") or scikit-learn ("l:name"): (H, W, 3) uint8."""
    library, photo = name.split(":")
    if library == "l":
        from sklearn.datasets import load_sample_image  # scikit-learn takes a second to import

        return load_sample_image(f"{photo}.jpg")
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return read_image(next(folder.glob(f"{photo}.*")))


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
