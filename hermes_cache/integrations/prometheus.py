"""Metrics for Prometheus: a collector over the counts that caches keep anyway.

Nothing is counted twice and no read pays for it: the values are looked up when they are asked for. It needs the
extra `prometheus`. Source: rules L4, W1.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from hermes_cache.distribution import install_command
from hermes_cache.integrations.measures import (
    MEASURES,
    SUM,
    Measure,
    Measured,
    Readings,
    Values,
    readings_of,
)

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as missing:
    raise ImportError(f"metrics need {missing.name}; {install_command('prometheus')}") from missing

_FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


class CacheCollector(Collector):
    """What Prometheus collects of one or more caches; a registry takes one collector.

    If several processes serve one address, as under gunicorn, the environment variable `PROMETHEUS_MULTIPROC_DIR`
    names a folder, as for `prometheus_client` itself. Then each process writes its values there every second, and
    whichever is asked answers for all: counts are added up, and those of processes that ended are kept.

    Args:
        caches: A cache, or caches by name. The name is the label `cache`; that of a single one is `sessions`.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, caches: Measured | Mapping[str, Measured]) -> None:
        self._caches: Mapping[str, Measured] = caches if isinstance(caches, Mapping) else {"sessions": caches}
        folder = os.environ.get(_FOLDER_VARIABLE)
        self._files = None
        if folder:
            from hermes_cache.integrations.worker_files import WorkerFiles  # noqa: PLC0415 - not on each system

            self._files = WorkerFiles(Path(folder), self._caches)

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without their values."""
        return (_family(measure, {}) for measure in MEASURES)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as of now."""
        readings: Readings = self._files.readings() if self._files else readings_of(self._caches)
        return (_family(measure, readings[measure.name]) for measure in MEASURES)

    def close(self) -> None:
        """Write what was counted in this process, and let it count as ended; without a folder do nothing."""
        if self._files is not None:
            self._files.close()


def _family(measure: Measure, values: Values) -> Metric:
    labels = ("cache", *measure.labels)
    match measure.kind:
        case "histogram":
            return _histogram(measure, values)
        case "counter":
            counter = CounterMetricFamily(measure.name, measure.meaning, labels=labels)
            for each, value in values.items():
                counter.add_metric(each, value)
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(measure.name, measure.meaning, labels=labels)
            for each, value in values.items():
                gauge.add_metric(each, value)
            return gauge


def _histogram(measure: Measure, values: Values) -> HistogramMetricFamily:
    family = HistogramMetricFamily(measure.name, measure.meaning, labels=("cache",))
    for cache in dict.fromkeys(labels[0] for labels in values):
        buckets, count = [], 0.0
        for (name, bound), value in values.items():
            if name == cache and bound != SUM:
                count += value
                buckets.append((bound, count))
        family.add_metric((cache,), buckets, values[cache, SUM])
    return family
