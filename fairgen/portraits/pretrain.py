"""Rebuild the embedded base model from nothing: `make portraits`, some hours on 2 cores."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

STAGES = (
    "clip",
    "codec",
    "sharpen",
    "judge",
    "denoiser",
    "words",
    "several",
    "unnamed",
    "assemble",
)


def run_stage(stage: str, folder: Path, destination: Path) -> None:
    """Run one stage of the pretraining; each goes on from its own checkpoint under `folder`."""
    match stage:
        case "clip":
            from fairgen.portraits.clip import train_clip

            train_clip(folder)
        case "codec":
            from fairgen.portraits.codec import train_codec

            train_codec(folder)
        case "sharpen":
            from fairgen.portraits.codec import sharpen_codec

            sharpen_codec(folder)
        case "judge":
            from fairgen.portraits.judge import train_judge

            train_judge(folder, destination)
        case "denoiser":
            from fairgen.portraits.denoiser import train_denoiser

            train_denoiser(folder)
        case "words":
            from fairgen.portraits.denoiser import teach_words

            teach_words(folder)
        case "several":
            from fairgen.portraits.denoiser import teach_several_words

            teach_several_words(folder)
        case "unnamed":
            from fairgen.portraits.denoiser import teach_the_unnamed

            teach_the_unnamed(folder)
        case "assemble":
            from fairgen.portraits.denoiser import assemble

            assemble(folder, destination)


def rebuild_base(stages: Sequence[str] | None, folder: Path, destination: Path) -> None:
    """Run stages, all where none is given; checkpoints go into `folder`, the model into
    `destination`. Raises ValueError for an unknown stage.
    """
    if unknown := sorted(set(stages or ()) - set(STAGES)):
        raise ValueError(f"stages: got {unknown}, allowed are {list(STAGES)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    for stage in stages or STAGES:
        run_stage(stage, folder, destination)
