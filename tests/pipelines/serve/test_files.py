"""A picture's file says where it comes from, in the words that were written."""

import pytest
from PIL import Image

from pipelines.serve.files import encode, read_provenance
from pipelines.serve.schemas import OutputFormat, Provenance

PROMPTS = [
    "a doctor", "una foto de una enfermera, ¿sí?", "一位医生的照片", "врач", "ein Arzt „heute“",
]  # fmt: skip


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("output_format", ["png", "webp", "jpeg"])
def test_what_was_written_is_read_back_from_every_form(
    output_format: OutputFormat, prompt: str
) -> None:
    record = Provenance(
        model="m", prompt=prompt, seed=2**53, num_inference_steps=4, guidance_scale=3.0,
        categories={"gender": "woman"}, probability=0.5, adapters=(), gate=None,
    )  # fmt: skip
    content = encode(Image.new("RGB", (8, 8), "teal"), output_format, record)
    assert read_provenance(content) == record


@pytest.mark.parametrize("output_format", ["png", "webp", "jpeg"])
def test_a_picture_without_a_record_has_none(output_format: OutputFormat) -> None:
    assert read_provenance(encode(Image.new("RGB", (8, 8)), output_format, None)) is None
