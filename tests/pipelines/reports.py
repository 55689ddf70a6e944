"""What a training job reports, kept, and equality of adapter folders: for the tests of resuming."""

import shutil
from pathlib import Path

import torch

from fairgen.adapters import load_adapter
from pipelines.training.job import Metrics


class Reports:
    """Keeps what a job reports, checkpoints copied."""

    def __init__(self, folder: Path) -> None:
        self.metrics: list[Metrics] = []
        self.checkpoints: dict[int, Path] = {}
        self._folder = folder

    def __call__(self, metrics: Metrics, checkpoint: Path | None) -> None:
        self.metrics.append(metrics)
        if checkpoint is not None:
            step = int(metrics["step"])
            self.checkpoints[step] = Path(shutil.copytree(checkpoint, self._folder / str(step)))


def assert_same_adapters(left: Path, right: Path, tolerance: float = 1e-6) -> None:
    """Assert that two folders hold the same adapters to a tolerance."""
    names = sorted(path.name for path in left.iterdir())
    assert names == sorted(path.name for path in right.iterdir())
    for name in names:
        ours, theirs = load_adapter(left / name).directions, load_adapter(right / name).directions
        assert ours.keys() == theirs.keys()
        for path, (down, up) in ours.items():
            torch.testing.assert_close(down, theirs[path][0], atol=tolerance, rtol=0)
            torch.testing.assert_close(up, theirs[path][1], atol=tolerance, rtol=0)
