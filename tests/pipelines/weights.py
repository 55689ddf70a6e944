"""Equality of adapter folders, for the tests of resuming."""

from pathlib import Path

import torch

from fairgen.adapters import load_adapter


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
