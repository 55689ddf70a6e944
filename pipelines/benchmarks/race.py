"""`make bench AGAINST=REV`: this build and an older commit of it by turns, in one environment."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from pipelines.files import write

_SIDE = Path(__file__).parent / "race_side.py"
_HERE = Path(__file__).parents[2]
_LOOK_EVERY_S = 0.2
_ENDS_S = 30.0
_RECIPE, _SHORTENED = "portraits", "portraits-quick"
MEANING = {
    "engine_images_per_s": "24 pictures at once with three adapters each, the recipe's sampling",
    "engine_images_per_s_of_8": "the same, 8 at once",
    "lone_picture_s": "one picture with three adapters, alone",
    "updates_per_s": "updates of the recipe's first attribute",
    "train_all_s": "`fairgen train-all portraits-quick` as a whole",
    "train_memory": "the most memory that all its processes held at once",
    "whole_train_all_s": "`fairgen train-all portraits`, each build with its own recipe",
    "whole_train_memory": "the most memory that all its processes held at once",
}


@dataclass(frozen=True)
class RaceSize:
    """How often each thing is done, after one round that warms up, and `train-all`, if at all: the
    shortened one and, in half an hour, the `whole`; how many pictures two of the figures paint at
    once.
    """

    rounds: int = 9
    many: int = 24
    few: int = 8
    train_rounds: int = 1
    whole: bool = False


@dataclass(frozen=True)
class Ratio:
    """The new build's figure over the old one's: the median of rounds, the quartiles around it."""

    median: float
    lower: float
    upper: float
    rounds: int

    @classmethod
    def of(cls, ratios: Sequence[float]) -> "Ratio":
        if len(ratios) < 2:
            return cls(ratios[0], ratios[0], ratios[0], 1)
        lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(median, lower, upper, len(ratios))


def race(revision: str, size: RaceSize = RaceSize()) -> dict[str, Any]:
    """Return the ratios against a commit, with its full name.

    Raises ValueError for a revision that this clone does not have.
    """
    with ExitStack() as stack:
        old, commit = stack.enter_context(_worktree(revision))
        builds = {"new": _HERE, "old": old}
        ratios = _in_process(builds, size)
        runs = [_train_all(builds, _SHORTENED) for _ in range(size.train_rounds)]
        if runs:
            seconds, memory = zip(*runs, strict=True)
            ratios |= {"train_all_s": Ratio.of(seconds), "train_memory": Ratio.of(memory)}
        if size.whole:
            whole_s, whole_memory = _train_all(builds, _RECIPE)
            ratios |= {
                "whole_train_all_s": Ratio.of([whole_s]),
                "whole_train_memory": Ratio.of([whole_memory]),
            }
        figures = {name: vars(ratio) for name, ratio in ratios.items()}
        return {"commit": commit, **figures}


def write_race(found: Mapping[str, Any], out: Path) -> None:
    """Put the ratios below `against` into a JSON file of figures, beside what it holds."""
    known = json.loads(out.read_text()) if out.is_file() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread a process",
    }
    write(out, json.dumps(known | {"against": about | dict(found)}, indent=2) + "\n")


def race_table(found: Mapping[str, Any]) -> Table:
    """Return the terminal's table."""
    table = Table(title=f"This build over {found['commit'][:12]}, by turns in one run")
    for heading in ("figure", "ratio", "quartiles", "rounds", "meaning"):
        table.add_column(heading)
    for name, meaning in MEANING.items():
        if name in found:
            ratio = Ratio(**found[name])
            spread = f"{ratio.lower:.2f} to {ratio.upper:.2f}"
            table.add_row(name, f"{ratio.median:.2f}", spread, str(ratio.rounds), meaning)
    return table


@contextmanager
def _worktree(revision: str) -> Iterator[tuple[Path, str]]:
    """Yield a folder with a commit's files, and its full name; afterwards it is gone."""
    git = ["git", "-C", str(_HERE)]
    named = subprocess.run(
        [*git, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"],
        capture_output=True,
        text=True,
    )
    if named.returncode:
        raise ValueError(f"against: got {revision!r}, allowed is a commit that this clone has")
    commit = named.stdout.strip()
    with tempfile.TemporaryDirectory(prefix="fairgen-race-") as scratch:
        folder = Path(scratch) / "old"
        subprocess.run(
            [*git, "worktree", "add", "--quiet", "--detach", str(folder), commit], check=True
        )
        try:
            yield folder, commit
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(folder)], check=True)


def _environment(build: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(build), "OMP_NUM_THREADS": "1", **more}


class _Runner:
    """A build's process, which does one thing at a time."""

    def __init__(self, build: Path) -> None:
        path = build / "pipelines" / "recipes" / f"{_RECIPE}.yaml"
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_SIDE), str(path)],
            cwd=build,
            env=_environment(build),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def seconds(self, line: str) -> float:
        """Return how long a line's work takes. Raises RuntimeError where it fails."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the build has ended"}')
        if "error" in answer:
            raise RuntimeError(f"{line}: {answer['error']}")
        return float(answer["seconds"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _in_process(builds: Mapping[str, Path], size: RaceSize) -> dict[str, Ratio]:
    """Return the ratios of what each build does in a process of its own, by turns."""
    lines = {
        "engine_images_per_s": f"engine {size.many}",
        "engine_images_per_s_of_8": f"engine {size.few}",
        "lone_picture_s": "engine 1",
        "updates_per_s": "update",
    }
    found = {}
    with ExitStack() as stack:
        runners = {name: _Runner(build) for name, build in builds.items()}
        for runner in runners.values():
            stack.callback(runner.close)
        for figure, line in lines.items():
            ratios = []
            for turn in range(size.rounds + 1):
                order = ("new", "old") if turn % 2 else ("old", "new")
                taken = {name: runners[name].seconds(line) for name in order}
                ratio = taken["new"] / taken["old"]
                if turn:  # the first warms up
                    ratios.append(1 / ratio if "_per_s" in figure else ratio)
            found[figure] = Ratio.of(ratios)
    return found


def _train_all(builds: Mapping[str, Path], recipe: str) -> tuple[float, float]:
    """Return the ratios of seconds and of memory of a `train-all`, set-up of Ray and MLflow
    included.
    """
    taken = {name: _one_train_all(build, recipe) for name, build in builds.items()}
    (new_s, new_bytes), (old_s, old_bytes) = taken["new"], taken["old"]
    return new_s / old_s, new_bytes / old_bytes


def _one_train_all(build: Path, recipe: str) -> tuple[float, int]:
    """Return seconds and peak bytes (proportional set size) of a run into a folder of its own."""
    path = build / "pipelines" / "recipes" / f"{recipe}.yaml"
    program = f"from pipelines.cli{_app_of(build)} import app; app()"
    with tempfile.TemporaryDirectory(prefix="fairgen-race-") as home:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", program, "train-all", str(path)],
            cwd=build,
            env=_environment(build, FAIRGEN_HOME=home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, _bytes_below(process.pid))
            time.sleep(_LOOK_EVERY_S)
        taken = time.monotonic() - started
        if process.returncode:
            assert process.stderr is not None
            raise RuntimeError(f"train-all: {process.stderr.read()[-500:]}")
    return taken, peak


def _app_of(build: Path) -> str:
    return ".app" if (build / "pipelines" / "cli" / "app.py").is_file() else ""


def _bytes_below(pid: int) -> int:
    """Return the memory of a process and all below it; what they share is counted once."""
    total = 0
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total
