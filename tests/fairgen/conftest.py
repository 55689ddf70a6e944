"""Fixtures of the method's tests: the tiny pipeline, one a test, since a bank changes it."""

import pytest
import torch
from diffusers import StableDiffusionPipeline

from tests.tiny import tiny_pipeline

torch.set_num_threads(1)


@pytest.fixture(params=["epsilon", "v_prediction"])
def any_pipe(request: pytest.FixtureRequest) -> StableDiffusionPipeline:
    """A fresh tiny pipeline of either prediction type."""
    return tiny_pipeline(request.param)


@pytest.fixture
def pipe() -> StableDiffusionPipeline:
    """A fresh tiny pipeline that predicts noise."""
    return tiny_pipeline()
