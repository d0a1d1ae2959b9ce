"""What a server of models tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlcache.errors import MissingExtraError
from mlcache.models.predictions import Predictor

GAUGES = {
    "models": "Models in memory",
    "bytes": "Bytes that the models in memory take",
    "max_bytes": "Bytes that they may take",
    "leased": "Models in use",
}
COUNTERS = {
    "hits": "Uses of a model that was in memory",
    "coalesced": "Uses that waited for a load under way",
    "loads": "Models loaded",
    "failures": "Loads that failed",
    "evictions": "Models that went for want of room",
    "idle": "Models that went because nobody used them",
    "refreshes": "Models replaced by a newer version",
    "check_failures": "Looks at a version that failed",
    "churn": "Loads that brought back an evicted model",
}
PREDICTIONS = {
    "hits": "hit",
    "misses": "miss",
    "coalesced": "coalesced",
    "stale": "stale",
    "bypasses": "bypass",
}


class Metrics:
    """The metrics of one server.

    Args:
        predictor: whose counts are told.
    """

    def __init__(self, predictor: Predictor) -> None:
        try:
            import prometheus_client as client
        except ImportError:
            raise MissingExtraError("/metrics", "prometheus-client", "server") from None
        self.registry = client.CollectorRegistry()
        self.registry.register(_Collector(predictor))
        self._seconds = client.Histogram(
            "mlcache_request_seconds", "Seconds that predictions took", ["status"], registry=self.registry
        )

    def observe(self, status: int, seconds: float) -> None:
        """Count a request."""
        self._seconds.labels(str(status)).observe(seconds)

    def text(self) -> tuple[bytes, str]:
        """All there is to tell, and its media type."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Collector:
    """Reads the counts when it is asked for them, so that nothing is counted twice."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        info = self._predictor.models.info()._asdict()
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"mlcache_models_{name}", text, value=info[name])
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"mlcache_models_{name}", text, value=info[name])
        down = float(self._predictor.models.store_is_down)
        text = "Whether the store did not answer when it was asked last"
        yield GaugeMetricFamily("mlcache_models_store_is_down", text, value=down)
        text = "Predictions, by how they came about; one that failed, or was refused by its model, is a miss"
        calls = CounterMetricFamily("mlcache_predictions", text, labels=["status"])
        counted = self._predictor.cached.cache_info()
        for name, status in PREDICTIONS.items():
            calls.add_metric([status], getattr(counted, name))
        yield calls
