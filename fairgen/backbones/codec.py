"""From clean latents to pixels and pictures, as each family's own pipeline decodes them."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import ClassVar

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    AutoencoderKLQwenImage21,
    AutoencoderTiny,
    DiffusionPipeline,
    ModelMixin,
)
from diffusers.models.modeling_utils import get_parameter_dtype
from diffusers.utils.torch_utils import unwrap_module
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from fairgen.solvers import SavedFields

log = logging.getLogger(__name__)
# `latents_mean`, `latents_std`, `force_upcast` and `shift_factor` count in the families whose
# pipelines read them; `sample_size` counts where decoding is tiled
CODEC_FIELDS: Mapping[type[ModelMixin], SavedFields] = MappingProxyType({
    AutoencoderKL: SavedFields(
        followed=frozenset({
            "out_channels", "up_block_types", "block_out_channels", "layers_per_block", "act_fn",
            "latent_channels", "norm_num_groups", "sample_size", "scaling_factor", "shift_factor",
            "latents_mean", "latents_std", "force_upcast", "use_post_quant_conv",
            "mid_block_add_attention",
        }),
        unused=frozenset({"in_channels", "down_block_types", "use_quant_conv"}),
    ),
    AutoencoderKLFlux2: SavedFields(
        followed=frozenset({
            "out_channels", "up_block_types", "block_out_channels", "decoder_block_out_channels",
            "layers_per_block", "act_fn", "latent_channels", "norm_num_groups", "sample_size",
            "use_post_quant_conv", "mid_block_add_attention", "batch_norm_eps", "patch_size",
        }),
        unused=frozenset({
            "in_channels", "down_block_types", "use_quant_conv", "batch_norm_momentum",
        }),
    ),
    AutoencoderKLQwenImage: SavedFields(
        followed=frozenset({
            "base_dim", "z_dim", "dim_mult", "num_res_blocks", "temperal_downsample",
            "input_channels", "latents_mean", "latents_std",
        }),
        unused=frozenset({"attn_scales", "dropout"}),
    ),
    AutoencoderKLQwenImage21: SavedFields(
        followed=frozenset({
            "base_dim", "decoder_base_dim", "z_dim", "dim_mult", "num_res_blocks",
            "temperal_downsample", "is_residual", "out_channels", "patch_size",
            "scale_factor_spatial", "latents_mean", "latents_std",
        }),
        unused=frozenset({"attn_scales", "dropout", "in_channels", "scale_factor_temporal"}),
    ),
    AutoencoderTiny: SavedFields(
        followed=frozenset({
            "out_channels", "decoder_block_out_channels", "act_fn", "upsample_fn",
            "latent_channels", "upsampling_scaling_factor", "num_decoder_blocks", "scaling_factor",
            "shift_factor",
        }),
        unused=frozenset({
            "in_channels", "encoder_block_out_channels", "num_encoder_blocks", "latent_magnitude",
            "latent_shift", "force_upcast",
        }),
    ),
    AutoencoderDC: SavedFields(
        followed=frozenset({
            "in_channels", "latent_channels", "attention_head_dim", "decoder_block_types",
            "decoder_block_out_channels", "decoder_layers_per_block", "decoder_qkv_multiscales",
            "upsample_block_type", "decoder_norm_types", "decoder_act_fns", "decoder_in_shortcut",
            "decoder_conv_act_fn", "scaling_factor",
        }),
        unused=frozenset({
            "encoder_block_types", "encoder_block_out_channels", "encoder_layers_per_block",
            "encoder_qkv_multiscales", "downsample_block_type", "encoder_out_shortcut",
        }),
    ),
})  # fmt: skip


class Codec:
    """Decodes with a pipeline's `vae`, which stays as it is; one thread uses it.

    This is how PixArt decodes: latents are divided by `scaling_factor`, and what else the
    configuration says of latents is left out. `kinds` are the classes that are known.
    """

    kinds: ClassVar[tuple[type[ModelMixin], ...]] = (AutoencoderKL, AutoencoderTiny)
    channels_field: ClassVar[str] = "latent_channels"
    denormalizes_always = False

    def __init__(self, pipe: DiffusionPipeline) -> None:
        self._pipe = pipe
        self._has_overflown = False

    @property
    def vae(self) -> ModelMixin:
        """The pipeline's own."""
        return self._pipe.vae

    def check(self, num_latent_channels: int) -> None:
        """Raise ValueError for a codec that decodes otherwise, or other latents."""
        vae = unwrap_module(self.vae)  # where it is compiled
        kind = type(vae)  # of a subclass nobody knows what it does
        if kind not in self.kinds:
            names = ", ".join(known.__name__ for known in self.kinds)
            verb = "is" if len(self.kinds) == 1 else "are"
            raise ValueError(f"vae: got {kind.__name__}, allowed {verb} {names}")
        CODEC_FIELDS[kind].check(vae, "vae")
        if (got := vae.config[self.channels_field]) != num_latent_channels:
            raise ValueError(
                f"vae.{self.channels_field}: got {got}, allowed is {num_latent_channels}, "
                "which the denoiser paints"
            )

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return the pixels of clean latents N x C x h x w, N x 3 x H x W from -1 to 1, or N x 4
        with an alpha channel.

        Pictures that a codec in half precision cannot hold are decoded again in fp32; the first is
        logged. Raises ValueError where pixels are not finite in fp32 either.
        """
        clean, dtype = self._unscaled(latents), get_parameter_dtype(self.vae)
        if self._wants_fp32(dtype):
            return self._decode_in_fp32(clean)
        pixels = self._decode(clean.to(dtype))
        overflown = ~pixels.flatten(1).isfinite().all(1)
        if not bool(overflown.any()):
            return pixels
        if not self._has_overflown and dtype != torch.float32:
            self._has_overflown = True
            log.warning(
                "the codec overflows in %s: pictures where it does are decoded in float32", dtype
            )
        pixels = pixels.float()
        pixels[overflown] = self._decode_in_fp32(clean[overflown])
        return pixels

    @property
    def draws_latents(self) -> bool:
        """Whether it says of a picture which latents are likely, not which they are."""
        return isinstance(unwrap_module(self.vae), AutoencoderKL | AutoencoderKLQwenImage)

    @torch.inference_mode()
    def encode(self, image: Image.Image, generators: Sequence[torch.Generator]) -> Tensor:
        """Return clean latents of a picture, N x C x h x w: one a generator, drawn from what the
        codec says of it, as the family's own img2img pipeline draws them.

        Raises ValueError where they are not finite in fp32 either.
        """
        pixels = self._pipe.image_processor.preprocess(image).to(self._pipe._execution_device)
        dtype = get_parameter_dtype(self.vae)
        if not self._wants_fp32(dtype):
            latents = self._drawn(pixels.to(dtype), generators).float()
            if bool(latents.isfinite().all()):
                return self._scaled(latents)
        with _in_fp32(self.vae):
            latents = self._drawn(pixels.float(), generators)
        if not bool(latents.isfinite().all()):
            raise ValueError("latents are not finite, in float32 either")
        return self._scaled(latents)

    def pictures(self, pixels: Tensor, flagged: Sequence[bool] | None = None) -> list[Image.Image]:
        """Return pixels as pictures; those that a safety checker flagged are black."""
        shown = None if flagged is None else [not flag for flag in flagged]
        if shown is None and self.denormalizes_always:
            shown = [True] * len(pixels)
        return self._pipe.image_processor.postprocess(pixels, "pil", do_denormalize=shown)

    def _unscaled(self, latents: Tensor) -> Tensor:
        """Return latents as the codec takes them."""
        return latents / self.vae.config.scaling_factor

    def _scaled(self, latents: Tensor) -> Tensor:
        """Return the codec's latents as the denoiser takes them."""
        return latents * self.vae.config.scaling_factor

    def _drawn(self, pixels: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return latents of one picture, as many as generators; a codec that says one of each
        picture draws nothing.
        """
        encoded = self.vae.encode(pixels)
        if not self.draws_latents:
            return encoded.latents.repeat(len(generators), 1, 1, 1)
        return torch.cat([encoded.latent_dist.sample(generator) for generator in generators])

    def _wants_fp32(self, dtype: torch.dtype) -> bool:
        """Return whether the family's pipeline decodes in fp32 whatever the weights are."""
        return False

    def _decode(self, clean: Tensor) -> Tensor:
        return self.vae.decode(clean, return_dict=False)[0]

    def _decode_in_fp32(self, clean: Tensor) -> Tensor:
        with _in_fp32(self.vae):
            pixels = self._decode(clean.float())
        if not bool(pixels.isfinite().all()):
            raise ValueError("pixels are not finite, in float32 either")
        return pixels


class DeepCodec(Codec):
    """Decodes with a deep compression autoencoder (arXiv 2410.10733), which says one of each
    picture.
    """

    kinds = (AutoencoderDC,)

    def _drawn(self, pixels: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        return self.vae.encode(pixels).latent.repeat(len(generators), 1, 1, 1)


class PlainCodec(Codec):
    """Decodes as Stable Diffusion 1.x and 2.x do: pixels lie around 0, whatever the image processor
    is set to.
    """

    denormalizes_always = True


class UpcastingCodec(Codec):
    """Decodes as AuraFlow does: in fp32 where the codec says that it overflows in fp16."""

    def _wants_fp32(self, dtype: torch.dtype) -> bool:
        return dtype == torch.float16 and bool(self.vae.config.force_upcast)


class NormalizingCodec(UpcastingCodec):
    """Decodes as Stable Diffusion XL does: besides with the latents' mean and deviation where both
    are given, and with the pipeline's watermark.
    """

    def pictures(self, pixels: Tensor, flagged: Sequence[bool] | None = None) -> list[Image.Image]:
        """Return pixels as pictures, with the pipeline's watermark if it has one."""
        watermark = getattr(self._pipe, "watermark", None)
        marked = pixels if watermark is None else watermark.apply_watermark(pixels)
        return super().pictures(marked, flagged)

    def _unscaled(self, latents: Tensor) -> Tensor:
        if (known := self._mean_and_deviation(latents)) is None:
            return super()._unscaled(latents)
        mean_C11, deviation_C11 = known
        return latents * deviation_C11 / self.vae.config.scaling_factor + mean_C11

    def _scaled(self, latents: Tensor) -> Tensor:
        if (known := self._mean_and_deviation(latents)) is None:
            return super()._scaled(latents)
        mean_C11, deviation_C11 = known
        return (latents - mean_C11) * self.vae.config.scaling_factor / deviation_C11

    def _mean_and_deviation(self, latents: Tensor) -> tuple[Tensor, Tensor] | None:
        config = self.vae.config
        mean, deviation = config.get("latents_mean"), config.get("latents_std")
        if mean is None or deviation is None:
            return None
        mean_C11, deviation_C11 = (
            torch.tensor(values).view(-1, 1, 1).to(latents) for values in (mean, deviation)
        )
        return mean_C11, deviation_C11


class ShiftingCodec(Codec):
    """Decodes as Stable Diffusion 3 and FLUX do: latents are scaled, then shifted."""

    def check(self, num_latent_channels: int) -> None:
        """Raise ValueError for a codec that decodes otherwise, or without a shift."""
        super().check(num_latent_channels)
        if self.vae.config.get("shift_factor") is None:
            raise ValueError("vae.shift_factor: got None, allowed is a number")

    def _unscaled(self, latents: Tensor) -> Tensor:
        return super()._unscaled(latents) + self.vae.config.shift_factor

    def _scaled(self, latents: Tensor) -> Tensor:
        return super()._scaled(latents - self.vae.config.shift_factor)


class PatchingCodec(Codec):
    """Decodes as FLUX.2 does: latents are patches of two by two of the codec's, normalised with the
    mean and variance that its batch norm has seen.
    """

    kinds = (AutoencoderKLFlux2,)

    def check(self, num_latent_channels: int) -> None:
        """Raise ValueError for a codec that decodes otherwise, or other latents."""
        super().check(num_latent_channels // 4)

    def _unscaled(self, latents: Tensor) -> Tensor:
        norm = self.vae.bn
        mean_C11, variance_C11 = (
            seen.view(-1, 1, 1).to(latents) for seen in (norm.running_mean, norm.running_var)
        )
        deviation_C11 = (variance_C11 + self.vae.config.batch_norm_eps).sqrt()
        return self._unpatched(latents * deviation_C11 + mean_C11)

    def _unpatched(self, latents: Tensor) -> Tensor:
        return functional.pixel_shuffle(latents, 2)


class PatchesFirstCodec(PatchingCodec):
    """Decodes as Ideogram 4 does: as above, but channels count up within a place of the patch."""

    def _unpatched(self, latents: Tensor) -> Tensor:
        by_place = latents.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2)
        return functional.pixel_shuffle(by_place, 2)


class FrameCodec(Codec):
    """Decodes as Qwen-Image does: a film of one frame, normalised with the mean and deviation of
    each channel that the codec was saved with.
    """

    kinds = (AutoencoderKLQwenImage,)
    channels_field = "z_dim"

    def _unscaled(self, latents: Tensor) -> Tensor:
        mean_C11, deviation_C11 = self._mean_and_deviation(latents)
        return latents * deviation_C11 + mean_C11

    def _scaled(self, latents: Tensor) -> Tensor:
        mean_C11, deviation_C11 = self._mean_and_deviation(latents)
        return (latents - mean_C11) / deviation_C11

    def _drawn(self, pixels: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        return super()._drawn(pixels[:, :, None], generators)[:, :, 0]

    def _decode(self, clean: Tensor) -> Tensor:
        return super()._decode(clean[:, :, None])[:, :, 0]

    def _mean_and_deviation(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        config = self.vae.config
        mean_C11, deviation_C11 = (
            torch.tensor(values).view(-1, 1, 1).to(latents)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean_C11, deviation_C11


class AlphaCodec(FrameCodec):
    """Decodes as Qwen-Image 2.1 does: as above, with an alpha channel beside the colours."""

    kinds = (AutoencoderKLQwenImage21,)


@contextmanager
def _in_fp32(module: nn.Module) -> Iterator[None]:
    """Run a module in fp32 inside the `with`; afterwards its weights are the ones it had."""
    weights = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
    kept = [t.data for t in weights]
    try:
        with torch.inference_mode(False), torch.no_grad():
            for weight, data in zip(weights, kept, strict=True):
                weight.data = data.float()
        yield
    finally:
        with torch.inference_mode(False), torch.no_grad():
            for weight, data in zip(weights, kept, strict=True):
                weight.data = data
