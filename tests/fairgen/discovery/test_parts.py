"""Rows that cannot share a pass are parted: what is learnt and painted is what one pass gives."""

from collections.abc import Hashable, Sequence

import pytest
import torch
from diffusers import StableDiffusionPipeline
from tensordict import TensorDict

from fairgen.adapters import Adapter
from fairgen.attributes import Attribute
from fairgen.backbones import Backbone, load_backbone
from fairgen.backbones.stable_diffusion import StableDiffusionBackbone
from fairgen.discovery import Discovery
from fairgen.engine import Engine, ImageJob
from tests.fairgen.backbones.test_families import same
from tests.fairgen.discovery.test_discovery import CONCEPTS, CONFIG, TEMPLATES
from tests.tiny import AGE, GENDER, SKIN, tiny_pipeline


class Parted(StableDiffusionBackbone):
    """A pass holds one prompt only."""

    num_calls = 0

    def apart(self, context: TensorDict) -> Hashable:
        return round(float(context["text"].abs().sum()), 2)

    def denoise(self, *given: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        self.num_calls += 1
        return super().denoise(*given)


def learnt(
    backbone: Backbone, peers: Sequence[Adapter] = (), attribute: Attribute = GENDER
) -> list[Adapter]:
    """Return what two updates learn, with every loss that there is."""
    options = {"orth_weight": 0.5, "num_keep_rows": 3, "warmup": 3, "peer_probability": 0.7}
    found = Discovery(
        backbone, attribute, CONCEPTS, TEMPLATES, CONFIG.model_copy(update=options),
        preserve=("", "a photo of a car"), attributes=(attribute, AGE, SKIN), orthogonal_to=peers,
        peers=peers,
    )  # fmt: skip
    assert not peers or any(row.peers for row in found.rows)
    stats = [found.update() for _ in range(2)]
    found.bank.close()
    found.peers.close()
    assert all(each.loss > 0 and each.keep >= 0 for each in stats)
    return found.adapters(f"base {stats[-1].loss:.4f} {stats[-1].keep:.4f}", "0123")


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_is_learnt_in_parts_is_what_is_learnt_in_one_pass(checkpointing: bool) -> None:
    def pipe() -> StableDiffusionPipeline:
        made = tiny_pipeline()
        if checkpointing:
            made.unet.enable_gradient_checkpointing()
            made.unet.train()
        return made

    peers = learnt(load_backbone(pipe()), attribute=AGE)
    parted = Parted(pipe())
    expected, found = learnt(load_backbone(pipe()), peers), learnt(parted, peers)
    assert parted.num_calls > 10
    for one, other in zip(found, expected, strict=True):
        assert one.metadata.base_fingerprint == other.metadata.base_fingerprint  # the losses
        for path, pair in one.directions.items():
            for ours, theirs in zip(pair, other.directions[path], strict=True):
                torch.testing.assert_close(ours, theirs, atol=5e-4, rtol=1e-2)  # AdamW divides


def test_a_batch_that_is_painted_in_parts_is_the_one_of_one_pass() -> None:
    woman, man = learnt(load_backbone(tiny_pipeline()))
    jobs = [
        ImageJob("a photo of a doctor", 1, {"woman": 1.0}, 4, 5.0),
        ImageJob("a photo of a nurse", 2, {"man": 1.0}, 3, 1.0),
        ImageJob("a photo of a doctor", 3, {"man": 2.0}, 4, 3.0),
        ImageJob("a photo of a pilot", 4, {}, 4, 5.0, guidance_interval=(0.0, 0.5)),
    ]
    painted = []
    for kind in (StableDiffusionBackbone, Parted):
        engine = Engine(kind(tiny_pipeline()))
        engine.load("woman", woman)
        engine.load("man", man)
        painted.append(engine.paint(jobs))
        if isinstance(engine.backbone, Parted):
            assert engine.backbone.num_calls > 4 * 3
    for one, other in zip(*painted, strict=True):
        assert same(one, other)
