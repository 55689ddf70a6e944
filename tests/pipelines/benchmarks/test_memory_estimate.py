"""Memory is counted on shapes: on a small model it is what the pass really keeps."""

import torch
from torch.autograd.graph import saved_tensors_hooks

from fairgen.bank import AdapterBank
from pipelines.benchmarks.memory_estimate import DenoiserShape, discovery_memory, full_size_shapes
from tests.families import tiny
from tests.pipelines.conftest import SHIPPED

TINY = DenoiserShape(
    picture="16 x 16",
    cls="UNet2DConditionModel",
    config=dict(tiny("SD 1.x").unet.config),
    inputs={"sample": (4, 8, 8), "timestep": 500, "encoder_hidden_states": (16, 16)},
    adapted=("attn2.to_k", "attn2.to_v"),
    beside=0,
)


def test_what_is_counted_is_what_a_real_pass_keeps() -> None:
    unet = tiny("SD 1.x").unet.to(torch.bfloat16).requires_grad_(False)
    bank = AdapterBank(unet, [n for n, _ in unet.named_modules() if n.endswith(TINY.adapted)])
    bank.add_trainable("one", 4, torch.Generator())
    owned = {p.untyped_storage().data_ptr() for p in unet.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x, text = torch.zeros(1, 4, 8, 8), torch.zeros(1, 16, 16)
    with bank.gated(torch.ones(1, 1)), saved_tensors_hooks(keep, lambda tensor: tensor):
        unet(x.bfloat16(), torch.tensor([500]), encoder_hidden_states=text.bfloat16())
    counted = discovery_memory(TINY, rank=4, num_adapters=1).activations_gib * 2**30
    assert 0.8 < counted / sum(kept.values()) < 1.2
    more = discovery_memory(TINY, rank=4, num_adapters=1)
    assert more.checkpointed_gib < 0.7 * more.activations_gib


def test_every_recipe_of_a_real_model_has_its_denoiser() -> None:
    known = {path.stem for path in SHIPPED.glob("*.yaml") if "portraits" not in path.stem}
    shapes = full_size_shapes()
    assert set(shapes) == known
    found = discovery_memory(shapes["sd15"], rank=4, num_adapters=2)
    assert found.parameters == 859_520_964
    assert found.checkpointed_gib < 0.5 * found.activations_gib < found.denoiser_gib
