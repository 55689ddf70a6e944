"""A folder below the home for what a command fetches. One that was killed could not remove its own:
the next command does.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "fetched-"
_LOCK = "in-use"  # locked for as long as the folder's process lives


@contextmanager
def scratch_folder(home: Path) -> Iterator[Path]:
    """Yield a folder below `home`, where all nodes see it, that is removed at the end; folders of
    commands that were killed are removed at the beginning.
    """
    home.mkdir(parents=True, exist_ok=True)
    for folder in home.glob(f"{_PREFIX}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=home.resolve()) as name:
        folder = Path(name)
        with (folder / "unlocked").open("w") as lock:
            with suppress(OSError):  # storage without locks: there no folder is found abandoned
                fcntl.flock(lock, fcntl.LOCK_EX)
            Path(lock.name).rename(folder / _LOCK)
            yield folder


def _is_abandoned(folder: Path) -> bool:
    """Return whether no process holds a folder's lock; a folder without one may be a new one."""
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
