"""What signing and marking cost and leave is measured on the pictures that are given."""

from pathlib import Path

import pytest
from PIL import Image

from pipelines.benchmarks.provenance import (
    FORMATS,
    SIDES_PX,
    TREATMENTS,
    ProvenanceFigures,
    measure_provenance,
    provenance_tables,
    read_pictures,
)
from tests.fairgen.provenance.pictures import picture


@pytest.mark.slow
def test_costs_detection_and_what_is_left_are_measured_and_written(tmp_path: Path) -> None:
    picture(300).save(tmp_path / "a.png")
    picture(100).rotate(90).save(tmp_path / "b.png")
    pictures = read_pictures(tmp_path)
    figures = measure_provenance(pictures, tmp_path / "report" / "figures.json")
    content = (tmp_path / "report" / "figures.json").read_text()
    assert ProvenanceFigures.model_validate_json(content) == figures
    sizes = [(form, side) for form in FORMATS for side in SIDES_PX]
    assert [(cost.format, cost.side_px) for cost in figures.costs] == sizes
    for cost in figures.costs:
        assert cost.sign_ms > 0 and 3000 < cost.sign_bytes < 9000
        assert (cost.mark_ms is None) == (cost.side_px == 64)
    for one in figures.detections:
        assert (one.found, one.total) == (0 if one.treatment == "unmarked" else 2, 2)
    assert {one.treatment for one in figures.detections} == {"unmarked", *TREATMENTS}
    copied, kept, stripped = figures.survivals[:3]
    assert copied.signature and copied.digital_source_type and copied.record and copied.mark
    assert not kept.signature and kept.digital_source_type and kept.record and kept.mark
    assert not stripped.signature and not stripped.record and stripped.mark
    assert "| copied, moved, renamed | holds | holds | holds | holds |" in provenance_tables(
        figures
    )


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"^pictures: got \S+ without .png, .jpg and .webp files$"):
        read_pictures(tmp_path)
