"""Which kernels a gradient takes, and that no step is taken along NaN."""

import pytest
import torch
from torch import nn

from fairgen.gradients import clip_gradients, sound_gradients


@pytest.mark.parametrize(
    ("dtype", "num_tokens", "fused"),
    [
        (torch.bfloat16, 64, False),
        (torch.bfloat16, 4096, True),  # the whole matrix would take gigabytes
        (torch.bfloat16, None, True),
        (torch.float32, 64, True),
    ],
)
def test_a_short_sequence_in_bfloat16_on_a_cpu_leaves_fused_attention(
    dtype: torch.dtype, num_tokens: int | None, fused: bool
) -> None:
    base = nn.Linear(2, 2, dtype=dtype)
    with sound_gradients(base, num_tokens):
        assert torch.backends.cuda.flash_sdp_enabled() == fused
        assert torch.backends.cuda.math_sdp_enabled()
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert not base.weight.requires_grad
    assert base.weight.requires_grad and torch.backends.cuda.flash_sdp_enabled()


def test_no_step_is_taken_along_nan() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, float("nan")])
    with pytest.raises(FloatingPointError, match=r"update 3: the gradient is not finite in "):
        clip_gradients([weight], 3, torch.float16)
