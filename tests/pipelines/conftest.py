"""One Ray cluster and one MLflow server a session, and a recipe on a tiny random base model."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
import yaml

from pipelines.recipe import expand_names
from tests.tiny import tiny_pipeline

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["HF_HUB_OFFLINE"] = "1"  # for processes that are started
huggingface_hub.constants.HF_HUB_OFFLINE = True  # for this one, which has read it
os.environ.pop("MLFLOW_TRACKING_URI", None)
torch.set_num_threads(1)

SHIPPED = Path(__file__).parents[2] / "pipelines" / "recipes"
TINY = Path(__file__).parent / "tiny.yaml"


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """The session's Ray cluster."""
    from pipelines.ray_runtime.session import cluster_session

    with cluster_session():
        yield


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The session's MLflow server."""
    from pipelines.registry.local_server import tracking_server

    with tracking_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Stable Diffusion pipeline."""
    folder = tmp_path_factory.mktemp("tiny-base")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_recipe(tiny_base: Path) -> Callable[..., Path]:
    """Return a function that writes `tiny.yaml` into a folder, with the tiny base model and the
    sections given, and of its attributes those in `only`.
    """

    def write(
        folder: Path, name: str = "tiny", only: Sequence[str] = ("gender", "age"), **sections: dict
    ) -> Path:
        content = expand_names(yaml.safe_load(TINY.read_text()))
        content["attributes"] = [a for a in content["attributes"] if a["name"] in only]
        for of_each in (content["thresholds"], content["evaluation"]["target"]):
            for attribute in set(of_each) - set(only):
                del of_each[attribute]
        if content["ablation"]["attribute"] not in only:
            del content["ablation"]
        content |= {"name": name, "base": str(tiny_base)}
        content["registry"] = {"prefix": name, "experiment": name}
        for section, values in sections.items():
            content[section] = content.get(section, {}) | values
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def write_recipe(make_recipe: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Return `make_recipe` into the test's own folder."""
    return functools.partial(make_recipe, tmp_path)
