"""Tables that a run of the tests leaves: `--families FILE`, what every family does, and `--chaos
FILE`, what every fault has cost.
"""

import os
import re
from collections import defaultdict
from pathlib import Path

import hypothesis
import pytest
import torch
from diffusers import StableDiffusionPipeline

from pipelines.benchmarks import markdown_table
from tests.faults import Fault, FaultTable
from tests.tiny import tiny_pipeline

torch.set_num_threads(1)

# a busy machine is no bug, and the same commit shall not pass today and fail tomorrow
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")

COLUMNS = (
    "train", "bank equality", "engine equality", "register", "serve", "export", "import",
)  # fmt: skip
_HEAD = """# What every family does

`make families` fills this table from a run of the tests: a cell is a yes when all of its tests
passed, on a tiny pipeline of the family's real classes with random weights. Adapters of PixArt are
read by PEFT and ComfyUI: diffusers itself loads no LoRA into it.

On a GPU (`pytest -m gpu`; one H200, 2026-11-26) every family does what it does on a CPU: the engine
paints what the family's own pipeline paints, mixed batches and learnt adapters equal a CPU's,
training that was interrupted goes on the same, and parts that wait in main memory (`cpu_offload`)
paint the same. bf16 and fp16 train to finite losses and paint; train in bf16, since fp16 loses
small gradients (after two updates FLUX.1's error stood at 0.99 to 1.00, in bf16 at 0.89 to 0.98).

"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--families", type=Path, help="The Markdown file to write.")
    parser.addoption("--chaos", type=Path, help="The JSON file to write.")
    parser.addoption("--full", action="store_true", help="Take the time that a fault takes.")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--families"):
        config.pluginmanager.register(FamiliesTable(path), "families-table")
    if path := config.getoption("--chaos"):
        config.pluginmanager.register(FaultTable(path), "fault-table")


_SLOW_KINDS = ("browser", "ray", "mlflow", "postgres", "slow")
_SLOW_MODULE = re.compile(r"^pytestmark = .*mark\.(slow|ray|browser|postgres)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave modules that are slow as a whole out of a fast run: importing them takes seconds."""
    if config.option.markexpr != "fast" or collection_path.suffix != ".py":
        return None
    return bool(_SLOW_MODULE.search(collection_path.read_text())) or None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what needs a server or a cluster by its fixtures, and what is fast."""
    fixtures = set(getattr(item, "fixturenames", ()))
    if fixtures & {"tracking_uri", "shared"}:
        item.add_marker("mlflow")
    if "cluster" in fixtures:
        item.add_marker("ray")
    if not any(kind in item.keywords for kind in _SLOW_KINDS):
        item.add_marker("fast")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the fast ones first, and then the longest: those on clusters of their own, and those that
    share the session's.
    """
    if not config.getoption("--full"):
        unwanted = [item for item in items if "full" in item.keywords]
        items[:] = [item for item in items if "full" not in item.keywords]
        config.hook.pytest_deselected(items=unwanted)

    def turn(item: pytest.Item) -> tuple[bool, ...]:
        shares = "cluster" in getattr(item, "fixturenames", ())
        return "fast" not in item.keywords, "ray" not in item.keywords, shares

    items.sort(key=turn)


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Fault:
    """What the test tells of the fault that it does."""
    found = Fault()
    if request.config.getoption("--chaos"):  # a property that other processes could not be sent
        request.node.user_properties.append(("fault", found))
    return found


@pytest.fixture(scope="session")
def outage_s(request: pytest.FixtureRequest) -> float:
    """How long something is away."""
    return 300.0 if request.config.getoption("--full") else 6.0


class FamiliesTable:
    """Collects, by family and column, whether every test of a cell has passed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[tuple[str, str], set[str]] = defaultdict(set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> object:
        report = yield
        callspec = getattr(item, "callspec", None)
        family = callspec and (callspec.params.get("family") or callspec.params.get("trained"))
        if family and (report.when == "call" or report.failed):
            for marker in item.iter_markers("cell"):
                self._outcomes[family, marker.args[0]].add(report.outcome)
        return report

    def pytest_sessionfinish(self) -> None:
        families = list(dict.fromkeys(family for family, _ in self._outcomes))
        rows = [
            [family, *(self._cell(self._outcomes[family, column]) for column in COLUMNS)]
            for family in families
        ]
        self._path.write_text(_HEAD + markdown_table(["family", *COLUMNS], rows))

    def _cell(self, outcomes: set[str]) -> str:
        return "yes" if outcomes == {"passed"} else "failed" if "failed" in outcomes else "-"


@pytest.fixture(params=["epsilon", "v_prediction"])
def any_pipe(request: pytest.FixtureRequest) -> StableDiffusionPipeline:
    """A fresh tiny pipeline of either prediction type."""
    return tiny_pipeline(request.param)


@pytest.fixture
def pipe() -> StableDiffusionPipeline:
    """A fresh tiny pipeline that predicts noise."""
    return tiny_pipeline()
