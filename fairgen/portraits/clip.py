"""A tiny CLIP for the drawn world: word-level tokenizer, text tower (the model's text encoder) and
image tower.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PreTrainedTokenizerFast,
)

from fairgen.files import written_whole
from fairgen.portraits.drawing import SIZE_PX, draw
from fairgen.portraits.training import Trainer, pixels
from fairgen.portraits.world import (
    caption,
    choose_named,
    sample_portrait,
    uniform_portrait,
    vocabulary,
)

MAX_TOKENS = 16
_TEXT_PROJECTION = "text_projection.safetensors"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return the offline word-level tokenizer; unknown words become one <unk> token."""
    words = ["<pad>", "<start>", "<end>", "<unk>", *vocabulary()]
    core = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    )
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unk>",
        model_max_length=MAX_TOKENS,
    )


def build_clip(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """Return the untrained two-tower model: 3 layers of width 128 on either side."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIZE_PX,
        patch_size=8,
    )
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=128)
    )


def tokenize(tokenizer: PreTrainedTokenizerFast, captions: list[str]) -> Tensor:
    """Return token ids, N x 16, padded as the diffusers pipelines pad."""
    return tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids


def train_clip(folder: Path, num_steps: int = 1200, batch_size: int = 96, seed: int = 0) -> None:
    """Train both towers contrastively on fresh drawings and save them with the tokenizer under
    `folder`.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = build_tokenizer()
    model = build_clip(tokenizer)

    def loss() -> Tensor:
        portraits = [
            uniform_portrait(rng) if rng.random() < 0.6 else sample_portrait(rng)
            for _ in range(batch_size)
        ]
        captions = [caption(portrait, choose_named(rng, 0.7), rng) for portrait in portraits]
        images = pixels([draw(portrait, rng) for portrait in portraits])
        output = model(input_ids=tokenize(tokenizer, captions), pixel_values=images)
        return contrastive_loss(output.logits_per_text, captions)

    trainer = Trainer(model, folder / "clip.ckpt", num_steps, learning_rate=1e-3)
    trainer.run(loss)
    model.save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    text_encoder = CLIPTextModel(model.config.text_config)
    text_encoder.load_state_dict(model.text_model.state_dict())
    text_encoder.save_pretrained(folder / "text_encoder")


def contrastive_loss(logits_NN: Tensor, captions: list[str]) -> Tensor:
    """Return the symmetric InfoNCE loss; pairs with the very same caption are no negatives of each
    other.
    """
    same = torch.tensor([[a == b for b in captions] for a in captions])
    same.fill_diagonal_(False)
    logits_NN = logits_NN.masked_fill(same, float("-inf"))
    labels = torch.arange(len(captions))
    return (
        functional.cross_entropy(logits_NN, labels) + functional.cross_entropy(logits_NN.T, labels)
    ) / 2


def save_towers(clip: CLIPModel, folder: Path) -> None:
    """Save, in fp16, what the base model's own text encoder lacks to be a CLIP: the image tower and
    the text projection.
    """
    config = clip.config.vision_config
    config.projection_dim = clip.config.projection_dim
    images = CLIPVisionModelWithProjection(config)
    images.vision_model.load_state_dict(clip.vision_model.state_dict())
    images.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    images.half().save_pretrained(folder)
    projection = clip.text_projection.weight.detach().half().contiguous()
    with written_whole(folder / _TEXT_PROJECTION) as partial:
        save_file({"weight": projection}, partial)


class PortraitClip:
    """Scores how well pictures match captions, and gives features, by the tiny CLIP."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Take the text tower from the base model's `text_encoder`, the rest from its `clip`."""
        full = torch.float32
        self.image_tower = (
            CLIPVisionModelWithProjection.from_pretrained(folder / "clip", dtype=full)
            .eval()
            .to(device)
        )
        self._text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=full).eval()
        self._projection = load_file(folder / "clip" / _TEXT_PROJECTION)["weight"].float()
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")

    @torch.inference_mode()
    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return unit image features, N x 128."""
        batch = pixels(images).to(self.image_tower.device)
        return functional.normalize(self.image_tower(pixel_values=batch).image_embeds, dim=-1).cpu()

    @torch.inference_mode()
    def text_features(self, captions: list[str]) -> Tensor:
        """Return unit text features, N x 128."""
        pooled = self._text(input_ids=tokenize(self._tokenizer, captions)).pooler_output
        return functional.normalize(pooled @ self._projection.T, dim=-1)
