"""Downloads, from a server on 127.0.0.1 and without one; nothing here leaves the machine."""

import gzip
import hashlib
import io
import os
import shutil
import socket
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from colorlib import downloads
from colorlib.downloads import DATASETS, Dataset, DownloadError, data_root, fetch_encoder_weights, fetch_photos
from colorlib.images import find_images

N_PHOTOS = 5


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        self.server.requests.append(self.path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server for the files of `.folder`; `.requests` lists what was asked of it."""
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "web"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as httpd:
        httpd.folder, httpd.requests, httpd.url = folder, [], f"http://127.0.0.1:{httpd.server_port}"
        threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
        yield httpd
        httpd.shutdown()


@pytest.fixture
def closed_url():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def photo_members(n=N_PHOTOS):
    members = []
    for index in range(n):
        file = io.BytesIO()
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, "JPEG")
        members.append((tarfile.TarInfo(f"tiny/train/{index}.JPEG"), file.getvalue()))
    return members


def write_archive(folder, members):
    """Write tiny.tgz and return what `Dataset` has to know of it, without its address."""
    path = folder / "tiny.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return Dataset("tiny", "", path.stat().st_size, N_PHOTOS)


@pytest.fixture
def dataset(server):
    return replace(write_archive(server.folder, photo_members()), url=f"{server.url}/tiny.tgz")


def assert_one_sentence(error):
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message and len(message) < 400, message
    return message


def test_photos_are_downloaded_and_unpacked_once(dataset, server, tmp_path):
    folder = fetch_photos(dataset, tmp_path / "data")
    assert folder == tmp_path / "data" / "tiny"
    assert [path.name for path in find_images(folder)] == [f"{index}.JPEG" for index in range(N_PHOTOS)]
    assert fetch_photos(dataset, tmp_path / "data") == folder
    assert server.requests == ["/tiny.tgz"]
    assert not list((tmp_path / "data").glob(".*")), "staging is left behind"


def test_whole_folder_needs_no_network_and_no_fastai(closed_url, tmp_path, monkeypatch):
    for module in ("fastai", "fastai.data.external", "fastdownload"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it now is an error
    (tmp_path / "tiny").mkdir()
    for index in range(N_PHOTOS):
        (tmp_path / "tiny" / f"{index}.jpg").touch()
    assert fetch_photos(Dataset("tiny", f"{closed_url}/tiny.tgz", 1, N_PHOTOS), tmp_path) == tmp_path / "tiny"


def test_datasets_agree_with_fastai():
    checks = eval(Path(pytest.importorskip("fastai.data").__file__).with_name("download_checks.py").read_text())
    source = Path(sys.modules["fastai.data"].__file__).with_name("external.py").read_text()
    for known in DATASETS.values():
        assert checks[known.url][0] == known.archive_bytes
        assert Path(known.url).stem in source


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'coc'.*coco.*imagenette"):
        fetch_photos("coc", tmp_path)
    with pytest.raises(ValueError, match="'vgg16'.*resnet18"):
        fetch_encoder_weights("vgg16")


def test_offline_says_in_one_sentence_what_to_do(closed_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(DownloadError, match="refused") as error:
        fetch_photos(Dataset("tiny", f"{closed_url}/tiny.tgz", 1, 1), "data")
    message = assert_one_sentence(error)
    assert str(Path("put the archive at data/archives/tiny.tgz, or use source=")) in message


def test_server_without_the_archive(server, tmp_path):
    with pytest.raises(DownloadError, match="404") as error:
        fetch_photos(Dataset("tiny", f"{server.url}/tiny.tgz", 1, 1), tmp_path)
    assert_one_sentence(error)


def test_stalled_server_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the connection and never answers
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(DownloadError, match="timed out"):
            fetch_photos(Dataset("tiny", f"{url}/tiny.tgz", 1, 1), tmp_path)
        with pytest.raises(DownloadError, match="timed out"):
            fetch_encoder_weights("resnet18", f"{url}/resnet18-12345678.pth")
    assert socket.getdefaulttimeout() is None


def test_archive_put_in_place_by_hand(dataset, server, closed_url, tmp_path):
    (tmp_path / "data" / "archives").mkdir(parents=True)
    shutil.copy(server.folder / "tiny.tgz", tmp_path / "data" / "archives")
    assert len(find_images(fetch_photos(replace(dataset, url=f"{closed_url}/tiny.tgz"), tmp_path / "data"))) == N_PHOTOS


def test_percent_and_spaces_in_the_root(dataset, tmp_path):
    """fastai keeps paths in a ConfigParser, which trips over a percent sign."""
    assert len(find_images(fetch_photos(dataset, tmp_path / "50 % off"))) == N_PHOTOS


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # of fastai's, as it writes its config
def test_fastai_keeps_its_own_data_folder(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "fastai"))
    external = pytest.importorskip("fastai.data.external")
    external.fastai_cfg.cache_clear()
    before = external.fastai_path("data")
    fetch_photos(dataset, tmp_path / "data")
    assert external.fastai_path("data") == before
    external.fastai_cfg.cache_clear()


@pytest.mark.parametrize("full", ["root", "TMPDIR"])
def test_full_disk_is_noticed_before_the_download(full, dataset, server, tmp_path, monkeypatch):
    def disk_usage(folder):
        is_root = Path(folder) == tmp_path / "data"
        return SimpleNamespace(free=2 * dataset.archive_bytes if is_root == (full == "root") else 10**12)

    dataset = replace(dataset, archive_bytes=10**9)
    monkeypatch.setattr(downloads.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(downloads.shutil, "disk_usage", disk_usage)
    if full == "TMPDIR":  # twice the archive would do there
        monkeypatch.setattr(downloads, "UNPACKED_RATIO", 3)
    with pytest.raises(DownloadError, match="GB free") as error:
        fetch_photos(dataset, tmp_path / "data")
    assert ("TMPDIR" if full == "TMPDIR" else "COLORLIB_DATA") in assert_one_sentence(error)
    assert server.requests == []


def test_root_that_cannot_be_made(dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="can't be stored") as error:
        fetch_photos(dataset, tmp_path / "file" / "data")
    assert_one_sentence(error)


def test_wrong_size(dataset, tmp_path):
    with pytest.raises(DownloadError, match="instead of .*delete that file and try again") as error:
        fetch_photos(replace(dataset, archive_bytes=dataset.archive_bytes + 1), tmp_path)
    assert_one_sentence(error)


@pytest.mark.parametrize("where", ["middle", "checksum"])
def test_damage_behind_the_first_megabyte_is_found(where, dataset, server, tmp_path):
    archive = server.folder / "tiny.tgz"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2 if where == "middle" else -6] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DownloadError, match="is damaged.*delete that file") as error:
        fetch_photos(dataset, tmp_path / "data")
    assert_one_sentence(error)
    assert not (tmp_path / "data" / "tiny").exists()


def test_not_an_archive_of_the_right_size(dataset, server, tmp_path):
    (server.folder / "tiny.tgz").write_bytes(b"<html>".ljust(dataset.archive_bytes))
    with pytest.raises(DownloadError, match="is damaged"):
        fetch_photos(dataset, tmp_path / "data")


def test_too_few_photos(server, tmp_path):
    dataset = write_archive(server.folder, photo_members(N_PHOTOS - 2))
    with pytest.raises(DownloadError, match="holds 3 photos instead of 5: delete it and try again") as error:
        fetch_photos(replace(dataset, url=f"{server.url}/tiny.tgz"), tmp_path / "data")
    assert_one_sentence(error)
    assert not (tmp_path / "data" / "tiny").exists()


def unsafe_member(kind, outside):
    info = tarfile.TarInfo("tiny/x.jpg")
    if kind == "parent":
        info.name = "tiny/../../../../../../../../../../.." + str(outside)
    elif kind == "absolute":
        info.name = str(outside)
    elif kind == "drive":
        info.name = "C:\\escaped.jpg"
    else:
        info.type = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}[kind]
        info.linkname = "/etc/passwd"
    return info


@pytest.mark.parametrize("kind", ["parent", "absolute", "drive", "symlink", "hardlink", "device"])
def test_unsafe_archives_are_not_unpacked(kind, server, tmp_path):
    outside = tmp_path / "escaped.jpg"
    info = unsafe_member(kind, outside)
    dataset = write_archive(server.folder, [*photo_members(), (info, b"x" if info.isfile() else b"")])
    with pytest.raises(DownloadError, match="not safe to unpack") as error:
        fetch_photos(replace(dataset, url=f"{server.url}/tiny.tgz"), tmp_path / "data")
    assert_one_sentence(error)
    assert not outside.exists() and not (tmp_path / "data" / "tiny").exists()


def test_interrupted_unpacking_is_repaired(dataset, server, tmp_path, monkeypatch):
    external = pytest.importorskip("fastai.data.external")
    untar_data = external.untar_data

    def interrupted(*args, **kwargs):
        unpacked = untar_data(*args, **kwargs)
        find_images(unpacked)[0].unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(external, "untar_data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_photos(dataset, tmp_path / "data")
    assert not (tmp_path / "data" / "tiny").exists()
    monkeypatch.setattr(external, "untar_data", untar_data)
    assert len(find_images(fetch_photos(dataset, tmp_path / "data"))) == N_PHOTOS
    assert server.requests == ["/tiny.tgz"], "the archive was there already"


def test_half_filled_folder_is_replaced_and_kept_aside(dataset, tmp_path):
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("notes")
    assert len(find_images(fetch_photos(dataset, tmp_path / "data"))) == N_PHOTOS
    (aside,) = (tmp_path / "data").glob("tiny.incomplete-*")
    assert (aside / "mine.txt").read_text() == "notes"


def test_callers_that_arrive_together_download_once(dataset, server, tmp_path):
    """The lock is on a file, so threads stand here for the processes of a multi-GPU run."""
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(partial(fetch_photos, dataset), [tmp_path / "data"] * 3))
    assert [len(find_images(folder)) for folder in folders] == [N_PHOTOS] * 3
    assert server.requests == ["/tiny.tgz"]


def test_data_root(tmp_path, monkeypatch):
    monkeypatch.delenv("COLORLIB_DATA", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    project, outside = tmp_path / "project", tmp_path / "outside"
    for folder in (project / "data", project / "notebooks", outside):
        folder.mkdir(parents=True)
    monkeypatch.chdir(outside)
    assert data_root() == tmp_path / "home" / ".cache" / "colorlib"
    monkeypatch.chdir(project / "notebooks")
    assert data_root() == project / "data"
    monkeypatch.setenv("COLORLIB_DATA", "elsewhere")
    assert data_root() == project / "elsewhere"
    monkeypatch.setenv("COLORLIB_DATA", str(outside))
    assert data_root() == outside


def write_weights(folder, data=None):
    """Write a small state dict under the kind of name that carries its hash; return the path."""
    if data is None:
        file = io.BytesIO()
        torch.save({"conv1.weight": torch.arange(4.0)}, file)
        data = file.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"resnet18-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    return path


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_weights_are_downloaded_once(server, checkpoints):
    name = write_weights(server.folder).name
    for _ in range(2):
        state = fetch_encoder_weights("resnet18", f"{server.url}/{name}")
        assert torch.equal(state["conv1.weight"], torch.arange(4.0))
    assert server.requests == [f"/{name}"]
    assert (checkpoints / name).is_file()


def test_cached_weights_work_offline_and_are_verified(closed_url, checkpoints):
    path = write_weights(checkpoints)
    assert list(fetch_encoder_weights("resnet18", f"{closed_url}/{path.name}")) == ["conv1.weight"]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DownloadError, match=f"{path.name} are damaged: delete") as error:
        fetch_encoder_weights("resnet18", f"{closed_url}/{path.name}")
    assert_one_sentence(error)


def test_weights_with_a_wrong_hash_are_not_kept(server, checkpoints):
    path = write_weights(server.folder)
    path.rename(server.folder / "resnet18-00000000.pth")
    with pytest.raises(DownloadError, match="sent damaged weights") as error:
        fetch_encoder_weights("resnet18", f"{server.url}/resnet18-00000000.pth")
    assert_one_sentence(error)
    assert not list(checkpoints.glob("*"))


def test_weights_offline_say_what_to_do(closed_url, checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DownloadError, match="refused") as error:
        fetch_encoder_weights("resnet18", f"{closed_url}/resnet18-12345678.pth")
    message = assert_one_sentence(error)
    assert f"put the file at {Path('torch/hub/checkpoints/resnet18-12345678.pth')}" in message
    assert "tiny-imagenet" in message


class Payload:
    """Unpickling it makes a folder: what `weights_only=True` has to prevent."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_weights_cannot_run_code(closed_url, checkpoints, tmp_path):
    file = io.BytesIO()
    torch.save({"conv1.weight": Payload(tmp_path / "owned")}, file)
    path = write_weights(checkpoints, file.getvalue())
    with pytest.raises(DownloadError, match="are damaged"):
        fetch_encoder_weights("resnet18", f"{closed_url}/{path.name}")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("arch", downloads.ENCODERS)
def test_encoder_addresses_carry_a_hash(arch):
    assert downloads._encoder_url(arch).split("/")[-1].startswith(f"{arch}-")
    assert downloads._encoder_url(arch).startswith("https://")


def test_gzip_of_no_tar(server, tmp_path):
    data = gzip.compress(os.urandom(4000))
    (server.folder / "tiny.tgz").write_bytes(data)
    with pytest.raises(DownloadError, match="is damaged"):
        fetch_photos(Dataset("tiny", f"{server.url}/tiny.tgz", len(data), 1), tmp_path / "data")
