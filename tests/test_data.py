"""Sources and batches: split by image, repeatable, converted to the right L and ab."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from skimage.color import rgb2lab

import colorlib
from colorlib import MissingExtra, data, metrics
from colorlib.batches import Batches, vary_tone
from colorlib.color import rgb_to_lab, split_lab
from colorlib.data import make_loaders
from colorlib.images import fit_square, read_image


def keys(rgb: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in rgb}


def smooth(rng: np.random.Generator, side: int) -> np.ndarray:
    """A made-up photo without fine detail, so that JPEG hardly changes it."""
    return np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((side // 4, side // 4, 1))).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "sub").mkdir()
    for i in range(40):
        where = tmp_path / "sub" if i % 2 else tmp_path
        Image.fromarray(smooth(rng, 48)).save(where / f"{i:02}.png")
    return tmp_path


@pytest.fixture(scope="module")
def scenes():
    return make_loaders("scenes", size=32, batch_size=4, n_train=10, n_test=6)


def test_batches_are_network_scaled_lab(scenes):
    L, ab = next(iter(scenes.test))
    assert L.shape == (4, 1, 32, 32) and ab.shape == (4, 2, 32, 32) and L.dtype == torch.float32
    expected = split_lab(rgb_to_lab(scenes.test.rgb[:4]))
    assert torch.equal(L, expected[0]) and torch.equal(ab, expected[1])


def test_scenes_are_split_without_leakage_for_every_seed(scenes):
    other = make_loaders("scenes", size=32, n_train=10, n_test=6, seed=1)
    parts = [scenes.train.rgb, other.train.rgb, scenes.valid.rgb, scenes.test.rgb]
    assert all(not keys(a) & keys(b) for a, b in itertools.combinations(parts, 2))
    assert keys(scenes.test.rgb) == keys(other.test.rgb)  # every seed is tested on the same images
    for seed in (data.VALID_SEED, data.TEST_SEED):
        with pytest.raises(ValueError, match="held-out"):
            make_loaders("scenes", size=32, n_train=1, n_test=1, seed=seed)


def test_masks_are_those_of_the_held_out_scenes(scenes):
    painted = colorlib.paint_scenes(6, 32, data.TEST_SEED)
    assert torch.equal(scenes.test.rgb, painted.rgb)
    assert torch.equal(scenes.masks.ambiguous, painted.ambiguous)
    assert torch.equal(scenes.valid.masks.edges, colorlib.paint_scenes(6, 32, data.VALID_SEED).edges)
    assert scenes.train.masks is None


def test_a_fixed_set_gives_every_image_once_in_order(scenes):
    for _ in range(2):
        batches = list(scenes.valid)
        assert [len(L) for L, _ in batches] == [4, 2] and len(scenes.valid) == 2
        L = torch.cat([L for L, _ in batches])
        assert torch.equal(L, split_lab(rgb_to_lab(scenes.valid.rgb))[0])


def test_a_shuffled_set_changes_with_the_epoch_and_is_repeatable(scenes):
    first, second = ([L for L, _ in scenes.train.epoch(n)] for n in (0, 1))
    again = [L for L, _ in scenes.train.epoch(0)]
    assert len(first) == len(scenes.train) == 2
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], second[0])
    rest = [L for L, _ in scenes.train.epoch(0, start=1)]
    assert torch.equal(rest[0], first[1])  # an epoch resumed at batch 1 gives the same batch 1
    reseeded = Batches(scenes.train.rgb, 32, 4, shuffled=True, seed=5)
    assert not torch.equal(next(iter(reseeded))[0], first[0])


def test_iterating_twice_gives_two_epochs():
    batches = Batches(colorlib.paint_scenes(8, 32, 0).rgb, 32, 8, shuffled=True)
    (one, _), (two, _) = next(iter(batches)), next(iter(batches))
    assert not torch.equal(one, two)


def test_an_epoch_draws_each_image_repeats_times():
    colors = torch.arange(0, 250, 50, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 40, 40)
    batches = Batches(colors, 32, 5, shuffled=True, repeats=3)
    drawn = torch.cat([L[:, 0, 0, 0] for L, _ in batches])
    assert len(batches) == 3 and drawn.unique(return_counts=True)[1].tolist() == [3] * 5


def test_crops_have_several_scales_and_half_are_flipped():
    ramp = torch.linspace(0, 255, 128).round().to(torch.uint8).expand(3, 128, 128)
    batches = Batches(ramp[None], 32, 64, shuffled=True, repeats=256)
    L = torch.cat([L for L, _ in batches])  # (256, 1, 32, 32), lighter to the right unless flipped
    rise = (L[:, 0, :, -1] - L[:, 0, :, 0]).mean(dim=1)
    assert 0.35 < (rise < 0).float().mean() < 0.65
    assert rise.abs().max() > 2.5 * rise.abs().min()  # the largest crop spans much more of the ramp


def test_a_folder_is_split_by_image_the_same_way_every_time(folder):
    loaders = make_loaders(folder, size=16, batch_size=4)
    assert [len(part.rgb) for part in (loaders.train, loaders.valid, loaders.test)] == [36, 2, 2]
    again = make_loaders(str(folder), size=16, batch_size=4, seed=3)
    assert torch.equal(loaders.test.rgb, again.test.rgb) and torch.equal(loaders.valid.rgb, again.valid.rgb)
    assert loaders.masks is None
    means = [
        {tuple(np.round(p.float().mean((1, 2)).tolist())) for p in part.rgb}
        for part in (loaders.train, loaders.valid, loaders.test)
    ]
    assert all(not a & b for a, b in itertools.combinations(means, 2))


def test_copies_of_a_photo_are_used_once(folder):
    for path in list(folder.glob("*.png")):
        (folder / f"copy-{path.name}").write_bytes(path.read_bytes())
    loaders = make_loaders(folder, size=16)
    assert sum(len(part.rgb) for part in (loaders.train, loaders.valid, loaders.test)) == 40


def test_files_that_cannot_be_read_are_left_out_and_named(folder):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    (folder / "empty.png").touch()
    with pytest.warns(UserWarning, match="2 files were left out: .*broken.jpg"):
        loaders = make_loaders(folder, size=16)
    assert len(loaders.skipped) == 2
    assert any("broken.jpg" in reason for reason in loaders.skipped)
    assert "2 files left out" in repr(loaders)


def test_gray_photos_are_counted_and_two_are_named(folder):
    """Gray in a color file, and a trace of a cast; toned photos and photos with one colored object are no gray ones."""
    gray = np.repeat(smooth(np.random.default_rng(5), 48)[..., :1], 3, axis=2)
    Image.fromarray(gray).save(folder / "gray.png")
    Image.fromarray(gray[::-1, :, 0]).save(folder / "one_channel.png")
    Image.fromarray(gray[:, ::-1]).save(folder / "sub" / "gray.jpg", quality=90)
    sepia = (gray * [1, 0.9, 0.7]).astype(np.uint8)
    Image.fromarray(sepia).save(folder / "sepia.png")
    object_ = gray[::-1, ::-1].copy()
    object_[:12, :12] = [200, 30, 30]
    Image.fromarray(object_).save(folder / "object.png")
    with pytest.warns(UserWarning) as warned:
        loaders = make_loaders(folder, size=16)
    (message,) = (str(warning.message) for warning in warned)
    assert message.startswith(f"3 of the 45 photos in {folder} have no color (such as ")
    names = message.split("(such as ")[1].split(")")[0].split(", ")
    assert len(names) == 2 and set(names) < {"gray.png", "one_channel.png", str(Path("sub", "gray.jpg"))}
    assert sum(len(part.rgb) for part in (loaders.train, loaders.valid, loaders.test)) == 45


def test_the_number_of_photos_can_be_limited(folder):
    loaders = make_loaders(folder, size=16, n_train=10, n_test=3)
    assert [len(part.rgb) for part in (loaders.train, loaders.valid, loaders.test)] == [10, 3, 3]


def test_bundled_photos_are_nine_in_three_parts():
    loaders = make_loaders("bundled", size=32, batch_size=8)
    assert [len(part.rgb) for part in (loaders.train, loaders.valid, loaders.test)] == [6, 1, 2]
    assert loaders.train.rgb.shape[-1] == 64 and loaders.test.rgb.shape[-1] == 32
    assert len(loaders.train) == 6 * data.BUNDLED_REPEATS // 8
    assert torch.equal(loaders.valid.rgb[0], colorlib.to_tensor(fit_square(data.bundled_photo("chelsea"), 32)))


def test_bundled_photos_have_names(monkeypatch):
    assert np.array_equal(data.bundled_photo("astronaut"), skimage.data.astronaut())
    with pytest.raises(ValueError, match="'lena'.*astronaut.*china"):
        data.bundled_photo("lena")
    monkeypatch.setattr(data, "find_spec", lambda package: None)
    with pytest.raises(MissingExtra, match=r"scikit-learn is not installed.*colorlib\[notebooks\]"):
        data.bundled_photo("china")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "nowhere/at/all"}, "nowhere/at/all.*scenes, bundled"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"source": "bundled", "size": 8}, "size must be at least 11, got 8"),
        ({"n_train": -3}, "n_train must be at least 1, got -3"),
        ({"n_train": 0}, "n_train must be at least 1, got 0"),
        ({"n_test": -1}, "n_test must be at least 1, got -1"),
        ({"store_size": 0}, "store_size must be at least size"),
        ({"source": "bundled", "size": 64, "store_size": 32}, "store_size"),
    ],
)
def test_the_message_names_the_wrong_argument(arguments, words):
    with pytest.raises(ValueError, match=words):
        make_loaders(**arguments)


def test_the_smallest_size_is_the_smallest_that_can_be_measured():
    assert data.MIN_SIZE == metrics.SSIM_WINDOW


def test_a_folder_with_too_few_photos_is_refused(tmp_path):
    Image.new("RGB", (20, 20), "red").save(tmp_path / "one.png")
    with pytest.raises(ValueError, match="1 different photos could be read.*at least 3"):
        make_loaders(tmp_path, size=16)


def test_vary_tone_mixes_lightness_and_luma_and_varies_the_contrast(folder):
    rgb = torch.tensor([[255, 0, 0], [0, 255, 0]], dtype=torch.uint8)[None, :, :, None].permute(0, 2, 1, 3)
    rgb = rgb.repeat_interleave(8, 2).expand(400, -1, -1, 8).contiguous()  # 400 images of 16×8 px, red above green
    L, _ = split_lab(rgb_to_lab(rgb))
    varied = vary_tone(rgb, L, np.random.default_rng(0))
    assert varied.shape == L.shape and varied.abs().max() <= 1
    contrast = (varied[:, 0, 8, 0] - varied[:, 0, 0, 0]) * 50  # green − red, lightness units
    # Red and green have L* 53.24 and 87.74. Their luma, as Pillow stores it, is 76 and 150: L* 32.31 and 62.15.
    stored = Image.fromarray(rgb[0].permute(1, 2, 0).numpy()).convert("L").convert("RGB")
    gray = rgb2lab(np.asarray(stored))[..., 0]
    assert gray[::8, 0] == pytest.approx([32.3, 62.1], abs=0.6)
    lowest, highest = 0.7 * (gray[8, 0] - gray[0, 0]), 1.1 * (87.74 - 53.24)
    assert contrast.min() >= lowest - 1.5  # a JPEG of low quality changes the mean of a block by up to 3 gray levels
    assert contrast.max() <= highest + 0.1
    mean = varied.mean((1, 2, 3)) * 50 + 50
    by_luma = (mean < 59).float().mean()  # the two means are 47 and 70, ±8
    assert 0.4 < by_luma < 0.6

    with_tone, plain = (make_loaders(folder, 16, 4, vary_tone=vary) for vary in (True, False))
    assert torch.equal(next(iter(with_tone.test))[0], next(iter(plain.test))[0])
    assert not torch.equal(next(iter(with_tone.train))[0], next(iter(plain.train))[0])


def test_held_out_files_are_the_photos_that_loaders_hold_out(folder):
    loaders = make_loaders(folder, 16, 4)
    for part in ("valid", "test"):
        files = data.held_out_files(folder, part)
        expected = [colorlib.to_tensor(fit_square(fit_square(read_image(path), 32), 16)) for path in files]
        assert len(files) == 2 and torch.equal(torch.stack(expected), getattr(loaders, part).rgb)
    with pytest.raises(ValueError, match="'train'"):
        data.held_out_files(folder, "train")


@pytest.fixture
def classes(tmp_path):
    """Three class folders below two parents, which share one class, and photos outside of class folders."""
    rng = np.random.default_rng(1)
    for place, count in {"set/cat": 8, "set/dog": 8, "more/dog": 4, "more/owl": 4, "loose": 6}.items():
        (tmp_path / place).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(smooth(rng, 32)).save(tmp_path / place / f"{i:02}.png")
    return tmp_path


def test_labels_are_the_class_folders_of_the_images(classes):
    loaders = make_loaders(classes, size=32, batch_size=4, n_test=2, store_size=32, labels=True)
    assert loaders.classes == ("cat", "dog", "owl")
    train = loaders.train
    assert {len(batch) for batch in train} == {3} and {len(batch) for batch in loaders.valid} == {2}
    names = {}  # pixels of each file -> its folder
    for path in data.find_images(classes):
        names[colorlib.to_tensor(read_image(path)).numpy().tobytes()] = path.parent.name
    for L, ab, labels in train.epoch(0):
        rgb = colorlib.color.to_uint8(colorlib.lab_to_rgb(colorlib.join_lab(L, ab)))
        for image, label in zip(rgb, labels.tolist(), strict=True):
            name = names.get(image.numpy().tobytes()) or names[image.flip(-1).contiguous().numpy().tobytes()]
            assert name == ("loose" if label == -100 else loaders.classes[label])


def test_labels_need_class_folders(tmp_path, folder):
    with pytest.raises(ValueError, match="'scenes' has no class folders"):
        make_loaders("scenes", labels=True)
    with pytest.raises(ValueError, match="no class folders"):
        make_loaders(folder / "sub", size=32, labels=True)


def test_workers_prepare_the_same_batches_and_draw_no_random_numbers():
    options = {"size": 32, "n_train": 24, "n_test": 4, "vary_tone": True}
    alone, with_workers = (make_loaders("scenes", workers=n, **options).train for n in (0, 2))
    torch.manual_seed(0)
    for epoch in (0, 1):
        for one, other in zip(alone.epoch(epoch, start=2), with_workers.epoch(epoch, start=2), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    drawn = torch.rand(1)
    assert torch.equal(drawn, torch.rand(1, generator=torch.Generator().manual_seed(0)))


def test_workers_need_a_system_that_forks(monkeypatch):
    monkeypatch.setattr(torch.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(ValueError, match="workers=0"):
        make_loaders("scenes", size=32, n_train=4, n_test=2, workers=2)
    with pytest.raises(ValueError, match="workers must be at least 0, got -1"):
        make_loaders("scenes", size=32, n_train=4, n_test=2, workers=-1)
