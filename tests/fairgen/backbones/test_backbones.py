"""A backbone is the diffusers model itself: its embeddings, its predictions, its projections."""

import pytest
import torch
from diffusers import DDPMPipeline, StableDiffusionPipeline
from torch import nn

from fairgen.backbones import load_backbone


def test_embeddings_are_those_of_the_pipeline(pipe: StableDiffusionPipeline) -> None:
    prompts = ["a photo of a doctor", "", "a portrait of an old female nurse"]
    expected, _ = pipe.encode_prompt(prompts, "cpu", 1, do_classifier_free_guidance=False)
    assert torch.equal(load_backbone(pipe).encode(prompts)["text"], expected)


def test_predictions_are_those_of_the_denoiser_with_a_time_step_per_row(
    any_pipe: StableDiffusionPipeline,
) -> None:
    backbone = load_backbone(any_pipe)
    x, t = torch.randn(3, *backbone.latent_shape()), torch.tensor([1, 500, 990])
    context = backbone.encode(["a doctor", "a nurse", ""])
    together = backbone.denoise(x, t, context)
    for row in range(3):
        alone = any_pipe.unet(
            x[[row]], int(t[row]), encoder_hidden_states=context["text"][[row]]
        ).sample
        torch.testing.assert_close(together[[row]], alone, atol=1e-5, rtol=1e-5)


def test_a_half_precision_model_answers_in_the_precision_of_the_latents(
    pipe: StableDiffusionPipeline,
) -> None:
    backbone = load_backbone(pipe.to(torch.bfloat16))
    x = torch.randn(2, *backbone.latent_shape())
    prediction = backbone.denoise(x, torch.tensor([3, 900]), backbone.encode(["a doctor", ""]))
    assert prediction.dtype == torch.float32 and prediction.isfinite().all()


def test_the_model_is_left_as_it_is(pipe: StableDiffusionPipeline) -> None:
    pipe.unet.train()
    pipe.text_encoder.eval()
    load_backbone(pipe)
    assert pipe.unet.training and not pipe.text_encoder.training
    for part in (pipe.unet, pipe.text_encoder):
        assert all(p.requires_grad for p in part.parameters())


@pytest.mark.parametrize("which", ["qkvo", "kv", "q"])
def test_projections_are_the_linear_layers_of_cross_attention(
    pipe: StableDiffusionPipeline, which: str
) -> None:
    backbone = load_backbone(pipe)
    paths = backbone.projections(which)
    blocks = {name for name, _ in pipe.unet.named_modules() if name.endswith(".attn2")}
    assert len(paths) == len(blocks) * len(which)
    for path in paths:
        assert path.split(".attn2.")[0] + ".attn2" in blocks
        assert isinstance(pipe.unet.get_submodule(path), nn.Linear)
    inputs = {path.split(".")[-1]: pipe.unet.get_submodule(path).in_features for path in paths}
    if "k" in which:  # keys and values read the prompt
        assert inputs["to_k"] == inputs["to_v"] == pipe.unet.config.cross_attention_dim


def test_an_unknown_family_is_refused_with_the_known(pipe: StableDiffusionPipeline) -> None:
    other = DDPMPipeline(pipe.unet, pipe.scheduler)
    message = "base: got a DDPMPipeline, allowed are .*'FluxPipeline'.*'StableDiffusionPipeline'"
    with pytest.raises(ValueError, match=message):
        load_backbone(other)
