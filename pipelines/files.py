"""Text and bytes on disk, whole or not at all."""

import os
from pathlib import Path

from fairgen.files import written_whole


def write(path: Path, text: str) -> None:
    """Write a text file that is either whole or not there."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there."""
    with written_whole(path) as partial:
        partial.write_bytes(content)


def check_appended(field: str, file: Path) -> None:
    """Raise ValueError for a file that cannot be written to; it need not be there."""
    there = file if file.exists() else file.parent
    if file.is_dir() or not there.exists() or not os.access(there, os.W_OK):
        raise ValueError(f"{field}: got {str(file)!r}, allowed is a file that can be written to")


def check_file(field: str, file: Path) -> None:
    """Raise ValueError for a file that cannot be written, before what it is for takes its time; its
    folder need not be there.
    """
    if file.parent.exists():
        check_appended(field, file)
    else:
        check_out(file.parent, field=field)


def check_out(out: Path, empty: str = "", field: str = "out") -> None:
    """Raise ValueError for a folder that cannot be written, before what it is for takes its time;
    with `empty`, the reason, for one that holds files, too.
    """
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "cannot be written to" if there.is_dir() else "is a file"
        raise ValueError(f"{field}: got {str(out)!r}, allowed is a folder: {there} {what}")
    if empty and out.exists() and any(out.iterdir()):
        raise ValueError(f"{field}: got {str(out)!r}, which holds files; allowed is an empty "
                         f"folder, {empty}")  # fmt: skip
