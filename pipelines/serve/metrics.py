"""Prometheus figures: the gateway's own page, and each replica's through Ray."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, generate_latest
from ray.util import metrics as ray_metrics

from pipelines.serve.orders import Delivery

if TYPE_CHECKING:
    from pipelines.serve.generator import GeneratorService


class GatewayMetrics:
    """Counts what left the gateway: images by attribute and category, and those that failed."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._images = Counter(
            "fairgen_images",
            "Images delivered, by attribute and category",
            ["attribute", "category"],
            registry=self._registry,
        )
        self._delivered = Counter(
            "fairgen_images_delivered", "Images delivered", registry=self._registry
        )
        self._failed = Counter("fairgen_images_failed", "Images failed", registry=self._registry)

    def count(self, delivery: Delivery) -> None:
        """Count one finished or failed picture."""
        if delivery.provenance is None:
            self._failed.inc()
            return
        self._delivered.inc()
        for attribute, category in delivery.provenance.categories.items():
            self._images.labels(attribute, category).inc()

    def render(self) -> str:
        """Return the page that Prometheus scrapes."""
        return generate_latest(self._registry).decode()


class GeneratorMetrics:
    """Exports the engine's state of one replica whenever a picture leaves it."""

    def __init__(self, service: "GeneratorService") -> None:
        self._service = service
        gauge = ray_metrics.Gauge
        self._waiting = gauge("fairgen_pictures_waiting", "Pictures that wait for rows")
        self._rows = gauge("fairgen_batch_rows", "Pictures a denoising step, since start")
        self._step = gauge("fairgen_step_seconds", "Seconds of the latest denoising step")
        self._reloads = gauge("fairgen_reloads", "Adapter sets gone live since start")

    def export(self) -> None:
        """Export the figures as they are now."""
        engine = self._service.engine
        self._waiting.set(engine.waiting)
        self._rows.set(engine.rows_stepped / max(1, engine.steps_taken))
        self._step.set(self._service.step_seconds)
        self._reloads.set(self._service.reloads)
