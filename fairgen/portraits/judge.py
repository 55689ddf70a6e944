"""The classifier of the drawn world: a small CNN that names who is in a picture. It measures; it
never trains an adapter.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from fairgen.files import written_whole
from fairgen.portraits.drawing import SIZE_PX, draw
from fairgen.portraits.training import Trainer, pixels
from fairgen.portraits.world import ATTRIBUTES, CONCEPTS, THINGS, Portrait, uniform_portrait

HEADS: dict[str, tuple[str, ...]] = {**ATTRIBUTES, "concept": CONCEPTS}


class PortraitNetwork(nn.Module):
    """Pictures, N x 3 x 64 x 64 in [-1, 1], to one logit vector per head."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (24, 48, 96, 128):
            layers += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1),
                nn.GroupNorm(8, width),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.GroupNorm(8, width),
                nn.SiLU(),
            ]
            channels = width
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.heads = nn.ModuleDict(
            {name: nn.Linear(channels * 16, len(classes)) for name, classes in HEADS.items()}
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.trunk(images)
        return {name: head(features) for name, head in self.heads.items()}


class PortraitClassifier:
    """Names the category of each attribute, and the concept, in pictures of the drawn world."""

    heads = HEADS

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.network = PortraitNetwork()
        self.network.load_state_dict(load_file(folder / "judge.safetensors"))
        self.network.float().eval().to(device)
        self._device = device

    @torch.inference_mode()
    def classify(self, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Return class probabilities, N x classes, by attribute name and "concept".

        Raises ValueError for a picture of another size than drawings have.
        """
        for image in images:
            if image.size != (SIZE_PX, SIZE_PX):
                raise ValueError(f"images: got one of {image.width}x{image.height} pixels, allowed "
                                 f"are {SIZE_PX}x{SIZE_PX}")  # fmt: skip
        logits = self.network(pixels(images).to(self._device))
        return {name: logits[name].softmax(-1).cpu() for name in HEADS}


def disturb(images: Tensor, rng: random.Random) -> Tensor:
    """Return the pictures a little noisy, blurred, shifted or recoloured, as a generator might draw
    them.
    """
    if rng.random() < 0.5:
        images = images + torch.randn_like(images) * rng.uniform(0, 0.15)
    if rng.random() < 0.4:
        small = functional.interpolate(
            images, scale_factor=rng.choice((0.5, 0.6, 0.75)), mode="bilinear"
        )
        images = functional.interpolate(small, size=images.shape[-2:], mode="bilinear")
    if rng.random() < 0.5:
        images = images.roll((rng.randint(-2, 2), rng.randint(-2, 2)), dims=(-2, -1))
    return images * rng.uniform(0.95, 1.05) + rng.uniform(-0.04, 0.04)


def labels(portraits: list[Portrait]) -> dict[str, Tensor]:
    """Return class indices per head, -100 where a head does not apply (a car has no age)."""
    columns = {}
    for name, classes in HEADS.items():
        values = [getattr(portrait, name) for portrait in portraits]
        columns[name] = torch.tensor([classes.index(value) if value else -100 for value in values])
    return columns


def draw_labelled(count: int, rng: random.Random) -> tuple[Tensor, dict[str, Tensor]]:
    """Return fresh drawings of the fair world, one in seven a thing, with their labels."""
    portraits = [
        Portrait(rng.choice(THINGS)) if rng.random() < 1 / 7 else uniform_portrait(rng)
        for _ in range(count)
    ]
    return pixels([draw(portrait, rng) for portrait in portraits]), labels(portraits)


def train_judge(
    folder: Path, destination: Path, num_steps: int = 1500, batch_size: int = 64, seed: int = 1
) -> None:
    """Train on fresh drawings, disturbed and rebuilt by the codec, and save `judge.safetensors`."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    rng = random.Random(seed)
    network = PortraitNetwork()
    codec = AutoencoderKL.from_pretrained(folder / "vae").eval()

    def loss() -> Tensor:
        images, truth = draw_labelled(batch_size, rng)
        if rng.random() < 0.3:
            with torch.no_grad():
                latents = codec.encode(images).latent_dist.mean
                images = codec.decode(
                    latents + 0.1 * latents.std() * torch.randn_like(latents)
                ).sample
        logits = network(disturb(images, rng))
        return torch.stack(
            [
                functional.cross_entropy(logits[name], truth[name], ignore_index=-100)
                for name in HEADS
            ]
        ).sum()

    Trainer(network, folder / "judge.ckpt", num_steps, learning_rate=2e-3, ema_decay=0.995).run(
        loss
    )
    destination.mkdir(parents=True, exist_ok=True)
    half = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    with written_whole(destination / "judge.safetensors") as partial:
        save_file(half, partial)
