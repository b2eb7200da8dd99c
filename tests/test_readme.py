"""The README's Python runs as it stands."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

import colorlib

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    """Each block as it is printed, but `make_loaders` gives 8 images, and the files that it reads are small."""
    make_loaders = colorlib.make_loaders
    small = {"n_train": 8, "n_test": 4}
    monkeypatch.setattr(colorlib, "make_loaders", lambda *args, **options: make_loaders(*args, **options | small))
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    Path("my_photos").mkdir()
    for path in ["grandma.jpg", *(f"my_photos/{number}.jpg" for number in range(16))]:
        image = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        image.resize((100, 80), Image.Resampling.BICUBIC).save(path)

    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    names = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"README.md, Python block {number}", "exec"), names)
    for path in re.findall(r'save_\w+\([^")]*"([^"]+)"', "\n".join(blocks)):
        assert Path(path).stat().st_size > 0
