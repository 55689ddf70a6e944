"""Prometheus figures on the gateway's own page: what was delivered and how fast, how the engines
stand, and what a judge has seen.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipelines.serve.image_plan import ImageUpdate, ReplicaState

if TYPE_CHECKING:
    from pipelines.serve.inspector import Inspected

FORGOTTEN_AFTER_S = 300.0
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)


class GatewayMetrics:
    """Counts what left the gateway, and keeps each engine's state as its last picture told it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._images = self._counter("fairgen_images", "by category", ["attribute", "category"])
        self._delivered = self._counter("fairgen_images_delivered", "delivered")
        self._flagged = self._counter(
            "fairgen_images_flagged", "that are black since the base's safety checker flagged them"
        )
        self._failed = self._counter("fairgen_images_failed", "failed")
        self._answers = Counter(
            "fairgen_answers",
            "Answers to requests for pictures",
            ["status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "fairgen_picture_seconds",
            "Seconds from the order of a picture to its delivery",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._seen = self._counter(
            "fairgen_images_inspected", "that the judge saw", ["attribute", "asked", "seen"]
        )
        self._gap = self._gauge(
            "fairgen_gap", "FD between asked and seen shares of the last 500", "attribute"
        )
        self._hits = self._gauge(
            "fairgen_hit_rate", "Share of the last 500 that show what was asked", "attribute"
        )
        self._waiting = self._gauge("fairgen_pictures_waiting", "Pictures that wait for rows")
        self._rows = self._gauge("fairgen_batch_rows", "Denoiser rows of the last step")
        self._step = self._gauge("fairgen_step_seconds", "Seconds of the last denoising step")
        self._reloads = self._gauge("fairgen_reloads", "Adapter sets gone live since start")
        self._failed_reloads = self._gauge(
            "fairgen_failed_reloads", "Looks at the registry without a usable answer"
        )
        self._failed_batches = self._gauge(
            "fairgen_failed_batches", "Denoiser passes that raised an error and were tried in parts"
        )
        self._credentials_end = self._gauge(
            "fairgen_credentials_end_seconds", "When the certificate that signs ends, since 1970"
        )
        self._of_replicas = (
            self._waiting, self._rows, self._step, self._failed_batches, self._reloads,
            self._failed_reloads, self._credentials_end,
        )  # fmt: skip
        self._heard_of: dict[str, float] = {}

    def count(self, delivery: ImageUpdate, took_s: float) -> None:
        """Count one finished or failed picture."""
        if delivery.provenance is None:
            self._failed.inc()
            return
        self._delivered.inc()
        if delivery.provenance.safety_checker == "flagged":
            self._flagged.inc()
        self._seconds.observe(took_s)
        for attribute, category in delivery.provenance.categories.items():
            self._images.labels(attribute, category).inc()
        if delivery.replica is not None:
            self._show(delivery.replica)

    def count_answer(self, status: int) -> None:
        """Count one request for pictures by the HTTP status of its answer."""
        self._answers.labels(status).inc()

    def render(self) -> str:
        """Return the page that Prometheus scrapes; an engine not heard of for long is left out."""
        now = time.monotonic()
        for process, heard_s in list(self._heard_of.items()):
            if now - heard_s > FORGOTTEN_AFTER_S:
                del self._heard_of[process]
                for gauge in self._of_replicas:
                    gauge.remove(process)
        return generate_latest(self._registry).decode()

    def show_inspected(self, found: "Mapping[str, Inspected]") -> None:
        """Show what the judge has seen of one more picture."""
        for attribute, inspected in found.items():
            self._seen.labels(attribute, inspected.asked, inspected.seen).inc()
            self._gap.labels(attribute).set(inspected.gap)
            self._hits.labels(attribute).set(inspected.hit_rate)

    def _show(self, replica: ReplicaState) -> None:
        self._heard_of[replica.process] = time.monotonic()
        self._waiting.labels(replica.process).set(replica.waiting)
        self._rows.labels(replica.process).set(replica.batch_rows)
        self._step.labels(replica.process).set(replica.step_s)
        self._failed_batches.labels(replica.process).set(replica.failed_batches)
        self._reloads.labels(replica.process).set(replica.reloads)
        self._failed_reloads.labels(replica.process).set(replica.failed_reloads)
        if replica.credentials_end_s is not None:
            self._credentials_end.labels(replica.process).set(replica.credentials_end_s)

    def _counter(self, name: str, what: str, labels: list[str] | None = None) -> Counter:
        return Counter(name, f"Images {what}", labels or [], registry=self._registry)

    def _gauge(self, name: str, text: str, label: str = "process") -> Gauge:
        return Gauge(name, text, [label], registry=self._registry)
