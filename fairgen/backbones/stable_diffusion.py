"""Stable Diffusion 1.x and 2.x: a UNet with one text encoder, epsilon or velocity prediction."""

from collections.abc import Sequence

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn


class StableDiffusionBackbone:
    """Directions sit on the UNet's cross-attention: attn2.to_q, to_k, to_v and to_out.0.

    These are the projections of the paper (arXiv 2412.18810) and of its official code.
    """

    pipelines = (StableDiffusionPipeline,)
    default_guidance_scale = 7.5

    def __init__(self, pipe: StableDiffusionPipeline) -> None:
        self.pipe = pipe
        self.denoiser: nn.Module = pipe.unet.eval().requires_grad_(False)
        pipe.text_encoder.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.pipe.unet.device

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the text encoder's last hidden states, N x L x D."""
        return self.pipe.encode_prompt(
            list(prompts), self.device, 1, do_classifier_free_guidance=False
        )[0]

    def denoise(self, x_t: Tensor, t_N: Tensor, context: Tensor) -> Tensor:
        """Return the UNet's prediction, N x C x h x w, in the precision of `x_t`."""
        dtype = next(self.denoiser.parameters()).dtype  # `unet.dtype` looks at every parameter
        prediction = self.denoiser(x_t.to(dtype), t_N, encoder_hidden_states=context.to(dtype))
        return prediction.sample.to(x_t.dtype)

    def projections(self, which: str) -> list[str]:
        """Return the cross-attention projections named by letters of "qkvo"."""
        layers = {"q": "attn2.to_q", "k": "attn2.to_k", "v": "attn2.to_v", "o": "attn2.to_out.0"}
        suffixes = tuple(layers[letter] for letter in which)
        return [name for name, module in self.denoiser.named_modules() if name.endswith(suffixes)]

    def prompt_projections(self) -> list[str]:
        """Return cross-attention's to_k and to_v; none where the UNet projects the prompt first."""
        return [] if self.denoiser.encoder_hid_proj is not None else self.projections("kv")

    def latent_shape(self, width_px: int = 0, height_px: int = 0) -> tuple[int, int, int]:
        """Return C, h, w; a side is a multiple of what the UNet halves and the codec reduces."""
        config = self.pipe.unet.config
        reduction = self.pipe.vae_scale_factor
        unit = reduction * 2 ** (len(config.block_out_channels) - 1)
        if bool(width_px) != bool(height_px) or width_px % unit or height_px % unit:
            raise ValueError(
                f"size: got {width_px}x{height_px}, allowed are multiples of {unit} pixels"
            )
        native = config.sample_size
        width, height = width_px // reduction or native, height_px // reduction or native
        return config.in_channels, height, width

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return the pictures of clean latents, N x C x h x w."""
        vae = self.pipe.vae
        dtype = next(vae.parameters()).dtype
        pixels = vae.decode(latents.to(dtype) / vae.config.scaling_factor).sample
        return self.pipe.image_processor.postprocess(pixels.float(), output_type="pil")
