"""Text and bytes on disk, whole or not at all."""

from pathlib import Path

from fairgen.files import written_whole


def write(path: Path, text: str) -> None:
    """Write a text file that is either whole or not there."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there."""
    with written_whole(path) as partial:
        partial.write_bytes(content)
