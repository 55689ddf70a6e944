"""Checkpoints that are checked before they are trusted: a disk that is full, or bad, cuts a file
short or changes it.

Each worker's part of a checkpoint is sealed with the SHA-256 of its files. A run goes on from the
newest checkpoint whose every part is whole.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

_FOLDERS = "checkpoint_*/"
_SEAL = "worker-{}.json"


class Seal(BaseModel):
    """What a worker has left in a checkpoint: its metrics, and each file's SHA-256 by its path
    within the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_workers: int
    metrics: dict[str, float]
    files: dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint, and how far training had come."""

    folder: Path
    num_workers: int
    metrics: dict[str, float]

    @property
    def step(self) -> int:
        return int(self.metrics["step"])


def seal(folder: Path, worker: int, num_workers: int, metrics: dict[str, float]) -> None:
    """Write down what a worker has put into a folder."""
    files = {
        str(path.relative_to(folder)): _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    found = Seal(num_workers=num_workers, metrics=metrics, files=files)
    (folder / _SEAL.format(worker)).write_text(found.model_dump_json())


def newest_whole(run: Path) -> Checkpoint | None:
    """Return the checkpoint of a run that has come furthest, of those that are whole."""
    found = [_whole(folder) for folder in run.glob(_FOLDERS)]
    return max((c for c in found if c), key=lambda checkpoint: checkpoint.step, default=None)


def damaged(run: Path) -> list[Path]:
    """Return the checkpoints of a run that cannot be trusted, by name."""
    return sorted(folder for folder in run.glob(_FOLDERS) if _whole(folder) is None)


def _whole(folder: Path) -> Checkpoint | None:
    """Return a checkpoint of which nothing is missing or changed."""
    try:
        first = _seal_of(folder, 0)
        seals = [first, *(_seal_of(folder, worker) for worker in range(1, first.num_workers))]
        for path, digest in (item for found in seals for item in found.files.items()):
            if _sha256(folder / path) != digest:
                return None
    except (OSError, ValidationError):
        return None
    return Checkpoint(folder, first.num_workers, first.metrics)


def _seal_of(folder: Path, worker: int) -> Seal:
    return Seal.model_validate_json((folder / _SEAL.format(worker)).read_bytes())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
