#!/usr/bin/env bash
# diffusers 0.42.1: what SanaPipeline.encode_prompt returns for a prompt is not what the pipeline paints that prompt with.
#
# Expected: pipe(prompt_embeds=...) with the four tensors of pipe.encode_prompt(prompt), all else at its default, paints
# what pipe(prompt) paints, as with other pipelines.
# Behaviour: the instruction of 1,057 characters that is read before a prompt is the default of `complex_human_instruction`
# in __call__ and None in encode_prompt, so embedded prompts are of another kind than those that the model was trained on,
# without a word. With the instruction handed on the pictures are the same. SanaSprintPipeline is alike.
# Output seen: SanaPipeline: the same picture without the instruction: False, with it: True; SanaSprintPipeline: as well
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 numpy pillow accelerate
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import inspect

import numpy as np
import torch
from diffusers import (
    AutoencoderDC, DPMSolverMultistepScheduler, SanaPipeline, SanaSprintPipeline,
    SanaTransformer2DModel, SCMScheduler,
)
from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

PROMPT = "a photo of a doctor"
INSTRUCTION = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
assert len("\n".join(INSTRUCTION)) == 1057
names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\u2581", *sorted(set("".join(INSTRUCTION) + "\n") - {" "})]


def picture(kind, scheduler, **options):
    """Return a function that paints with a tiny random pipeline of a kind."""
    torch.manual_seed(0)
    tokenizer = GemmaTokenizer(vocab={name: index for index, name in enumerate(names)})
    text = Gemma2Model(Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, initializer_range=0.5))
    denoiser = SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=4, attention_head_dim=8, num_layers=2,
        num_cross_attention_heads=2, cross_attention_head_dim=16, cross_attention_dim=32,
        caption_channels=32, sample_size=8, **options)
    codec = AutoencoderDC(
        latent_channels=4, attention_head_dim=4, encoder_block_out_channels=(4, 8, 8),
        decoder_block_out_channels=(4, 8, 8), encoder_layers_per_block=(1, 1, 1),
        decoder_layers_per_block=(1, 1, 1), encoder_qkv_multiscales=((), (), ()),
        decoder_qkv_multiscales=((), (), ()))
    parts = {"tokenizer": tokenizer, "text_encoder": text.eval(), "vae": codec.eval()}
    pipe = kind(**parts, transformer=denoiser.eval(), scheduler=scheduler)
    pipe.set_progress_bar_config(disable=True)

    def paint(**given):
        return pipe(height=32, width=32, num_inference_steps=2, use_resolution_binning=False,
                    generator=torch.Generator().manual_seed(0), output_type="np", **given).images

    return pipe, paint


flow = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
for kind, scheduler, options in (
    (SanaPipeline, flow, {}), (SanaSprintPipeline, SCMScheduler(), {"guidance_embeds": True}),
):
    pipe, paint = picture(kind, scheduler, **options)
    own = paint(prompt=PROMPT)
    found = []
    for lines in ({}, {"complex_human_instruction": INSTRUCTION}):
        with torch.no_grad():
            encoded = pipe.encode_prompt(PROMPT, **lines)
        fields = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")
        given = dict(zip(fields, encoded))
        if kind is SanaPipeline:
            given["negative_prompt"] = None
        found.append(bool(np.array_equal(paint(**given), own)))
    print(f"{kind.__name__}: the same picture without the instruction: {found[0]}, with it: {found[1]}")
    assert found == [False, True]
print("as it was seen")
PY
