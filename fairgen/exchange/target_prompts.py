"""A target distribution as prompts of other tools: in shares for a line, in its quota for many."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from fairgen.attributes import adapter_name
from fairgen.indicator import TargetDistribution
from fairgen.ledger import assign

_WORKFLOWS = Path(__file__).parent / "workflows"
_SPECIAL = re.compile(r"[{}$#%\\<>\n\r]|__|--")  # what the tools' scripts read as something else
_MANY_DIGITS = 12
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Sampling:
    """How a ComfyUI prompt paints; `base` is the file of the base model in ComfyUI's folders."""

    base: str
    steps: int
    guidance_scale: float
    size_px: int
    sampler: str
    schedule: str


def drawn_adapters(target: TargetDistribution, num_images: int, seed: int) -> list[list[str]]:
    """Return the names of the adapters that each of N pictures wears, in the target's exact quota,
    shuffled by the seed.
    """
    cells = assign(target, num_images, seed)
    return [_adapters_of(target, target.cells[cell]) for cell in cells]


def dynamic_prompt(prompt: str, target: TargetDistribution) -> str:
    """Return a line of the dynamic-prompts extension that draws adapters in the target's shares.

    Each attribute is drawn by itself where they are independent, else their cells are. Raises
    ValueError for a prompt or a name in which the extension would read something else.
    """
    marginals = [target.marginal(attribute) for attribute in target.attributes]
    independent = all(
        abs(share - prod(m[c] for m, c in zip(marginals, cell, strict=True))) <= _TOLERANCE
        for cell, share in zip(target.cells, target.probabilities, strict=True)
    )
    groups: list[dict[tuple[str, ...], float]]
    if independent:
        groups = [
            {(adapter_name(attribute, category),): share for category, share in marginal.items()}
            for attribute, marginal in zip(target.attributes, marginals, strict=True)
        ]
    else:
        groups = [
            {
                tuple(_adapters_of(target, cell)): share
                for cell, share in zip(target.cells, target.probabilities, strict=True)
            }
        ]
    return " ".join((_plain("prompt", prompt), *(_choice(group) for group in groups)))


def tagged_prompt(prompt: str, adapters: Sequence[str]) -> str:
    """Return a prompt of A1111 and Forge that wears adapters. Raises ValueError as
    `dynamic_prompt` does.
    """
    return " ".join((_plain("prompt", prompt), *(_tag(name) for name in adapters)))


def comfyui_prompt(
    workflow: str, prompt: str, adapters: Sequence[str], seed: int, prefix: str, sampling: Sampling
) -> dict[str, Any]:
    """Return one picture's prompt in the form of ComfyUI's API, with its adapters on the model.

    Raises ValueError for braces, of which ComfyUI's page would draw a part.
    """
    if re.search(r"[{}]", prompt):
        raise ValueError(f"prompt: got {prompt!r}, allowed for ComfyUI is text without {{ and }}")
    values = {
        "$prompt": prompt,
        "$seed": seed,
        "$prefix": prefix,
        "$base": sampling.base,
        "$steps": sampling.steps,
        "$guidance": sampling.guidance_scale,
        "$size": sampling.size_px,
        "$sampler": sampling.sampler,
        "$schedule": sampling.schedule,
    }
    nodes: dict[str, Any] = json.loads(_workflow(workflow))
    for node in nodes.values():
        node["inputs"] = {
            field: values.get(value, value) if isinstance(value, str) else value
            for field, value in node["inputs"].items()
        }
    model = "model"
    for index, name in enumerate(adapters):
        inputs = {
            "lora_name": f"{name}.safetensors", "strength_model": 1.0, "model": [model, 0]
        }  # fmt: skip
        model = f"lora{index}"
        nodes[model] = {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
    nodes["sampled"]["inputs"]["model"] = [model, 0]
    return nodes


@cache
def _workflow(name: str) -> str:
    return (_WORKFLOWS / f"{name}.json").read_text()


def _adapters_of(target: TargetDistribution, cell: Sequence[str]) -> list[str]:
    return [adapter_name(*pair) for pair in zip(target.attributes, cell, strict=True)]


def _choice(group: dict[tuple[str, ...], float]) -> str:
    options = {names: share for names, share in group.items() if share > 0}
    if len(options) == 1:
        return "".join(_tag(name) for name in next(iter(options)))
    written = (
        f"{_weight(share)}::{''.join(_tag(name) for name in names)}"
        for names, share in options.items()
    )
    return "{" + "|".join(written) + "}"


def _weight(share: float) -> str:
    """Return a share without an exponent, which dynamic prompts would take for text."""
    return f"{share:.{_MANY_DIGITS}f}".rstrip("0").rstrip(".")


def _tag(name: str) -> str:
    return f"<lora:{_plain('adapter', name)}:1>"


def _plain(field: str, text: str) -> str:
    if found := _SPECIAL.search(text):
        raise ValueError(
            f"{field}: got {text!r}, in which the tool reads {found[0]!r} as something else; "
            "allowed is text without { } $ # % \\ < > __ and --"
        )
    return text
