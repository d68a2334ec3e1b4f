"""What a server counts of itself, for Prometheus to fetch; nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZES = (1, 2, 4, 8, 16, 32, 64)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "anyx_requests", "Requests answered, by route and HTTP status.", ["route", "status"], registry=registry
        )
        self.latency = Histogram(
            "anyx_request_seconds", "Seconds to a reply's last byte.", ["route"], buckets=SECONDS, registry=registry
        )
        self.batches = Histogram(
            "anyx_batch_size", "Requests that the LLM answers side by side.", buckets=SIZES, registry=registry
        )
        self.prompted = Counter("anyx_prompt_tokens", "Tokens of prompts, media included.", registry=registry)
        self.said = Counter("anyx_reply_tokens", "Tokens that were said.", registry=registry)
        self.media = Counter("anyx_media", "Media that were made, by output.", ["output"], registry=registry)
        self.flying = Gauge("anyx_requests_in_flight", "Requests that are being answered.", registry=registry)

    def watch(self, name: str, about: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is fetched."""
        Gauge(name, about, registry=self.registry).set_function(read)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
