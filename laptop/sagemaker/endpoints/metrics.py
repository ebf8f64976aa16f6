"""The CloudWatch metrics that SageMaker publishes for endpoints, in namespace `AWS/SageMaker`.

Source: "Monitor Amazon SageMaker AI with Amazon CloudWatch", endpoint invocation metrics: dimensions EndpointName and
VariantName, and a second time with EndpointConfigName beside them (developer guide, "Auto-rollback configuration", the
example that monitors the new fleet only); latencies in microseconds; Invocation4XXErrors, Invocation5XXErrors and
InvocationModelErrors are 0 or 1 for each request, so that their average is a rate. The first two count what the model
answered; broken connections and what was not answered in time are among the third alone. InvocationsPerInstance is
1 / instances for each request, so that its sum is invocations per instance.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

from laptop.documents import Document

NAMESPACE = "AWS/SageMaker"
FLUSH_SECONDS = 1.0  # AWS publishes once per minute
_VALUES_PER_DATUM = 150  # PutMetricData's limits
_DATA_PER_CALL = 1000

Datum = Document
_UNITS = {"ModelLatency": "Microseconds", "OverheadLatency": "Microseconds"}


def of_request(status: int, model_seconds: float, overhead_seconds: float, instances: int) -> dict[str, float]:
    """The values one request adds. `status` is the HTTP status of the container, 0 when it gave none."""
    values = {
        "Invocations": 1.0,
        "InvocationsPerInstance": 1.0 / max(instances, 1),
        "Invocation4XXErrors": float(400 <= status < 500),
        "Invocation5XXErrors": float(status >= 500),
        "InvocationModelErrors": float(not 200 <= status < 300),
        "OverheadLatency": max(overhead_seconds, 0.0) * 1e6,
    }
    if model_seconds > 0:
        values["ModelLatency"] = model_seconds * 1e6
    return values


class Metrics:
    """Collects the values of requests and publishes them together. Safe across threads.

    `publish(namespace, data)` takes PutMetricData's MetricData.
    """

    def __init__(self, publish: Callable[[str, list[Datum]], None], clock: Callable[[], float] = time.time) -> None:
        self._publish = publish
        self._clock = clock
        self._values: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._lock = threading.Lock()

    def record(self, endpoint: str, variant: str, config: str, values: dict[str, float]) -> None:
        """Add the values of one request, which an instance of that endpoint config answered."""
        with self._lock:
            collected = self._values[endpoint, variant, config]
            for name, value in values.items():
                collected[name].append(value)

    def flush(self) -> int:
        """Publish what was collected; returns the number of data."""
        with self._lock:
            taken, self._values = self._values, defaultdict(lambda: defaultdict(list))
        at = self._clock()
        data = [
            {
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                "Timestamp": at,
                "Unit": _UNITS.get(name, "None"),
                **condensed,
            }
            for (endpoint, variant, config), metrics in taken.items()
            for dimensions in (
                {"EndpointName": endpoint, "VariantName": variant},
                {"EndpointName": endpoint, "VariantName": variant, "EndpointConfigName": config},
            )
            for name, values in metrics.items()
            for condensed in _condensed(name, values)
        ]
        for start in range(0, len(data), _DATA_PER_CALL):
            self._publish(NAMESPACE, data[start : start + _DATA_PER_CALL])
        return len(data)


def _condensed(name: str, values: list[float]) -> Iterator[Datum]:
    """Latencies value by value, since alarms ask for percentiles; everything else as a statistic set."""
    if name in _UNITS:
        for start in range(0, len(values), _VALUES_PER_DATUM):
            yield {"Values": values[start : start + _VALUES_PER_DATUM]}
        return
    yield {
        "StatisticValues": {
            "SampleCount": float(len(values)),
            "Sum": sum(values),
            "Minimum": min(values),
            "Maximum": max(values),
        }
    }
