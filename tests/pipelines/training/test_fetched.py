"""What a command has fetched goes with it, and after a kill with the next command."""

import subprocess
import sys
from pathlib import Path

from pipelines.training.fetched import scratch_folder

_HOLDS = """
import sys
from pathlib import Path
from pipelines.training.fetched import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "adapter").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_of_a_killed_command_is_removed_by_the_next_and_no_other(tmp_path: Path) -> None:
    def begin() -> tuple["subprocess.Popen[str]", Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLDS, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (killed, left), (alive, used) = begin(), begin()
    killed.kill()
    killed.communicate()
    assert (left / "adapter").exists()
    with scratch_folder(tmp_path) as own:
        assert own.is_dir() and (used / "adapter").exists() and not left.exists()
    alive.communicate("")
    assert list(tmp_path.iterdir()) == []
