"""Room `controller`: what Prometheus is told; filled by `memory`, `engine` and `cluster`, read by `exposition`.

A scrape runs in a thread of its own and asks nobody: it lists what the newest objects said when they were seen.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from backup_operator.controller.cluster import Answered, Key, Manifest, key_of
from backup_operator.controller.series import HELP, PREFIX, policy_series, request_series

_RECONCILE_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no annotation there


@dataclass(frozen=True)
class _Seen:
    """One object: the version that was read last, and what it tells."""

    uid: str
    version: int | None
    samples: tuple[Sample, ...]

    def is_as_new_as(self, uid: str, version: int | None) -> bool:
        """Whether what comes now tells nothing new: a LIST can arrive after the watch event that followed it."""
        return self.uid == uid and self.version is not None and version is not None and version <= self.version


class _Shelf:
    """The newest of each object of a kind."""

    def __init__(self, series: Callable[[Manifest], tuple[Sample, ...]]) -> None:
        self._series = series
        self._seen: dict[Key, _Seen] = {}

    def put(self, manifest: Manifest) -> None:
        """Take in an object, unless a newer one was seen."""
        metadata, key = manifest["metadata"], key_of(manifest)
        uid, newest = metadata.get("uid", ""), _version(metadata)
        known = self._seen.get(key)
        if known is None or not known.is_as_new_as(uid, newest):
            self._seen[key] = _Seen(uid, newest, self._series(manifest))

    def drop(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._seen.pop(key, None)

    def samples(self) -> Iterator[Sample]:
        """Of all of them."""
        # one step for the interpreter: the event loop may change the dict meanwhile
        for seen in list(self._seen.values()):
            yield from seen.samples


@dataclass(frozen=True)
class _Gauge:
    """A figure of the operator's own."""

    name: str
    what: str
    value: Callable[[], float]
    labels: Mapping[str, str]


class Signals(Collector):
    """The registry of one operator process, and the verbs that fill it; a verb never waits and never fails."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.lease = ""
        """Which operator tells it; alerts of one release go by it."""
        self._policies = _Shelf(lambda policy: policy_series(policy, self.lease))
        self._requests = _Shelf(request_series)
        self._gauges: list[_Gauge] = []
        self._notices: Callable[[], Mapping[str, int]] | None = None
        self._reconciles = Histogram(
            PREFIX + "reconcile_seconds",
            "How long reconciles took, by kind and result; a failed one is tried again.",
            ["kind", "result"],
            buckets=_RECONCILE_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._api_requests = Counter(
            PREFIX + "api_requests_total",
            "Requests to the API server, but for the watches; code 0 is no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # --- what the objects say

    def policy_seen(self, policy: Manifest) -> None:
        """A policy as it is now."""
        self._policies.put(policy)

    def policy_gone(self, key: Key) -> None:
        """A policy was deleted: it has no series any more."""
        self._policies.drop(key)

    def request_seen(self, request: Manifest) -> None:
        """A RestoreRequest as it is now."""
        self._requests.put(request)

    def request_gone(self, key: Key) -> None:
        """A RestoreRequest was deleted: it has no series any more."""
        self._requests.drop(key)

    # --- what the operator does

    @contextmanager
    def reconcile(self, kind: str) -> Iterator[None]:
        """Time what is done within."""
        began, result = time.monotonic(), "failed"
        try:
            yield
            result = "ok"
        finally:
            self._reconciles.labels(kind, result).observe(time.monotonic() - began)

    def api_answered(self, answered: Answered) -> None:
        """The API server has answered, or not."""
        self._api_requests.labels(answered.verb, answered.resource, str(answered.code)).inc()

    def add_gauge(self, name: str, what: str, value: Callable[[], float], **labels: str) -> None:
        """A figure of the operator's own that is asked at each scrape, from the scrape's thread."""
        self._gauges.append(_Gauge(PREFIX + name, what, value, labels))

    def add_notices(self, results: Callable[[], Mapping[str, int]]) -> None:
        """How many attempts to send a notice ended how; asked at each scrape, from the scrape's thread."""
        self._notices = results

    # --- what a scrape reads

    def collect(self) -> Iterable[Metric]:
        """Everything but what the registry's own metrics count."""
        yield from self._metrics_of_objects()
        yield from self._metrics_of_operator()

    def _metrics_of_objects(self) -> Iterator[Metric]:
        by_name: dict[str, list[Sample]] = defaultdict(list)
        for shelf in (self._policies, self._requests):
            for sample in shelf.samples():
                by_name[sample.name].append(sample)
        for name, what in HELP.items():
            metric = Metric(PREFIX + name, what, "gauge")
            metric.samples = by_name[PREFIX + name]
            yield metric

    def _metrics_of_operator(self) -> Iterator[Metric]:
        about = GaugeMetricFamily(PREFIX + "info", "This operator; always 1.", labels=["version"])
        about.add_metric([version("backup-operator")], 1)
        yield about
        for gauge in self._gauges:
            metric = GaugeMetricFamily(gauge.name, gauge.what, labels=list(gauge.labels))
            metric.add_metric(list(gauge.labels.values()), gauge.value())
            yield metric
        if self._notices is not None:
            notices = CounterMetricFamily(PREFIX + "notifications", "Attempts to send a notice.", labels=["result"])
            # one step for the interpreter: the event loop may count a new result meanwhile
            for result, count in dict(self._notices()).items():
                notices.add_metric([result], count)
            yield notices


def _version(metadata: Mapping[str, Any]) -> int | None:
    """The resourceVersion, which is a number that grows. Source: Kubernetes 1.35 API concepts, "Resource versions"."""
    text = str(metadata.get("resourceVersion", ""))
    return int(text) if text.isascii() and text.isdigit() else None
