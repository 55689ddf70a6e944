"""One training loop for the four networks of the embedded model: AdamW, warm-up and cosine, EMA,
checkpoints.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import Tensor, nn

log = logging.getLogger(__name__)


def pixels(images: Sequence[Image.Image]) -> Tensor:
    """Return pictures as a float batch N x 3 x H x W in [-1, 1]."""
    batch = np.stack([np.asarray(image, dtype=np.uint8) for image in images])
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1


class Trainer:
    """Minimises a loss over one network; after an interruption it resumes from its checkpoint.

    A checkpoint holds network, optimiser and torch's random state. The caller draws the data: after
    an interruption its own random generator starts again, so that the first data come once more.
    """

    def __init__(
        self,
        network: nn.Module,
        checkpoint: Path,
        num_steps: int,
        *,
        learning_rate: float,
        warmup: int = 100,
        ema_decay: float | None = None,
        checkpoint_every: int = 250,
    ) -> None:
        self.network, self.checkpoint, self.num_steps = network, checkpoint, num_steps
        self.checkpoint_every = checkpoint_every
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=learning_rate, weight_decay=1e-3, betas=(0.9, 0.98)
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: (
                min(1.0, (step + 1) / warmup)
                * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / num_steps)))
            ),
        )
        self.ema = EMAModel(network.parameters(), decay=ema_decay) if ema_decay else None
        self.step = 0
        if checkpoint.exists():
            self._load()

    def run(
        self, loss: Callable[[], Tensor], watch: Callable[[int], str] = lambda step: ""
    ) -> None:
        """Take the remaining steps; what `watch(step)` returns is logged at every checkpoint."""
        self.network.train()
        started, total = time.monotonic(), 0.0
        first = self.step
        while self.step < self.num_steps:
            value = loss()
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            if self.ema:
                self.ema.step(self.network.parameters())
            self.step += 1
            total += value.item()
            if self.step % 50 == 0:
                pace = (time.monotonic() - started) / (self.step - first)
                log.info(
                    "%s step %d/%d loss %.4f (%.2f s a step)",
                    self.checkpoint.stem,
                    self.step,
                    self.num_steps,
                    total / 50,
                    pace,
                )
                total = 0.0
            if self.step % self.checkpoint_every == 0:
                self._save()
                if remark := watch(self.step):
                    log.info("%s step %d: %s", self.checkpoint.stem, self.step, remark)
        if self.ema:
            self.ema.copy_to(self.network.parameters())
        self.network.eval()

    def _save(self) -> None:
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "random": torch.get_rng_state(),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        torch.set_rng_state(state["random"])
        log.info("%s goes on from step %d", self.checkpoint.stem, self.step)
