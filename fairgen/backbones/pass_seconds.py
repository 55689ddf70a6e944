"""How long a pass of a denoiser takes, as this machine is now."""

import time

import torch

from fairgen.backbones.backbone import Backbone


@torch.inference_mode()
def seconds_of_pass(backbone: Backbone, rows: int) -> float:
    """Return how long a pass of so many rows of the native size takes, nothing adapted."""
    context = backbone.encode([""]).expand(rows)
    x = torch.zeros(rows, *backbone.latent_shape(), device=backbone.device)
    t_N, scale_N = torch.full((rows,), 500.0), torch.full((rows,), 3.0)
    started = time.perf_counter()
    backbone.denoise(x, t_N, context, scale_N)
    return time.perf_counter() - started
