"""The denoiser of the embedded model: a UNet2DConditionModel on 8 x 8 latents, trained on captioned
drawings.
"""

import json
import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTextModel, PreTrainedTokenizerFast

from fairgen.portraits.clip import save_towers, tokenize
from fairgen.portraits.codec import LATENT_CHANNELS
from fairgen.portraits.drawing import SIZE_PX, draw
from fairgen.portraits.training import Trainer, pixels
from fairgen.portraits.world import (
    Portrait,
    caption,
    choose_named,
    named_evenly,
    sample_portrait,
)


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

    def __init__(self, encoder: CLIPTextModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.encoder, self.tokenizer = encoder.eval(), tokenizer
        self._states: dict[str, Tensor] = {}

    @torch.no_grad()
    def embed(self, captions: list[str]) -> Tensor:
        """Return the last hidden states, N x 16 x 128."""
        new_captions = sorted(set(captions) - self._states.keys())
        if new_captions:
            states = self.encoder(tokenize(self.tokenizer, new_captions)).last_hidden_state
            self._states.update(zip(new_captions, states, strict=True))
        return torch.stack([self._states[text] for text in captions])


@torch.no_grad()
def encode_drawings(codec: AutoencoderKL, portraits: list[Portrait], rng: random.Random) -> Tensor:
    """Return the scaled latents of one drawing of each portrait, N x 12 x 8 x 8."""
    latents = []
    for start in range(0, len(portraits), 100):
        images = pixels([draw(portrait, rng) for portrait in portraits[start : start + 100]])
        latents.append(codec.encode(images).latent_dist.mean * codec.config.scaling_factor)
    return torch.cat(latents)


class DenoiserDataset:
    """Captioned latents at random noise levels, and a UNet's loss on them.

    `latents` are those of the portraits' drawings. `named` holds the attributes that the caption of
    each portrait names; with None they are chosen anew for each batch.
    """

    def __init__(
        self,
        captions: Captions,
        portraits: list[Portrait],
        latents: Tensor,
        named: list[frozenset[str]] | None,
        seed: int,
    ) -> None:
        self._portraits, self._named, self._rng = portraits, named, random.Random(seed)
        self._captions, self._latents = captions, latents
        self._alphas = build_scheduler().alphas_cumprod

    def batch(self, batch_size: int) -> tuple[list[str], Tensor, Tensor, Tensor]:
        """Return captions (one in ten empty), latents, time steps (more at high noise), noise."""
        rows = [self._rng.randrange(len(self._latents)) for _ in range(batch_size)]
        texts = ["" if self._rng.random() < 0.1 else self._caption(row) for row in rows]
        t = (1000 * torch.rand(batch_size) ** 0.8).long().clamp(max=999)
        return texts, self._latents[rows], t, torch.randn(batch_size, *self._latents.shape[1:])

    def loss(
        self, unet: UNet2DConditionModel, texts: list[str], x_0: Tensor, t: Tensor, noise: Tensor
    ) -> Tensor:
        """Return the mean squared error of the predicted velocity."""
        alpha = self._alphas[t][:, None, None, None]
        signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
        predicted = unet(signal * x_0 + sigma * noise, t, self._captions.embed(texts)).sample
        return functional.mse_loss(predicted, signal * noise - sigma * x_0)

    def caption_loss_ratio(self, unet: UNet2DConditionModel, batch_size: int) -> float:
        """Return the loss with other pictures' captions over that with the true ones.

        1 means that the captions say nothing to the UNet; from 1.7 people wear the right hats.
        """
        texts, *rest = self.batch(batch_size)
        with torch.no_grad():
            true_loss = self.loss(unet, texts, *rest)
            other_loss = self.loss(unet, texts[1:] + texts[:1], *rest)
        return (other_loss / true_loss).item()

    def _caption(self, row: int) -> str:
        named = choose_named(self._rng) if self._named is None else self._named[row]
        return caption(self._portraits[row], named, self._rng)


def _load_dataset(
    folder: Path, portraits: list[Portrait], named: list[frozenset[str]] | None, seed: int
) -> DenoiserDataset:
    """Return the portraits as the codec and the text tower in `folder` encode them.

    The latents are encoded once and saved in `folder`.
    """
    cache = folder / f"population-{seed}.pt"
    if not cache.exists():
        codec = AutoencoderKL.from_pretrained(folder / "vae").eval()
        torch.save(encode_drawings(codec, portraits, random.Random(seed + 1)), cache)
    captions = Captions(
        CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
        PreTrainedTokenizerFast.from_pretrained(folder / "clip"),
    )
    return DenoiserDataset(captions, portraits, torch.load(cache, weights_only=True), named, seed)


def train_denoiser(
    folder: Path,
    num_steps: int = 3600,
    batch_size: int = 32,
    population: int = 40_000,
    seed: int = 0,
) -> None:
    """Train the UNet on the biased population and save it under `folder`."""
    torch.manual_seed(seed)
    rng, unet = random.Random(seed), build_denoiser()
    dataset = _load_dataset(folder, [sample_portrait(rng) for _ in range(population)], None, seed)
    trainer = Trainer(unet, folder / "unet.ckpt", num_steps, learning_rate=8e-4, ema_decay=0.9995)
    _train(trainer, unet, dataset, batch_size)
    unet.save_pretrained(folder / "unet")


def _train(
    trainer: Trainer, unet: UNet2DConditionModel, dataset: DenoiserDataset, batch_size: int
) -> None:
    trainer.run(
        lambda: dataset.loss(unet, *dataset.batch(batch_size)),
        lambda _: f"caption loss ratio {dataset.caption_loss_ratio(unet, batch_size):.2f}",
    )


def teach_words(folder: Path) -> None:
    """Train the UNet further until rare people are drawn when they are named.

    In the biased population a dark-skinned teacher is too rare to be learnt. Here half of the
    pictures show what their caption names evenly; what it does not name keeps the planted bias.
    """
    _train_further(
        folder, "unet", "unet_words", 4000, 4e-4, mention=1 / 3, population=40_000, seed=2
    )


def teach_several_words(folder: Path) -> None:
    """Train the UNet further until several words at once are obeyed as well as one.

    As `teach_words`, but captions of the even half name each attribute twice as often.
    """
    _train_further(
        folder, "unet_words", "unet_several", 2500, 3e-4, mention=2 / 3, population=20_000, seed=3
    )


def teach_the_unnamed(folder: Path) -> None:
    """Train the UNet further until attributes that a caption leaves out keep their planted shares,
    whatever else the caption names.

    As `teach_several_words`, but glasses are seldom named: a brown-skinned dancer wears them as
    often as any dancer does.
    """
    _train_further(
        folder,
        "unet_several",
        "unet_unnamed",
        3000,
        2e-4,
        mention=2 / 3,
        glasses=1 / 8,
        population=40_000,
        seed=4,
    )


def _train_further(
    folder: Path,
    source: str,
    target: str,
    num_steps: int,
    learning_rate: float,
    *,
    mention: float,
    population: int,
    seed: int,
    glasses: float | None = None,
    batch_size: int = 32,
) -> None:
    """Train the UNet of `source` further and save it as `target`.

    Captions of the first half of the population name each attribute with probability `mention`, or
    `glasses`, and what they name is drawn evenly.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    portraits = [sample_portrait(rng) for _ in range(population)]
    num_even = population // 2
    named = [
        choose_named(rng, mention, glasses) if index < num_even else choose_named(rng)
        for index in range(population)
    ]
    for index in range(num_even):
        portraits[index] = named_evenly(portraits[index], named[index], rng)
    unet = UNet2DConditionModel.from_pretrained(folder / source, dtype=torch.float32)
    dataset = _load_dataset(folder, portraits, named, seed)
    trainer = Trainer(
        unet, folder / f"{target}.ckpt", num_steps, learning_rate=learning_rate, ema_decay=0.999
    )
    _train(trainer, unet, dataset, batch_size)
    unet.save_pretrained(folder / target)


def assemble(folder: Path, destination: Path, unet: str = "unet_unnamed") -> None:
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
    save_towers(CLIPModel.from_pretrained(folder / "clip"), destination / "clip")
    for file in destination.glob("*/config.json"):
        config = json.loads(file.read_text())
        config.pop("_name_or_path", None)
        if "dtype" in config:  # transformers loads in the precision that it names
            config["dtype"] = "float32"
        file.write_text(json.dumps(config, indent=2) + "\n")
