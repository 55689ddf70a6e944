#!/usr/bin/env bash
# diffusers 0.42.1: a pipeline that is loaded from one file takes the parts that the file lacks from the folder of `config`, but
# never a text encoder: that "appears to be missing in the checkpoint", while it lies in the folder as `save_pretrained` left it.
#
# Expected: a file that holds the denoiser alone, as those of Z-Image and FLUX.1 are passed on, is completed from the folder.
# Behaviour: a part's weights are looked for under the name that diffusers gives those of its own models. An encoder's file has
# the name that transformers gives, so it is never found.
# Output seen: encoder beside it: SingleFileComponentError; encoder given: loaded
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

torch.manual_seed(0)
words = ["<pad>", "<unk>", "a", "doctor"]
core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
core.pre_tokenizer = pre_tokenizers.Whitespace()
language = Qwen3Config(
    vocab_size=len(words), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=8,
)  # fmt: skip
pipe = ZImagePipeline(
    scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    vae=AutoencoderKL(latent_channels=4, norm_num_groups=2, block_out_channels=(4,)),
    text_encoder=Qwen3Model(language),
    tokenizer=PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", unk_token="<unk>"),
    transformer=ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=32,
        axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64],
    ),
)  # fmt: skip
pipe.save_pretrained("saved")
save_file(pipe.transformer.state_dict(), "model.safetensors")


def outcome(**parts):
    try:
        ZImagePipeline.from_single_file("model.safetensors", config="saved", **parts)
        return "loaded"
    except Exception as error:
        return type(error).__name__


vae = AutoencoderKL.from_pretrained("saved", subfolder="vae")
beside = outcome(vae=vae)
given = outcome(vae=vae, text_encoder=Qwen3Model.from_pretrained("saved", subfolder="text_encoder"))
print(f"encoder beside it: {beside}; encoder given: {given}")
assert (beside, given) == ("SingleFileComponentError", "loaded"), (beside, given)
PY
echo "as it was seen"
