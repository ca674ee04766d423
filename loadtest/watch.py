"""Looks at a server's /metrics once a second while a load runs, and makes series of what it saw."""

import http.client
import re
import threading
import time

SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PREFIX = "audience_store_"
# Kept for an hour, a scrape must be small: what no load asks for is left out.
KEPT = re.compile(r"^(http_(requests|errors|request_duration)|connections_open|refused|records_written|log_|checkpoint|"
                  r"partition|listing_cache|usage_|storage_errors|process_)")


def parse(text):
    """Name to a list of (labels, value), without the prefix of the server's own names; no counters that never
    counted."""
    found = {}
    for line in text.splitlines():
        match = SAMPLE.match(line)
        if match:
            name = match[1][len(PREFIX):] if match[1].startswith(PREFIX) else match[1]
            if KEPT.match(name) and not (match[3] == "0" and "endpoint=" in (match[2] or "")):
                found.setdefault(name, []).append((dict(LABEL.findall(match[2] or "")), float(match[3])))
    return found


def total(scrape, name, **labels):
    """The sum of a metric's samples that have these labels."""
    return sum(value for has, value in scrape.get(name, []) if all(has.get(k) == v for k, v in labels.items()))


def buckets(scrape, name, **labels):
    """Upper bound to cumulated count, summed over all other labels."""
    found = {}
    for has, value in scrape.get(name + "_bucket", []):
        if all(has.get(k) == v for k, v in labels.items()):
            bound = float(has["le"])
            found[bound] = found.get(bound, 0.0) + value
    return found


def quantile(share, before, after):
    """The quantile of what a histogram counted between two looks at it, as Prometheus reckons it; None
    where it counted nothing."""
    counts = [(bound, after[bound] - before.get(bound, 0.0)) for bound in sorted(after)]
    if not counts or counts[-1][1] <= 0:
        return None
    wanted, low, below = share * counts[-1][1], 0.0, 0.0
    for bound, count in counts:
        if count >= wanted:
            if bound == float("inf"):
                return low
            inside = count - below
            return low + (bound - low) * ((wanted - below) / inside if inside else 1.0)
        low, below = bound, count
    return low


class Watch:
    """Scrapes until it is stopped. The server's port for metrics has a thread of its own, so that it
    answers when the other is busy."""

    def __init__(self, address, progress=None):
        self.address = address
        self.progress = progress
        self.scrapes = []
        self.failed = 0
        self.begun = time.monotonic()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            began = time.monotonic()
            try:
                self.look()
            except (OSError, http.client.HTTPException):
                self.failed += 1
            if self.stopping.wait(max(0.0, began + 1.0 - time.monotonic())):
                return

    def look(self):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        self.scrapes.append((time.monotonic() - self.begun, parse(text)))
        if self.progress:
            self.progress(self)

    def stop(self):
        self.stopping.set()
        self.thread.join()
        try:
            self.look()
        except (OSError, http.client.HTTPException):
            self.failed += 1
        return self

    def last(self):
        return self.scrapes[-1][1] if self.scrapes else {}

    def gauge(self, name, **labels):
        return [(at, total(scrape, name, **labels)) for at, scrape in self.scrapes]

    def pairs(self, over=1):
        """Scrapes with those `over` scrapes later."""
        return zip(self.scrapes, self.scrapes[over:])

    def rate(self, name, over=1, **labels):
        """A counter's growth a second."""
        return [(at, max(0.0, total(new, name, **labels) - total(old, name, **labels)) / (at - since))
                for (since, old), (at, new) in self.pairs(over) if at > since]

    def quantiles(self, share, name, **labels):
        """A histogram's quantile in each second in which it counted something."""
        found = [(at, quantile(share, buckets(old, name, **labels), buckets(new, name, **labels)))
                 for (_, old), (at, new) in self.pairs()]
        return [(at, value) for at, value in found if value is not None]

    def whole(self, share, name, between=(0, 1), **labels):
        """A histogram's quantile over the time watched, or between two shares of it."""
        if len(self.scrapes) < 2:
            return None
        begin, end = (self.scrapes[round(part * (len(self.scrapes) - 1))][1] for part in between)
        return quantile(share, buckets(begin, name, **labels), buckets(end, name, **labels))

    def grown(self, name, **labels):
        return total(self.last(), name, **labels) - total(self.scrapes[0][1], name, **labels) if self.scrapes else 0.0
