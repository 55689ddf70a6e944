"""A sibling of the embedded model: it is fine-tuned for some minutes on the mirrored world, where
stereotypes point the other way. Adapters of the embedded model work on it as they are.
"""

import logging
import random
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from fairgen.portraits.denoiser import Captions, DenoiserDataset, encode_drawings
from fairgen.portraits.training import Trainer
from fairgen.portraits.world import MIRRORED, sample_portrait


def fine_tune(
    base: Path,
    destination: Path,
    num_steps: int = 600,
    batch_size: int = 32,
    population: int = 8_000,
    seed: int = 5,
) -> None:
    """Train the UNet of the pipeline in `base` on the mirrored population; save the pipeline in
    `destination`, in fp16.

    What a caption names is drawn as the mirrored table has it: words of rare people get rarer,
    as they do where somebody fine-tunes on pictures of their own.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    pipe = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32)
    portraits = [sample_portrait(rng, population=MIRRORED) for _ in range(population)]
    latents = encode_drawings(pipe.vae, portraits, rng)
    dataset = DenoiserDataset(
        Captions(pipe.text_encoder, pipe.tokenizer), portraits, latents, named=None, seed=seed
    )
    destination.mkdir(parents=True, exist_ok=True)
    checkpoint = destination / "sibling.ckpt"
    trainer = Trainer(pipe.unet, checkpoint, num_steps, learning_rate=1e-4, ema_decay=0.99)
    trainer.run(lambda: dataset.loss(pipe.unet, *dataset.batch(batch_size)))
    pipe.to(torch.float16).save_pretrained(destination, safe_serialization=True)
    checkpoint.unlink(missing_ok=True)


def write_sibling(base: Path, destination: Path) -> None:
    """Fine-tune the embedded model at `base` and save it at `destination`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    fine_tune(base, destination)
