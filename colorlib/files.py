"""Atomic writes: a file is either complete or absent. No torch here, so that `images` imports without it, too."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a binary file that appears under `path` only when the block ends without an error.

    The bytes go to a temporary file in the same folder, which is synced and renamed over `path`;
    an interruption leaves what was there before.

    Raises:
        OSError: the folder can't be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The temporary name does not contain the target's, which may already have the maximum length.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".colorlib-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # some network drives and FAT do not support chmod
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp creates private files; use the default permissions
        os.replace(temporary, path)
    except BaseException:  # also KeyboardInterrupt: no half-written file stays behind
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
