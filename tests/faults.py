"""What went wrong on purpose, what its user saw, what was lost, how long it took: the table of
`make chaos`.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

COLUMNS = ("fault", "what is seen", "lost", "well again after")
NOTHING = "nothing"


@dataclass
class Fault:
    """One fault, told by the test that does it: `strikes` when it does, `over` when all is well
    again.
    """

    fault: str = ""
    seen: str = ""
    lost: str = NOTHING
    recover_s: float | None = None
    _struck: float = field(default=0.0, repr=False)

    def strikes(self, fault: str, seen: str, lost: str = NOTHING) -> None:
        """Say what happens now, what its user sees of it, and what is lost."""
        self.fault, self.seen, self.lost = fault, seen, lost
        self._struck = time.monotonic()

    @property
    def cells(self) -> tuple[str, ...]:
        """Its row under `COLUMNS`."""
        recovered = "-" if self.recover_s is None else f"{self.recover_s:g} s"
        return self.fault, self.seen, self.lost, recovered

    def over(self) -> None:
        """All is well again; only the first time counts."""
        if self.recover_s is None:
            self.recover_s = round(time.monotonic() - self._struck, 1)


class FaultTable:
    """Gathers the faults of the tests that passed; writes and prints them at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._faults: list[Fault] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._faults += [found for name, found in report.user_properties if name == "fault"]

    def pytest_sessionfinish(self) -> None:
        rows = [
            {name: value for name, value in asdict(found).items() if not name.startswith("_")}
            for found in self._faults
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"faults": rows}, indent=1) + "\n")

    def pytest_terminal_summary(self) -> None:
        table = Table(*COLUMNS, title="Faults")
        for found in self._faults:
            table.add_row(*found.cells)
        Console().print(table)
