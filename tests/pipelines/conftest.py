"""One Ray cluster and one MLflow server a session, and a recipe on a tiny random base model."""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from pipelines.recipe.bundled import expand_names
from tests.tiny import tiny_pipeline

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("MLFLOW_TRACKING_URI", None)
torch.set_num_threads(1)

SHIPPED = Path(__file__).parents[2] / "pipelines" / "recipes"


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """The session's Ray cluster."""
    from pipelines.ray_runtime.session import cluster_session

    with cluster_session():
        yield


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The session's MLflow server."""
    from pipelines.registry.tracking_server import tracking_server

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
    """Return a function that writes, into a folder, the shipped recipe with the tiny base, gender
    and age only, and the sections given.
    """

    def write(folder: Path, name: str = "tiny", **sections: dict) -> Path:
        content = expand_names(yaml.safe_load((SHIPPED / "portraits.yaml").read_text()))
        content |= {"name": name, "base": str(tiny_base), "preserve": [""]}
        content["attributes"] = [a for a in content["attributes"] if a["name"] != "skin"]
        content["thresholds"].pop("skin")
        for section in ("overrides", "joint_round", "joint_stages"):
            content.pop(section)
        content["evaluation"] |= {"target": {"gender": "uniform", "age": "uniform"}, "joints": []}
        content["concepts"] = {"train": ["doctor", "nurse", "firefighter", "teacher"]}
        content["discovery"] |= {"num_updates": 6, "num_rows": 4}
        content["jobs"] |= {"checkpoint_every": 2}
        content["registry"] = {"prefix": name, "experiment": name}
        content["evaluation"]["full"] = content["evaluation"]["quick"]
        content["second_judge"] = content["judge"]
        content["comparison"]["sweep"] = {"num_images": 2, "concepts": ["teacher"]}
        content["comparison"]["calibration"] = {"num_images": 8, "concepts": ["teacher"]}
        content["comparison"]["condition_concepts"] = ["doctor"]
        content["comparison"]["explicit"] = ["female {concept}"]
        sample = {"num_images": 4, "concepts": ["teacher"]}
        content["ablation"] |= {"attribute": "age", "sample": sample, "learning_sample": sample}
        content["ablation"]["settings"] = {"eta": [2.0], "on_policy": [False], "orth_weight": [0.1]}
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
