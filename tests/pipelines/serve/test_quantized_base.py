"""Champions that were learnt on a plain base are served by the same base, quantised."""

import base64
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.recipe import load_recipe
from tests.pipelines.endpoint import open_endpoint
from tests.pipelines.records import read_provenance
from tests.pipelines.registered import register_champions

pytestmark = pytest.mark.quantization


@pytest.mark.parametrize(
    "quantization", ["torchao-int8", pytest.param("fp8-casting", marks=pytest.mark.full)]
)
def test_a_quantised_base_serves_and_says_so(
    tracking_uri: str, make_recipe: Callable[..., Path], tmp_path: Path, quantization: str
) -> None:
    plain = load_recipe(make_recipe(tmp_path, name=f"base-{quantization}"))
    register_champions(tracking_uri, plain, tmp_path / "adapters", seed=1)
    loading = plain.loading.model_copy(update={"quantization": quantization})
    served = plain.model_copy(update={"loading": loading})
    with contextmanager(open_endpoint)(served, tracking_uri=tracking_uri) as endpoint:
        (woman,) = endpoint.generate(fairness={"gender": {"woman": 1.0}}, seed=3)
        (bare,) = endpoint.generate(fairness="off", seed=3)
    record = read_provenance(_content(woman))
    assert record is not None and [a.name for a in record.adapters] == [
        plain.registered_name("gender", "woman")
    ]
    assert record.storage == {"torchao-int8": "Int8Tensor, float32",
                              "fp8-casting": "float8_e4m3fn, float32"}[quantization]  # fmt: skip
    assert _content(woman) != _content(bare)


def _content(data: Any) -> bytes:
    return base64.b64decode(data.b64_json)
