"""Judges: zero-shot CLIP uses its logit scale, features are unit vectors, and missing weights and
fields of another kind are named.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pydantic import ValidationError
from transformers import ResNetConfig, ResNetForImageClassification

from fairgen import portraits
from fairgen.judging.fairface import FairFaceJudge
from fairgen.judging.judges import ClipJudge, Judge, JudgeConfig
from fairgen.judging.metrics import cosines
from fairgen.portraits.judge import PortraitJudge
from tests.tiny import AGE, GENDER, SKIN, save_tiny_clip

FAIRFACE = yaml.safe_load("""
kind: fairface
path: faces
clip: clip
classes: {gender: {woman: [Female], man: [Male]}, age: {young: [20-29, 3-9], old: [70+]}}
""")


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    return save_tiny_clip(tmp_path)


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


def check_features(judge: Judge, text_feature: torch.Tensor) -> None:
    """Check features of two equal pictures and another; `text_feature` is that of "a doctor"."""
    first, second = pictures(2)
    features = judge.features([first, second, first])
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(cosines(features[:1], features[2:]), torch.ones(1))
    assert cosines(features[:1], features[1:2]) < 0.9999
    alignment = judge.alignment([first, second, first], "a doctor")
    torch.testing.assert_close(alignment, features @ text_feature)


def test_features_of_clip_are_unit_vectors_that_alignment_compares_with_the_text(
    clip_folder: Path,
) -> None:
    judge = ClipJudge(clip_folder, (GENDER,), ("doctor",))
    tokens = judge._tokenizer(["a doctor"], return_tensors="pt")
    with torch.inference_mode():
        text = judge.model.get_text_features(**tokens).pooler_output
    check_features(judge, torch.nn.functional.normalize(text, dim=-1)[0])


def test_features_of_the_portrait_judge_are_those_that_alignment_compares_with_the_text() -> None:
    judge = PortraitJudge(Path(portraits.__file__).parent / "model")
    check_features(judge, judge.clip.text_features(["a doctor"])[0])


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"judge\.path: got 'nowhere', which holds no judge"):
        JudgeConfig(kind="portraits", path=Path("nowhere")).load(tmp_path, (), ())
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        JudgeConfig(kind="clip", path=tmp_path).load(tmp_path, (), ())
    fairface = FAIRFACE | {"clip": "nowhere"}
    with pytest.raises(
        ValueError, match=r"judge\.clip: got 'nowhere', which holds no config\.json"
    ):
        JudgeConfig.model_validate(fairface).load(tmp_path, (), ())


def test_a_fairface_judge_is_read_from_a_recipes_words(clip_folder: Path) -> None:
    """Both paths are read from the root, and the ages of the YAML stay the labels they are."""
    labels = ("3-9", "20-29", "70+", "Female", "Male")
    network = ResNetConfig(
        layer_type="basic",
        embedding_size=2,
        hidden_sizes=[2],
        depths=[1],
        id2label=dict(enumerate(labels)),
    )
    ResNetForImageClassification(network).save_pretrained(clip_folder / "faces")
    config = JudgeConfig.model_validate(FAIRFACE | {"clip": "."})
    judge = config.load(clip_folder, (GENDER, AGE), ("doctor", "nurse", "chef"))
    assert isinstance(judge, FairFaceJudge)
    seen = judge.perceive(pictures(2))
    assert {head: table.shape for head, table in seen.items()} == {
        "gender": (2, 2), "age": (2, 2), "concept": (2, 3),
    }  # fmt: skip
    for table in seen.values():
        torch.testing.assert_close(table.sum(1), torch.ones(2))
    clip = JudgeConfig(path=clip_folder).load(Path(), (), ("doctor", "nurse", "chef"))
    torch.testing.assert_close(seen["concept"], clip.perceive(pictures(2))["concept"])
    with pytest.raises(ValueError, match=r"judge\.path: got '.*elsewhere', allowed are a folder"):
        config.model_copy(update={"path": Path("elsewhere")}).load(clip_folder, (GENDER, AGE), ())


@pytest.mark.parametrize("field", ["clip", "classes"])
def test_a_fairface_judge_needs_its_fields_and_other_kinds_refuse_them(field: str) -> None:
    without = {name: value for name, value in FAIRFACE.items() if name != field}
    with pytest.raises(
        ValidationError,
        match=f"{field}: got nothing, allowed is a value: the kind 'fair",
    ):
        JudgeConfig.model_validate(without)
    for kind in ("clip", "portraits"):
        with pytest.raises(
            ValidationError, match=f"{field}: got .*, allowed with the kind 'fairface' only"
        ):
            JudgeConfig.model_validate({"kind": kind, "path": "a", field: FAIRFACE[field]})
