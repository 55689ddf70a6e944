"""A saved codec decodes in the engine as in the family's own pipeline, field by field; what the
pipeline paints black for lack of precision is painted; the caller's codec is left as it was.
"""

import inspect
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    AutoencoderKLQwenImage21,
    AutoencoderTiny,
    ConsistencyDecoderVAE,
    DiffusionPipeline,
    ModelMixin,
)

from fairgen.backbones import load_backbone
from fairgen.backbones.codec import CODEC_FIELDS
from fairgen.engine import Engine, ImageJob
from tests.families import KINDS, SIZE_PX, size_of, tiny
from tests.families.codecs import dc
from tests.families.qwen_image import film_codec
from tests.families.qwen_image_21 import rgba_codec
from tests.painted import PROMPT, assert_same, ours, theirs

Config = Mapping[str, Any]
MEAN, DEVIATION = [-1.5, 2.0, -1.5, 2.5], [8.0, 6.0, 6.5, 5.0]
KL: Config = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (4, 8),
    "latent_channels": 4,
    "norm_num_groups": 2,
    "sample_size": SIZE_PX,
    "shift_factor": 0.1,
}
TINY: Config = {
    "encoder_block_out_channels": (8, 8),
    "decoder_block_out_channels": (8, 8),
    "num_encoder_blocks": (1, 1),
    "num_decoder_blocks": (1, 1),
}
VALUES: dict[type[ModelMixin], dict[str, Config]] = {
    AutoencoderKL: {
        "in_channels": {"in_channels": 4},
        "out_channels": {"out_channels": 4},
        "down_block_types": {"down_block_types": ("AttnDownEncoderBlock2D",) * 2},
        "up_block_types": {"up_block_types": ("AttnUpDecoderBlock2D",) * 2},
        "block_out_channels": {"block_out_channels": (8, 16)},
        "layers_per_block": {"layers_per_block": 2},
        "act_fn": {"act_fn": "gelu"},
        "latent_channels": {},
        "norm_num_groups": {"norm_num_groups": 1},
        "sample_size": {"sample_size": 8},
        "scaling_factor": {"scaling_factor": 0.13025},
        "shift_factor": {"shift_factor": 0.9},
        "latents_mean": {"latents_mean": MEAN, "latents_std": DEVIATION},
        "latents_std": {"latents_std": DEVIATION},
        "force_upcast": {"force_upcast": False},
        "use_quant_conv": {"use_quant_conv": False},
        "use_post_quant_conv": {"use_post_quant_conv": False},
        "mid_block_add_attention": {"mid_block_add_attention": False},
    },
    AutoencoderTiny: {
        "in_channels": {"in_channels": 4},
        "out_channels": {"out_channels": 4},
        "encoder_block_out_channels": {"encoder_block_out_channels": (16, 16)},
        "decoder_block_out_channels": {"decoder_block_out_channels": (16, 16)},
        "act_fn": {"act_fn": "silu"},
        "upsample_fn": {"upsample_fn": "bilinear"},
        "latent_channels": {},
        "upsampling_scaling_factor": {},
        "num_encoder_blocks": {"num_encoder_blocks": (2, 1)},
        "num_decoder_blocks": {"num_decoder_blocks": (2, 1)},
        "latent_magnitude": {"latent_magnitude": 5},
        "latent_shift": {"latent_shift": 0.1},
        "force_upcast": {"force_upcast": True},
        "scaling_factor": {"scaling_factor": 0.5},
        "shift_factor": {"shift_factor": 0.9},
    },
    AutoencoderDC: {
        "in_channels": {},
        "latent_channels": {},
        "attention_head_dim": {"attention_head_dim": 2},
        "encoder_block_types": {"encoder_block_types": "ResBlock"},
        "decoder_block_types": {"decoder_block_types": "ResBlock"},
        "encoder_block_out_channels": {"encoder_block_out_channels": (8, 8, 16)},
        "decoder_block_out_channels": {"decoder_block_out_channels": (8, 8, 16)},
        "encoder_layers_per_block": {"encoder_layers_per_block": (2, 1, 1)},
        "decoder_layers_per_block": {"decoder_layers_per_block": (2, 1, 1)},
        "encoder_qkv_multiscales": {"encoder_qkv_multiscales": ((), (), (3,))},
        "decoder_qkv_multiscales": {"decoder_qkv_multiscales": ((), (), (3,))},
        "upsample_block_type": {"upsample_block_type": "interpolate"},
        "downsample_block_type": {"downsample_block_type": "Conv"},
        "decoder_norm_types": {"decoder_norm_types": "batch_norm"},
        "decoder_act_fns": {"decoder_act_fns": "relu"},
        "encoder_out_shortcut": {"encoder_out_shortcut": False},
        "decoder_in_shortcut": {"decoder_in_shortcut": False},
        "decoder_conv_act_fn": {"decoder_conv_act_fn": "silu"},
        "scaling_factor": {"scaling_factor": 0.3},
    },
    AutoencoderKLFlux2: {
        "in_channels": {"in_channels": 4},
        "out_channels": {},
        "down_block_types": {"down_block_types": ("AttnDownEncoderBlock2D",) * 2},
        "up_block_types": {"up_block_types": ("AttnUpDecoderBlock2D",) * 2},
        "block_out_channels": {"block_out_channels": (8, 16)},
        "decoder_block_out_channels": {"decoder_block_out_channels": (8, 16)},
        "layers_per_block": {"layers_per_block": 2},
        "act_fn": {"act_fn": "gelu"},
        "latent_channels": {},
        "norm_num_groups": {"norm_num_groups": 1},
        "sample_size": {"sample_size": 8},
        "use_quant_conv": {"use_quant_conv": False},
        "use_post_quant_conv": {"use_post_quant_conv": False},
        "mid_block_add_attention": {"mid_block_add_attention": False},
        "batch_norm_eps": {"batch_norm_eps": 0.5},
        "batch_norm_momentum": {"batch_norm_momentum": 0.5},
        "patch_size": {"patch_size": (1, 4)},
    },
    AutoencoderKLQwenImage: {
        "base_dim": {"base_dim": 8},
        "z_dim": {},
        "dim_mult": {"dim_mult": [1, 3]},
        "num_res_blocks": {"num_res_blocks": 2},
        "attn_scales": {"attn_scales": [1.0]},
        "temperal_downsample": {"temperal_downsample": [True]},
        "dropout": {"dropout": 0.5},
        "input_channels": {"input_channels": 4},
        "latents_mean": {"latents_mean": MEAN},
        "latents_std": {"latents_std": DEVIATION},
    },
    AutoencoderKLQwenImage21: {
        "base_dim": {"base_dim": 8},
        "decoder_base_dim": {"decoder_base_dim": None, "base_dim": 8},
        "z_dim": {},
        "dim_mult": {"dim_mult": [2, 2]},
        "num_res_blocks": {"num_res_blocks": 2},
        "attn_scales": {"attn_scales": [1.0]},
        "temperal_downsample": {"temperal_downsample": [True]},
        "dropout": {"dropout": 0.5},
        "latents_mean": {"latents_mean": MEAN},
        "latents_std": {"latents_std": DEVIATION},
        "is_residual": {"is_residual": False},
        "in_channels": {"in_channels": 3},
        "out_channels": {"out_channels": 3},
        "patch_size": {"patch_size": 2, "out_channels": 16},
        "scale_factor_temporal": {"scale_factor_temporal": 4},
        "scale_factor_spatial": {"scale_factor_spatial": 8},
    },
}
LEAST: dict[type[ModelMixin], Config] = {
    AutoencoderKL: KL, AutoencoderTiny: TINY, AutoencoderDC: dict(dc().config),
    AutoencoderKLFlux2: {name: value for name, value in KL.items() if name != "shift_factor"},
    AutoencoderKLQwenImage: dict(film_codec().config),
    AutoencoderKLQwenImage21: dict(rgba_codec().config),
}  # fmt: skip
OF_KIND = {  # the families that decode with one; all others with the other two
    AutoencoderDC: ("SANA", "SANA-Sprint"), AutoencoderKLFlux2: ("FLUX.2 klein base",),
    AutoencoderKLQwenImage: ("Qwen-Image",), AutoencoderKLQwenImage21: ("Qwen-Image 2.1",),
}  # fmt: skip
# those that read more of a codec's configuration than others; with --full all
FIRST = ("SDXL", "FLUX.1 dev", "SANA", "FLUX.2 klein base", "Qwen-Image", "Qwen-Image 2.1")
CHANGES = [
    pytest.param(
        kind, field, family,
        id=f"{kind.__name__}-{field}-{family}",
        marks=() if family in FIRST else pytest.mark.full,
    )
    for kind, values in VALUES.items()
    for field in values
    for family in OF_KIND.get(kind, KINDS)
]  # fmt: skip


def with_codec(family: str, kind: type[ModelMixin], config: Config) -> DiffusionPipeline:
    """Return a tiny pipeline with another codec."""
    pipe = tiny(family)
    torch.manual_seed(1)
    pipe.vae = kind(**{**LEAST[kind], **config}).eval()
    return pipe


def overflowing(family: str, factor: float = 3e4) -> DiffusionPipeline:
    """Return a pipeline in half precision whose codec's first layer leaves its range."""
    pipe = tiny(family)
    with torch.no_grad():
        pipe.vae.decoder.conv_in.weight.mul_(factor)
        pipe.vae.decoder.conv_in.bias.fill_(2 * factor)
    return pipe.to(torch.float16)


@pytest.mark.parametrize("kind", CODEC_FIELDS)
def test_every_field_is_known(kind: type[ModelMixin]) -> None:
    parameters = set(inspect.signature(kind.__init__).parameters) - {"self"}
    assert parameters == CODEC_FIELDS[kind].names == VALUES[kind].keys()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "field", "family"), CHANGES)
def test_a_codec_s_field_is_followed(kind: type[ModelMixin], field: str, family: str) -> None:
    pipe = with_codec(family, kind, VALUES[kind][field])
    assert_same(ours(pipe), theirs(pipe))


@pytest.mark.parametrize("enable", ["enable_tiling", "enable_slicing"])
def test_a_codec_of_deep_compression_decodes_the_same_in_parts(enable: str) -> None:
    pipe = tiny("SANA")
    pipe.vae.tile_sample_min_height = pipe.vae.tile_sample_min_width = 16
    pipe.vae.tile_sample_stride_height = pipe.vae.tile_sample_stride_width = 12
    whole = theirs(pipe)
    getattr(pipe.vae, enable)()
    assert_same(ours(pipe), theirs(pipe))
    assert np.array_equal(whole, theirs(pipe)) == (enable == "enable_slicing")


@pytest.mark.parametrize(
    ("family", "codec", "allowed"),
    [
        ("SD 1.x", AutoencoderDC, "are AutoencoderKL, AutoencoderTiny"),
        ("SANA", AutoencoderKL, "is AutoencoderDC"),
        ("FLUX.2 klein", AutoencoderKL, "is AutoencoderKLFlux2"),
        ("Qwen-Image", AutoencoderKL, "is AutoencoderKLQwenImage"),
        ("Qwen-Image 2.1", AutoencoderKLQwenImage, "is AutoencoderKLQwenImage21"),
    ],
)
def test_a_codec_of_another_family_is_refused(
    family: str, codec: type[ModelMixin], allowed: str
) -> None:
    pipe = with_codec(family, codec, {})
    with pytest.raises(ValueError, match=rf"^vae: got {codec.__name__}, allowed {allowed}$"):
        Engine(load_backbone(pipe, size_of(pipe)))


@pytest.mark.parametrize("family", ["SD 1.x", "SDXL"])
@pytest.mark.parametrize("enable", ["enable_tiling", "enable_slicing"])
def test_a_codec_that_decodes_in_parts_decodes_the_same(family: str, enable: str) -> None:
    pipe = with_codec(family, AutoencoderKL, {"sample_size": 8})
    getattr(pipe.vae, enable)()
    assert_same(ours(pipe), theirs(pipe))


@pytest.mark.slow
@pytest.mark.parametrize("family", [*KINDS, "SANA", "SANA-Sprint", "FLUX.2 klein", "Qwen-Image"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_pictures_stay_those_of_the_pipeline(
    family: str, dtype: torch.dtype
) -> None:
    pipe = tiny(family).to(dtype)
    expected = theirs(pipe)
    assert np.abs(ours(pipe) - expected).mean() < 4  # of 255; latents are kept in fp32 here


@pytest.mark.parametrize("family", ["SD 1.x", "SDXL", "FLUX.1 dev", "SANA", "Qwen-Image"])
def test_a_codec_whose_weights_are_cast_layer_by_layer_decodes_as_the_pipeline_does(
    family: str,
) -> None:
    pipe = tiny(family)
    pipe.vae.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    assert_same(ours(pipe), theirs(pipe))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_codec_is_left_as_it_was(dtype: torch.dtype) -> None:
    pipe = overflowing("SDXL").to(dtype)
    first = theirs(pipe)
    before = [(t, t.detach().clone()) for t in pipe.vae.parameters()]
    ours(pipe)
    for parameter, (known, numbers) in zip(pipe.vae.parameters(), before, strict=True):
        assert parameter is known and parameter.dtype == dtype
        assert torch.equal(parameter, numbers) and parameter.stride() == numbers.stride()
    assert np.array_equal(theirs(pipe), first)
    latents = torch.randn(1, 4, 8, 8, dtype=dtype)
    assert pipe.vae.decode(latents).sample.requires_grad  # no weight is left of inference mode


@pytest.mark.parametrize("family", ["SDXL", "AuraFlow", "Kolors"])
def test_a_codec_that_says_it_overflows_decodes_in_fp32_where_the_pipeline_does(
    family: str, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = overflowing(family)
    painted = ours(pipe)
    assert "overflows in" not in caplog.text  # it was not tried in fp16 first
    assert pipe.vae.dtype == torch.float16  # AuraFlow's own pipeline leaves it in fp32
    assert_same(painted, theirs(pipe), grey_levels=8)  # its latents are of half precision


@pytest.mark.parametrize(
    "family", ["SD 1.x", "SDXL", "SD 3.5", "SANA", "FLUX.2 klein", "Qwen-Image", "Qwen-Image 2.1"]
)
def test_a_codec_that_overflows_in_half_precision_paints_no_black_picture(
    family: str, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = overflowing(family)
    if family == "SDXL":
        pipe.vae.register_to_config(force_upcast=False)
    assert theirs(pipe).max() == 0  # what diffusers delivers
    with caplog.at_level(logging.WARNING):
        engine = Engine(load_backbone(pipe, size_of(pipe)))
        jobs = [ImageJob(PROMPT, seed, num_steps=2) for seed in range(3)]
        painted = [np.asarray(image) for image in engine.paint(jobs) + engine.paint(jobs)]
    assert all(picture.std() > 5 for picture in painted)
    assert pipe.vae.dtype == torch.float16
    said = [record for record in caplog.records if "overflows in torch.float16" in record.message]
    assert len(said) == 1


def test_pixels_that_are_finite_in_no_precision_fail_their_picture_alone() -> None:
    pipe = tiny("SD 1.x")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.bias.fill_(float("nan"))
    engine = Engine(load_backbone(pipe, SIZE_PX))
    with pytest.raises(RuntimeError, match="picture 0: pixels are not finite, in float32 either"):
        engine.paint([ImageJob(PROMPT, 1, num_steps=1)])


def test_a_compiled_codec_decodes_as_it_does_bare() -> None:
    pipe = tiny("SD 1.x")
    bare = ours(pipe)
    pipe.vae = torch.compile(pipe.vae, backend="eager")
    assert_same(ours(pipe), bare)


def test_another_codec_is_refused_before_any_picture_is_asked() -> None:
    pipe = tiny("SD 1.x")
    pipe.vae = ConsistencyDecoderVAE(
        latent_channels=4,
        encoder_block_out_channels=(4, 8),
        encoder_down_block_types=("DownEncoderBlock2D",) * 2,
        encoder_layers_per_block=1,
        encoder_norm_num_groups=2,
        decoder_block_out_channels=(32, 32),
        decoder_down_block_types=("ResnetDownsampleBlock2D",) * 2,
        decoder_up_block_types=("ResnetUpsampleBlock2D",) * 2,
        decoder_layers_per_block=1,
    )
    with pytest.raises(ValueError, match=r"^vae: got ConsistencyDecoderVAE, allowed are Autoencod"):
        Engine(load_backbone(pipe, SIZE_PX))


def test_a_codec_of_other_latents_is_refused() -> None:
    pipe = tiny("SD 1.x")
    pipe.vae = AutoencoderKL(**{**KL, "latent_channels": 16})
    with pytest.raises(ValueError, match=r"^vae\.latent_channels: got 16, allowed is 4, which"):
        Engine(load_backbone(pipe, SIZE_PX))


def test_a_field_of_a_later_diffusers_is_refused_unless_it_is_at_its_default() -> None:
    class LaterAutoencoder(AutoencoderKL):
        def __init__(self, channel_order: str = "rgb", **config: Any) -> None:
            super().__init__(**config)
            self.register_to_config(channel_order=channel_order)

    fields = CODEC_FIELDS[AutoencoderKL]
    fields.check(LaterAutoencoder(**KL), "vae")
    with pytest.raises(ValueError, match=r"^vae\.channel_order: got 'bgr', allowed is 'rgb'"):
        fields.check(LaterAutoencoder(channel_order="bgr", **KL), "vae")
