"""`colorlib colorize`: every input is colored or named on one line; no file is lost or left half-written."""

import builtins
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import colorlib
from colorlib import WeightsInfo, albums, decoding, srgb
from colorlib import __main__ as cli


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    colorlib.save_generator(colorlib.UNet(4, 2), path, WeightsInfo(render_size=32))
    return str(path)


@pytest.fixture
def run(weights, tmp_path, monkeypatch, capsys):
    """Return a function that runs the command in an empty folder: arguments -> status, lines of stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = cli.main(["colorize", *map(str, arguments), "--weights", weights, "--device", "cpu"])
        return status, capsys.readouterr().err.splitlines()

    return run


def make_photo(path, size=(40, 24), **options):
    """Save an image whose color depends on its name; return its path."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    rgb = np.stack([x * 6, y * 10, np.full_like(x, sum(str(path).encode()) % 256)], axis=-1).astype(np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, **options)
    return Path(path)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if not path.is_dir())


def lightness(path):
    return colorlib.rgb_to_lab(colorlib.to_tensor(colorlib.read_image(path)))[0]


def assert_same_lightness(photo, result):
    assert lightness(photo).shape == lightness(result).shape
    assert (lightness(photo) - lightness(result)).abs().mean() < 1.5, result


# --- Results ---


def test_folders_keep_their_structure_and_files_their_format(run, tmp_path):
    for name in ("a.jpg", "deep/er/b.png", "deep/c.WEBP", "deep/.hidden.png"):
        make_photo(f"album/{name}")
    Path("album/notes.txt").write_text("no photo")
    make_photo("single.tif")
    make_photo("no_suffix", format="PNG")
    status, errors = run("album", "single.tif", "no_suffix", "--out", "out")
    assert (status, errors) == (0, [])
    assert files("out") == ["a.jpg", "deep/c.WEBP", "deep/er/b.png", "no_suffix.png", "single.tif"]
    for name in ("a.jpg", "deep/er/b.png", "deep/c.WEBP"):
        with Image.open(f"out/{name}") as result:
            assert result.size == (40, 24) and result.info["icc_profile"] == srgb.srgb_profile()
        assert_same_lightness(f"album/{name}", f"out/{name}")


def test_results_of_the_same_name_get_numbers(run):
    for name in ("a/x.jpg", "b/x.jpg", "c/X.JPG", "d/x-2.jpg", "e/x.gif", "f/x.png"):
        make_photo(name)
    status, errors = run(*"abcdef", "a/x.jpg", "./b/../a/x.jpg", "--out", "out")
    assert (status, errors) == (0, [])
    assert files("out") == ["X-3.JPG", "x-2-2.jpg", "x-2.jpg", "x-2.png", "x.jpg", "x.png"]
    assert_same_lightness("f/x.png", "out/x.png")  # the PNG keeps its name, the GIF gets the number


def test_existing_results_are_skipped_so_that_an_album_can_be_continued(run, capsys):
    make_photo("a.png"), make_photo("b.png")
    Path("out").mkdir()
    Path("out/a.png").write_text("mine")
    assert cli.main(["colorize", "a.png", "b.png", "--out", "out", "--device", "cpu"]) == 0
    assert "1 colored, 1 skipped (their results exist; --overwrite replaces them), 0 failed" in capsys.readouterr().out
    assert Path("out/a.png").read_text() == "mine" and files("out") == ["a.png", "b.png"]
    assert run("a.png", "b.png", "--out", "out", "--overwrite") == (0, [])
    assert colorlib.read_image("out/a.png").shape == (24, 40, 3)


def test_names_with_dots_are_kept_whole(run):
    for name in ("Oma 12.05.1932", "Oma 12.05.1933"):
        make_photo("photo.png").rename(name)
    assert run("Oma 12.05.1932", "Oma 12.05.1933", "--out", "out") == (0, [])
    assert files("out") == ["Oma 12.05.1932.png", "Oma 12.05.1933.png"]


def test_formats_that_can_only_be_read_become_png(run):
    make_photo("in/a.ppm"), make_photo("in/b.gif")
    assert run("in", "--out", "out") == (0, [])
    assert files("out") == ["a.png", "b.png"]


def test_photos_that_cannot_be_read_are_named_also_in_folders(run):
    make_photo("in/a.png")
    Path("in/b.NEF").write_bytes(b"MM")
    status, errors = run("in", "--out", "out")
    assert status == 1 and errors == [f"colorlib: {Path('in/b.NEF')} {decoding.RAW_ADVICE}."]


def test_results_of_many_photos_of_one_name_are_numbered(tmp_path):
    inputs = [tmp_path / str(number) / "scan.jpg" for number in range(2000)]
    results = [result.name for _, result in albums.plan_results(inputs, tmp_path / "out", pytest.fail)]
    assert results == ["scan.jpg", *(f"scan-{number}.jpg" for number in range(2, 2001))]


def test_a_code_page_without_a_name_does_not_end_the_work(weights, tmp_path):
    make_photo(tmp_path / "in" / "祖母.png")
    command = [sys.executable, "-m", "colorlib", "colorize", "in", "gone 祖.png", "--out", "out", "--weights", weights]
    environment = os.environ | {"PYTHONIOENCODING": "cp1251"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 1 and b"1 colored, 1 failed" in done.stdout and b"Traceback" not in done.stderr
    assert files(tmp_path / "out") == ["祖母.png"]


@pytest.mark.parametrize("how", ["folder", "symbolic link", "hard link", "another input's name"])
def test_an_input_is_never_replaced(run, how):
    source = make_photo("in/a.png")
    before = source.read_bytes()
    inputs, out = ["in"], "out"
    if how == "folder":
        out = "in"
    elif how == "another input's name":
        inputs, out = [make_photo("other/a.png"), source], "in"
    else:
        Path("out").mkdir()
        Path("out/a.png").symlink_to(source.absolute()) if how == "symbolic link" else os.link(source, "out/a.png")
    status, errors = run(*inputs, "--out", out, "--overwrite")
    assert status == 1 and all("would replace the input" in line for line in errors)
    assert source.read_bytes() == before and "in/a.png" in files(".")


def test_results_inside_the_folder_are_not_colored_again(run):
    make_photo("album/a.png")
    assert run("album", "--out", "album/colored") == (0, [])
    status, errors = run("album", "--out", "album/colored", "--overwrite")
    assert (status, errors) == (0, [])
    assert files("album") == ["a.png", "colored/a.png"]
    assert run("album/colored", "--out", "again") == (0, [])  # named on the command line, they are inputs


def test_options_reach_the_result(run):
    make_photo("a.png")
    for name, options in {
        "gray": ["--saturation", "0"],
        "bold": ["--saturation", "3"],
        "large": ["--render-size", "200"],
    }.items():
        assert run("a.png", "--out", name, *options) == (0, [])
    gray, bold, large = (colorlib.read_image(f"{name}/a.png").astype(int) for name in ("gray", "bold", "large"))
    assert np.ptp(gray, axis=2).max() <= 1 < np.ptp(bold, axis=2).max()
    assert (large != bold).any()


# --- Strokes ---

RED = colorlib.Stroke([(0.2, 0.5), (0.8, 0.5)], (60, 40), 0.1)


def redness(path):
    return colorlib.rgb_to_lab(colorlib.to_tensor(colorlib.read_image(path)))[1, 8:16, 12:28].mean().item()


def test_strokes_correct_a_photo_as_touch_up_does(run):
    exif = Image.Exif()
    exif[0x010E] = "the harbor"
    photo = make_photo("a.png", exif=exif)
    colorlib.save_strokes([RED], "a.strokes.json")
    assert run(photo, "--out", "plain") == (0, [])
    assert run(photo, "--out", "out", "--strokes", "a.strokes.json") == (0, [])
    expected = colorlib.touch_up(colorlib.read_image("plain/a.png"), [RED])
    assert np.array_equal(colorlib.read_image("out/a.png"), np.asarray(expected))
    assert redness("out/a.png") > redness("plain/a.png") + 20
    assert_same_lightness(photo, "out/a.png")
    with Image.open("out/a.png") as result:
        assert result.getexif()[0x010E] == "the harbor" and result.info["icc_profile"] == srgb.srgb_profile()


def test_strokes_come_after_the_other_options(run):
    """The saturation is the network's; a stroke has the color that was picked."""
    photo = make_photo("a.png")
    colorlib.save_strokes([RED], "a.strokes.json")
    for saturation in ("0", "3"):
        options = ["--saturation", saturation, "--render-size", "48", "--strokes", "a.strokes.json"]
        assert run(photo, "--out", saturation, *options) == (0, [])
    gray, bold = (colorlib.read_image(f"{name}/a.png").astype(int) for name in ("0", "3"))
    assert redness("0/a.png") == pytest.approx(redness("3/a.png"), abs=8)
    assert (gray != bold).any() and redness("0/a.png") > 20


def test_no_strokes_change_nothing_and_an_existing_result_is_kept(run, capsys):
    photo = make_photo("a.png")
    colorlib.save_strokes([], "none.json"), colorlib.save_strokes([RED], "red.json")
    assert run(photo, "--out", "plain") == run(photo, "--out", "out", "--strokes", "none.json") == (0, [])
    assert np.array_equal(colorlib.read_image("plain/a.png"), colorlib.read_image("out/a.png"))
    assert run(photo, "--out", "out", "--strokes", "red.json") == (0, [])
    assert np.array_equal(colorlib.read_image("plain/a.png"), colorlib.read_image("out/a.png"))
    assert run(photo, "--out", "out", "--strokes", "red.json", "--overwrite") == (0, [])
    assert redness("out/a.png") > redness("plain/a.png") + 20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "the strokes in a.json can't be read: No such file or directory"),
        ("[1, 2", "a.json is not a JSON file"),
        ('{"format": "colorlib strokes 2", "strokes": []}', "a.json is not a file of strokes"),
        (
            '{"format": "colorlib strokes 1", "strokes": [{"points": [[2, 0]], "ab": null, "radius": 0.1}]}',
            "a.json: stroke 1 is not valid: a point of a stroke is (x, y), both from 0 to 1",
        ),
    ],
)
def test_strokes_that_cannot_be_used_are_one_line(run, content, words):
    photo = make_photo("a.png")
    if content is not None:
        Path("a.json").write_text(content)
    status, errors = run(photo, "--out", "out", "--strokes", "a.json")
    assert status == 1 and len(errors) == 1 and errors[0].startswith(f"colorlib: {words}") and not Path("out").exists()


def test_a_folder_in_place_of_a_file_of_strokes_is_one_line(run):
    Path("folder").mkdir()
    status, errors = run(make_photo("a.png"), "--out", "out", "--strokes", "folder")
    assert status == 1 and len(errors) == 1 and "the strokes in folder can't be read" in errors[0]


@pytest.mark.parametrize("inputs", [["a.png", "b.png"], ["."]])
def test_strokes_belong_to_one_photo(run, capsys, inputs):
    make_photo("a.png"), make_photo("b.png")
    colorlib.save_strokes([RED], "red.json")
    with pytest.raises(SystemExit) as exit_status:
        run(*inputs, "--out", "out", "--strokes", "red.json")
    assert exit_status.value.code == 2 and not Path("out").exists()
    assert "--strokes corrects one photo: name one photo file, not several or a folder" in capsys.readouterr().err


# --- Failures ---


def png_header(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_a_folder_of_good_and_bad_files(run):
    """Photos of every kind are colored, bad files are named on one line each, and a folder may be called x.jpg."""
    Path("in").mkdir()
    valid = {}
    for suffix, image_format in (("jpg", "JPEG"), ("png", "PNG")):
        file = io.BytesIO()
        Image.effect_noise((64, 64), 60).convert("RGB").save(file, image_format)
        valid[suffix] = file.getvalue()
    flipped = bytearray(valid["png"])
    flipped[29] ^= 1  # in the checksum of the header
    bad = {
        "empty.jpg": b"",
        "page.png": b"<!DOCTYPE html><html><body>404</body></html>",
        "cut.jpg": valid["jpg"][: len(valid["jpg"]) // 2],
        "cut.png": valid["png"][: len(valid["png"]) // 2],
        "flipped.png": bytes(flipped),
        "huge.png": png_header(60_000, 60_000),
    }
    for name, data in bad.items():
        Path("in", name).write_bytes(data)
    if hasattr(os, "mkfifo"):  # not on Windows
        os.mkfifo("in/pipe.jpg")
    Path("in/loop.jpg").symlink_to("loop.jpg")
    Path("in/gone.jpg").symlink_to("nowhere.jpg")
    Path("in/round").symlink_to(".", target_is_directory=True)
    bad |= dict.fromkeys(["pipe.jpg", "loop.jpg", "gone.jpg"])

    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)).resize((91, 77))
    alpha = Image.linear_gradient("L").resize((91, 77))
    exif = Image.Exif()
    exif[0x0112] = 6
    good = {
        "cmyk.jpg": rgb.convert("CMYK"), "palette.png": rgb.convert("P"), "la.png": Image.merge("LA", [alpha, alpha]),
        "rgba.webp": Image.merge("RGBA", [*rgb.split(), alpha]), "one_bit.png": rgb.convert("1"),
        "gray16.png": Image.fromarray(np.arange(91 * 77, dtype=np.uint16).reshape(77, 91) * 9),
        "moving.gif": rgb.convert("P"), "tiny.png": rgb.resize((3, 2)), "strip.png": rgb.resize((400, 1)),
        "turned.jpg": rgb,
    }  # fmt: skip
    for name, image in good.items():
        image.save(f"in/{name}", **({"exif": exif} if name == "turned.jpg" else {}))
    make_photo("in/x.jpg/inside.png")

    status, errors = run("in", "in/x.jpg", "in/loop.jpg", "in/pipe.jpg", "missing.jpg", "nul\0.png", "--out", "out")
    assert status == 1
    named = {name for name in [*bad, "missing.jpg", "nul"] if sum(name in line for line in errors) == 1}
    assert named == {*bad, "missing.jpg", "nul"} and len(errors) == len(named)
    assert all(line.startswith("colorlib: ") and "Traceback" not in line for line in errors)
    assert files("out") == sorted(["moving.png", "x.jpg/inside.png", *(set(good) - {"moving.gif"})])
    for name in good:
        assert_same_lightness(f"in/{name}", f"out/{name}".replace(".gif", ".png"))
    assert lightness("out/turned.jpg").shape == (91, 77)


def test_no_permission(run, monkeypatch):
    """Root may read everything, so the errors come from replacements of open and scandir."""
    make_photo("in/a.png"), make_photo("in/secret.png"), make_photo("in/locked/b.png")
    plain_open, plain_scandir = builtins.open, os.scandir

    def refuse(plain, word):
        def call(path, *rest, **options):
            if isinstance(path, str | os.PathLike) and word in os.fspath(path):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return plain(path, *rest, **options)

        return call

    monkeypatch.setattr(builtins, "open", refuse(plain_open, "secret"))
    monkeypatch.setattr(os, "scandir", refuse(plain_scandir, "locked"))
    status, errors = run("in", "--out", "out")
    assert status == 1 and len(errors) == 2
    assert any("secret.png" in line and "no permission" in line for line in errors)
    assert any("locked" in line and "Permission denied" in line for line in errors)
    assert files("out") == ["a.png"]


def test_a_folder_without_photos(run):
    Path("empty").mkdir()
    assert run("empty", "--out", "out") == (1, ["colorlib: empty: there are no photos in this folder."])


def test_results_that_cannot_be_written(run):
    make_photo("in/a.png"), make_photo("in/sub/b.png"), make_photo("in/c.png")
    Path("out/a.png").mkdir(parents=True)
    Path("out/sub").write_text("a file")
    status, errors = run("in", "--out", "out", "--overwrite")
    assert status == 1 and len(errors) == 2 and files("out") == ["c.png", "sub"]


def test_ctrl_c_leaves_no_half_written_file(run, monkeypatch):
    make_photo("in/a.png"), make_photo("in/b.png"), make_photo("in/c.png")
    plain = Image.Image.save

    def interrupted(image, file, *rest, **options):
        if os.listdir("out") and any(name == "a.png" for name in os.listdir("out")):
            file.write(b"half of it")
            raise KeyboardInterrupt
        plain(image, file, *rest, **options)

    monkeypatch.setattr(Image.Image, "save", interrupted)
    status, _ = run("in", "--out", "out")
    assert status == 130 and files("out") == ["a.png"]


def test_a_full_disk_is_one_line(run, monkeypatch):
    make_photo("a.png")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert run("a.png", "--out", "out") == (1, ["colorlib: a.png: [Errno 28] No space left on device"])
    assert files("out") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.png"], "--out"),
        (["--out", "out"], "FILE_OR_FOLDER"),
        (["a.png", "--out", "out", "--render-size", "5"], "render_size must be a whole number"),
        (["a.png", "--out", "out", "--render-size", "big"], "got 'big'"),
        (["a.png", "--out", "out", "--saturation", "nan"], "saturation must be a number"),
        (["a.png", "--out", "a.png"], "a.png is a file, not a folder"),
        (["", "--out", "out"], "the name is empty"),
    ],
)
def test_wrong_usage(run, capsys, arguments, words):
    make_photo("a.png")
    with pytest.raises(SystemExit) as exit_status:
        cli.main(["colorize", *arguments])
    assert exit_status.value.code == 2 and words in capsys.readouterr().err
    assert files(".") == ["a.png"]


def test_unknown_weights(run, capsys):
    make_photo("a.png")
    assert cli.main(["colorize", "a.png", "--out", "out", "--weights", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err and not Path("out").exists()


# --- Imports ---


def test_help_does_not_import_torch():
    code = "import sys; from colorlib.__main__ import main; sys.argv[1:] = ['colorize', '--help']; import atexit\n"
    code += "atexit.register(lambda: print('torch' in sys.modules)); main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("False\n")
    assert "examples:" in done.stdout


def test_coloring_imports_nothing_that_only_training_needs(weights, tmp_path):
    make_photo(tmp_path / "a.png")
    code = "import sys; from colorlib.__main__ import main; print(main(sys.argv[1:])); print(*sys.modules)"
    command = ["colorize", tmp_path / "a.png", "--out", tmp_path / "out", "--weights", weights]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert done.stdout.splitlines()[-2] == "0" and "colorlib.colorizer" in loaded
    heavy = {"fastai", "torchvision", "matplotlib", "sklearn", "skimage", "scipy", "pandas"}
    assert loaded & (heavy | {"colorlib.training", "colorlib.data", "colorlib.metrics"}) == set()
