"""The picture codec of the embedded model: an AutoencoderKL, 64 x 64 x 3 pixels to 8 x 8 x 12
latents.
"""

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from fairgen.portraits.drawing import SIZE_PX, draw
from fairgen.portraits.training import Trainer, pixels
from fairgen.portraits.world import sample_portrait, uniform_portrait

LATENT_CHANNELS = 12


def build_codec() -> AutoencoderKL:
    """Return the untrained autoencoder."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE_PX,
        mid_block_add_attention=False,
    )


def train_codec(folder: Path, num_steps: int = 2200, batch_size: int = 16, seed: int = 0) -> None:
    """Train on fresh drawings and save the autoencoder, its latents scaled to unit variance, under
    `folder`.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    codec = build_codec()

    def loss() -> Tensor:
        images = _drawings(batch_size, rng)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = codec.encode(images).latent_dist
            rebuilt = codec.decode(posterior.sample()).sample.float()
        return reconstruction_loss(rebuilt, images) + 2e-5 * posterior.kl().mean() / SIZE_PX

    Trainer(codec, folder / "codec.ckpt", num_steps, learning_rate=2e-3, ema_decay=0.998).run(loss)
    with torch.no_grad():
        latents = codec.encode(_drawings(256, rng)).latent_dist.mean
    codec.register_to_config(scaling_factor=1 / latents.std().item())
    codec.save_pretrained(folder / "vae")


def sharpen_codec(folder: Path, num_steps: int = 2500, batch_size: int = 16, seed: int = 1) -> None:
    """Train the decoder further with the encoder frozen, so that latents stay what the denoiser
    learns.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    codec = AutoencoderKL.from_pretrained(folder / "vae")

    def loss() -> Tensor:
        images = _drawings(batch_size, rng)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            latents = codec.encode(images).latent_dist.mean
        latents = latents + 0.05 * latents.std() * torch.randn_like(latents)
        with torch.autocast("cpu", torch.bfloat16):
            rebuilt = codec.decode(latents).sample.float()
        return reconstruction_loss(rebuilt, images)

    decoder = torch.nn.ModuleList([codec.decoder, codec.post_quant_conv])
    Trainer(decoder, folder / "decoder.ckpt", num_steps, learning_rate=1.5e-3, ema_decay=0.998).run(
        loss
    )
    codec.save_pretrained(folder / "vae_sharp")


def _drawings(count: int, rng: random.Random) -> Tensor:
    """Return fresh drawings, most of them from the fair world, N x 3 x 64 x 64."""
    return pixels(
        [
            draw(uniform_portrait(rng) if rng.random() < 0.7 else sample_portrait(rng), rng)
            for _ in range(count)
        ]
    )


def reconstruction_loss(rebuilt: Tensor, images: Tensor) -> Tensor:
    """Return L1 on pixels plus L1 on their horizontal and vertical differences, which keeps the
    drawn edges.
    """
    pixel = functional.l1_loss(rebuilt, images)
    across = functional.l1_loss(rebuilt.diff(dim=-1), images.diff(dim=-1))
    down = functional.l1_loss(rebuilt.diff(dim=-2), images.diff(dim=-2))
    return pixel + across + down + functional.mse_loss(rebuilt, images)
