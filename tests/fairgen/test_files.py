"""A file is whole or not there, and what fails leaves nothing behind."""

from pathlib import Path

import pytest

from fairgen.files import written_whole


def test_a_file_appears_at_the_end_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "adapter.bin"
    with written_whole(path) as partial:
        partial.write_bytes(b"half")
        assert not path.exists()
        partial.write_bytes(b"whole")
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_what_raises_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "adapter.bin"
    path.write_bytes(b"before")
    with pytest.raises(OSError, match="full"), written_whole(path) as partial:
        partial.write_bytes(b"half")
        raise OSError("the disk is full")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
