#!/usr/bin/env bash
# diffusers 0.42.1: ZImagePipeline writes its chat template into the caller's list of prompts, so that the same list gives other
# pictures the second time.
#
# Expected: a call reads its prompts. The same pipeline, the same list and the same seed paint the same pictures again, as with a
# prompt that is a string, and the list holds afterwards what it held before.
# Behaviour: encode_prompt puts the templated text in the place of each prompt, in the list it was given, and of the negative
# prompts as well. The second call wraps what is wrapped already. A record that is kept of the list is of the wrapped prompts.
# Output seen: a string twice: same picture; a list twice: another picture; afterwards the list holds <user>a doctor<assistant>
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 jinja2==3.1.6
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

torch.manual_seed(0)
words = ["<pad>", "<unk>", "<", ">", "user", "assistant", "a", "doctor"]
core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", unk_token="<unk>")
tokenizer.chat_template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}<assistant>{% endfor %}"
language = Qwen3Config(
    vocab_size=len(words), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=8,
)
pipe = ZImagePipeline(
    scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    vae=AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(4, 8),
        latent_channels=4, norm_num_groups=2, shift_factor=0.1, scaling_factor=0.4,
    ),
    text_encoder=Qwen3Model(language),
    tokenizer=tokenizer,
    transformer=ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=32,
        axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64],
    ),
)
pipe.set_progress_bar_config(disable=True)


def picture(prompt):
    generator = torch.Generator().manual_seed(0)
    options = {"height": 16, "width": 16, "num_inference_steps": 2, "guidance_scale": 0.0}
    return pipe(prompt, generator=generator, output_type="pt", **options).images


def again(prompt):
    return "same picture" if torch.equal(picture(prompt), picture(prompt)) else "another picture"


text, prompts = again("a doctor"), ["a doctor"]
listed = again(prompts)
one = ["a doctor"]
pipe.encode_prompt(one, do_classifier_free_guidance=False)
print(f"a string twice: {text}; a list twice: {listed}; afterwards the list holds {one[0]}")
assert (text, listed, one) == ("same picture", "another picture", ["<user>a doctor<assistant>"])
PY
echo "as it was seen"
