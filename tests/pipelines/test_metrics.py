"""The gateway's page shows the engines that are heard of."""

import pytest

from pipelines.serve import metrics
from pipelines.serve.orders import Delivery, EngineState
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
        state = EngineState(process, waiting=3, batch_rows=8, step_s=0.25, reloads=1)
        page.count(Delivery(0, b"png", provenance=made, engine=state))
    assert 'fairgen_pictures_waiting{process="silent"} 3.0' in page.render()
    now[0] = 301.0
    assert "silent" not in page.render()
    assert 'fairgen_batch_rows{process="alive"} 8.0' in page.render()
