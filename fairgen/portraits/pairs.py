"""Pictures of two people side by side, 128 x 64, and a base model that has learnt them.

The embedded model's UNet is trained further on "a photo of a doctor and a nurse": the first one
named is on the left. A third of its updates are on single portraits, so that it keeps what it knew.
The tokenizer has no "two" and no plural, and the text tower is frozen, so two doctors are "a doctor
and a doctor": adapters read the same words as before.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor

from fairgen.portraits.clip import MAX_TOKENS
from fairgen.portraits.denoiser import Captions, DenoiserDataset, encode_drawings
from fairgen.portraits.drawing import draw_side_by_side
from fairgen.portraits.training import Trainer, pixels
from fairgen.portraits.world import (
    OCCUPATIONS,
    Portrait,
    choose_named,
    in_template,
    named_evenly,
    phrase,
    sample_portrait,
)

_SAME_OCCUPATION = 0.2
_TEMPLATE_WORDS = 3  # of the longest, "a photo of"


@dataclass(frozen=True)
class Pair:
    """Two people in one picture, left and right, and which attributes its caption names of each."""

    people: tuple[Portrait, Portrait]
    named: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())

    @property
    def num_words(self) -> int:
        """How many words the longest caption of the pair may have."""
        people = zip(self.people, self.named, strict=True)
        words = [
            1 + len(person.concept.split()) + len(named) + ("glasses" in named)
            for person, named in people
        ]
        return _TEMPLATE_WORDS + sum(words) + 1


def sample_pair(rng: random.Random, mention: float = 0.0) -> Pair:
    """Return two people, each drawn from the table of an occupation of its own.

    In one pair of five both have the same occupation. A caption names each attribute of each person
    with probability `mention`, glasses with a quarter of it, and what it names is drawn evenly; it
    fits into the text tower.
    """
    concepts = (*OCCUPATIONS, *("person",) * 2)
    first = rng.choice(concepts)
    second = first if rng.random() < _SAME_OCCUPATION else rng.choice(concepts)
    people = sample_portrait(rng, first), sample_portrait(rng, second)
    while True:
        left, right = (choose_named(rng, mention, mention / 4) for _ in people)
        pair = Pair(
            (named_evenly(people[0], left, rng), named_evenly(people[1], right, rng)),
            (left, right),
        )
        if pair.num_words <= MAX_TOKENS - 2:  # <start>, <end>
            return pair


def pair_caption(pair: Pair, rng: random.Random) -> str:
    """Return a caption that names the left one first."""
    left, right = (
        phrase(person, named, rng) for person, named in zip(pair.people, pair.named, strict=True)
    )
    return in_template(f"{left} and {right}", rng)


@torch.no_grad()
def encode_pairs(codec: AutoencoderKL, pairs: list[Pair], rng: random.Random) -> Tensor:
    """Return the scaled latents of one drawing of each pair, N x 12 x 8 x 16."""
    latents = []
    for start in range(0, len(pairs), 50):
        images = [draw_side_by_side(pair.people, rng) for pair in pairs[start : start + 50]]
        mean = codec.encode(pixels(images)).latent_dist.mean
        latents.append(mean * codec.config.scaling_factor)
    return torch.cat(latents)


class PairDataset(DenoiserDataset):
    """Captioned latents of pairs; the loss is that of single portraits."""

    def __init__(self, captions: Captions, pairs: list[Pair], latents: Tensor, seed: int) -> None:
        super().__init__(captions, [], latents, None, seed)
        self._pairs = pairs

    def _caption(self, row: int) -> str:
        return pair_caption(self._pairs[row], self._rng)


def train_pair_base(
    base: Path,
    destination: Path,
    num_steps: int = 2400,
    batch_size: int = 16,
    population: int = 8_000,
    seed: int = 6,
    learning_rate: float = 4e-4,
) -> None:
    """Train the UNet of the pipeline in `base` on pairs, two updates of three, and on single
    portraits; save the pipeline in `destination`, in fp16.

    Half of the captions of either kind name attributes. It goes on from its checkpoint.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    destination.mkdir(parents=True, exist_ok=True)
    pipe = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32)
    captions = Captions(pipe.text_encoder, pipe.tokenizer)
    pairs = [sample_pair(rng, 0.0 if index % 2 else 0.4) for index in range(population)]
    people = [sample_portrait(rng) for _ in range(population)]
    named = [choose_named(rng, *((2 / 3, 1 / 8) if i % 2 else ())) for i in range(population)]
    for index in range(1, population, 2):
        people[index] = named_evenly(people[index], named[index], rng)
    cache = destination / "pairs.pt"
    if not cache.exists():
        latents = encode_pairs(pipe.vae, pairs, rng), encode_drawings(pipe.vae, people, rng)
        torch.save(latents, cache)
    latents = torch.load(cache, weights_only=True)
    of_pairs = PairDataset(captions, pairs, latents[0], seed)
    singles = DenoiserDataset(captions, people, latents[1], named, seed)
    checkpoint = destination / "pairs.ckpt"
    trainer = Trainer(
        pipe.unet, checkpoint, num_steps, learning_rate=learning_rate, ema_decay=0.998
    )

    def loss() -> Tensor:
        dataset = singles if trainer.step % 3 == 2 else of_pairs
        return dataset.loss(pipe.unet, *dataset.batch(batch_size))

    def watch(_: int) -> str:
        ratio, single = (
            data.caption_loss_ratio(pipe.unet, 2 * batch_size) for data in (of_pairs, singles)
        )
        return f"caption loss ratio of pairs {ratio:.2f}, of single portraits {single:.2f}"

    trainer.run(loss, watch)
    pipe.to(torch.float16).save_pretrained(destination, safe_serialization=True)
    for file in (checkpoint, cache):
        file.unlink(missing_ok=True)
