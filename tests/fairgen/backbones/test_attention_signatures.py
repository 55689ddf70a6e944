"""What is kept of attention processors says what they say themselves."""

import inspect

from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from fairgen.backbones import know_signatures
from tests.families import tiny


def test_signatures_are_those_of_the_processors() -> None:
    pipe = tiny("SD 1.x")
    before = {
        layer: inspect.signature(layer.processor.__call__)
        for layer in pipe.unet.modules()
        if isinstance(layer, Attention)
    }
    know_signatures(pipe.unet)
    assert "__signature__" in vars(AttnProcessor2_0.__call__)
    for layer, signature in before.items():
        assert inspect.signature(layer.processor.__call__) == signature


def test_a_processor_of_a_subclass_keeps_its_own() -> None:
    class Own(AttnProcessor2_0):
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, scale=1.0):  # type: ignore[no-untyped-def]
            return super().__call__(attn, hidden_states, encoder_hidden_states)

    pipe = tiny("SD 1.x")
    pipe.unet.set_attn_processor(Own())
    know_signatures(pipe.unet)
    assert list(inspect.signature(Own().__call__).parameters) == [
        "attn", "hidden_states", "encoder_hidden_states", "scale",
    ]  # fmt: skip
