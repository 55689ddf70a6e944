"""Prometheus figures on the gateway's own page: what was delivered, and how the engines stand."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from pipelines.serve.orders import Delivery, EngineState

_FORGOTTEN_AFTER_S = 300.0


class GatewayMetrics:
    """Counts what left the gateway, and keeps each engine's state as its last picture told it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._images = self._counter("fairgen_images", "by category", ["attribute", "category"])
        self._delivered = self._counter("fairgen_images_delivered", "delivered")
        self._failed = self._counter("fairgen_images_failed", "failed")
        self._waiting = self._gauge("fairgen_pictures_waiting", "Pictures that wait for rows")
        self._rows = self._gauge("fairgen_batch_rows", "Denoiser rows of the last step")
        self._step = self._gauge("fairgen_step_seconds", "Seconds of the last denoising step")
        self._reloads = self._gauge("fairgen_reloads", "Adapter sets gone live since start")
        self._heard_of: dict[str, float] = {}

    def count(self, delivery: Delivery) -> None:
        """Count one finished or failed picture."""
        if delivery.provenance is None:
            self._failed.inc()
            return
        self._delivered.inc()
        for attribute, category in delivery.provenance.categories.items():
            self._images.labels(attribute, category).inc()
        if delivery.engine is not None:
            self._show(delivery.engine)

    def render(self) -> str:
        """Return the page that Prometheus scrapes; an engine not heard of for long is left out."""
        now = time.monotonic()
        for process, heard_s in list(self._heard_of.items()):
            if now - heard_s > _FORGOTTEN_AFTER_S:
                del self._heard_of[process]
                for gauge in (self._waiting, self._rows, self._step, self._reloads):
                    gauge.remove(process)
        return generate_latest(self._registry).decode()

    def _show(self, engine: EngineState) -> None:
        self._heard_of[engine.process] = time.monotonic()
        self._waiting.labels(engine.process).set(engine.waiting)
        self._rows.labels(engine.process).set(engine.batch_rows)
        self._step.labels(engine.process).set(engine.step_s)
        self._reloads.labels(engine.process).set(engine.reloads)

    def _counter(self, name: str, what: str, labels: list[str] | None = None) -> Counter:
        return Counter(name, f"Images {what}", labels or [], registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, ["process"], registry=self._registry)
