"""What Prometheus collects of the gateway: its cache, and its process.

Source: rule W1.
"""

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from hermes_cache.integrations.measures import Measured
from hermes_cache.integrations.prometheus import CacheCollector


class Metrics:
    """Answers `/metrics`.

    Args:
        cache: What is measured.
    """

    def __init__(self, cache: Measured) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(CacheCollector(cache))

    def answer(self, accepted: str) -> Response:
        """Return all metrics, in the form of OpenMetrics if the client accepts it.

        Args:
            accepted: The header `Accept`.
        """
        encode, content_type = choose_encoder(accepted)
        return Response(
            encode(self._registry), headers={"Cache-Control": "no-store", "Content-Type": content_type}
        )
