"""Painted scenes for which we know which colors follow from the gray image and which do not.

Sky, grass, brick: the kind of object and its L determine the color, so a network can learn it.
Roofs: slate and tiles look the same in gray, and a flag on the other side of the scene tells which it is. A network can
learn it if it sees that far.
Balloons, cars, doors: the hue is uniformly random and independent of L, so no network can.

The painters work in Lab and in relative coordinates, x right and y down in [0, 1], so a scene can have any size.
"""

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F

from colorlib.color import lab_to_rgb, to_uint8

MIN_SIZE, MAX_SIZE = 32, 256
EDGE_WIDTH = 2  # px
CONTEXT_DISTANCE = 0.375  # of the side: 24 px at 64 px

# Each determined kind has a dark and a light Lab color; its pixels lie on the line through them, so ab is a function of
# L. Clouds lie on the line of the sky, panes on that of the window frame. "roof" is slate; tiles have the same L.
PAINTS = {
    "sky": ((62, -4, -31), (88, -2, -9)),
    "cloud": ((62, -4, -31), (88, -2, -9)),
    "sun": ((78, 4, 56), (90, -4, 54)),
    "hill": ((50, -1, -16), (74, -2, -12)),
    "grass": ((32, -21, 30), (62, -23, 34)),
    "trunk": ((20, 8, 14), (44, 9, 18)),
    "tree": ((22, -21, 24), (52, -24, 29)),
    "spruce": ((18, -16, 6), (48, -19, 8)),
    "brick": ((40, 30, 23), (76, 14, 13)),  # the light end is mortar
    "roof": ((20, 4, -16), (48, 6, -22)),
    "window": ((68, -5, -13), (94, 0, 0)),  # the light end is the frame
    "road": ((34, 0, -3), (92, 0, 4)),  # the light end is a dash
    "wheel": ((12, 0, 0), (80, 0, 0)),
    "string": ((20, 0, 0), (60, 0, 0)),
    "tiles": ((20, 22, 16), (48, 36, 28)),
    "flag": ((20, 0, 0), (94, 0, 0)),
}
FIRST_AMBIGUOUS = 16
BALLOONS, CAR, DOOR = (16, 17, 18), 19, 20  # one id for each object that a scene may contain
_ID = {kind: i for i, kind in enumerate(PAINTS)}
KINDS = {i: kind for kind, i in _ID.items()} | dict.fromkeys(BALLOONS, "balloon") | {CAR: "car", DOOR: "door"}

# Ambiguous objects: base L, shading added to it, and the maximum chroma, the same for all hues.
OBJECT_L, SHADING, MAX_CHROMA = (53.0, 63.0), (-4.0, 4.0), 46.0
GLOSS = (97, 0, 0)  # the white of highlights


def _column(lab) -> np.ndarray:
    return np.array(lab, np.float32)[:, None, None]


_LINES = {kind: (_column(dark), _column(light)) for kind, (dark, light) in PAINTS.items()}


@dataclass(frozen=True, eq=False)
class Scenes:
    """Painted scenes and what is known about each pixel.

    Attributes:
        rgb: (n, 3, size, size) uint8 sRGB.
        objects: (n, size, size) uint8 ids of the object that covers more than half of the pixel. 0 is the sky.
            `KINDS[id]` is its kind; ids >= `FIRST_AMBIGUOUS` are ambiguous, and each such object in a scene has an
            id of its own.
        ambiguous: (n, size, size) bool; pixels whose hue is random. Wheels, windows and strings do not belong to them.
        determined: (n, size, size) bool; all other pixels.
        edges: (n, size, size) bool; determined pixels within 2 px of an object boundary: the 5×5 window around them
            holds more than one id. A subset of `determined`.
        context: (n, size, size) bool; roof pixels whose color only the flag tells, and the flag is at least 3/8 of the
            side away (24 px at 64 px). A subset of `determined`.
    """

    rgb: torch.Tensor
    objects: torch.Tensor
    ambiguous: torch.Tensor
    determined: torch.Tensor
    edges: torch.Tensor
    context: torch.Tensor

    def __len__(self) -> int:
        return len(self.rgb)


def paint_scenes(n: int, size: int, seed: int) -> Scenes:
    """Paint `n` scenes of `size` × `size` pixels.

    Args:
        n: number of scenes, at least 1.
        size: side in pixels, 32 to 256. The same seed gives the same scenes at every size.
        seed: non-negative; scene i depends only on (seed, i), not on `n`.
    Returns:
        `Scenes`; each has about 3.3 ambiguous objects, on about 6 % of its pixels.
    Raises:
        ValueError: n < 1, or size outside 32 … 256.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be from {MIN_SIZE} to {MAX_SIZE} pixels, got {size}.")
    batches = [_paint_batch(range(i, min(i + 64, n)), size, seed) for i in range(0, n, 64)]
    rgb, objects, boundary, far = (torch.cat(parts) for parts in zip(*batches, strict=True))
    ambiguous = objects >= FIRST_AMBIGUOUS
    roofs = (objects == _ID["roof"]) | (objects == _ID["tiles"])
    return Scenes(rgb, objects, ambiguous, ~ambiguous, boundary & ~ambiguous, roofs & far)


def _paint_batch(numbers: range, size: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Paint some scenes; the conversion to RGB works on all at once, which is faster than many small calls."""
    canvases = [_paint_scene(np.random.default_rng([seed, i]), size) for i in numbers]
    rgb = to_uint8(lab_to_rgb(torch.from_numpy(np.stack([canvas.lab for canvas in canvases]))))
    objects = torch.from_numpy(np.stack([canvas.ids for canvas in canvases]))
    ids, window = objects.float(), (2 * EDGE_WIDTH + 1, 1, EDGE_WIDTH)  # kernel, stride, padding
    boundary = F.max_pool2d(ids, *window) != -F.max_pool2d(-ids, *window)  # more than one id in 5×5 pixels
    far = torch.from_numpy(np.stack([np.abs(canvas.x - canvas.flag) >= CONTEXT_DISTANCE for canvas in canvases]))
    return rgb, objects, boundary, far.expand_as(objects)


@dataclass
class _Canvas:
    """A scene being painted, or a window on it, which shares its memory and has its own coordinates."""

    lab: np.ndarray  # (3, h, w) float32
    ids: np.ndarray  # (h, w) uint8
    textures: np.ndarray  # (3, h, w): smooth, leafy, blade-like noise, each about N(0, 1)
    x: np.ndarray  # (1, w) pixel centers
    y: np.ndarray  # (h, 1)
    pixels: float  # pixels per unit of x and y
    flag: float = np.nan  # x of the side of the flag that is nearer to the house; nan without a house

    def window(self, cx, cy, scale, left, top, right, bottom, flip=1) -> "_Canvas":
        """Return the part around (cx, cy), in units of `scale`; the bounds are in these units."""
        cols = slice(*np.searchsorted(self.x[0], sorted((cx + flip * scale * left, cx + flip * scale * right))))
        rows = slice(*np.searchsorted(self.y[:, 0], (cy + scale * top, cy + scale * bottom)))
        x, y = flip * (self.x[:, cols] - cx) / scale, (self.y[rows] - cy) / scale
        parts = self.lab[:, rows, cols], self.ids[rows, cols], self.textures[:, rows, cols]
        return _Canvas(*parts, x, y, self.pixels * scale)

    def cover(self, distance):
        """Convert a signed distance (negative inside) to the covered share of each pixel."""
        return np.clip(0.5 - distance * self.pixels, 0, 1)

    def lay(self, kind, cover, L):
        """Paint a determined kind where `cover` > 0, with lightness L, which determines ab."""
        dark, light = _LINES[kind]
        self._blend(_ID[kind], cover, dark + (L - dark[0]) / (light[0] - dark[0]) * (light - dark))

    def lay_object(self, number, cover, paint, shading, gloss):
        """Paint an ambiguous object in `paint` (L, a, b); shading changes only L, gloss blends to white."""
        color = _column(paint) + _column((1, 0, 0)) * np.clip(shading, *SHADING)
        self._blend(number, cover, color + gloss * (_column(GLOSS) - color))

    def _blend(self, number, cover, color):
        self.lab += cover * (color - self.lab)
        self.ids[np.broadcast_to(cover > 0.5, self.ids.shape)] = number


def _paint_scene(rng: np.random.Generator, size: int) -> _Canvas:
    centers = ((np.arange(size) + 0.5) / size).astype(np.float32)
    textures = np.stack([_noise(rng, size, 7, 7), _noise(rng, size, 40, 40), _noise(rng, size, 22, 80)])
    lab, ids = np.zeros((3, size, size), np.float32), np.zeros((size, size), np.uint8)
    canvas = _Canvas(lab, ids, textures, centers[None, :], centers[:, None], size)

    horizon = rng.uniform(0.5, 0.6)
    road = rng.uniform(0.84, 0.89) if rng.random() < 0.8 else None  # y of its middle
    front = 0.9 if road is None else road - 0.1  # objects stand on the grass between horizon and here
    airspace = _sky(canvas, rng, horizon)  # boxes (left, top, right, bottom) that balloons avoid
    _land(canvas, rng, horizon)

    plots, standing = [], []
    if house := rng.random() < 0.8:
        cx, scale = rng.uniform(0.24, 0.76), rng.uniform(0.28, 0.36)
        tiled = rng.spawn(1)[0].random() < 0.5
        side = 1 if cx < 0.5 else -1  # the flag stands on the other side of the scene
        base = rng.uniform(max(horizon + 0.08, front - 0.1), front)
        plots.append((cx - 0.62 * scale, 0, cx + 0.62 * scale, 1))
        airspace.append((cx - 0.62 * scale, base - 1.3 * scale, cx + 0.62 * scale, base))
        standing.append((base, partial(_house, roof="tiles" if tiled else "roof"), cx, scale))
    for _ in range(rng.choice(4, p=[0.15, 0.35, 0.35, 0.15])):
        base = rng.uniform(horizon + 0.03, front)
        scale = rng.uniform(0.2, 0.27) * (0.75 + (base - horizon) / 0.6)
        cx, _ = _place(rng, (0.04, 0.96), (0.5, 0.5), 0.35 * scale, 0.1, plots)
        plots.append((cx - 0.3 * scale, 0, cx + 0.3 * scale, 1))
        standing.append((base, rng.choice([_tree, _tree, _spruce]), cx, scale))
    for base, paint, cx, scale in sorted(standing, key=lambda thing: thing[0]):  # far objects first
        paint(canvas, rng, cx, base, scale)
    if house:
        canvas.flag, top = _flag(canvas, side, front, light=tiled)
        airspace.append((0.5 + side * 0.5 - 0.24, top - 0.02, 0.5 + side * 0.5 + 0.24, front))

    if road is not None:
        _road(canvas, road)
        if rng.random() < 0.92:
            _car(canvas, rng, rng.uniform(0.15, 0.85), road + 0.04, rng.uniform(0.23, 0.28))
    for number in BALLOONS[: rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15])]:
        r = rng.uniform(0.06, 0.095)
        cx, cy = _place(rng, (0.1, 0.9), (0.13, horizon - 0.04), 1.15 * r, 1.35 * r, airspace)
        airspace.append((cx - r, cy - 1.2 * r, cx + r, cy + 1.2 * r))
        _balloon(canvas, rng, cx, cy, r, number)
    return canvas


def _place(rng, xs, ys, w, h, boxes, tries=40):
    """Draw a center in the ranges xs, ys whose box (half sizes w, h) overlaps no other box, or overlaps them least."""
    best, best_gap = None, -np.inf
    for _ in range(tries):
        cx, cy = rng.uniform(*xs), rng.uniform(*ys)
        gaps = [max(x0 - cx - w, cx - w - x1, y0 - cy - h, cy - h - y1) for x0, y0, x1, y1 in boxes]
        gap = min(gaps, default=np.inf)
        if gap > best_gap:
            best, best_gap = (cx, cy), gap
        if gap >= 0:
            break
    return best


# --- determined colors: they follow from the gray image --------------------------------------------------------------


def _sky(canvas, rng, horizon):
    """Paint sky, sun and clouds; return a list with the box of the sun, or an empty list without one."""
    top, bottom = rng.uniform(61, 68), rng.uniform(85, 89)
    canvas.lay("sky", 1.0, top + (bottom - top) * np.clip(canvas.y / horizon, 0, 1) ** 1.2)
    boxes = []
    if rng.random() < 0.6:
        cx, cy, r = rng.uniform(0.12, 0.88), rng.uniform(0.13, 0.24), rng.uniform(0.07, 0.095)
        boxes.append((cx - 1.5 * r, cy - 1.5 * r, cx + 1.5 * r, cy + 1.5 * r))
        sun = canvas.window(cx, cy, r, -1.9, -1.9, 1.9, 1.9)
        radius, turn = np.hypot(sun.x, sun.y), np.arctan2(sun.y, sun.x) / (2 * np.pi)
        rays = np.maximum(np.abs(radius - 1.55) - 0.3, np.abs(turn * 8 % 1 - 0.5) * radius - 0.27)
        sun.lay("sun", sun.cover(np.minimum(rays, radius - 1)), 90 - 5 * np.clip(radius, 0, 1) ** 4)
    for _ in range(rng.choice(4, p=[0.15, 0.35, 0.3, 0.2])):
        scale = rng.uniform(0.065, 0.11)
        cx, cy = _place(rng, (0.05, 0.95), (0.06, horizon - 0.16), 1.5 * scale, 0.4 * scale, boxes)
        cloud = canvas.window(cx, cy, scale, -2.6, -1.8, 2.6, 1.2)
        puffs = zip((-1.3, -0.45, 0.45, 1.3), rng.uniform(-0.5, 0.1, 4).tolist(), rng.uniform(0.55, 0.85, 4).tolist())
        heap = sum(np.exp(-(((cloud.x - x) / r) ** 2) - ((cloud.y - y) / (0.7 * r)) ** 2) for x, y, r in puffs)
        soft = np.clip((heap + 0.06 * cloud.textures[1] - 0.3) / 0.35, 0, 1)
        cloud.lay("cloud", 0.95 * soft * soft * (3 - 2 * soft), 95 - 3 * np.clip(cloud.y + 0.3, 0, 1))
    return boxes


def _land(canvas, rng, horizon):
    for far in reversed(range(rng.choice(3, p=[0.15, 0.4, 0.45]))):
        height, waves, phases = rng.uniform(0.07, 0.11) + 0.08 * far, rng.uniform(3, 8, 3), rng.uniform(0, 6.3, 3)
        ridge = sum(np.sin(k * waves[k - 1] * canvas.x + phases[k - 1]) / k for k in (1, 2, 3))
        top = horizon - height * (1 + 0.32 * ridge)
        haze = 8 * np.clip((canvas.y - top) / 0.2, 0, 1)
        canvas.lay("hill", canvas.cover(top - canvas.y), 53 + 9 * far + haze + 1.2 * canvas.textures[0])
    tips = horizon + 0.005 * _noise(rng, canvas.x.size, 1, 60)
    near = np.clip((canvas.y - horizon) / (1 - horizon), 0, 1)
    blades = (2.5 + 3.5 * near) * canvas.textures[2] + 1.5 * canvas.textures[0]
    canvas.lay("grass", canvas.cover(tips - canvas.y), 50 - 2 * near + np.clip(blades, -14, 14))


def _tree(canvas, rng, cx, base, scale):
    tree = canvas.window(cx, base, scale, -0.7, -1.5, 0.7, 0.12)
    x, y, leaves = tree.x, tree.y, tree.textures[1]
    _trunk(tree, 0.06, 0.6)
    puffs = zip((-0.24, -0.08, 0.08, 0.24, 0), (*rng.uniform(-0.95, -0.7, 4), -1), (*rng.uniform(0.26, 0.34, 4), 0.3))
    crown = np.minimum.reduce([np.hypot(x - u, y - v) - r for u, v, r in puffs])
    light = np.clip(-9 * x - 12 * (y + 0.8), -7, 8)
    tree.lay("tree", tree.cover(crown + 0.025 * leaves), 37 + light + np.clip(5 * leaves, -9, 9))


def _spruce(canvas, rng, cx, base, scale):
    tree = canvas.window(cx, base, scale, -0.6, -1.6, 0.6, 0.12)
    x, y, needles = tree.x, tree.y, tree.textures[2]
    _trunk(tree, 0.05, 0.2)
    for bottom, half in ((-0.12, 0.4), (-0.46, 0.31), (-0.8, 0.22)):
        tier = _polygon(x, y, (-half, bottom), (0, bottom - 0.68), (half, bottom))
        light = np.clip(26 * (y - bottom + 0.3), -6, 6) - 10 * x
        tree.lay("spruce", tree.cover(tier + 0.012 * needles), 31 + light + np.clip(3 * needles, -6, 6))


def _trunk(window, half, height):
    """Paint a trunk on y = 0 and its shadow on the grass."""
    shadow = np.clip(1 - np.hypot(window.x / 0.5, window.y / 0.09), 0, 1)
    window.lay("grass", 0.8 * shadow, 30)
    window.lay("trunk", window.cover(_box(window.x, window.y, -half, -height, half, 0.03)), 34 - 60 * window.x)


def _house(canvas, rng, cx, base, scale, roof):
    house = canvas.window(cx, base, scale, -0.62, -1.5, 0.62, 0.1)
    x, y = house.x, house.y
    wall, top = rng.uniform(0.66, 0.8), rng.uniform(1.14, 1.3)  # heights of wall and roof
    side, gable, chimney = rng.choice([-1.0, 1.0]), rng.choice([0.001, 0.25]), rng.choice([-0.3, 0.3])
    mortar, tone = _courses(house, 0.26, 0.125, 0.022)
    walls = np.minimum(_box(x, y, -0.5, -wall, 0.5, 0), _box(x, y, chimney - 0.07, -top, chimney + 0.07, -wall))
    house.lay("brick", house.cover(walls), (1 - mortar) * (40 + 6 * tone) + mortar * 72)
    slope = _polygon(x, y, (-0.6, -wall), (-gable, -top), (gable, -top), (0.6, -wall))
    joint, tone = _courses(house, 0.15, 0.11, 0.012)
    house.lay(roof, house.cover(slope), 36 + 6 * tone - 12 * joint)
    u, v = x + 0.22 * side, y + wall - 0.33  # from the middle of the window
    pane, bars = _box(u, v, -0.15, -0.18, 0.15, 0.18), np.minimum(np.abs(u), np.abs(v)) - 0.016
    house.lay("window", house.cover(pane - 0.035), 93)
    house.lay("window", house.cover(np.maximum(pane, -bars)), 76 + 20 * u - 20 * v)
    _door(house, rng, side * rng.uniform(0.17, 0.24))


def _flag(canvas, side, ground, light):
    """Paint a flag at the edge of the scene, light or dark; return the x of its inner side, and the y of its top."""
    pole, top, width, height = 0.5 + side * 0.46, ground - 0.28, 0.19, 0.14
    x, y = side * (pole - canvas.x), canvas.y - top  # x grows from the pole toward the house
    canvas.lay("flag", canvas.cover(_box(x, y, -0.011, -0.01, 0.011, ground - top)), 70)
    cloth = _box(x, y, 0.011, 0, width, height)
    canvas.lay("flag", canvas.cover(cloth), 20 if light else 94)  # the border
    canvas.lay("flag", canvas.cover(cloth + 0.013), 94 if light else 20)
    return pole - side * width, top


def _road(canvas, middle):
    across, along = np.abs(canvas.y - middle), np.abs(canvas.x * 5 % 1 - 0.5) / 5
    canvas.lay("road", canvas.cover(across - 0.085), 70 + 1.5 * canvas.textures[1])
    canvas.lay("road", canvas.cover(across - 0.072), 42 + 1.2 * canvas.textures[1])
    canvas.lay("road", canvas.cover(np.maximum(across - 0.009, along - 0.054)), 88)


# --- ambiguous colors: they do not follow from the gray image --------------------------------------------------------


def _balloon(canvas, rng, cx, cy, r, number):
    paint, phase, bend = _random_paint(rng), rng.uniform(0, 6.3), rng.uniform(0.08, 0.2)
    balloon = canvas.window(cx, cy, r, -1.2, -1.3, 1.2, 3.6)
    x, y = balloon.x, balloon.y
    wave = bend * (np.sin(phase + 3 * (y - 1.3)) - np.sin(phase))
    balloon.lay("string", balloon.cover(np.maximum(np.abs(x - wave) - 0.045, np.abs(y - 2.3) - 1.1)), 34)
    body = (np.hypot(x, y / 1.18) - 1) * np.where(np.abs(y) > 1, 1.1, 1)
    knot = _polygon(x, y, (-0.2, 1.4), (0, 1.1), (0.2, 1.4))
    facing = np.sqrt(np.clip(1 - x**2 - (y / 1.18) ** 2, 0, 1))
    gloss = 0.75 * np.exp(-(((x + 0.36) / 0.2) ** 2) - ((y + 0.45) / 0.27) ** 2)
    shading = 5.5 * (0.65 * facing - 0.45 * x - 0.5 * y) - 1
    balloon.lay_object(number, balloon.cover(np.minimum(body, knot)), paint, shading, gloss)


def _car(canvas, rng, cx, ground, scale):
    paint, flip = _random_paint(rng), rng.choice([-1.0, 1.0])
    car = canvas.window(cx, ground, scale, -0.6, -0.6, 0.6, 0.1, flip)
    x, y = car.x, car.y
    car.lay("road", 0.8 * np.clip(1.3 - np.hypot(x / 0.5, y / 0.06), 0, 1), 36)
    hull = _box(x, y, -0.43, -0.22, 0.43, -0.14) - 0.07  # a distance minus 0.07 rounds the corners
    cabin = _polygon(x, y, (-0.36, -0.26), (-0.25, -0.5), (0.12, -0.5), (0.29, -0.26))
    shading = 2.5 - 8 * np.clip(y + 0.36, 0, 1) - 2.5 * car.cover(np.abs(y + 0.14) - 0.012)
    car.lay_object(CAR, car.cover(np.minimum(hull, cabin)), paint, shading, 0)
    glass = _polygon(x, y, (-0.29, -0.28), (-0.215, -0.455), (0.09, -0.455), (0.21, -0.28))
    car.lay("window", car.cover(np.maximum(glass, 0.02 - np.abs(x + 0.05))), 80)
    for wheel in (-0.28, 0.28):
        radius = np.hypot(x - wheel, y + 0.06)
        car.lay("wheel", car.cover(radius - 0.115), 18)
        car.lay("wheel", car.cover(radius - 0.045), 72)


def _door(house, rng, cx):
    paint, x, y = _random_paint(rng), house.x - cx, house.y
    house.lay("window", house.cover(_box(x, y, -0.155, -0.5, 0.155, 0)), 93)
    panels = np.abs(np.minimum(_box(x, y, -0.07, -0.4, 0.07, -0.24), _box(x, y, -0.07, -0.18, 0.07, -0.05))) - 0.008
    knob = 0.7 * house.cover(np.hypot(x - 0.08, y + 0.21) - 0.012)
    house.lay_object(DOOR, house.cover(_box(x, y, -0.12, -0.465, 0.12, 0)), paint, 1.5 - 5 * house.cover(panels), knob)


def _random_paint(rng):
    """Draw (L, a, b): uniform hue, independent L, and the largest chroma that the hue and its opposite both allow."""
    L, hue = rng.uniform(*OBJECT_L), rng.uniform(0, 2 * np.pi)
    limits = _chroma_limits()
    chroma = np.interp(hue, np.linspace(0, 2 * np.pi, limits.size), limits)
    return L, chroma * np.cos(hue), chroma * np.sin(hue)


@lru_cache
def _chroma_limits() -> np.ndarray:
    """Return the chroma of objects at hues 0 … 360° in steps of 2°: inside sRGB for every L that shading reaches.

    It is the same for opposite hues, so that the mean and the median color of all objects are gray.
    """
    hue = torch.arange(0, 360, 2, dtype=torch.float64).deg2rad()
    L = torch.linspace(OBJECT_L[0] + SHADING[0], OBJECT_L[1] + SHADING[1], 9, dtype=torch.float64)
    chroma = torch.arange(0, MAX_CHROMA / 0.96, 0.25, dtype=torch.float64)
    a, b = chroma * hue.cos()[:, None], chroma * hue.sin()[:, None]  # (hue, chroma)
    lab = torch.stack(torch.broadcast_tensors(L[:, None, None], a, b))
    rgb = lab_to_rgb(lab.movedim(0, 1), clip=False)  # (L, 3, hue, chroma)
    inside = ((rgb >= 0) & (rgb <= 1)).all(dim=1).all(dim=0)
    limit = chroma[inside.sum(dim=1) - 1]
    limit = 0.96 * torch.minimum(limit, limit.roll(len(hue) // 2))
    return torch.cat([limit, limit[:1]]).numpy()


# --- shapes (signed distance, negative inside) and textures ----------------------------------------------------------


def _box(x, y, left, top, right, bottom):
    u = np.abs(x - (left + right) / 2) - (right - left) / 2
    v = np.abs(y - (top + bottom) / 2) - (bottom - top) / 2
    return np.hypot(np.maximum(u, 0), np.maximum(v, 0)) + np.minimum(np.maximum(u, v), 0)


def _polygon(x, y, *points):
    """A convex polygon; its corners are in clockwise order on the screen."""
    sides = [(u, v, p - u, q - v) for (u, v), (p, q) in zip(points, points[1:] + points[:1], strict=True)]
    return np.maximum.reduce([((x - u) * dy - (y - v) * dx) / np.hypot(dx, dy) for u, v, dx, dy in sides])


def _courses(window, width, height, gap):
    """Bricks or tiles in staggered courses: the share of joint per pixel, and a random tone in [-1, 1] per brick."""
    row = np.floor(window.y / height)
    across = window.x / width + 0.5 * (row % 2)
    column = np.floor(across)
    joint = np.minimum((0.5 - np.abs(across % 1 - 0.5)) * width, (0.5 - np.abs(window.y / height % 1 - 0.5)) * height)
    tone = np.sin(12.99 * row + 78.23 * column) * 437.58 % 2 - 1
    return window.cover(joint - gap), tone


def _noise(rng, size, rows, columns):
    """A random rows × columns table, interpolated to size × size pixels: about N(0, 1)."""
    table = rng.standard_normal((rows, columns)).astype(np.float32)
    # einsum, not @: the threads of a matrix library cost more than they save on small tables.
    return np.einsum("yr,rx->yx", _hats(size, rows), np.einsum("rc,xc->rx", table, _hats(size, columns)))


@lru_cache
def _hats(size: int, cells: int) -> np.ndarray:
    """Weights (size, cells) that interpolate a row of cells to pixels: linear, averaging where pixels are larger."""
    pixels, centers = (np.arange(size) + 0.5) / size, (np.arange(cells) + 0.5) / cells
    reach = max(1 / size, 1 / cells)
    weights = np.clip(1 - np.abs(pixels[:, None] - centers) / reach, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True) * 1.4).astype(np.float32)
