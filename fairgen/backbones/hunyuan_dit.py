"""HunyuanDiT: a transformer with cross-attention to BERT and T5, velocity prediction."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from diffusers import HunyuanDiTPipeline
from diffusers.models.embeddings import get_2d_rotary_pos_embed
from diffusers.pipelines.hunyuandit.pipeline_hunyuandit import get_resize_crop_region_for_grid
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.backbone import CROSS_ATTENTION, Backbone
from fairgen.backbones.codec import PlainCodec
from fairgen.bank import Positions, TextPositions

_MAX_TOKENS = (77, 256)  # that the pipeline reads of a prompt, of BERT's and of T5's
_BASE_SIDE = 64  # of the latents that positions are scaled to


class HunyuanDiTBackbone(Backbone):
    """Directions sit on the transformer's cross-attention, as on a UNet's.

    Its keys and values stand at the prompt's tokens, BERT's and behind them T5's. What fills them
    up the transformer exchanges for embeddings of its own, and reads: these are left alone. So is
    the pooled T5, and the variance that the model predicts beside the velocity is not used.
    """

    pipelines = (HunyuanDiTPipeline,)
    denoiser_name = "transformer"
    projection_suffixes = CROSS_ATTENTION
    codec_type = PlainCodec
    takes_pictures = False
    pipe_options = MappingProxyType({"use_resolution_binning": False})

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D of BERT and "text_2" of T5, "mask" and "mask_2": N x L, 1 at
        tokens.
        """
        found = {}
        for index, (end, length) in enumerate(zip(("", "_2"), _MAX_TOKENS, strict=True)):
            found[f"text{end}"], _, found[f"mask{end}"], _ = self.pipe.encode_prompt(
                [prompt or "" for prompt in prompts],
                self.device,
                self.dtype,
                do_classifier_free_guidance=False,
                max_sequence_length=length,
                text_encoder_index=index,
            )
        return TensorDict(found, batch_size=[len(prompts)])

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the predicted velocity, N x C x h x w, in the precision of `x_t`."""
        num_rows, sides = len(x_t), x_t.shape[-2:]
        sides_px = (side * self.vae_scale_factor for side in sides)
        sizes = torch.tensor([[1024, 1024, *sides_px, 0, 0]], device=x_t.device, dtype=self.dtype)
        prediction = self.denoiser(
            x_t.to(self.dtype),
            t_N.to(x_t.device, self.dtype),
            encoder_hidden_states=context["text"].to(self.dtype),
            text_embedding_mask=context["mask"],
            encoder_hidden_states_t5=context["text_2"].to(self.dtype).contiguous(),  # it is viewed
            text_embedding_mask_t5=context["mask_2"],
            image_meta_size=sizes.expand(num_rows, -1).contiguous(),
            style=torch.zeros(num_rows, dtype=torch.long, device=x_t.device),
            image_rotary_emb=self._rotations(sides, x_t.device),
        ).sample
        return prediction[:, : x_t.shape[1]].to(x_t.dtype)

    def _rotations(self, sides: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the rotary embeddings of latents of a size, stretched over a square."""
        grid = sides[0] // self.patch_size, sides[1] // self.patch_size
        region = get_resize_crop_region_for_grid(grid, _BASE_SIDE // self.patch_size)
        width = self.denoiser.inner_dim // self.denoiser.num_heads
        return get_2d_rotary_pos_embed(width, region, grid, device=device, output_type="pt")

    def text_positions(self, context: TensorDict, shape: Sequence[int]) -> Positions:
        return self._positions(context["mask"], context["mask_2"])

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions:
        return self._positions(
            arguments["text_embedding_mask"], arguments["text_embedding_mask_t5"]
        )

    def _positions(self, *masks: Tensor) -> Positions:
        tokens = TextPositions(torch.cat(masks, dim=1) > 0)
        return dict.fromkeys(self.projections("kv"), tokens)

    def call_options(self, num_images: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments for several pictures: of embedded prompts the pipeline repeats all
        but the masks.
        """
        found = super().call_options(num_images, options)
        for name, given in found.items():
            if "attention_mask" in name and given is not None:
                found[name] = given.repeat_interleave(num_images, 0)
        return found

    @property
    def patch_size(self) -> int:
        return self.denoiser.config.patch_size
