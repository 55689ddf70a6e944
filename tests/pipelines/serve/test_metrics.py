"""The gateway's page shows the engines that are heard of, and what a judge has seen."""

import io
import random
from pathlib import Path

import pytest

from fairgen.portraits.drawing import draw
from fairgen.portraits.world import Portrait
from pipelines.recipe.recipe import load_recipe
from pipelines.serve import inspector, metrics
from pipelines.serve.image_plan import ImageUpdate, ReplicaState
from pipelines.serve.schemas import Provenance


def test_an_engine_that_is_silent_for_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    made = Provenance(
        model="m", prompt="a doctor", seed=1, num_inference_steps=2, guidance_scale=1.0,
        categories={}, probability=1.0, adapters=(), gate=None,
    )  # fmt: skip
    page = metrics.GatewayMetrics()
    for process, at_s in (("silent", 0.0), ("alive", 200.0)):
        now[0] = at_s
        state = ReplicaState(
            process,
            waiting=3,
            batch_rows=8,
            step_s=0.25,
            failed_batches=0,
            reloads=1,
            failed_reloads=2,
        )
        page.count(ImageUpdate(0, b"png", provenance=made, replica=state), took_s=0.3)
    assert 'fairgen_pictures_waiting{process="silent"} 3.0' in page.render()
    now[0] = 301.0
    assert "silent" not in page.render()
    assert 'fairgen_batch_rows{process="alive"} 8.0' in page.render()


def test_what_the_judge_has_seen_is_shown_and_only_of_the_last_pictures(tmp_path: Path) -> None:
    """Drawings of the world that the embedded model learnt, a tenth of them of another category
    than was asked.
    """
    recipe = load_recipe(Path("pipelines/recipes/portraits.yaml"))
    service, page = inspector.InspectorService(recipe), metrics.GatewayMetrics()
    woman, man = (portrait(gender) for gender in ("woman", "man"))
    for index in range(20):
        asked = ("woman", "man")[index % 2]
        shown = man if asked == "man" or index < 4 else woman
        page.show_inspected(service.inspect(shown, {"gender": asked}))
    text = page.render()
    assert 'fairgen_hit_rate{attribute="gender"} 0.9' in text
    assert f'fairgen_gap{{attribute="gender"}} {0.1 * 2**0.5:.3f}' in text
    seen = 'fairgen_images_inspected_total{asked="woman",attribute="gender",seen="man"} 2.0'
    assert seen in text


def portrait(gender: str) -> bytes:
    """Return the drawing of a doctor as PNG."""
    person = Portrait(concept="doctor", gender=gender, skin="light", age="young", glasses="without")
    file = io.BytesIO()
    draw(person, random.Random(0)).save(file, "PNG")
    return file.getvalue()
