"""What draws a target elsewhere: a line with its shares, prompts in its exact quota."""

import random
import re
from collections import Counter
from itertools import product
from typing import Any

import pytest

from fairgen.attributes import Attribute, Category
from fairgen.exchange import (
    Sampling,
    comfyui_prompt,
    drawn_adapters,
    dynamic_prompt,
    tagged_prompt,
    tool_families,
)
from fairgen.indicator import TargetDistribution
from tests.tiny import GENDER

AGE = Attribute(
    name="age", categories=tuple(Category(name=n, word=n) for n in ("young", "middle", "old"))
)
ATTRIBUTES = (GENDER, AGE)
PROMPT = "a photo of a doctor"
SAMPLING = Sampling("base.safetensors", 20, 7.5, 512, "euler", "normal")
PAINTED = [family for family in tool_families() if family.workflow]  # by ComfyUI
OUTPUTS = {  # class_type -> how many outputs a node has, of what types
    "CheckpointLoaderSimple": ("MODEL", "CLIP", "VAE"), "UNETLoader": ("MODEL",),
    "CLIPLoader": ("CLIP",), "DualCLIPLoader": ("CLIP",), "TripleCLIPLoader": ("CLIP",),
    "VAELoader": ("VAE",), "LoraLoaderModelOnly": ("MODEL",), "CLIPTextEncode": ("CONDITIONING",),
    "FluxGuidance": ("CONDITIONING",), "EmptyLatentImage": ("LATENT",),
    "EmptySD3LatentImage": ("LATENT",), "KSampler": ("LATENT",), "VAEDecode": ("IMAGE",),
    "SaveImage": (), "T5TokenizerOptions": ("CLIP",),
}  # fmt: skip
INPUTS = {  # class_type -> input -> the type of a link, or that of a value
    "CheckpointLoaderSimple": {"ckpt_name": str},
    "UNETLoader": {"unet_name": str, "weight_dtype": str},
    "CLIPLoader": {"clip_name": str, "type": str},
    "DualCLIPLoader": {"clip_name1": str, "clip_name2": str, "type": str},
    "TripleCLIPLoader": {"clip_name1": str, "clip_name2": str, "clip_name3": str},
    "VAELoader": {"vae_name": str},
    "LoraLoaderModelOnly": {"model": "MODEL", "lora_name": str, "strength_model": float},
    "CLIPTextEncode": {"text": str, "clip": "CLIP"},
    "FluxGuidance": {"conditioning": "CONDITIONING", "guidance": float},
    "EmptyLatentImage": {"width": int, "height": int, "batch_size": int},
    "EmptySD3LatentImage": {"width": int, "height": int, "batch_size": int},
    "KSampler": {
        "model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING",
        "latent_image": "LATENT", "seed": int, "steps": int, "cfg": float, "sampler_name": str,
        "scheduler": str, "denoise": float,
    },
    "VAEDecode": {"samples": "LATENT", "vae": "VAE"},
    "SaveImage": {"images": "IMAGE", "filename_prefix": str},
    "T5TokenizerOptions": {"clip": "CLIP", "min_padding": int, "min_length": int},
}  # fmt: skip


def target(**fairness: Any) -> TargetDistribution:
    return TargetDistribution.from_request(fairness, ATTRIBUTES)


def drawn(line: str, seed: int = 0, num_images: int = 4000) -> Counter[str]:
    """Return what the extension draws of a line, by its documented syntax: {WEIGHT::OPTION|...}."""
    rng = random.Random(seed)

    def choose(match: re.Match[str]) -> str:
        options = [option.split("::") for option in match[1].split("|")]
        weights = [float(weight) for weight, _ in options]
        return rng.choices([text for _, text in options], weights)[0]

    return Counter(re.sub(r"\{([^{}]*)\}", choose, line) for _ in range(num_images))


def test_a_line_draws_each_attribute_in_its_shares() -> None:
    line = dynamic_prompt(PROMPT, target(gender={"woman": 0.75, "man": 0.25}, age="uniform"))
    assert line == (
        "a photo of a doctor {0.75::<lora:gender-woman:1>|0.25::<lora:gender-man:1>} "
        "{0.333333333333::<lora:age-young:1>|0.333333333333::<lora:age-middle:1>|"
        "0.333333333333::<lora:age-old:1>}"
    )
    counts = drawn(line)
    women = sum(n for text, n in counts.items() if "gender-woman" in text)
    assert len(counts) == 6 and abs(women / 4000 - 0.75) < 0.03


def test_a_line_draws_cells_where_attributes_depend_on_each_other() -> None:
    joint = {"woman,old": 0.5, "man,young": 0.5}
    line = dynamic_prompt(PROMPT, target(joint=joint))
    assert line == (
        "a photo of a doctor {0.5::<lora:gender-woman:1><lora:age-old:1>|"
        "0.5::<lora:gender-man:1><lora:age-young:1>}"
    )


def test_a_category_without_a_share_is_not_in_the_line_and_one_alone_is_always_on() -> None:
    line = dynamic_prompt(PROMPT, target(age={"old": 0.999999, "young": 0.000001}))
    assert line.endswith("{0.000001::<lora:age-young:1>|0.999999::<lora:age-old:1>}")
    assert dynamic_prompt(PROMPT, target(age={"old": 1.0})) == f"{PROMPT} <lora:age-old:1>"


@pytest.mark.parametrize(
    "prompt", ["a {red|blue} doctor", "a $ doctor", "a # b", "50% of", "a\\b", "<lora:x:1>",
               "__hair__", "a\nb", "a doctor --steps 1"],
)  # fmt: skip
def test_a_prompt_in_which_the_tool_reads_something_else_is_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"prompt: got .*, in which the tool reads"):
        dynamic_prompt(prompt, target(gender="uniform"))
    with pytest.raises(ValueError, match=r"prompt: got .*, in which the tool reads"):
        tagged_prompt(prompt, ["gender-woman"])


def test_a_name_that_would_break_the_line_is_refused() -> None:
    odd = Attribute(name="a__b", categories=GENDER.categories)
    with pytest.raises(ValueError, match="adapter: got 'a__b-woman', in which the tool reads"):
        dynamic_prompt(PROMPT, TargetDistribution.from_request({"a__b": "uniform"}, [odd]))


@pytest.mark.parametrize("num_images", [1, 7, 24])
def test_drawn_adapters_are_the_exact_quota(num_images: int) -> None:
    shares = {"gender": {"woman": 0.75, "man": 0.25}, "age": "uniform"}
    pictures = drawn_adapters(target(**shares), num_images, seed=3)
    counts = Counter(name for adapters in pictures for name in adapters)
    assert len(pictures) == num_images and all(len(adapters) == 2 for adapters in pictures)
    assert abs(counts["gender-woman"] - 0.75 * num_images) < 1
    for name in AGE.names:
        assert abs(counts[f"age-{name}"] - num_images / 3) < 1
    assert pictures != drawn_adapters(target(**shares), num_images, seed=4) or num_images == 1


@pytest.mark.parametrize("family", PAINTED, ids=lambda family: family.name)
@pytest.mark.parametrize("adapters", [[], ["gender-woman"], ["gender-woman", "age-old"]])
def test_every_node_of_a_comfyui_prompt_is_known_and_every_link_resolves(
    family: Any, adapters: list[str]
) -> None:
    text = 'a "doctor" with $seed'
    nodes = comfyui_prompt(family.workflow, text, adapters, 7, "fairgen/0000", SAMPLING)
    for node in nodes.values():
        inputs = INPUTS[node["class_type"]]
        assert set(node) == {"class_type", "inputs"} and set(node["inputs"]) == set(inputs)
        for field, kind in inputs.items():
            value = node["inputs"][field]
            if isinstance(kind, str):
                source, output = value
                assert OUTPUTS[nodes[source]["class_type"]][output] == kind
            else:
                assert isinstance(value, kind)
                assert not str(value).startswith("$") or value == text
    used = {link[0] for node in nodes.values() for link in node["inputs"].values()
            if isinstance(link, list)}  # fmt: skip
    assert used | {"saved"} == set(nodes)  # nothing stands alone
    texts = [node["inputs"]["text"] for node in nodes.values() if "text" in node["inputs"]]
    assert sorted(texts) == ["", text]


def test_braces_of_which_comfyui_s_page_would_draw_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prompt: got 'a \{red\|blue\} doctor', allowed for Com"):
        comfyui_prompt("checkpoint", "a {red|blue} doctor", [], 7, "x", SAMPLING)


def test_the_sampler_s_model_wears_every_adapter_one_behind_the_other() -> None:
    for family, adapters in product(PAINTED, ([], ["gender-woman"], ["a", "b", "c"])):
        nodes = comfyui_prompt(family.workflow, PROMPT, adapters, 7, "x", SAMPLING)
        worn, (model, _) = [], nodes["sampled"]["inputs"]["model"]
        while nodes[model]["class_type"] == "LoraLoaderModelOnly":
            worn.append(nodes[model]["inputs"]["lora_name"])
            assert nodes[model]["inputs"]["strength_model"] == 1.0
            model = nodes[model]["inputs"]["model"][0]
        assert worn[::-1] == [f"{name}.safetensors" for name in adapters]
        assert nodes["sampled"]["inputs"]["seed"] == 7
