"""How much of a prompt a family's encoders read is what its pipeline encodes."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from fairgen.backbones import PromptReader, load_backbone
from tests.families import FAMILIES, tiny

LONG = "A photo of an accountant who works at a wooden desk, with soft light, " * 40


ALL_READ = ("Qwen-Image 2.1", "Ideogram 4")  # their pipelines cut nothing


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ALL_READ])
def test_words_behind_the_cut_change_nothing_and_words_before_it_do(family: str) -> None:
    backbone = load_backbone(tiny(family))
    reader = PromptReader(backbone)
    cut_at = reader.cut_at(LONG)
    assert cut_at is not None and 0 < cut_at < len(LONG)

    def encoded(prompt: str) -> torch.Tensor:
        return backbone.encode([prompt])["text"]

    whole = encoded(LONG)
    assert torch.equal(whole, encoded(LONG[:cut_at] + " and nothing that is read"))
    assert not torch.equal(whole, encoded("a doctor, " + LONG))
    assert reader.cut_at("a doctor") is None


@pytest.mark.parametrize("family", ALL_READ)
def test_a_pipeline_that_cuts_nothing_reads_the_last_word(family: str) -> None:
    backbone = load_backbone(tiny(family))
    reader = PromptReader(backbone)
    assert reader.cut_at(LONG) is None
    one, other = (backbone.encode([LONG + word])["text"] for word in ("red", "blue"))
    assert one.shape[1] > reader.num_tokens(LONG) > 1000
    assert one.shape != other.shape or not torch.equal(one, other)


def test_an_option_of_the_pipeline_says_how_far_t5_reads() -> None:
    reader = PromptReader(load_backbone(tiny("FLUX.1 dev")))
    cuts = [reader.cut_at(LONG, max_tokens) for max_tokens in (64, 128, None)]
    assert cuts == sorted(cuts) and len(set(cuts)) == 3


def test_a_textual_inversion_counts_as_many_tokens_as_it_has() -> None:
    """Also one that is loaded later: what stands behind the cut must not speak to the gate."""
    pipe = tiny("SD 1.x")
    backbone = load_backbone(pipe)
    reader = PromptReader(backbone)
    prompt = "a photo of a doctor in <style> style, with soft light, a woman"
    assert reader.cut_at(prompt) is None
    before = reader.num_tokens(prompt)
    width = pipe.text_encoder.get_input_embeddings().weight.shape[1]
    vectors = torch.randn(70, width, generator=torch.Generator().manual_seed(0))
    pipe.load_textual_inversion({"<style>": vectors}, token="<style>")
    assert reader.num_tokens(prompt) > before + 60
    cut_at = reader.cut_at(prompt)
    assert cut_at is not None and prompt[:cut_at].endswith("<style>")

    def encoded(text: str) -> torch.Tensor:
        return backbone.encode([text])["text"]

    assert torch.equal(encoded(prompt), encoded(prompt[:cut_at] + " and nothing that is read"))
    assert not torch.equal(encoded(prompt), encoded("a nurse, " + prompt))


def test_threads_that_read_at_once_do_not_cut_each_other_s_prompts() -> None:
    reader = PromptReader(load_backbone(tiny("FLUX.1 dev")))
    asked = [(f"{index}, {LONG}", 64 if index % 3 else None) for index in range(240)]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(lambda ask: reader.cut_at(*ask), asked))
    again = PromptReader(load_backbone(tiny("FLUX.1 dev")))
    assert at_once == [again.cut_at(*ask) for ask in asked]
