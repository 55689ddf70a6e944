"""Adapters on disk: plain diffusers reads them as the bank does, and what is wrong is refused."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file

from fairgen.adapters import (
    WEIGHTS,
    Adapter,
    AdapterMetadata,
    load_adapter,
    save_adapter,
)
from fairgen.backbones import load_backbone
from fairgen.bank import AdapterBank
from fairgen.base_model import fingerprint, short
from tests.families import tiny
from tests.tiny import tiny_pipeline


def make_adapter(pipe: StableDiffusionPipeline, rank: int = 2, **fields: object) -> Adapter:
    """Return an adapter with directions large enough to see."""
    backbone = load_backbone(pipe)
    generator = torch.Generator().manual_seed(3)
    directions = {}
    for path in backbone.projections("qkvo"):
        layer = backbone.denoiser.get_submodule(path)
        down = torch.randn(rank, layer.in_features, generator=generator)
        directions[path] = (down, torch.randn(layer.out_features, rank, generator=generator))
    values = {
        "attribute": "gender", "category": "woman", "word": "female", "rank": rank, "alpha": rank,
        "base_fingerprint": fingerprint(backbone.denoiser), "eta": 2.0, "projections": "qkvo",
        "recipe_hash": "0123",
    }  # fmt: skip
    return Adapter(AdapterMetadata.model_validate(values | fields), directions)


def test_a_saved_adapter_comes_back(pipe: StableDiffusionPipeline, tmp_path: Path) -> None:
    adapter = make_adapter(pipe)
    save_adapter(adapter, tmp_path)
    loaded = load_adapter(tmp_path, fingerprint(pipe.unet))
    assert loaded.metadata == adapter.metadata and loaded.sha256 == adapter.sha256
    assert loaded.name == "gender-woman"
    for path, (down, up) in adapter.directions.items():
        assert torch.equal(loaded.directions[path][0], down)
        assert torch.equal(loaded.directions[path][1], up)


def test_folders_may_be_texts(pipe: StableDiffusionPipeline, tmp_path: Path) -> None:
    adapter, folder = make_adapter(pipe), str(tmp_path / "woman")
    assert save_adapter(adapter, folder) == tmp_path / "woman" / WEIGHTS
    assert load_adapter(folder).sha256 == adapter.sha256


@pytest.mark.parametrize("odd", ["not finite", "too large for fp32", "of another rank", "none"])
def test_directions_that_could_not_be_read_again_are_not_written(
    pipe: StableDiffusionPipeline, tmp_path: Path, odd: str
) -> None:
    adapter = make_adapter(pipe)
    path, (down, up) = next(iter(adapter.directions.items()))
    pairs = {
        "not finite": {path: (down * float("nan"), up)},
        "too large for fp32": {path: (down, up.double() * 1e300)},
        "of another rank": {path: (down[:1], up[:, :1])},
    }
    directions = adapter.directions | pairs[odd] if odd in pairs else {}
    with pytest.raises(
        ValueError, match=r"^directions of 'gender-woman': got .*and B of rank 2 in"
    ):
        save_adapter(Adapter(adapter.metadata, directions), tmp_path)
    assert not list(tmp_path.iterdir())


def test_directions_of_half_precision_are_written_as_fp32(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    adapter = make_adapter(pipe)
    halves = {path: (down.half(), up.half()) for path, (down, up) in adapter.directions.items()}
    save_adapter(Adapter(adapter.metadata, halves), tmp_path)
    for path, (down, _) in load_adapter(tmp_path).directions.items():
        assert torch.equal(down, halves[path][0].float())


def test_plain_diffusers_draws_what_the_bank_draws(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    adapter = make_adapter(pipe)
    save_adapter(adapter, tmp_path)
    options = {"num_inference_steps": 3, "output_type": "pt", "guidance_scale": 4.0}
    bank = AdapterBank(pipe.unet, list(adapter.directions))
    bank.add(adapter.name, adapter.directions)

    def draw(with_pipe: StableDiffusionPipeline) -> torch.Tensor:
        return with_pipe("a doctor", generator=torch.Generator().manual_seed(0), **options).images

    bare = draw(pipe)
    with bank.gated(torch.ones(2, 1)):  # other tools put a LoRA on both halves of guidance
        ours = draw(pipe)
    plain = tiny_pipeline()
    plain.load_lora_weights(tmp_path)
    torch.testing.assert_close(draw(plain), ours, atol=1e-4, rtol=1e-4)
    assert (ours - bare).abs().max() > 0.01


def test_the_fingerprint_survives_half_precision_and_a_lora_but_not_other_weights(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    before = fingerprint(pipe.unet)
    save_adapter(make_adapter(pipe), tmp_path)
    pipe.load_lora_weights(tmp_path)
    assert fingerprint(pipe.unet) == before
    assert fingerprint(tiny_pipeline().unet.half()) == before
    sibling = fingerprint(tiny_pipeline(seed=1).unet)
    assert sibling != before and sibling.split("-")[0] == before.split("-")[0]


def test_another_base_is_refused_with_both_fingerprints(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    save_adapter(make_adapter(pipe), tmp_path)
    other, ours = short(fingerprint(tiny_pipeline(seed=1).unet)), short(fingerprint(pipe.unet))
    with pytest.raises(
        ValueError, match=f"trained on base {ours}.*{other}.* same structure; .*sib"
    ):
        load_adapter(tmp_path, other)
    assert load_adapter(tmp_path, other, siblings=True).name == "gender-woman"
    wider = short(fingerprint(tiny("SDXL").unet))
    with pytest.raises(ValueError, match=f"trained on base {ours}.*{wider}$"):
        load_adapter(tmp_path, wider, siblings=True)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(
    pipe: StableDiffusionPipeline, tmp_path: Path, kept: float
) -> None:
    file = save_adapter(make_adapter(pipe), tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match="corrupted"):
        load_adapter(tmp_path)


def test_a_flipped_bit_in_the_weights_is_refused(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    file = save_adapter(make_adapter(pipe), tmp_path)
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="corrupted, the weights' checksum"):
        load_adapter(tmp_path)


def test_swapped_metadata_and_foreign_files_are_refused(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    file = save_adapter(make_adapter(pipe), tmp_path)
    with safe_open(file, framework="pt") as stored:
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    save_file(tensors, file, metadata={"fairgen": '{"attribute": "gender"}'})
    with pytest.raises(ValueError, match="corrupted, its metadata is not what was written"):
        load_adapter(tmp_path)
    save_file(tensors, file)
    with pytest.raises(ValueError, match="no FairGen adapter"):
        load_adapter(tmp_path)


def test_half_a_pair_of_directions_is_refused(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    file = save_adapter(make_adapter(pipe), tmp_path)
    with safe_open(file, framework="pt") as stored:
        header = stored.metadata()
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    lost = next(key for key in tensors if "lora_B" in key)
    del tensors[lost]
    save_file(tensors, file, metadata=header)
    with pytest.raises(ValueError, match=f"corrupted, {lost} is missing or stands alone"):
        load_adapter(tmp_path)


def test_an_alpha_that_scales_is_refused(pipe: StableDiffusionPipeline) -> None:
    with pytest.raises(ValidationError, match="alpha: got 4, allowed is the rank, 2"):
        make_adapter(pipe, rank=2, alpha=4)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_lora_weights.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match="pickles are never read"):
        load_adapter(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"\x80\x04\x95pickle")
    with pytest.raises(ValueError, match="corrupted, no readable safetensors"):
        load_adapter(tmp_path)
    with pytest.raises(ValueError, match="holds no pytorch_lora_weights"):
        load_adapter(tmp_path / "nowhere")
