"""Adapters of any origin, switched on picture by picture: FairGen's own and its rivals'."""

from collections.abc import Mapping

import torch
from PIL import Image

from fairgen.adapters import lora_state_dict
from fairgen.attributes import adapter_name
from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank, Directions
from fairgen.baselines.system import (
    Ask,
    BaselineTask,
    System,
    Weights,
    guided_prediction,
    guided_rows,
    sample,
)
from fairgen.sampling import Sampling


class Gated(System):
    """Switches on the adapters of the asked categories, each times `setting`.

    Under guidance they act on the conditional rows; with `both_branches` on the unconditional ones
    too, as a LoRA that is loaded into diffusers does.
    """

    title = "FairGen"
    source = "arXiv 2412.18810"
    both_branches = False

    def __init__(
        self, backbone: Backbone, lesson: BaselineTask, weights: Weights, setting: float
    ) -> None:
        self._backbone, self._scale = backbone, setting
        adapters = named_directions(weights)
        projections = list(dict.fromkeys(path for found in adapters.values() for path in found))
        self.bank = AdapterBank(backbone.denoiser, projections)
        for name, directions in adapters.items():
            self.bank.add(name, directions)

    def paint(self, ask: Ask, sampling: Sampling) -> list[Image.Image]:
        """Return pictures with their adapters on."""
        gates = torch.zeros(len(ask.seeds), len(self.bank.names))
        for row, categories in enumerate(ask.categories):
            for attribute, category in categories.items():
                column = self.bank.names.index(adapter_name(attribute, category))
                gates[row, column] = self._scale
        layout = guided_rows(self._backbone, len(ask.seeds), sampling.guidance_scale)
        gates = layout.repeat(gates) if self.both_branches else layout.gates(gates)
        prompts = [ask.prompt] * len(ask.seeds)
        predict = guided_prediction(self._backbone, prompts, sampling)
        with self.bank.gated(gates.to(self._backbone.device)):
            return sample(self._backbone, ask.seeds, sampling.num_steps, predict)

    def close(self) -> None:
        """Take the bank off the denoiser."""
        self.bank.close()


def named_tensors(adapters: Mapping[str, Directions]) -> Weights:
    """Return adapters as named tensors: "gender-woman/down_blocks.0...to_k.lora_A.weight" and so
    on.
    """
    weights: Weights = {}
    for name, directions in adapters.items():
        weights |= lora_state_dict(directions, f"{name}/")
    return weights


def named_directions(weights: Weights) -> dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Return adapter name -> projection -> (A, B): the adapters that `named_tensors` was given."""
    adapters: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {}
    for key, down in weights.items():
        name, _, parameter = key.partition("/")
        path, is_down, _ = parameter.partition(".lora_A.")
        if is_down:
            adapters.setdefault(name, {})[path] = down, weights[f"{name}/{path}.lora_B.weight"]
    return adapters
