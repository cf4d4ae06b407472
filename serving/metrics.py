"""What `/metrics` says, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

Gauges = Callable[[], Iterable[tuple[str, str, dict[str, str], float]]]
"""Current values, asked for at each scrape: name, help, labels, value."""


class Metrics:
    """Counts requests and their time by route and status; everything else is asked for when scraped."""

    def __init__(self, gauges: Gauges) -> None:
        self._registry = CollectorRegistry()
        self._gauges = gauges
        self._requests = Counter("tidemill_requests", "Requests answered", ["route", "code"], registry=self._registry)
        self._seconds = Histogram(
            "tidemill_request_seconds", "Time to answer", ["route"], buckets=_BUCKETS, registry=self._registry
        )
        self._children: dict[tuple[str, int], Any] = {}
        self._histograms: dict[str, Any] = {}
        self._registry.register(self)

    def answered(self, route: str, code: int, seconds: float) -> None:
        child = self._children.get((route, code))
        if child is None:
            child = self._children[(route, code)] = self._requests.labels(route, str(code))
            self._histograms.setdefault(route, self._seconds.labels(route))
        child.inc()
        self._histograms[route].observe(seconds)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Prometheus asks this at each scrape."""
        families: dict[str, GaugeMetricFamily] = {}
        for name, text, labels, value in self._gauges():
            family = families.get(name)
            if family is None:
                family = families[name] = GaugeMetricFamily(name, text, labels=list(labels))
            family.add_metric(list(labels.values()), value)
        return families.values()

    def page(self) -> bytes:
        return generate_latest(self._registry)
