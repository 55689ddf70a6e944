"""Tables that a run of the tests leaves: `--families FILE`, what every family does, and `--chaos
FILE`, what every fault has cost.
"""

import os
import re
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
import torch
from diffusers import StableDiffusionPipeline

from pipelines.benchmarks import markdown_table
from pipelines.ray_runtime import collect_rarely
from tests.families import FAMILIES, KIN
from tests.faults import Fault, FaultTable
from tests.tiny import tiny_pipeline

torch.set_num_threads(1)
collect_rarely()

# a busy machine is no bug, and the same commit shall not pass today and fail tomorrow
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")

COLUMNS = (
    "train", "bank equality", "engine equality", "register", "serve", "export", "import",
)  # fmt: skip
STORAGE_COLUMNS = ("same base", "bank equality", "engine equality", "train")
_HEAD = """# What every family does

`make families` fills this table from a run of the tests: a cell is a yes when all of its tests
passed, on a tiny pipeline of the family's real classes with random weights. Adapters of PixArt are
read by PEFT and ComfyUI, those of HunyuanDiT by PEFT: diffusers itself loads no LoRA into them.

On a GPU (`pytest -m gpu`; one H200, 2026-11-26) every family down to FLUX.1, the others have run on
CPUs only, does what it does on a CPU: the engine paints what the family's own pipeline paints,
mixed batches and learnt adapters equal a CPU's, training that was interrupted goes on the same, and
parts that wait in main memory (`cpu_offload`) paint the same. bf16 and fp16 train to finite losses
and paint; train in bf16, since fp16 loses small gradients (after two updates FLUX.1's error stood
at 0.99 to 1.00, in bf16 at 0.89 to 0.98).

How text enters, and where directions sit: always where the picture reads the prompt, so that what a
prompt does not speak of is not adapted. Fairness was measured on the embedded model alone, which is
of the first kind.

Not measured: Qwen-Image 2.1 and Kandinsky 5 as they are published. Their processors,
`Qwen3VLProcessor` and `Qwen2VLProcessor`, want torchvision, which is not among what these tests
install; the tiny pipelines have another processor of transformers, which reads text in the same
way.

| families | text enters by | directions sit on | not adapted |
|---|---|---|---|
| SD 1.x to 2.x, SDXL, PixArt, SANA | cross-attention | its projections | the picture's own attention |
| SD 3, SD 3.5, FLUX.1 | joint attention, a stream for text | the text stream's projections | the picture's stream; FLUX.1's single blocks |
| Qwen-Image | joint attention, a stream for text | the text stream's projections | the picture's stream; the template's head, which the pipeline cuts off |
| FLUX.2 klein | the same, then a slice of a fused layer | the text stream, and queries, keys and values of the text's positions | the picture's positions, the feed-forward, the template's head |
| FLUX.2 dev | the same | the same, at the prompt's tokens and what ends it | the picture's positions, the feed-forward, what fills a prompt up on the left, the message of the system |
| Z-Image | one sequence, the prompt behind the picture | attention at the prompt's positions, also where the prompt is refined alone | the picture's positions, what fills up, the template's head |
| Krea 2 | one sequence, the prompt before the picture | attention at the prompt's positions, also where the prompt is refined alone | the picture's positions, padding, the template's head, attention between the encoder's layers |
| AuraFlow | joint attention, then one sequence, the prompt before the picture | the text stream, and attention at the prompt's positions | the picture's positions, the register tokens, padding |
| Chroma | joint attention, a stream for text | the text stream's projections, at the tokens that its mask keeps: the prompt's and one of padding | the picture's stream, single blocks, the rest of padding |
| Lumina 2 | one sequence, the prompt before the picture | attention at the prompt's positions, also where the prompt is refined alone | the picture's positions, padding, the instruction before the prompt |
| HunyuanDiT | cross-attention to two encoders | its projections; keys and values at the prompt's tokens | the picture's own attention, the embeddings in place of padding, the pooled prompt |
| Kolors | cross-attention | its projections; keys and values at the prompt's tokens | the picture's own attention, what fills a prompt up on the left, the two tokens before every prompt, the pooled prompt |
| Qwen-Image 2.1 | one causal sequence, the prompt before the picture, as at time 0 at every step | attention at the prompt's positions | the picture's positions, the template's head |
| Kandinsky 5 | cross-attention, the prompt refined alone before it | its projections | attention inside the prompt and inside the picture, the template's head, which the pipeline cuts off, the pooled prompt |
| HiDream | joint attention, then one sequence, the prompt behind the picture; T5, and two layers of a language model a block | the text stream, and attention at the prompt's tokens of all three | the picture's positions, padding, the language model's first token, the pooled prompt |
| Ideogram 4 | one sequence, the prompt before the picture; no text in the transformer that guidance leads away from | attention at the prompt's positions, of the transformer that reads text | the picture's positions, padding, the template's head, the other transformer |

"""  # noqa: E501
_ABOVE = {
    "family": "",
    "option": """## What a pipeline may be told besides

`FairGenPipeline` with the options that a pipeline has. A yes says: each pass of the denoiser is
what it should be, row by row (those that read the prompt as with the adapter merged into the
weights, those that read the negative prompt bare), and with fairness off pictures are the plain
pipeline's, byte for byte. A dash: diffusers has no such pipeline for the family, or its own call
fails. IP-Adapters and `PeftModel` were tried on the families of the yeses only. What is compiled
runs uncompiled while adapters are on. Also refused, with the reason: an attention processor that
goes past a projection, a helper that passes over blocks (DeepCache, cache-dit), a callback that
exchanges the prompt's embedding, a denoiser that was exchanged after the adapters were loaded.

""",
    "storage": """## How the base model may be stored

Directions act in the type that a layer computes in. An adapter that was learnt on the plain base is
taken by a rounded or quantised one: norms and biases tell that they are one model, and the record
says how it is stored. Recipes: `loading: {quantization: torchao-int8}` (or `bitsandbytes-4bit`,
`bitsandbytes-8bit`, `torchao-fp8`, `fp8-casting`), `loading: {gguf_file: FILE}`. bitsandbytes loads
through diffusers onto a GPU only; here its layers are tested on a CPU.

""",
}


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
_APART = {  # a package of each extra that is installed apart
    re.compile(rf"^pytestmark = .*mark\.{extra}\b", re.MULTILINE): package
    for extra, package in (("quantization", "torchao"), ("faces", "dlib"))
}
_SLOW_MODULE = re.compile(r"^pytestmark = .*mark\.(slow|ray|browser|postgres)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out modules whose libraries are not there (`make test-quantization` and `make
    test-faces` bring them), and those that are slow as a whole out of a fast run: importing them
    takes seconds.
    """
    if collection_path.suffix != ".py":
        return None
    code = collection_path.read_text()
    if any(module.search(code) and not find_spec(package) for module, package in _APART.items()):
        return True
    return bool(config.option.markexpr == "fast" and _SLOW_MODULE.search(code)) or None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what needs a server or a cluster by its fixtures, and what is fast: rows of families
    that are much like others are not, and run with the slow tests.
    """
    fixtures = set(getattr(item, "fixturenames", ()))
    if fixtures & {"tracking_uri", "shared"}:
        item.add_marker("mlflow")
    if "cluster" in fixtures:
        item.add_marker("ray")
    values = getattr(item, "callspec", None) and item.callspec.params.values()
    is_kin = any(isinstance(value, str) and value in KIN for value in values or ())
    if not is_kin and not any(kind in item.keywords for kind in _SLOW_KINDS):
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
    """Collects, by table, row and column, whether every test of a cell has passed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[str, dict[tuple[str, str], set[str]]] = {
            name: defaultdict(set) for name in ("family", "option", "storage")
        }

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> object:
        report = yield
        params = getattr(getattr(item, "callspec", None), "params", {})
        family = params.get("family") or params.get("trained")
        if report.when == "call" or report.failed:
            for marker in item.iter_markers("cell"):
                what, *says = marker.args
                outcome = says[0] if says and report.passed else report.outcome
                if "option" in params:
                    self._outcomes["option"][params["option"], family].add(outcome)
                elif "storage" in params:
                    self._outcomes["storage"][params["storage"], what].add(outcome)
                elif family:
                    self._outcomes["family"][family, what].add(outcome)
        return report

    def pytest_sessionfinish(self) -> None:
        families = [
            name for name in FAMILIES if any(name in cell for cell in self._outcomes["option"])
        ]
        tables = {"family": COLUMNS, "option": families, "storage": STORAGE_COLUMNS}
        text = _HEAD
        for name, columns in tables.items():
            cells = self._outcomes[name]
            rows = [
                [row, *(self._cell(cells[row, column]) for column in columns)]
                for row in dict.fromkeys(row for row, _ in cells)
                if name != "family" or row in FAMILIES
            ]
            text += _ABOVE[name] + markdown_table([name, *columns], rows) + "\n"
        self._path.write_text(text.rstrip() + "\n")

    def _cell(self, outcomes: set[str]) -> str:
        if outcomes == {"passed"}:
            return "yes"
        return "failed" if "failed" in outcomes else "refused" if "refused" in outcomes else "-"


@pytest.fixture(params=["epsilon", "v_prediction"])
def any_pipe(request: pytest.FixtureRequest) -> StableDiffusionPipeline:
    """A fresh tiny pipeline of either prediction type."""
    return tiny_pipeline(request.param)


@pytest.fixture
def pipe() -> StableDiffusionPipeline:
    """A fresh tiny pipeline that predicts noise."""
    return tiny_pipeline()
