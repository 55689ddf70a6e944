"""Judges: zero-shot CLIP uses its logit scale, and missing weights are named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor

from fairgen.judges import JudgeConfig
from fairgen.portraits.clip import build_clip, build_tokenizer
from tests.tiny import GENDER, SKIN


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    build_clip(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    size = {"height": 64, "width": 64}
    CLIPImageProcessor(size=size, crop_size=size).save_pretrained(tmp_path)
    return tmp_path


def pictures(count: int) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in noise]


def test_clip_gives_probabilities_sharpened_by_its_logit_scale(clip_folder: Path) -> None:
    judge = JudgeConfig(kind="clip", path=clip_folder).load(
        Path(), (GENDER, SKIN), ("doctor", "nurse")
    )
    seen = judge.perceive(pictures(3))
    assert {head: table.shape for head, table in seen.items()} == {
        "gender": (3, 2), "skin": (3, 4), "concept": (3, 2),
    }  # fmt: skip
    assert judge.heads["skin"] == ("light", "tan", "brown", "dark")
    cosines = torch.stack(
        [
            judge.alignment(pictures(3), f"a photo of a {word} person")
            for word in ("female", "male")
        ],
        dim=1,
    )
    assert judge.model.logit_scale.exp() > 10
    expected = (judge.model.logit_scale.exp() * cosines).softmax(-1)
    torch.testing.assert_close(seen["gender"], expected, atol=1e-4, rtol=1e-4)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"judge\.path: got 'nowhere', which holds no judge"):
        JudgeConfig(kind="portraits", path=Path("nowhere")).load(tmp_path, (), ())
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        JudgeConfig(kind="clip", path=tmp_path).load(tmp_path, (), ())
