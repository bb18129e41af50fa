"""What a server counts and times, in the form that Prometheus reads."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_JOB_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1800, 3600)


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.decode = self._seconds("decode", "Hashing and decoding an uploaded image.")
        self.queue = self._seconds("queue", "Waiting of a decoded image for a run of the model.")
        self.embed = self._seconds("embed", "A run of the model.")
        self.search = self._seconds("search", "Searching the collections for one query.")
        self.whole = Histogram(
            "lookalike_request_seconds",
            "A request from its head to the end of its answer.",
            ["endpoint", "status"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batch = Histogram(
            "lookalike_batch_images",
            "Images that share a run of the model.",
            buckets=(1, 2, 4, 8, 16),
            registry=self._registry,
        )
        self.jobs = Histogram(
            "lookalike_job_seconds",
            "A job from the start of its process to its end.",
            ["kind", "state"],
            buckets=_JOB_SECONDS,
            registry=self._registry,
        )
        self.waiting = Gauge(
            "lookalike_waiting_requests", "Requests that wait or are worked on.", registry=self._registry
        )
        self.uploads = Gauge(
            "lookalike_upload_bytes", "What cached uploads take in memory.", registry=self._registry
        )
        self.points = Gauge(
            "lookalike_points", "Images in a served collection.", ["collection"], registry=self._registry
        )
        self.rejected = Counter(
            "lookalike_rejected_requests", "Requests without an answer.", ["code"], registry=self._registry
        )

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _seconds(self, step: str, help_text: str) -> Histogram:
        return Histogram(f"lookalike_{step}_seconds", help_text, buckets=_SECONDS, registry=self._registry)
