"""A recipe's `loading` keeps the denoiser in fewer bits, by the libraries that people use."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from fairgen.backbones import load_backbone
from fairgen.base_model import fingerprint, is_same_base, storage_of
from pipelines.recipe.loading import LoadingConfig, check_loading, load_pipeline
from pipelines.recipe.loras import add_loras
from pipelines.recipe.sections import LoraConfig
from tests.families import tiny
from tests.painted import assert_same, ours, theirs
from tests.pipelines.recipe.test_loras import save_lora

pytestmark = pytest.mark.quantization
FAMILIES = ("SDXL", "FLUX.1 dev")


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a family's tiny pipeline, its denoiser beside it as a GGUF file."""
    folder = tmp_path_factory.mktemp("saved")
    pipe = tiny(request.param)
    pipe.save_pretrained(folder)
    writer = gguf.GGUFWriter(str(folder / "denoiser.gguf"), "flux")
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, tensor in load_backbone(pipe).denoiser.state_dict().items():
        values = tensor.numpy().astype(np.float32)
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


@pytest.mark.parametrize(
    ("loading", "storage"),
    [
        ({"quantization": "torchao-int8", "dtype": "bfloat16"}, "Int8Tensor, bfloat16"),
        ({"quantization": "torchao-fp8"}, "Float8Tensor, float32"),
        ({"quantization": "fp8-casting", "dtype": "bfloat16"}, "float8_e4m3fn, bfloat16"),
        ({"gguf_file": "denoiser.gguf"}, "Q8_0, float32"),
    ],
)
def test_a_base_loads_quantised_and_stays_the_same_base(
    saved: Path, loading: dict[str, str], storage: str
) -> None:
    if "gguf_file" in loading:
        loading = loading | {"gguf_file": str(saved / loading["gguf_file"])}
    plain = load_backbone(load_pipeline("base", str(saved), LoadingConfig())).denoiser
    pipe = load_pipeline("base", str(saved), LoadingConfig.model_validate(loading))
    backbone = load_backbone(pipe)
    assert storage_of(backbone.denoiser) == storage
    assert is_same_base(fingerprint(plain), fingerprint(backbone.denoiser))
    assert storage_of(pipe.text_encoder) == loading.get("dtype", "float32")  # the denoiser alone
    assert str(backbone.dtype) == f"torch.{loading.get('dtype', 'float32')}"


@pytest.mark.parametrize("quantization", ["torchao-int8", "torchao-fp8", "fp8-casting"])
def test_what_reads_weights_past_its_layers_stays_plain(tmp_path: Path, quantization: str) -> None:
    tiny("HunyuanDiT").save_pretrained(tmp_path)
    loading = LoadingConfig.model_validate({"quantization": quantization})
    pipe = load_pipeline("base", str(tmp_path), loading)
    backbone = load_backbone(pipe)
    assert storage_of(backbone.denoiser).endswith(", float32")
    pipe.set_progress_bar_config(disable=True)
    assert_same(ours(pipe), theirs(pipe), grey_levels=2)


def test_what_cannot_be_had_here_is_said_before_anything_is_loaded() -> None:
    with pytest.raises(ValueError, match=r"loading\.gguf_file: got 'no\.gguf', which is no file"):
        check_loading(LoadingConfig(gguf_file="no.gguf"))
    with pytest.raises(ValidationError, match="allowed is one of them"):
        LoadingConfig(gguf_file="no.gguf", quantization="torchao-int8")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"onto a GPU only; allowed without one are \['torch"):
            check_loading(LoadingConfig(quantization="bitsandbytes-4bit"))


def test_a_quantised_base_takes_a_lora_beside_its_weights(saved: Path, tmp_path: Path) -> None:
    bare = load_pipeline("base", str(saved), LoadingConfig())
    family = next(f for f in FAMILIES if type(tiny(f)) is type(bare))
    lora, options = LoraConfig(path=str(save_lora(family, tmp_path))), {"guidance_scale": 1.0}
    painted = []
    for loading in (
        {},
        {"quantization": "torchao-int8"},
        {"gguf_file": str(saved / "denoiser.gguf")},
    ):
        pipe = load_pipeline("base", str(saved), LoadingConfig.model_validate(loading))
        add_loras(pipe, [lora], fuse=not loading)
        painted.append(ours(pipe, **options))
    plain, *rounded = painted
    for picture in rounded:
        assert np.abs(plain - picture).mean() < np.abs(plain - ours(bare, **options)).mean() / 3


@pytest.mark.parametrize("quantization", ["torchao-int8", "torchao-fp8", "fp8-casting"])
def test_a_base_that_is_one_file_is_quantised_as_a_folder_is(
    saved: Path, quantization: Any, tmp_path: Path
) -> None:
    file = tmp_path / "model.safetensors"
    plain = load_backbone(load_pipeline("base", str(saved), LoadingConfig())).denoiser
    save_file(plain.state_dict(), file)
    folder = load_pipeline("base", str(saved), LoadingConfig(quantization=quantization))
    one = load_pipeline(
        "base", str(file), LoadingConfig(config=str(saved), quantization=quantization)
    )
    denoisers = [load_backbone(pipe).denoiser for pipe in (folder, one)]
    assert storage_of(denoisers[0]) == storage_of(denoisers[1])
    assert is_same_base(fingerprint(denoisers[1]), fingerprint(plain))
    assert np.array_equal(ours(folder), ours(one))
