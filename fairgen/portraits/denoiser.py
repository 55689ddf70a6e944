"""The denoiser of the embedded model: a UNet2DConditionModel on 8 x 8 latents, trained on captioned
drawings.
"""

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTextModel, PreTrainedTokenizerFast

from fairgen.portraits.clip import tokenize
from fairgen.portraits.codec import LATENT_CHANNELS
from fairgen.portraits.drawing import SIZE_PX, draw
from fairgen.portraits.training import Trainer, pixels
from fairgen.portraits.world import Portrait, caption, sample_portrait


def build_denoiser(cross_attention_dim: int = 128) -> UNet2DConditionModel:
    """Return the untrained UNet, about 6 M parameters."""
    return UNet2DConditionModel(
        sample_size=SIZE_PX // 8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=(96, 144),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_scheduler() -> DDIMScheduler:
    """Return Stable Diffusion's noise schedule, with velocity prediction and the last step
    included.
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )


class Captions:
    """Caption embeddings by the frozen text tower, each distinct caption encoded once."""

    def __init__(self, folder: Path) -> None:
        self.encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "clip")
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def embed(self, captions: list[str]) -> Tensor:
        """Return the last hidden states, N x 16 x 128."""
        fresh = sorted(set(captions) - self._known.keys())
        if fresh:
            states = self.encoder(tokenize(self.tokenizer, fresh)).last_hidden_state
            self._known.update(zip(fresh, states, strict=True))
        return torch.stack([self._known[text] for text in captions])


@torch.no_grad()
def encode_drawings(codec: AutoencoderKL, portraits: list[Portrait], rng: random.Random) -> Tensor:
    """Return the scaled latents of one drawing of each portrait, N x 12 x 8 x 8."""
    latents = []
    for start in range(0, len(portraits), 100):
        images = pixels([draw(portrait, rng) for portrait in portraits[start : start + 100]])
        latents.append(codec.encode(images).latent_dist.mean * codec.config.scaling_factor)
    return torch.cat(latents)


def train_denoiser(
    folder: Path,
    num_steps: int = 3600,
    batch_size: int = 32,
    population: int = 40_000,
    seed: int = 0,
) -> None:
    """Train the UNet on latents and captions cached in memory and save it under `folder`."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    portraits = [sample_portrait(rng) for _ in range(population)]
    codec = AutoencoderKL.from_pretrained(folder / "vae").eval()
    captions = Captions(folder)
    cache = folder / "population.pt"
    if not cache.exists():
        torch.save(encode_drawings(codec, portraits, random.Random(seed + 1)), cache)
    latents = torch.load(cache, weights_only=True)
    unet, scheduler = build_denoiser(), build_scheduler()
    alphas = scheduler.alphas_cumprod

    def velocity_loss(texts: list[str], x_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        signal, sigma = (
            alphas[t].sqrt()[:, None, None, None],
            (1 - alphas[t]).sqrt()[:, None, None, None],
        )
        predicted = unet(signal * x_0 + sigma * noise, t, captions.embed(texts)).sample
        return functional.mse_loss(predicted, signal * noise - sigma * x_0)

    def batch() -> tuple[list[str], Tensor, Tensor, Tensor]:
        rows = [rng.randrange(population) for _ in range(batch_size)]
        texts = ["" if rng.random() < 0.1 else caption(portraits[row], rng) for row in rows]
        t = (1000 * torch.rand(batch_size) ** 0.8).long().clamp(max=999)
        return texts, latents[rows], t, torch.randn(batch_size, *latents.shape[1:])

    def conditioning(step: int) -> str:
        """Say how much worse another picture's caption predicts: from 1.7 the hats are right."""
        texts, x_0, t, noise = batch()
        with torch.no_grad():
            true = velocity_loss(texts, x_0, t, noise)
            shuffled = velocity_loss(texts[1:] + texts[:1], x_0, t, noise)
        unet.save_pretrained(folder / "unet_latest")
        return f"loss of shuffled to true captions {shuffled / true:.2f}"

    trainer = Trainer(unet, folder / "unet.ckpt", num_steps, learning_rate=8e-4, ema_decay=0.9995)
    trainer.run(lambda: velocity_loss(*batch()), conditioning)
    unet.save_pretrained(folder / "unet")


def assemble(folder: Path, destination: Path, unet: str = "unet") -> None:
    """Save the trained parts as one StableDiffusionPipeline folder in fp16, as `from_pretrained`
    expects it.
    """
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae_sharp"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder / "clip"),
        unet=UNet2DConditionModel.from_pretrained(folder / unet),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(destination, safe_serialization=True)
    clip = CLIPModel.from_pretrained(folder / "clip").half()
    clip.save_pretrained(destination / "clip")
    PreTrainedTokenizerFast.from_pretrained(folder / "clip").save_pretrained(destination / "clip")
