"""Painting pictures of two people, each under gates of its own, and judging either half."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
from PIL import Image
from torch import Tensor

from fairgen.adapters import Adapter
from fairgen.attributes import Attribute, render
from fairgen.backbones import load_backbone
from fairgen.bank import AdapterBank
from fairgen.portraits import PortraitClassifier
from pipelines.experiments.groups.regions import (
    attention_to_words,
    gated_by_region,
    gated_by_word,
    halves,
    regions_of,
    split_self_attention,
)
from pipelines.experiments.groups.results import METHODS, PairImage, Person
from pipelines.recipe import GenerationConfig

_SIZE_PX, _TOKENS, _TEMPLATE = 64, 16, "a photo of {subject}"
LATENTS = _SIZE_PX // 8, 2 * _SIZE_PX // 8
_RAMP = 4.0  # columns of the latents
_LOOKING_STEPS = 3
_STRONG = 1.5


class PairPainter:
    """Paints pairs with one attribute's adapters, by any of the methods; one thread may call it."""

    def __init__(
        self,
        base: Path,
        attribute: Attribute,
        adapters: Sequence[Adapter],
        judge: PortraitClassifier,
        generation: GenerationConfig,
    ) -> None:
        self.attribute, self._judge, self._generation = attribute, judge, generation
        self.pipe = DiffusionPipeline.from_pretrained(base, dtype=torch.float32)
        self.pipe.scheduler = DPMSolverMultistepScheduler.from_config(self.pipe.scheduler.config)
        self.pipe.set_progress_bar_config(disable=True)
        projections = list(adapters[0].directions)
        self.bank = AdapterBank(load_backbone(self.pipe).denoiser, projections)
        for adapter in adapters:
            self.bank.add(adapter.name, adapter.directions)

    def paint(
        self,
        method: str,
        concepts: tuple[str, str],
        asked: Sequence[tuple[str, str]],
        seeds: Sequence[int],
    ) -> list[tuple[Image.Image, PairImage]]:
        """Return a picture for each choice of two categories and each seed; "" asks for nothing."""
        jobs = [(pair, seed) for pair in asked for seed in seeds]
        painted = []
        size = self._generation.batch_size
        for start in range(0, len(jobs), size):
            part = jobs[start : start + size]
            pairs, its_seeds = [pair for pair, _ in part], [seed for _, seed in part]
            images = self._batch(method, concepts, pairs, its_seeds)
            pictures = self._judged(images, concepts, part)
            painted += list(zip(images, pictures, strict=True))
        return painted

    @contextmanager
    def gated(
        self, method: str, concepts: tuple[str, str], gates_NPK: Tensor, regions: Tensor
    ) -> Iterator[None]:
        """Gate the denoiser's N rows inside the `with`, as the method does; `regions` are masks
        over the latents, N or 1 x 2 x H x W.
        """
        unet = self.pipe.unet
        with ExitStack() as stack:
            match method:
                case "base" | "words":
                    pass
                case "whole":
                    stack.enter_context(self.bank.gated(gates_NPK[:, 0]))
                case "word":
                    masks_PL = word_masks(concepts)
                    stack.enter_context(gated_by_word(unet, self.bank, gates_NPK, masks_PL))
                case "region" | "region_strong" | "region_soft" | "region_found" | "region_split":
                    if method != "region":
                        gates_NPK = _STRONG * gates_NPK
                    if method == "region_split":
                        stack.enter_context(split_self_attention(unet, *regions.shape[2:]))
                    stack.enter_context(gated_by_region(unet, self.bank, gates_NPK, regions))
                case _:
                    raise ValueError(f"method: got {method!r}, allowed are {list(METHODS)}")
            yield

    def gates(self, asked: Sequence[tuple[str, str]]) -> Tensor:
        """Return the gates of both people, N x 2 x K."""
        names = [name.removeprefix(f"{self.attribute.name}-") for name in self.bank.names]
        return torch.tensor(
            [[[float(name == wanted) for name in names] for wanted in pair] for pair in asked]
        )

    def _batch(
        self,
        method: str,
        concepts: tuple[str, str],
        asked: Sequence[tuple[str, str]],
        seeds: Sequence[int],
    ) -> list[Image.Image]:
        """Return one picture for each pair asked."""
        conditional = self.gates(asked)
        gates_NPK = torch.cat([torch.zeros_like(conditional), conditional])
        prompts = [
            pair_prompt(concepts, self.words(pair) if method == "words" else ("", ""))
            for pair in asked
        ]
        options = {
            "prompt": prompts,
            "height": _SIZE_PX,
            "width": 2 * _SIZE_PX,
            "num_inference_steps": self._generation.steps,
            "guidance_scale": self._generation.guidance_scale,
        }
        regions = halves(*LATENTS, _RAMP if method == "region_soft" else 0.0)
        if method == "region_found":
            regions = self._found_regions(concepts, seeds, options)
        with self.gated(method, concepts, gates_NPK, regions):
            return self.pipe(**options, generator=_generators(seeds)).images

    def _found_regions(
        self, concepts: tuple[str, str], seeds: Sequence[int], options: Mapping[str, Any]
    ) -> Tensor:
        """Return where each person will stand by the bare model's first steps, 2N x 2 x H x W."""

        def stop(pipe: Any, step: int, *_: object) -> dict[str, Tensor]:
            pipe._interrupt = step + 1 >= _LOOKING_STEPS
            return {}

        with attention_to_words(self.pipe.unet, word_masks(concepts), *LATENTS) as maps:
            self.pipe(
                **options,
                generator=_generators(seeds),
                output_type="latent",
                callback_on_step_end=stop,
            )
        conditional = torch.stack(maps).mean(0)[len(seeds) :]
        return regions_of(conditional).repeat(2, 1, 1, 1)

    def words(self, asked: tuple[str, str]) -> tuple[str, str]:
        """Return the words that name two categories, "" for none."""
        left, right = (self.attribute.category(name).word if name else "" for name in asked)
        return left, right

    def _judged(
        self,
        images: Sequence[Image.Image],
        concepts: tuple[str, str],
        jobs: Sequence[tuple[tuple[str, str], int]],
    ) -> list[PairImage]:
        sides = [self._seen(images, side) for side in (0, 1)]
        return [
            PairImage(
                seed=seed,
                people=(
                    Person(concept=concepts[0], asked=pair[0], seen=left),
                    Person(concept=concepts[1], asked=pair[1], seen=right),
                ),
            )
            for (pair, seed), left, right in zip(jobs, *sides, strict=True)
        ]

    def _seen(self, images: Sequence[Image.Image], side: int) -> list[dict[str, str]]:
        """Return what the judge names in one half of each picture."""
        box = (side * _SIZE_PX, 0, (side + 1) * _SIZE_PX, _SIZE_PX)
        tables = self._judge.classify([image.crop(box) for image in images])
        heads = self._judge.heads
        named = {name: table.argmax(1).tolist() for name, table in tables.items()}
        return [
            {name: heads[name][indices[row]] for name, indices in named.items()}
            for row in range(len(images))
        ]


def pair_prompt(concepts: tuple[str, str], words: tuple[str, str] = ("", "")) -> str:
    """Return "a photo of a doctor and a nurse", the left one first, with a word for each."""
    left, right = (
        render("{subject}", concept, [word] if word else [])
        for concept, word in zip(concepts, words, strict=True)
    )
    return _TEMPLATE.replace("{subject}", f"{left} and {right}")


def word_masks(concepts: tuple[str, str]) -> Tensor:
    """Return which tokens of a prompt speak of each person, 2 x tokens: its article and noun."""
    masks = torch.zeros(2, _TOKENS)
    start = 1 + len(_TEMPLATE.split()) - 1  # <start>, the template without its subject
    for person, concept in enumerate(concepts):
        stop = start + 1 + len(concept.split())
        masks[person, start:stop] = 1
        start = stop + 1  # "and"
    return masks


def _generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]
