"""How fast a GPU paints and learns at full size, and what memory that takes.

The pipelines have the shapes of the real ones and random weights: they cost as much, and draw
nothing, so that no download is needed. The engine and discovery are measured as they are used.
"""

import statistics
from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, DPMSolverMultistepScheduler
from pydantic import BaseModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
)

from fairgen.attributes import Attribute
from fairgen.backbones import Backbone
from fairgen.discovery import Discovery, DiscoveryConfig
from fairgen.engine import Engine, ImageJob
from pipelines.benchmarks.kernels import measured_seconds, random_directions
from pipelines.benchmarks.memory_estimate import DenoiserShape

_GIB = 2**30
_TOKENS = 77
_ADAPTERS, _ADAPTERS_EACH = 12, 3
_CODEC = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
}


class Painting(BaseModel):
    """The figures of a batch of guided pictures, each with three adapters of its own, decoded.

    `plain_images_per_s` is diffusers' own pipeline with no adapter, in the same batch.
    """

    pictures: int
    step_s: float
    images_per_s: float
    plain_images_per_s: float
    peak_gib: float


class Learning(BaseModel):
    """The figures of one update of discovery."""

    num_rows: int
    checkpointed: bool
    update_s: float
    peak_gib: float


def random_pipeline(
    shape: DenoiserShape, device: str | torch.device, dtype: torch.dtype = torch.bfloat16
) -> DiffusionPipeline:
    """Return a whole pipeline of a shape, with random weights.

    Raises ValueError for a shape that does not describe one.
    """
    if (whole := shape.pipeline) is None:
        raise ValueError("shape: got one without a pipeline, allowed are those that describe one")
    tokenizer = _tokenizer()
    classes: Any = diffusers
    parts: dict[str, Any] = {"tokenizer": tokenizer}
    with torch.device(device):
        parts["unet"] = getattr(classes, shape.cls)(**shape.config)
        parts["vae"] = AutoencoderKL(**_CODEC)
        parts["text_encoder"] = CLIPTextModel(_clip(tokenizer, whole.text_encoder))
        if whole.text_encoder_2:
            second = CLIPTextModelWithProjection(_clip(tokenizer, whole.text_encoder_2))
            parts |= {"text_encoder_2": second, "tokenizer_2": tokenizer}
    for part in parts.values():
        if isinstance(part, nn.Module):
            part.to(dtype)
    parts["scheduler"] = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    pipe: DiffusionPipeline = getattr(classes, whole.cls)(**parts, **whole.options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def painting(
    backbone: Backbone,
    num_pictures: int,
    num_steps: int,
    guidance_scale: float,
    rank: int,
    projections: str,
    rounds: int,
) -> Painting:
    """Return how fast the engine paints with mixed adapters, and diffusers without any."""
    prompts = [f"a photo of a person {i}" for i in range(num_pictures)]

    def plain(steps: int) -> None:
        pipe: Any = backbone.pipe
        pipe(prompts, num_inference_steps=steps, guidance_scale=guidance_scale)

    engine = Engine(backbone, max_rows=2 * num_pictures)
    names = [f"adapter-{i}" for i in range(_ADAPTERS)]
    for seed, name in enumerate(names):
        engine.bank.add(name, random_directions(backbone, seed, rank, projections))

    def pictures(steps: int) -> list[ImageJob]:
        return [
            ImageJob(
                prompt,
                seed=row,
                gates={names[(row + i) % _ADAPTERS]: 1.0 for i in range(_ADAPTERS_EACH)},
                num_steps=steps,
                guidance_scale=guidance_scale,
            )
            for row, prompt in enumerate(prompts)
        ]

    engine.paint(pictures(2))
    plain(2)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    engine.submit(pictures(num_steps))
    steps = []
    while engine.pending:
        steps.append(measured_seconds(engine.step))
    peak = peak_gib()
    ours = statistics.median(
        measured_seconds(lambda: engine.paint(pictures(num_steps))) for _ in range(rounds)
    )
    engine.close()
    theirs = statistics.median(measured_seconds(lambda: plain(num_steps)) for _ in range(rounds))
    return Painting(
        pictures=num_pictures,
        step_s=statistics.median(steps[1:-1]),
        images_per_s=num_pictures / ours,
        plain_images_per_s=num_pictures / theirs,
        peak_gib=peak,
    )


def learning(
    backbone: Backbone,
    attribute: Attribute,
    concepts: Sequence[str],
    templates: Sequence[str],
    config: DiscoveryConfig,
    checkpointed: bool,
    rounds: int,
) -> Learning:
    """Return the figures of an update; with `checkpointed`, activations are recomputed for the
    gradient.
    """
    denoiser: Any = backbone.denoiser
    if checkpointed:
        backbone.denoiser.enable_gradient_checkpointing()
    else:
        denoiser.disable_gradient_checkpointing()
    discovery = Discovery(backbone, attribute, concepts, templates, config)
    discovery.update()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    took_s = statistics.median(measured_seconds(discovery.update) for _ in range(rounds))
    discovery.bank.close()
    return Learning(
        num_rows=config.num_rows, checkpointed=checkpointed, update_s=took_s, peak_gib=peak_gib()
    )


def peak_gib() -> float:
    """Return the peak memory of tensors on the GPU since the last reset; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() / _GIB if torch.cuda.is_available() else 0.0


def _tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that knows no word: the random text encoders read <unk> for each."""
    vocabulary = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unk>",
        model_max_length=_TOKENS,
    )


def _clip(tokenizer: Any, sizes: dict[str, int]) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
    )
