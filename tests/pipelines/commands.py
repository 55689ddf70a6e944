"""The `fairgen` command as a user far from the cluster starts it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(folder: Path, *arguments: str, **changes: str | None) -> subprocess.Popen[str]:
    """Start `fairgen` in a folder; its output goes to a file there. `changes` are of its
    environment, None for what it shall not have.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
    with (folder / "output.txt").open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=folder,
            env={name: value for name, value in environment.items() if value is not None},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_interruptible,
        )


def output_of(folder: Path) -> str:
    """Return what commands have written that were started in a folder."""
    return (folder / "output.txt").read_text()


def _interruptible() -> None:
    """Take interrupts, which a run in the background ignores and would hand on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
