"""The painted world: determined colors follow from the gray image, ambiguous ones can't be predicted from it."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from colorlib.color import rgb_to_lab
from colorlib.scenes import FIRST_AMBIGUOUS, KINDS, PAINTS, Scenes, _chroma_limits, paint_scenes


@pytest.fixture(scope="module")
def world() -> Scenes:
    return paint_scenes(450, 64, seed=7)


@pytest.fixture(scope="module")
def things(world):
    """One row for each ambiguous object: scene, id, pixels, row, column, mean L, a, b."""
    lab, objects = rgb_to_lab(world.rgb).numpy(), world.objects.numpy()
    rows = []
    for i, ids in enumerate(objects):
        for k in np.unique(ids[ids >= FIRST_AMBIGUOUS]):
            where = ids == k
            center = ndimage.center_of_mass(where)
            rows.append((i, k, where.sum(), *center, *lab[i][:, where].mean(axis=1)))
    return np.array(rows)


@pytest.mark.parametrize("size", [32, 64, 77, 128, 256])
def test_shapes_and_types(size):
    scenes = paint_scenes(2, size, seed=1)
    assert len(scenes) == 2
    assert scenes.rgb.shape == (2, 3, size, size) and scenes.rgb.dtype == torch.uint8
    assert scenes.objects.shape == (2, size, size) and scenes.objects.dtype == torch.uint8
    for mask in (scenes.ambiguous, scenes.determined, scenes.edges, scenes.context):
        assert mask.shape == (2, size, size) and mask.dtype == torch.bool
    with pytest.raises(AttributeError):
        scenes.rgb = None


@pytest.mark.parametrize("n, size", [(0, 64), (-3, 64), (1, 31), (1, 257)])
def test_the_message_names_the_wrong_value(n, size):
    with pytest.raises(ValueError, match=rf"^(n|size) must be .*got {n if n < 1 else size}\.$"):
        paint_scenes(n, size, seed=0)


def test_a_scene_depends_only_on_its_seed_and_number():
    five, three, other = paint_scenes(5, 48, seed=3), paint_scenes(3, 48, seed=3), paint_scenes(3, 48, seed=4)
    assert torch.equal(five.rgb[:3], three.rgb) and torch.equal(five.objects[:3], three.objects)
    assert torch.equal(five.edges[:3], three.edges)
    assert not torch.equal(three.rgb, other.rgb) and not torch.equal(five.rgb[0], five.rgb[1])


def test_every_size_shows_the_same_scene():
    small = paint_scenes(8, 64, seed=5).rgb.float()
    shrunk = torch.nn.functional.avg_pool2d(paint_scenes(8, 128, seed=5).rgb.float(), 2)
    assert (small - shrunk).abs().mean() < 4
    assert (small - shrunk.roll(1, dims=0)).abs().mean() > 20  # other scenes differ by more


def test_masks_and_ids_agree(world):
    assert torch.equal(world.ambiguous, world.objects >= FIRST_AMBIGUOUS)
    assert torch.equal(world.determined, ~world.ambiguous)
    assert not (world.edges & world.ambiguous).any()
    assert set(world.objects.unique().tolist()) <= set(KINDS)
    assert KINDS[0] == "sky" and {KINDS[i] for i in KINDS if i >= FIRST_AMBIGUOUS} == {"balloon", "car", "door"}
    assert {KINDS[i] for i in KINDS if i < FIRST_AMBIGUOUS} == set(PAINTS)


@pytest.mark.parametrize("size", [32, 77])
def test_edges_are_determined_pixels_within_two_px_of_another_id(size):
    scenes = paint_scenes(4, size, seed=11)
    for ids, ambiguous, edges in zip(
        scenes.objects.numpy(), scenes.ambiguous.numpy(), scenes.edges.numpy(), strict=True
    ):
        near = np.zeros(ids.shape, bool)
        for k in np.unique(ids):
            near |= (ids == k) & (ndimage.distance_transform_cdt(ids == k, "chessboard") <= 2)
        assert np.array_equal(edges, near & ~ambiguous)


def test_number_and_size_of_ambiguous_objects(world, things):
    assert 2.8 < len(things) / len(world) < 3.6
    assert 0.045 < world.ambiguous.float().mean() < 0.07
    per_scene = np.bincount(things[:, 0].astype(int), minlength=len(world))
    assert per_scene.min() >= 1 and per_scene.max() <= 5
    assert things[:, 2].min() >= 20  # pixels; even the smallest door can be scored
    sunny = (world.objects == list(PAINTS).index("sun")).flatten(1).any(dim=1).float().mean()
    assert 0.5 < sunny < 0.7


def test_ambiguous_objects_rarely_touch(world, things):
    touching = 0
    for ids in world.objects.numpy():
        bodies = np.where(ids >= FIRST_AMBIGUOUS, ids, 0)
        for k in np.unique(bodies[bodies > 0]):
            ring = ndimage.binary_dilation(bodies == k) & (bodies != k)
            touching += bool(bodies[ring].any())
    assert touching / len(things) < 0.03


def test_each_id_has_one_hue():
    scenes = paint_scenes(12, 128, seed=2)
    lab, spreads = rgb_to_lab(scenes.rgb), []
    for i in range(len(scenes)):
        for k in scenes.objects[i].unique():
            if k >= FIRST_AMBIGUOUS:
                inside = torch.from_numpy(ndimage.binary_erosion(scenes.objects[i].numpy() == int(k), iterations=2))
                ab = lab[i, 1:, inside]
                strong = ab[:, ab.norm(dim=0) > 15]
                spreads.append(1 - (strong / strong.norm(dim=0)).mean(dim=1).norm())
    assert len(spreads) > 24 and max(spreads) < 0.003  # circular variance; 0.003 is about 4°


def test_hue_is_uniform_and_the_mean_color_is_gray(things):
    hue = np.arctan2(things[:, 7], things[:, 6])
    counts, _ = np.histogram(hue, 8, (-np.pi, np.pi))
    chi_square = ((counts - len(hue) / 8) ** 2).sum() / (len(hue) / 8)
    assert chi_square < 24.3  # 7 degrees of freedom, p = 0.001
    assert np.abs(things[:, 6:].mean(axis=0)).max() < 2.5 and np.abs(np.median(things[:, 6:], axis=0)).max() < 5
    assert 30 < np.hypot(things[:, 6], things[:, 7]).mean() < 46


def test_opposite_hues_get_the_same_chroma():
    limits = _chroma_limits()
    assert np.array_equal(limits[:90], limits[90:180]) and limits[0] == limits[180]
    assert limits.min() > 25 and limits.max() <= 46


@pytest.mark.parametrize("size", [32, 64, 128])
def test_ambiguous_pixels_are_never_clipped(world, size):
    scenes = world if size == 64 else paint_scenes(60, size, seed=13)
    pixels = scenes.rgb.permute(0, 2, 3, 1)[scenes.ambiguous]
    assert pixels.min() > 0 and pixels.max() < 255


def test_lightness_and_hue_are_uncorrelated(things):
    assert len(things) > 1000
    hue = np.arctan2(things[:, 7], things[:, 6])
    for wave in (np.cos(hue), np.sin(hue)):
        assert abs(np.corrcoef(things[:, 5], wave)[0, 1]) < 0.08


def test_no_regressor_predicts_the_color_from_the_gray_patch(world, things):
    gray = np.pad(rgb_to_lab(world.rgb)[:, 0].numpy(), ((0, 0), (8, 8), (8, 8)), mode="edge")
    corners = things[:, [0, 3, 4]].round().astype(int)
    patches = np.stack([gray[i, r : r + 16, c : c + 16].ravel() for i, r, c in corners])
    patches = (patches - patches.mean(axis=0)) / 10
    ab, train = things[:, 6:], things[:, 0] < 300  # split by image

    def error_ratio(regressor, x):
        """Return the held-out squared error, relative to that of ab = 0."""
        guess = regressor.fit(x[train], ab[train]).predict(x[~train])
        return ((guess - ab[~train]) ** 2).mean() / (ab[~train] ** 2).mean()

    leaky = patches + 0.01 * ab[:, :1]  # for comparison: L that depends on a, by a tenth of a Lab unit per unit
    for regressor in (Ridge(alpha=1000), KNeighborsRegressor(30)):
        assert error_ratio(regressor, patches) > 0.97
    assert error_ratio(Ridge(alpha=1000), leaky) < 0.9


def test_determined_colors_follow_from_kind_and_lightness():
    scenes = paint_scenes(16, 256, seed=17)
    lab, plain = rgb_to_lab(scenes.rgb).permute(1, 0, 2, 3).numpy(), (scenes.determined & ~scenes.edges).numpy()
    kinds_seen = set()
    for i, kind in enumerate(PAINTS):
        L, *ab = lab[:, plain & (scenes.objects.numpy() == i)]
        if len(L) < 100:
            continue
        kinds_seen.add(kind)
        lines = np.stack([L, np.ones_like(L)], axis=1)
        for values in ab:
            fit = np.linalg.lstsq(lines, values, rcond=None)[0]
            assert np.sqrt(((values - lines @ fit) ** 2).mean()) < 1.5, kind
    assert kinds_seen >= set(PAINTS) - {"string"}  # a string is all edge


# --- context: a flag tells the color of a roof that is far away -----------------------------------------------------


@pytest.fixture(scope="module")
def roofs(world):
    """For each scene with a roof: its number, whether it is tiled, mean L of the roof, and mean L of the flag."""
    L, objects = rgb_to_lab(world.rgb)[:, 0].numpy(), world.objects.numpy()
    names = list(PAINTS)
    roof, tiles, flag = (objects == names.index(kind) for kind in ("roof", "tiles", "flag"))
    rows = [
        (i, tiles[i].any(), L[i][roof[i] | tiles[i]].mean(), L[i][flag[i]].mean())
        for i in range(len(objects))
        if (roof[i] | tiles[i]).any()
    ]
    return np.array(rows)


def test_half_of_the_roofs_are_tiled_and_the_flag_tells_which(world, roofs):
    assert 0.4 < roofs[:, 1].mean() < 0.6
    light = roofs[:, 3] > 50
    assert (light == roofs[:, 1]).mean() > 0.99
    names, objects = list(PAINTS), world.objects
    both = [(objects == names.index(kind)).flatten(1).any(dim=1) for kind in ("roof", "tiles")]
    assert not (both[0] & both[1]).any(), "a scene has one kind of roof"


def test_context_pixels_are_roof_far_from_the_flag(world):
    names = list(PAINTS)
    objects, context = world.objects.numpy(), world.context.numpy()
    assert (context <= ((objects == names.index("roof")) | (objects == names.index("tiles")))).all()
    assert not (context & world.ambiguous.numpy()).any() and 0.01 < context.mean() < 0.04
    for i in np.flatnonzero(context.any(axis=(1, 2)))[:100]:
        rows, columns = np.nonzero(objects[i] == names.index("flag"))
        for row, column in np.argwhere(context[i])[::7]:
            assert np.hypot(rows - row, columns - column).min() >= 22  # 24 px, less rounding


def test_the_roof_itself_does_not_tell(world, roofs):
    """No regressor finds the kind of roof in the gray patch around its middle; in the whole scene, the flag does."""
    assert abs(np.corrcoef(roofs[:, 1], roofs[:, 2])[0, 1]) < 0.12  # 2.3 standard errors of 370 roofs
    L, objects = rgb_to_lab(world.rgb)[:, 0].numpy(), world.objects.numpy()
    gray, patches = np.pad(L, ((0, 0), (16, 16), (16, 16)), mode="edge"), []
    names = list(PAINTS)
    for i in roofs[:, 0].astype(int):
        where = (objects[i] == names.index("roof")) | (objects[i] == names.index("tiles"))
        row, column = np.round(ndimage.center_of_mass(where)).astype(int)
        patches.append(gray[i, row + 4 : row + 29, column + 4 : column + 29].ravel())
    patches, kind = (np.stack(patches) - np.mean(patches)) / 10, 2 * roofs[:, 1] - 1
    train = np.arange(len(roofs)) < 250
    for regressor in (Ridge(alpha=1000), KNeighborsRegressor(30)):
        guess = regressor.fit(patches[train], kind[train]).predict(patches[~train])
        assert ((guess > 0) == (kind[~train] > 0)).mean() < 0.62  # chance is 0.5; 2.6 standard errors of 117 roofs
