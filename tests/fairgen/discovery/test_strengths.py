"""Adapters of a base are fitted in strength to a fine-tune, by its own predictions."""

import pytest
import torch
from diffusers import DiffusionPipeline

from fairgen.adapters import Adapter, load_adapter
from fairgen.backbones import Backbone, load_backbone
from fairgen.discovery import STRENGTHS, StrengthSearch
from fairgen.pipeline import FairGenPipeline
from fairgen.portraits import ADAPTERS, MODEL
from fairgen.sampling import Sampling
from tests.families import KINDS, SIZE_PX, tiny
from tests.pipeline_options import adapters_for
from tests.tiny import GENDER

CONCEPTS, TEMPLATES = ("teacher", "nurse", "mechanic", "cleaner"), ("a photo of {subject}",)
OTHER_BASE = "0" * 16


@pytest.fixture(scope="module")
def portraits() -> Backbone:
    pipe = DiffusionPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    return load_backbone(pipe)


def search(backbone: Backbone, num_images: int = 12) -> StrengthSearch:
    sampling = Sampling(6, 3.0, (0, 0.5))
    return StrengthSearch(backbone, CONCEPTS, TEMPLATES, sampling, num_images=num_images)


@pytest.mark.slow
def test_a_weak_adapter_gets_the_strength_that_shows_its_category(portraits: Backbone) -> None:
    adapter = load_adapter(ADAPTERS / "gender-man")
    as_it_is, own = search(portraits).fit(GENDER, adapter)
    assert own.strength <= 1.25 and own.shown[own.strength] >= 0.9
    assert as_it_is.metadata.base_fingerprint == portraits.fingerprint
    weak = adapter.fitted_to(adapter.metadata.base_fingerprint, 0.4)
    fitted, found = search(portraits).fit(GENDER, weak)
    assert found.strength >= 1.5 and found.shown[1.0] < found.shown[found.strength]
    for path, (_, up) in fitted.directions.items():
        assert torch.equal(up, found.strength * weak.directions[path][1])


def test_a_fitted_adapter_is_one_of_the_fine_tune_and_says_how_strong(portraits: Backbone) -> None:
    adapter = load_adapter(ADAPTERS / "gender-man")
    fitted = adapter.fitted_to(OTHER_BASE, 1.5)
    assert fitted.metadata.scale == pytest.approx(1.5 * adapter.metadata.scale)
    with pytest.raises(ValueError, match="trained on base"):
        fitted.check_base(portraits.fingerprint)
    for path, (_, up) in fitted.as_learnt().directions.items():
        assert torch.allclose(up, adapter.as_learnt().directions[path][1], atol=1e-6)


def test_what_is_of_another_model_or_category_is_refused(portraits: Backbone) -> None:
    other = adapters_for(tiny("SDXL"))[0]
    with pytest.raises(ValueError, match="trained on base"):
        search(portraits, 1).fit(GENDER, other)
    adapter = load_adapter(ADAPTERS / "gender-man")
    child = adapter.metadata.model_copy(update={"category": "child"})
    with pytest.raises(ValueError, match="child"):
        search(portraits, 1).fit(GENDER, Adapter(child, adapter.directions))


@pytest.mark.slow
@pytest.mark.parametrize("family", [*KINDS, "Z-Image", "Lumina 2"])
def test_every_family_s_adapters_can_be_fitted_and_are_worn(family: str) -> None:
    adapters, pipe = adapters_for(tiny(family)), tiny(family, seed=1)
    backbone = load_backbone(pipe, SIZE_PX)
    kind = StrengthSearch(
        backbone, CONCEPTS[:2], TEMPLATES, Sampling(2, 2.0), num_images=2, batch_size=2
    )
    fitted = [kind.fit(GENDER, adapter) for adapter in adapters]
    assert all(found.strength in STRENGTHS for _, found in fitted)
    with FairGenPipeline(pipe, [adapter for adapter, _ in fitted]) as fair:  # as its own
        assert {adapter.name for adapter in fair.adapters} == {"gender-woman", "gender-man"}
