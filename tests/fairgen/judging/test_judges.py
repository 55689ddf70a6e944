"""Judges: zero-shot CLIP uses its logit scale, features are unit vectors, every network runs once a
picture, and missing weights and fields of another kind are named.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cosine_similarity, normalize
from transformers import (
    AutoTokenizer,
    ResNetConfig,
    ResNetForImageClassification,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from fairgen import portraits
from fairgen.attributes import Attribute
from fairgen.judging import Judge, JudgeConfig, score_pictures
from fairgen.judging.clip import ClipJudge
from fairgen.judging.portraits import PortraitJudge
from tests.tiny import AGE, GENDER, SKIN, build_tokenizer, save_tiny_clip

PORTRAITS = Path(portraits.__file__).parent / "model"
CONFIGS: TypeAdapter[JudgeConfig] = TypeAdapter(JudgeConfig)

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


def load(
    content: dict[str, object],
    root: Path = Path(),
    attributes: tuple[Attribute, ...] = (),
    concepts: tuple[str, ...] = (),
) -> Judge:
    return CONFIGS.validate_python(content).load(root, attributes, concepts)


def save_fairface(folder: Path) -> Path:
    """Save a random classifier beside the CLIP of a folder; return the folder."""
    labels = ("3-9", "20-29", "70+", "Female", "Male")
    network = ResNetConfig(
        layer_type="basic",
        embedding_size=2,
        hidden_sizes=[2],
        depths=[1],
        id2label=dict(enumerate(labels)),
    )
    ResNetForImageClassification(network).save_pretrained(folder / "faces")
    return folder


def count_pictures(network: nn.Module, counts: list[int]) -> None:
    """Let every forward pass of a network append the number of its pictures."""

    def append_count(_: nn.Module, args: tuple, options: dict) -> None:
        batch = args[0] if args else options["pixel_values"]
        counts.append(len(batch))

    network.register_forward_pre_hook(append_count, with_kwargs=True)


def test_clip_gives_probabilities_sharpened_by_its_logit_scale(clip_folder: Path) -> None:
    judge = ClipJudge(clip_folder, (GENDER, SKIN), ("doctor", "nurse"))
    perception = judge.read(pictures(3))
    assert {head: table.shape for head, table in perception.probabilities.items()} == {
        "gender": (3, 2), "skin": (3, 4), "concept": (3, 2),
    }  # fmt: skip
    assert judge.heads["skin"] == ("light", "tan", "brown", "dark")
    texts = [judge.text_feature(f"a photo of a {word} person") for word in ("female", "male")]
    cosines = perception.features @ torch.stack(texts).T
    assert judge.model.logit_scale.exp() > 10
    expected = (judge.model.logit_scale.exp() * cosines).softmax(-1)
    torch.testing.assert_close(perception.probabilities["gender"], expected, atol=1e-4, rtol=1e-4)


def test_clip_reads_the_same_in_batches_of_any_size(clip_folder: Path) -> None:
    counts: list[int] = []
    judge = ClipJudge(clip_folder, (GENDER,), ("doctor",), batch_size=2)
    count_pictures(judge.model.vision_model, counts)
    perception = judge.read(pictures(5))
    whole = ClipJudge(clip_folder, (GENDER,), ("doctor",)).read(pictures(5))
    assert counts == [2, 2, 1]
    torch.testing.assert_close(perception.features, whole.features, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        perception.probabilities["gender"], whole.probabilities["gender"], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("kind", ["portraits", "clip", "fairface"])
def test_scoring_a_prompt_runs_every_network_once_a_picture(kind: str, clip_folder: Path) -> None:
    counts: dict[str, list[int]] = {"image tower": [], "classifier": []}
    save_fairface(clip_folder)
    configs = {
        "portraits": {"kind": "portraits", "path": PORTRAITS},
        "clip": {"kind": "clip", "path": clip_folder},
        "fairface": FAIRFACE | {"clip": "."},
    }
    judge = load(configs[kind], clip_folder, (GENDER, AGE), ("doctor",))
    if isinstance(judge, PortraitJudge):
        count_pictures(judge.clip.image_tower, counts["image tower"])
        count_pictures(judge.classifier.network, counts["classifier"])
    else:
        assert isinstance(judge, ClipJudge)
        count_pictures(judge.model.vision_model, counts["image tower"])
        if judge.classifier is not None:
            count_pictures(judge.classifier.model, counts["classifier"])
    reference = None
    for system in ("base", "fairgen"):
        _, embedded = score_pictures(
            pictures(3), [{"gender": "woman"}] * 3, system=system, concept="doctor",
            prompt="a photo of a doctor", attributes=(GENDER, AGE), judge=judge,
            reference=reference,
        )  # fmt: skip
        reference = embedded
    assert counts == {"image tower": [3, 3], "classifier": [] if kind == "clip" else [3, 3]}


def test_the_text_of_a_prompt_is_encoded_once(clip_folder: Path) -> None:
    judge = ClipJudge(clip_folder, (GENDER,), ("doctor",))
    calls: list[object] = []
    judge.model.text_model.register_forward_hook(lambda *call: calls.append(call))
    first, again = judge.text_feature("a doctor"), judge.text_feature("a doctor")
    assert len(calls) == 1 and torch.equal(first, again)


def check_features(judge: Judge) -> None:
    first, second = pictures(2)
    features = judge.read([first, second, first]).features
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(cosine_similarity(features[:1], features[2:]), torch.ones(1))
    assert cosine_similarity(features[:1], features[1:2]) < 0.9999


def test_features_of_clip_are_unit_vectors_of_its_projected_towers(clip_folder: Path) -> None:
    judge = ClipJudge(clip_folder, (GENDER,), ("doctor",))
    check_features(judge)
    tokens = AutoTokenizer.from_pretrained(clip_folder)(["a doctor"], return_tensors="pt")
    with torch.inference_mode():
        text = judge.model.get_text_features(**tokens).pooler_output
    torch.testing.assert_close(judge.text_feature("a doctor"), normalize(text, dim=-1)[0])


def save_tiny_siglip(folder: Path) -> SiglipModel:
    """Save a random SigLIP that reads pictures of 64 pixels; return it."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    side = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2}  # fmt: skip
    text = side | {"vocab_size": len(tokenizer), "projection_size": 16}
    config = SiglipConfig(
        text_config=text | {"max_position_embeddings": 20},
        vision_config=side | {"image_size": 64, "patch_size": 16},
    )
    model = SiglipModel(config).eval()
    torch.nn.init.constant_(model.logit_scale, 3.0)
    for saved in (model, tokenizer, SiglipImageProcessor(size={"height": 64, "width": 64})):
        saved.save_pretrained(folder)
    return model


def test_siglip_names_what_its_own_model_finds_likeliest(tmp_path: Path) -> None:
    model = save_tiny_siglip(tmp_path)
    config = CONFIGS.validate_python({"kind": "clip", "path": "."})
    config.check(tmp_path, (GENDER,))
    judge = config.load(tmp_path, (GENDER,), ("doctor",))
    seen = SiglipImageProcessor.from_pretrained(tmp_path)(images=pictures(3), return_tensors="pt")
    texts = ["a photo of a female person", "a photo of a male person"]
    read = AutoTokenizer.from_pretrained(tmp_path)(
        texts, padding="max_length", max_length=20, return_tensors="pt"
    )
    with torch.inference_mode():
        logits = model(**seen, **read).logits_per_image
    found = judge.read(pictures(3)).probabilities["gender"]
    torch.testing.assert_close(found, logits.softmax(-1), atol=1e-4, rtol=1e-4)
    assert (found - 0.5).abs().max() > 0.01
    check_features(judge)


def test_weights_that_are_not_whole_are_no_judge(clip_folder: Path) -> None:
    """transformers would fill the gap with random numbers, and say so in a log."""
    weights = clip_folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["visual_projection.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"whose weights lack visual_projection\.weight; allow"):
        ClipJudge(clip_folder, (GENDER,), ("doctor",))


def test_a_model_of_another_type_is_refused_before_it_is_loaded(clip_folder: Path) -> None:
    path = clip_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "blip"}))
    with pytest.raises(ValueError, match="got a model of type 'blip', allowed are clip and siglip"):
        CONFIGS.validate_python({"kind": "clip", "path": "."}).check(clip_folder, (GENDER,))
    with pytest.raises(ValueError, match="got a model of type 'blip', allowed are"):
        ClipJudge(clip_folder, (GENDER,), ("doctor",))


def test_features_of_the_portrait_judge_are_those_of_its_tiny_clip() -> None:
    judge = PortraitJudge(PORTRAITS)
    check_features(judge)
    expected = judge.clip.image_features(pictures(2))
    torch.testing.assert_close(judge.read(pictures(2)).features, expected)
    text = judge.clip.text_features(["a doctor"])[0]
    torch.testing.assert_close(judge.text_feature("a doctor"), text)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"judge\.path: got 'nowhere', which holds no judge"):
        load({"kind": "portraits", "path": "nowhere"}, tmp_path)
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        load({"kind": "clip", "path": tmp_path})


def test_missing_weights_of_the_clip_beside_a_classifier_are_named(clip_folder: Path) -> None:
    save_fairface(clip_folder)
    message = r"judge\.clip: got 'nowhere', which holds no config\.json"
    with pytest.raises(ValueError, match=message):
        load(FAIRFACE | {"clip": "nowhere"}, clip_folder, (GENDER, AGE))


def test_a_fairface_judge_is_read_from_a_recipes_words(clip_folder: Path) -> None:
    """Both paths are read from the root, and the ages of the YAML stay the labels they are."""
    concepts = ("doctor", "nurse", "chef")
    content = FAIRFACE | {"clip": "."}
    judge = load(content, save_fairface(clip_folder), (GENDER, AGE), concepts)
    probabilities = judge.read(pictures(2)).probabilities
    assert {head: table.shape for head, table in probabilities.items()} == {
        "gender": (2, 2), "age": (2, 2), "concept": (2, 3),
    }  # fmt: skip
    for table in probabilities.values():
        torch.testing.assert_close(table.sum(1), torch.ones(2))
    clip = load({"kind": "clip", "path": clip_folder}, concepts=concepts)
    torch.testing.assert_close(
        probabilities["concept"], clip.read(pictures(2)).probabilities["concept"]
    )
    with pytest.raises(ValueError, match=r"judge\.path: got '.*elsewhere', allowed are a folder"):
        load(content | {"path": "elsewhere"}, clip_folder, (GENDER, AGE))


@pytest.mark.parametrize("field", ["clip", "classes"])
def test_a_fairface_judge_needs_its_fields_and_other_kinds_refuse_them(field: str) -> None:
    without = {name: value for name, value in FAIRFACE.items() if name != field}
    with pytest.raises(ValidationError, match=rf"fairface\.{field}\s+Field required"):
        CONFIGS.validate_python(without)
    for kind in ("clip", "portraits"):
        with pytest.raises(ValidationError, match=rf"{kind}\.{field}\s+Extra inputs are not"):
            CONFIGS.validate_python({"kind": kind, "path": "a", field: FAIRFACE[field]})


@pytest.mark.parametrize("change", [{"device": "gpu"}, {"batch_size": 0}])
def test_a_judge_refuses_an_unknown_device_and_an_empty_batch(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        CONFIGS.validate_python({"kind": "clip", "path": "a"} | change)
