"""Files that are either whole or not there."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; at the end of the `with` it takes the other's place.

    Whatever raises inside leaves `path` as it was. The file may be read by whom the process's umask
    lets read, whatever the writer has made of it.
    """
    partial = path.with_name(path.name + ".part")
    try:
        partial.unlink(missing_ok=True)
        partial.touch()
        mode = stat.S_IMODE(partial.stat().st_mode)  # as the umask has it
        partial.unlink()
        yield partial
        partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
