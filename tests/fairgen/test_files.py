"""A file is whole or not there, and what fails leaves nothing behind."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fairgen.files import written_whole
from tests.pipelines.disk import small_disk


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002], indirect=True)
def test_a_file_is_read_by_whom_the_umask_lets(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "adapter.bin"
    for _ in range(2):  # also in the place of another
        with written_whole(path) as partial:
            descriptor, other = tempfile.mkstemp(dir=tmp_path)  # for its owner only
            os.close(descriptor)
            Path(other).replace(partial)
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_writer_that_writes_nothing_is_no_empty_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "adapter.bin"):
        pass
    assert not list(tmp_path.iterdir())


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


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: needs root")
@pytest.mark.parametrize(
    "write",
    [
        lambda partial: partial.write_bytes(bytes(1 << 20)),
        lambda partial: save_file({"weights": torch.zeros(1 << 18)}, partial),
    ],
)
def test_a_full_disk_is_told_with_the_file_that_was_not_written(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, size_kib=64):
        path = disk / "adapter.bin"
        path.write_bytes(b"before")
        with (
            pytest.raises(OSError, match=r"No space left on device: .*adapter\.bin'$"),
            written_whole(path) as partial,
        ):
            write(partial)
        assert path.read_bytes() == b"before" and list(disk.iterdir()) == [path]
