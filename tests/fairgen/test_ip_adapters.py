"""A picture as a prompt, by an IP-Adapter on the pipeline: the base is known beside it."""

import pytest

from fairgen.backbones import load_backbone
from fairgen.base_model import fingerprint
from fairgen.engine import Engine
from tests.families import tiny
from tests.pipeline_options import load_ip_adapter


@pytest.mark.parametrize("family", ["SD 1.x", "SDXL", "Kolors", "FLUX.1 dev"])
def test_a_base_is_known_with_an_ip_adapter_on_it(family: str) -> None:
    pipe = tiny(family)
    denoiser = load_backbone(pipe).denoiser
    before, names = fingerprint(denoiser), set(dict(denoiser.named_parameters()))
    load_ip_adapter(pipe)
    assert not set(dict(denoiser.named_parameters())) <= names
    assert fingerprint(denoiser) == before
    pipe.unload_ip_adapter()
    assert fingerprint(denoiser) == before


@pytest.mark.parametrize("family", ["SD 1.x", "FLUX.1 dev"])
def test_the_engine_follows_no_picture_and_says_so(family: str) -> None:
    pipe = tiny(family)
    load_ip_adapter(pipe)
    with pytest.raises(ValueError, match=r"^ip_adapter: got one, allowed is none"):
        Engine(load_backbone(pipe))
    pipe.unload_ip_adapter()
    Engine(load_backbone(pipe))
