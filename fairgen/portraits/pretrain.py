"""Rebuild the embedded base model from nothing: `python -m fairgen.portraits.pretrain`, some
hours on 2 cores.
"""

import argparse
import logging
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


def rebuild_base() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "stages", nargs="*", default=list(STAGES), help="stages to run: " + ", ".join(STAGES)
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("portraits-pretraining"), help="checkpoints go here"
    )
    parser.add_argument("--destination", type=Path, default=Path(__file__).parent / "model")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for stage in arguments.stages:
        run_stage(stage, arguments.folder, arguments.destination)


if __name__ == "__main__":
    rebuild_base()
