"""Downloads from a server on 127.0.0.1, and without one. Nothing here leaves the machine."""

import ast
import hashlib
import io
import os
import socket
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError

import numpy as np
import pytest
import torch
from torchvision.datasets import utils as torchvision_utils

from colorlib import downloads
from colorlib.downloads import DATASETS, Dataset, DownloadError, data_root, fetch_encoder_weights, fetch_photos

CLOSED_URL = "http://127.0.0.1:1"  # no server there
PHOTOS = [f"{index}.JPEG" for index in range(5)]


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        self.server.requests.append(self.path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server for the files in `.folder`; `.requests` lists what it was asked for."""
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "web").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "web")) as httpd:
        httpd.folder, httpd.requests, httpd.url = tmp_path / "web", [], f"http://127.0.0.1:{httpd.server_port}"
        threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
        yield httpd
        httpd.shutdown()


def make_archive(server, *more_members, names=PHOTOS):
    """Put tiny.tgz on the server, with files of random bytes that have the names of photos."""
    with tarfile.open(server.folder / "tiny.tgz", "w:gz") as archive:
        for member in [*(tarfile.TarInfo(f"photos/{name}") for name in names), *more_members]:
            member.size = 2000 if member.isfile() else 0
            archive.addfile(member, io.BytesIO(os.urandom(2000)))
    return Dataset("tiny", f"{server.url}/tiny.tgz", (server.folder / "tiny.tgz").stat().st_size, len(PHOTOS))


@pytest.fixture
def dataset(server):
    return make_archive(server)


def photos_in(folder):
    return sorted(path.name for path in (folder / "photos").iterdir())


def message_of(call, *arguments):
    """Return the message of the DownloadError that the call raises: one sentence."""
    with pytest.raises(DownloadError) as error:
        call(*arguments)
    if isinstance(error.value.__cause__, HTTPError):
        error.value.__cause__.close()  # its connection
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message and len(message) < 400, message
    return message


def test_photos_are_downloaded_and_unpacked_once(dataset, server, tmp_path):
    root = tmp_path / "50 % off"
    assert fetch_photos(dataset, root) == root / "tiny" and photos_in(root / "tiny") == PHOTOS
    assert sorted(path.name for path in root.iterdir()) == ["archives", "tiny"]
    server.requests.clear()
    assert fetch_photos(dataset, root) == root / "tiny" and not server.requests


def test_sizes_and_addresses_are_those_of_fastai():
    folder = Path(pytest.importorskip("fastai.data").__file__).parent
    checks = ast.literal_eval((folder / "download_checks.py").read_text())
    assert all(checks[known.url][0] == known.archive_bytes for known in DATASETS.values())


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'coc'.*coco.*imagenette"):
        fetch_photos("coc", tmp_path)
    with pytest.raises(ValueError, match="'vgg16'.*resnet18"):
        fetch_encoder_weights("vgg16")


def test_photos_that_are_not_available(server, tmp_path):
    for url, reason in ((CLOSED_URL, "refused"), (server.url, "404")):
        message = message_of(fetch_photos, Dataset("tiny", f"{url}/tiny.tgz", 1, 1), tmp_path)
        assert reason in message and f"put the archive at {tmp_path / 'archives' / 'tiny.tgz'}" in message


def test_a_server_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dataset = Dataset("tiny", f"http://127.0.0.1:{silent.getsockname()[1]}/tiny.tgz", 1, 1)
        assert "timed out" in message_of(fetch_photos, dataset, tmp_path)
    assert socket.getdefaulttimeout() is None


def test_a_half_finished_download_is_not_used(dataset, tmp_path, monkeypatch):
    def interrupted(url, filename):
        Path(filename).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torchvision_utils, "_urlretrieve", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch_photos(dataset, tmp_path)
    assert photos_in(fetch_photos(dataset, tmp_path)) == PHOTOS


@pytest.mark.parametrize("problem", ["size", "middle", "checksum", "no archive", "too few photos"])
def test_a_damaged_archive_is_not_used(problem, dataset, server, tmp_path):
    archive = server.folder / "tiny.tgz"
    content = archive.read_bytes()
    if problem == "size":
        archive.write_bytes(content[:-1])
    elif problem == "no archive":
        archive.write_bytes(b"<html>".ljust(len(content)))
    elif problem == "too few photos":
        dataset = make_archive(server, names=PHOTOS[:3])
    else:
        at = len(content) // 2 if problem == "middle" else len(content) - 6
        archive.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    message = message_of(fetch_photos, dataset, tmp_path / "data")
    words = {"size": f"sent {len(content) - 1:,} of {len(content):,} bytes", "too few photos": "3 photos instead of 5"}
    assert words.get(problem, "damaged") in message and "try again" in message
    assert not (tmp_path / "data" / "tiny").exists()
    kept = tmp_path / "data" / "archives" / "tiny.tgz"
    assert kept.exists() == ("delete that file" in message) == (problem != "size")
    kept.unlink(missing_ok=True)
    assert photos_in(fetch_photos(make_archive(server), tmp_path / "data")) == PHOTOS


UNSAFE = {
    "parent": (tarfile.REGTYPE, "../../../escaped.jpg", ""),
    "symbolic link": (tarfile.SYMTYPE, "photos/link", "/etc/passwd"),
    "hard link": (tarfile.LNKTYPE, "photos/link", "../../../web/tiny.tgz"),
    "device": (tarfile.CHRTYPE, "photos/device", ""),
}


@pytest.mark.parametrize("kind", UNSAFE)
def test_an_unsafe_archive_is_not_unpacked(kind, server, tmp_path):
    member = tarfile.TarInfo()
    member.type, member.name, member.linkname = UNSAFE[kind]
    assert "unsafe" in message_of(fetch_photos, make_archive(server, member), tmp_path / "data")
    assert not (tmp_path / "escaped.jpg").exists() and not (tmp_path / "data" / "tiny").exists()


def test_too_little_space_and_a_folder_that_cannot_be_made(dataset, server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert "can't be stored" in message_of(fetch_photos, dataset, tmp_path / "file" / "data")
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2 * dataset.archive_bytes))
    assert "GB free" in message_of(fetch_photos, dataset, tmp_path / "data")  # the archive and the photos are more
    assert server.requests == []


def test_callers_at_the_same_time_download_once(dataset, server, tmp_path):
    fetch_photos(dataset, tmp_path / "one caller")
    requests = list(server.requests)
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(partial(fetch_photos, dataset), [tmp_path / "three callers"] * 3))
    assert [photos_in(folder) for folder in folders] == [PHOTOS] * 3
    assert server.requests == 2 * requests


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


# --- Encoder weights ---


def save_weights(folder, value):
    """Write a state dict with one entry; its name has the start of its SHA-256, like torchvision's."""
    torch.save({"conv1.weight": value}, content := io.BytesIO())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"resnet18-{hashlib.sha256(content.getvalue()).hexdigest()[:8]}.pth"
    path.write_bytes(content.getvalue())
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_weights_are_downloaded_once(server, cache):
    name = save_weights(server.folder, torch.arange(4.0)).name
    for _ in range(2):
        state = fetch_encoder_weights("resnet18", f"{server.url}/{name}")
        assert torch.equal(state["conv1.weight"], torch.arange(4.0))
    assert server.requests == [f"/{name}"] and (cache / name).is_file()


def test_weights_that_are_not_available(cache):
    message = message_of(fetch_encoder_weights, "resnet18", f"{CLOSED_URL}/resnet18-12345678.pth")
    assert f"put the file at {cache / 'resnet18-12345678.pth'}" in message and "weights=None" in message


def test_damaged_weights_are_not_used(server, cache):
    sent = save_weights(server.folder, torch.arange(4.0)).rename(server.folder / "resnet18-00000000.pth")
    assert "damaged: try again" in message_of(fetch_encoder_weights, "resnet18", f"{server.url}/{sent.name}")
    assert not list(cache.glob("*.pth"))
    cached = save_weights(cache, torch.arange(4.0))
    cached.write_bytes(cached.read_bytes()[:-30])
    message = message_of(fetch_encoder_weights, "resnet18", f"{CLOSED_URL}/{cached.name}")
    assert f"damaged: delete {cached} and try again" in message


def test_weights_with_code_are_refused(cache):
    path = save_weights(cache, np.random.default_rng)
    assert "damaged" in message_of(fetch_encoder_weights, "resnet18", f"{CLOSED_URL}/{path.name}")
