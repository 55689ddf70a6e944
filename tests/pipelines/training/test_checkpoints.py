"""A checkpoint is whole when every worker's files are what they were when it was written."""

from pathlib import Path

import pytest

from pipelines.training.checkpoints import damaged, newest_whole, seal


def write(run: Path, name: str, step: int, num_workers: int = 1) -> Path:
    """Write a checkpoint of one file a worker."""
    folder = run / f"checkpoint_{name}"
    for worker in range(num_workers):
        part = run / f"part-{worker}"
        part.mkdir(parents=True)
        (part / f"state-{worker}.pt").write_bytes(bytes([step, worker]))
        seal(part, worker, num_workers, {"step": float(step), "denoiser_rows": 8.0})
        folder.mkdir(exist_ok=True)
        for file in part.iterdir():
            file.rename(folder / file.name)
        part.rmdir()
    return folder


def test_the_one_that_has_come_furthest_is_gone_on_from_whatever_clocks_say(
    tmp_path: Path,
) -> None:
    assert newest_whole(tmp_path) is None and damaged(tmp_path) == []
    furthest = write(tmp_path, "10-00-00", step=40)
    write(tmp_path, "11-00-00", step=30)
    found = newest_whole(tmp_path)
    assert found is not None
    assert (found.folder, found.step, found.metrics["denoiser_rows"]) == (furthest, 40, 8.0)


@pytest.mark.parametrize("hurt", ["state-0.pt", "state-1.pt", "worker-0.json", "worker-1.json"])
def test_one_of_which_a_worker_misses_a_file_is_not_whole(tmp_path: Path, hurt: str) -> None:
    older = write(tmp_path, "1", step=10, num_workers=2)
    newer = write(tmp_path, "2", step=20, num_workers=2)
    whole = newest_whole(tmp_path)
    assert whole is not None and whole.folder == newer and whole.num_workers == 2
    (newer / hurt).unlink()
    left = newest_whole(tmp_path)
    assert left is not None and left.folder == older
    assert damaged(tmp_path) == [newer]


def test_one_whose_content_changed_is_not_whole(tmp_path: Path) -> None:
    folder = write(tmp_path, "1", step=10)
    (folder / "state-0.pt").write_bytes(b"\x0a\x01")
    assert newest_whole(tmp_path) is None and damaged(tmp_path) == [folder]
