"""Long trainings survive: kills, full disks, losses that are not finite, damaged and foreign files, wrong settings.

Run as a program, this file trains in child processes that kill themselves, see `kill_and_resume`.
"""

import ast
import errno
import itertools
import json
import math
import os
import pickle
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

import colorlib
from colorlib import __main__ as cli
from colorlib import checkpoints, files, loop, tensors, training
from colorlib.batches import Batches
from colorlib.data import Loaders, make_loaders
from colorlib.patchgan import PatchDiscriminator
from colorlib.pretraining import GrayClassifier, fit_classifier
from colorlib.tensors import WeightsError, load_checkpoint, load_tensors
from colorlib.training import fit_gan, fit_reconstruction
from colorlib.unet import UNet

CLI_TRAIN = ["train", "--source", "scenes", "--size", "32", "--n-train", "8", "--n-test", "2", "--device", "cpu",
             "--base-channels", "4", "--n-down", "2", "--epochs", "1", "--gan-epochs", "1"]  # fmt: skip


def tiny_loaders(labels: bool = False) -> Loaders:
    loaders = make_loaders("scenes", size=32, batch_size=4, n_train=16, n_test=4)
    if not labels:
        return loaders
    train = Batches(loaders.train.rgb, 32, 4, shuffled=True, labels=torch.arange(16) % 3)
    valid = Batches(loaders.valid.rgb, 32, 4, labels=torch.arange(4) % 3)
    return replace(loaders, train=train, valid=valid, classes=("a", "b", "c"))


def tiny_net(**options) -> UNet:
    return UNet(**{"base_channels": 4, "n_down": 2, "dropout": 0.2} | options)


@pytest.fixture(scope="module")
def loaders():
    return tiny_loaders()


# --- Killed, also while the checkpoint is written ---


def train_stage(stage: str, path: Path, seed: int) -> None:
    """Train three epochs of four batches; the random numbers before it differ in every process."""
    torch.manual_seed(seed)
    options = {"epochs": 3, "checkpoint": path, "resume": True, "progress": False}
    if stage == "reconstruction":
        fit_reconstruction(tiny_net(), tiny_loaders(), **options)
    elif stage == "joint":
        fit_reconstruction(tiny_net(), tiny_loaders(labels=True), label_weight=0.1, **options)
    elif stage == "gan":
        fit_gan(tiny_net(), PatchDiscriminator(4, n_down=1), tiny_loaders(), **options)
    elif stage == "classification":
        encoder = nn.Sequential(nn.Conv2d(1, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3))
        fit_classifier(GrayClassifier(encoder, 8, 3), tiny_loaders(labels=True), **options)
    else:
        more = ["--model", "pix2pix", "--seed", "0", "--out", str(path.with_suffix("")), "--resume"]
        assert cli.main([*CLI_TRAIN, *more]) == 0


STAGES = ("reconstruction", "joint", "gan", "classification", "command")


def kill_at(n: int, in_write: bool) -> None:
    """Have this process killed: right before its n-th update of weights, or halfway through its n-th checkpoint."""
    calls = itertools.count(1)

    def before_update(*args):
        if next(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_bytes(content: bytes, path: Path) -> None:
        with files.atomic_write(path) as file:
            file.write(content[: len(content) // 2])
            file.flush()
            before_update()
            file.write(content[len(content) // 2 :])

    if in_write:
        tensors.write_bytes = write_bytes
    else:
        register_optimizer_step_pre_hook(before_update)


def kill_and_resume(folder: Path, seed: int) -> None:
    """Train every stage twice, undisturbed and killed three times; write where it was killed to kills.json."""
    loop.CHECKPOINT_SECONDS = 0  # after every batch
    torch.optim.Adam([nn.Parameter(torch.zeros(1))])  # imports half of torch, once for all child processes
    rng, kills = random.Random(seed), {}
    for stage in STAGES:
        plans = [(rng.randint(1, 6 if stage == "gan" else 3), in_write) for in_write in (False, False, True)]
        rng.shuffle(plans)
        for path, attempts in ((folder / f"{stage}.pt", [None]), (folder / f"{stage}-killed.pt", [*plans, None])):
            for plan in attempts:
                # A fork of a process that has imported torch, but has not computed yet, saves the import.
                if (child := os.fork()) == 0:
                    if plan:
                        kill_at(*plan)
                    train_stage(stage, path, seed=99 if path.exists() else 0)
                    os._exit(0)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                assert code == (-signal.SIGKILL if plan else 0), (stage, plan, code)
        kills[stage] = plans
    (folder / "kills.json").write_text(json.dumps(kills))


def differences(one, other, where: str = "") -> list[str]:
    """Compare nested dicts, lists and tensors bit for bit; return the places where they differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [d for key in one if key != "seconds" for d in differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [d for i, pair in enumerate(zip(one, other)) for d in differences(*pair, f"{where}[{i}]")]
    if torch.is_tensor(one) and torch.is_tensor(other):
        same = one.dtype == other.dtype and torch.equal(one, other)
    else:
        same = one == other or (one != one and other != other)
    return [] if same else [where]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_killed_training_continues_bit_for_bit(tmp_path):
    """Networks, average, optimizers, schedules, random numbers, history: all as if nothing had happened."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    command = [sys.executable, __file__, str(tmp_path), os.environ.get("COLORLIB_KILL_SEED", "0")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = json.loads((tmp_path / "kills.json").read_text())
    assert all(len(kills[stage]) == 3 for stage in STAGES)
    for stage in STAGES[:-1]:
        whole, killed = (load_checkpoint(tmp_path / f"{stage}{end}.pt") for end in ("", "-killed"))
        assert whole["place"] == (3, 0) and len(whole["history"]["rows"]) == 3
        assert not differences(whole, killed), (stage, kills[stage])
    for name in ("reconstruction", "gan"):
        whole, killed = (tmp_path / f"command{end}" / name for end in ("", "-killed"))
        assert not differences(*(load_checkpoint(f"{path}.pt") for path in (whole, killed))), kills["command"]
        assert not differences(*(load_tensors(f"{path}.safetensors")[0] for path in (whole, killed)))


def interrupt(times: int) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("presses", "epochs_recorded"), [(1, 1), (2, 0)])
def test_ctrl_c_during_a_measurement_keeps_model_and_history(loaders, tmp_path, monkeypatch, presses, epochs_recorded):
    """The first one waits for the measurement; the second one gives it up."""
    path, real, pending = tmp_path / "c.pt", loop.evaluate, [presses]
    torch.manual_seed(0)
    whole = fit_reconstruction(tiny_net(), loaders, epochs=2)

    def evaluate(generator, loader, perceptual):
        interrupt(pending.pop() if pending else 0)
        return real(generator, loader, perceptual)

    monkeypatch.setattr(loop, "evaluate", evaluate)
    torch.manual_seed(0)
    net = tiny_net()
    history = fit_reconstruction(net, loaders, epochs=2, checkpoint=path)
    assert history.interrupted and len(history.rows) == len(history.previews) == epochs_recorded
    assert not net.training and net(torch.zeros(1, 1, 32, 32)).isfinite().all()
    again = fit_reconstruction(tiny_net(), loaders, epochs=2, checkpoint=path, resume=True)
    assert again.rows == whole.rows and not again.interrupted


# --- Disks ---


def fill_disk(monkeypatch) -> None:
    """Have the system refuse every new byte, as it does on a full disk."""
    monkeypatch.setattr(
        files.tempfile, "mkstemp", lambda dir, **names: (os.open("/dev/full", os.O_WRONLY), f"{dir}/full.part")
    )


needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@pytest.mark.parametrize("fault", [pytest.param("full", marks=needs_dev_full), "no folder"])
def test_a_checkpoint_that_cannot_be_written_is_noticed_before_the_first_step(
    loaders, tmp_path, monkeypatch, capsys, fault
):
    monkeypatch.setattr(training, "reconstruction_step", lambda *args: pytest.fail("it was trained"))
    out, reason = tmp_path / "run", "No space left on device"
    if fault == "full":
        fill_disk(monkeypatch)
    else:
        out.write_text("a file where the folder should be")
        reason = "File exists"
    with pytest.raises(OSError, match=rf"run.c\.pt can't be written: {reason}\.$"):
        fit_reconstruction(tiny_net(), loaders, checkpoint=out / "c.pt")
    capsys.readouterr()
    assert cli.main([*CLI_TRAIN, "--out", str(out)]) == 1
    assert one_line(capsys).endswith(f"can't be written: {reason}.")


def one_line(capsys) -> str:
    """Return the only line that the command wrote to stderr, without the progress bars."""
    lines = [line.split("\r")[-1].strip() for line in capsys.readouterr().err.split("\n")]
    (line,) = (line for line in lines if line)
    assert line.startswith("colorlib: ")
    return line


@needs_dev_full
def test_a_later_checkpoint_that_fails_warns_once_and_the_training_goes_on(loaders, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    path, real, calls = tmp_path / "c.pt", training.reconstruction_step, itertools.count(1)

    def step(*args):
        if next(calls) == 3:
            fill_disk(disk)
        return real(*args)

    with monkeypatch.context() as disk, pytest.warns(UserWarning) as warned:
        disk.setattr(training, "reconstruction_step", step)
        torch.manual_seed(0)
        history = fit_reconstruction(tiny_net(), loaders, epochs=2, checkpoint=path)
    (message,) = (str(warning.message) for warning in warned)
    assert message == f"{path} can't be written: No space left on device; the training goes on without it."
    assert len(history.rows) == 2 and not history.interrupted
    assert load_checkpoint(path)["place"] == (0, 2) and os.listdir(tmp_path) == ["c.pt"]
    again = fit_reconstruction(tiny_net(), loaders, epochs=2, checkpoint=path, resume=True)
    assert again.rows == history.rows, "with space again, it continues from the last checkpoint"


def test_weights_are_saved_where_checkpoints_no_longer_fit(tmp_path, monkeypatch, capsys):
    """The disk holds the first checkpoint, which has no optimizer state yet, and nothing larger."""
    sizes = []

    def write(content: bytes, path: Path, real=tensors.write_bytes) -> None:
        sizes.append(len(content))
        if len(content) > sizes[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(content, path)

    monkeypatch.setattr(tensors, "write_bytes", write)
    with pytest.warns(UserWarning, match="the training goes on without it"):
        assert cli.main([*CLI_TRAIN, "--out", str(tmp_path)]) == 0
    assert max(sizes) > sizes[0] > sizes[-1]
    assert isinstance(colorlib.load_generator(tmp_path / "reconstruction.safetensors"), UNet)


# --- Losses that are not finite ---


def poison(net: nn.Module, value: float = math.nan) -> None:
    with torch.no_grad():
        next(net.parameters()).fill_(value)


def all_finite(net: nn.Module) -> bool:
    return all(value.isfinite().all() for value in net.state_dict().values())


@pytest.mark.parametrize("loss", [math.nan, -math.inf, 0.5])
@pytest.mark.parametrize("bad_batch", [1, 6, 8])  # of four per epoch
def test_the_last_good_weights_are_kept_and_the_bad_batch_is_named(loaders, tmp_path, monkeypatch, loss, bad_batch):
    """Also if the loss is finite and only the update fails: then the check at the end of the epoch finds it."""
    real, calls, path = training.reconstruction_step, itertools.count(1), tmp_path / "c.pt"

    def step(net, *args):
        value = real(net, *args)
        if next(calls) < bad_batch:
            return value
        poison(net)
        return torch.tensor(loss)

    monkeypatch.setattr(training, "reconstruction_step", step)
    net, first = tiny_net(), {}
    first = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.warns(UserWarning) as warned:
        history = fit_reconstruction(net, loaders, epochs=3, checkpoint=path)
    epoch, batch = divmod(bad_batch - 1, 4)
    where = f"epoch {epoch + 1}, batch {batch + 1 if not math.isfinite(loss) else 4} of 4"
    reason = "a weight is not finite" if math.isfinite(loss) else f"train_loss is {loss}"
    kept = f"the weights after epoch {epoch}" if epoch else "the weights that it began with"
    advice = "start again with a lower learning rate."
    assert history.diverged == f"The training diverged in {where} ({reason}) and stopped with {kept}: {advice}"
    assert [str(warning.message) for warning in warned] == [history.diverged]
    assert len(history.rows) == len(history.previews) == epoch and not history.interrupted
    saved = load_checkpoint(path)
    assert saved["place"] == (epoch, 0) and not differences(saved["state"]["generator"], dict(net.state_dict()))
    assert all_finite(net) and not net.training
    assert epoch or not differences(first, dict(net.state_dict()))


def test_predictions_that_are_not_finite_stop_a_training_too(loaders):
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 1)

        def forward(self, L):
            return self.layer(L) * (1 if self.training else math.inf)

    with pytest.warns(UserWarning, match=r"epoch 1, batch 4 of 4 \(the predictions are not finite\)"):
        assert fit_reconstruction(Fragile(), loaders, epochs=2).rows == []


@pytest.mark.filterwarnings("ignore:The training diverged")
def test_a_learning_rate_without_bounds_ends_with_finite_weights(loaders):
    net, discriminator = tiny_net(), PatchDiscriminator(4, n_down=1)
    assert fit_reconstruction(net, loaders, epochs=3, lr=1e30).diverged and all_finite(net)
    assert fit_gan(net, discriminator, loaders, epochs=3, lr_g=1e30, lr_d=1e30).diverged
    assert all_finite(net) and all_finite(discriminator)
    classifier = GrayClassifier(nn.Sequential(nn.Conv2d(1, 8, 5, 2), nn.ReLU()), 8, 3)
    assert fit_classifier(classifier, tiny_loaders(labels=True), epochs=3, lr=1e30).diverged and all_finite(classifier)


def test_values_that_were_never_finite_are_no_fault(loaders):
    net = tiny_net()
    net.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    assert not fit_reconstruction(net, loaders, epochs=1).diverged


def test_the_command_saves_the_last_good_weights_and_fails(tmp_path):
    with pytest.warns(UserWarning, match="The training diverged in epoch .*lower learning rate"):
        assert cli.main([*CLI_TRAIN, "--lr", "1e30", "--model", "pix2pix", "--out", str(tmp_path)]) == 1
    assert all_finite(colorlib.load_generator(tmp_path / "reconstruction.safetensors"))
    assert not (tmp_path / "gan.pt").exists(), "nothing is trained on top of it"


def test_the_command_says_it_in_one_line():
    """A warning of the package has no file, line number or source code in the terminal."""
    code = "import warnings, sys; from colorlib import __main__ as cli; cli.evaluate = lambda _: warnings.warn('Mind.')"
    code += "; cli.main(['evaluate', '--source', 'scenes', '--weights', 'x'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "colorlib: Mind.\n"


# --- Checkpoints and weights that can't be used ---


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def spoiled(content: bytes, fault: str, folder: Path) -> bytes:
    """Return a file with a fault, made from a good checkpoint."""
    good = tensors.unpack_checkpoint(content)
    if fault == "truncated":
        return content[: len(content) // 2]
    if fault == "one bit":
        at = len(content) // 2
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    if fault == "pickle bomb":
        return pickle.dumps({"settings": {}, "state": Bomb(folder / "exploded")})
    strange = {
        "torch bomb": good | {"state": Bomb(folder / "exploded")},
        "other version": good | {"format": tensors.CHECKPOINT_FORMAT + 1},
        "old version": {key: value for key, value in good.items() if key != "format"},
        "foreign": {"model": {"w": torch.ones(2)}, "epoch": 3},
        "list": [1, 2],
        "incomplete": {key: value for key, value in good.items() if key != "place"},
        "other weights": good | {"state": good["state"] | {"generator": tiny_net(n_down=3).state_dict()}},
        "deep": good | {"settings": {"fit": {"stage": nested()}}},
    }
    file = folder / "strange"
    torch.save(strange[fault], file)
    content = file.read_bytes()
    file.unlink()
    return content


def nested() -> list:
    """Return a list that takes few bytes in a file, and 2⁴⁰ entries when it is printed."""
    value = ["x"]
    for _ in range(40):
        value = [value, value]
    return value


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of both stages."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert cli.main([*CLI_TRAIN, "--model", "pix2pix", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("truncated", "not a checkpoint of colorlib, or a damaged one"),
        ("one bit", "not a checkpoint of colorlib, or a damaged one"),
        ("pickle bomb", "not a checkpoint of colorlib, or a damaged one"),
        ("torch bomb", "not a checkpoint of colorlib, or a damaged one"),
        ("other version", "a checkpoint of a later version of colorlib: update colorlib"),
        ("old version", "a checkpoint of an earlier version of colorlib"),
        ("foreign", "not a checkpoint of colorlib"),
        ("list", "not a checkpoint of colorlib"),
        ("incomplete", "can't be continued: 'place'"),
        ("other weights", "can't be continued: the weights in it do not fit the generator"),
        ("deep", "can't be continued: its settings differ (stage was [[[[[["),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_one_sentence(trained, tmp_path, capsys, fault, words):
    """Nothing of it is executed, the network keeps its weights, and the file stays as it is."""
    path = tmp_path / "reconstruction.pt"
    path.write_bytes(spoiled((trained / path.name).read_bytes(), fault, tmp_path))
    before = path.read_bytes()
    capsys.readouterr()
    assert cli.main([*CLI_TRAIN, "--model", "pix2pix", "--out", str(tmp_path), "--resume"]) == 1
    assert f"{path}" in (line := one_line(capsys)) and words in line and len(line) < 1000

    net = tiny_net(dropout=0.0)
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    loaders = make_loaders("scenes", size=32, n_train=8, n_test=2)
    with pytest.raises(WeightsError) as caught:
        fit_reconstruction(net, loaders, epochs=1, checkpoint=path, resume=True)
    assert str(caught.value) == line.removeprefix("colorlib: ")
    assert not differences(weights, dict(net.state_dict()))
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["reconstruction.pt", "reconstruction.safetensors"])
def test_any_wrong_bit_and_any_missing_end_is_noticed(trained, tmp_path, name):
    """What torch and safetensors load as other weights is refused; a bit that no one reads may differ."""
    load = load_checkpoint if name.endswith(".pt") else load_tensors
    content, good, path = (trained / name).read_bytes(), load(trained / name), tmp_path / name
    rng, refused = random.Random(0), 0
    for attempt in range(60):
        at = rng.randrange(len(content))
        changed = bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :] if attempt % 4 else b""
        path.write_bytes(content[:at] + changed)
        try:
            assert not differences(good, load(path)), (attempt, at)
        except WeightsError as error:
            refused += 1
            assert name in str(error) and "\n" not in str(error)
    assert refused > 50


@pytest.mark.parametrize("option", ["--weights", "--init"])
@pytest.mark.parametrize("fault", ["bomb", "checkpoint", "one bit", "encoder"])
def test_weights_that_cannot_be_used_are_one_sentence(trained, tmp_path, capsys, option, fault):
    path, good = tmp_path / "w.safetensors", (trained / "gan.safetensors").read_bytes()
    at = len(good) - 1000
    contents = {
        "bomb": pickle.dumps(Bomb(tmp_path / "exploded")),
        "checkpoint": (trained / "gan.pt").read_bytes(),
        "one bit": good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :],
    }
    if fault in contents:
        path.write_bytes(contents[fault])
    else:
        tensors.save_tensors({"w": torch.ones(2)}, path, {"format": "colorlib encoder 1"})
    command = ["evaluate", *CLI_TRAIN[1:11], "--weights"] if option == "--weights" else [*CLI_TRAIN, "--init"]
    more = [] if option == "--weights" else ["--out", str(tmp_path / "run")]
    capsys.readouterr()
    assert cli.main([*command, str(path), *more]) == 1
    assert str(path) in one_line(capsys) and os.listdir(tmp_path) == [path.name]


# --- Settings ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--base-channels", "8"], "generator base_channels was 4, now 8"),
        (["--n-down", "3"], "generator n_down was 2, now 3"),
        (["--n-blocks", "1"], "generator n_blocks was 0, now 1"),
        (["--size", "48"], "size was 32, now 48; store_size was 32, now 48"),
        (["--batch-size", "2"], "batch_size was 4, now 2"),
        (["--n-train", "9"], "n_train was 8, now 9"),
        (["--n-test", "3"], "n_test was 2, now 3"),
        (["--seed", "5"], "seed was 0, now 5"),
        (["--vary-tone"], "vary_tone was False, now True"),
        (["--lr", "0.01", "--epochs", "2"], "epochs was 1, now 2; lr was 0.02, now 0.01"),
        (["--spectral-norm"], "discriminator number of weights was "),
        (["--lambda-l1", "5"], "lambda_l1 was 20.0, now 5.0"),
        (["--gan-epochs", "2"], "epochs was 1, now 2"),
    ],
)
def test_resume_names_the_settings_that_differ(trained, capsys, options, words):
    contents = {path: path.read_bytes() for path in trained.glob("*.pt")}
    capsys.readouterr()
    assert cli.main([*CLI_TRAIN, "--model", "pix2pix", "--out", str(trained), "--resume", *options]) == 1
    line = one_line(capsys)
    assert f"can't be continued: its settings differ ({words}" in line and len(line) < 300
    assert line.endswith("use the old ones again, or another checkpoint.")
    assert line.count(" was ") == max(1, words.count(" was ")), "what follows from another difference is not named"
    assert contents == {path: path.read_bytes() for path in trained.glob("*.pt")}


def test_resume_notices_another_class_other_photos_and_another_store(tmp_path):
    rng = random.Random(0)

    def photos(folder: Path, n: int = 8) -> Path:
        folder.mkdir()
        for i in range(n):
            image = torch.tensor([[[rng.randrange(256) for _ in range(3)] for _ in range(8)] for _ in range(8)])
            colorlib.save_image(image.to(torch.uint8).repeat_interleave(4, 0).numpy(), folder / f"{i}.png")
        return folder

    def fit(net=None, folder="a", **options):
        loaders = make_loaders(tmp_path / folder, **{"size": 16, "n_test": 1} | options)
        return fit_reconstruction(net or tiny_net(), loaders, epochs=1, checkpoint=tmp_path / "c.pt", resume=True)

    photos(tmp_path / "a"), photos(tmp_path / "b")
    rows = fit().rows
    with pytest.raises(WeightsError, match=r"\(generator class was 'UNet', now 'Conv2d'\)"):
        fit(nn.Conv2d(1, 2, 1))
    with pytest.raises(WeightsError, match=r"\(generator dropout was 0.2, now 0.5\)"):
        fit(tiny_net(dropout=0.5))
    with pytest.raises(WeightsError, match=r"\(store_size was 32, now 16\)"):
        fit(store_size=16)
    with pytest.raises(WeightsError, match=r"\(source was '.*a', now '.*b'\)"):
        fit(folder="b")
    for path in (tmp_path / "a").iterdir():
        if path.name == "3.png":
            path.write_bytes((tmp_path / "b" / "3.png").read_bytes())
    with pytest.raises(WeightsError, match=r"\(checksum of the images was \["):
        fit()
    (tmp_path / "a").rename(tmp_path / "moved")
    photos(tmp_path / "a", 0)
    (tmp_path / "c.pt").unlink()
    rows = fit(folder="moved").rows
    (tmp_path / "moved").rename(tmp_path / "c")
    assert fit(folder="c").rows == rows, "the same photos in another place are no other training"


def test_a_setting_that_an_older_checkpoint_does_not_have_is_named_too():
    before = {"fit": {"stage": "gan", "lr": 0.1}, "generator": {"class": "UNet"}}
    now = {"fit": {"stage": "gan", "lr": 0.1, "freeze": 0}, "generator": {"class": "UNet"}, "data": {"size": 64}}
    expected = ["freeze was not recorded, now 0", "size was not recorded, now 64"]
    assert checkpoints.setting_changes(before, now) == expected and not checkpoints.setting_changes(now, now)


def test_a_gan_checkpoint_is_not_that_of_another_stage(trained):
    loaders = make_loaders("scenes", size=32, n_train=8, n_test=2)
    with pytest.raises(WeightsError, match=r"\(stage was 'gan', now 'reconstruction'\)"):
        fit_reconstruction(tiny_net(), loaders, epochs=1, checkpoint=trained / "gan.pt", resume=True)


def test_a_part_that_refuses_its_state_leaves_all_parts_as_they_were(loaders, tmp_path):
    class Particular(PatchDiscriminator):
        mine = "ResNet A"

        def get_extra_state(self):
            return {"of": self.mine}

        def set_extra_state(self, state):
            if state["of"] != self.mine:
                raise ValueError(f"The heads belong to the {state['of']}.")

    fit_gan(tiny_net(), Particular(4, n_down=1), loaders, epochs=1, checkpoint=tmp_path / "c.pt")
    net, other = tiny_net(), Particular(4, n_down=1)
    other.mine = "ResNet B"
    before = [{name: value.clone() for name, value in part.named_parameters()} for part in (net, other)]
    with pytest.raises(WeightsError, match=r"c.pt can't be continued: The heads belong to the ResNet A\.$"):
        fit_gan(net, other, loaders, epochs=1, checkpoint=tmp_path / "c.pt", resume=True)
    assert not differences(before, [dict(part.named_parameters()) for part in (net, other)])


# --- Batches that are too small ---


def test_one_pixel_at_the_bottleneck_says_which_option_to_raise(tmp_path, capsys):
    for i in range(4):
        image = torch.randint(256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(i))
        colorlib.save_image(image.numpy(), tmp_path / "photos" / f"{i}.png")
    one_photo, path = make_loaders(tmp_path / "photos", size=16, n_train=1), tmp_path / "c.pt"
    two_photos = make_loaders(tmp_path / "photos", size=16, batch_size=1)
    assert len(two_photos.train.rgb) == 2
    for loaders, advice in ((one_photo, "more than one training image"), (two_photos, "a larger batch_size")):
        sentence = rf"^A batch of one image of 16×16 px .*BatchNorm.*: use {advice}, or a larger size\.$"
        with pytest.raises(ValueError, match=sentence):
            fit_reconstruction(tiny_net(n_down=4), loaders, checkpoint=path)
        with pytest.raises(ValueError, match=sentence):
            fit_gan(tiny_net(n_down=4), PatchDiscriminator(4, n_down=1), loaders, checkpoint=path)
        assert not path.exists(), "the next attempt is not taken for a resumed training"
    with pytest.raises(ValueError, match=r"^Images of 16×16 px are too small for the network: use a larger size\.$"):
        fit_gan(tiny_net(), PatchDiscriminator(4, n_down=3), two_photos)

    with pytest.raises(ValueError, match="use a larger batch_size and more than one training image, or a larger size"):
        one_of_one = make_loaders(tmp_path / "photos", size=16, batch_size=1, n_train=1)
        fit_reconstruction(tiny_net(n_down=4), one_of_one)

    options = ["--source", str(tmp_path / "photos"), "--size", "32", "--n-down", "5", "--device", "cpu"]
    for more, advice in ((["--n-train", "1"], "training image"), (["--batch-size", "1"], "batch_size")):
        capsys.readouterr()
        assert cli.main(["train", *options, *more, "--out", str(tmp_path / "run")]) == 1
        assert advice in one_line(capsys) and not (tmp_path / "run" / "reconstruction.pt").exists()


def test_a_negative_number_of_epochs_is_refused(loaders):
    with pytest.raises(ValueError, match="epochs must be at least 0, got -1"):
        fit_reconstruction(tiny_net(), loaders, epochs=-1)


# --- Advice ---


def test_what_messages_advise_exists():
    """Options of the command, keyword arguments with their values, and environment variables."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(colorlib.__file__).parent.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    constants = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
    options = {text for text in constants if text.startswith("--") and " " not in text}
    advised = 0
    for text in (text for text in constants if " " in text):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
            assert option in options, text
            advised += 1
        for name, value in re.findall(r"\b([a-z_]+)=(\"[^\"]*\"|\w*)", text):
            assert name in parameters, text
            assert not value.startswith('"') or value.strip('"') in constants, text
            advised += 1
        for name in re.findall(r"\bCOLORLIB_[A-Z_0-9]+", text):
            assert name in constants, text
            advised += 1
    assert advised > 20


if __name__ == "__main__":
    kill_and_resume(Path(sys.argv[1]), int(sys.argv[2]))
