"""The scenarios of loadtest/run: what each prepares, runs and looks at. README.md says why the thresholds
are what they are."""

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Callable, Dict

from bench import LISTS, READS, SAVES, SlowDisk, Throttled
from harness import Failed, say
from plots import plot
from watch import total

MIB = 2**20


def saves_once(bench):
    store, console = bench.serve(), bench.work / "acknowledged"
    watch = bench.watch(store)
    metrics = bench.k6(store, "saves-once", console)
    bench.note_latency(metrics, "http_req_duration", "saves")
    seen(bench, watch.stop())
    bench.lost(store, console).server.stop()


def saves(bench):
    store = bench.serve()
    watch = bench.watch(store)
    metrics = bench.k6(store, "saves")
    watch.stop()
    bench.note("saves a second", metrics["http_reqs"]["values"]["rate"])
    bench.note_latency(metrics, "http_req_duration", "saves")
    p99 = watch.whole(0.99, "http_request_duration_seconds", status="2xx", **SAVES)
    bench.threshold("saves, as the server saw them: p99 < 100 ms", (p99 or 0) * 1000, p99 and p99 < 0.1, timed=True)
    fsyncs = watch.grown("log_fsyncs_total")
    shared = watch.grown("log_records_total") / max(fsyncs, 1)
    bench.threshold("saves an fsync > 10", shared, shared > 10, timed=True)
    seen(bench, watch)
    store.server.stop()


def listings(bench):
    simple(bench, "listings", {"http_req_duration{name:list}": "lists"})


def big_listing(bench):
    metrics = simple(bench, "big-listing", {"http_req_duration{name:list}": "pages", "whole_listing": "whole listings"})
    bench.note("audiences missing", metrics["audiences_missing"]["values"]["count"])


def mixed(bench):
    kinds = {f"http_req_duration{{name:{kind}}}": f"{kind}s" for kind in ("save", "list", "read")}
    metrics = simple(bench, "mixed", kinds)
    bench.note("requests a second", metrics["iterations"]["values"]["rate"])


def simple(bench, script, latencies):
    store = bench.serve()
    watch = bench.watch(store)
    metrics = bench.k6(store, script)
    for name, what in latencies.items():
        bench.note_latency(metrics, name, what)
    seen(bench, watch.stop())
    store.server.stop()
    return metrics


def growth(bench):
    """A year, a month at a time; after each month all is written to files and looked at."""
    months, users, each = (int(bench.sizes[name]) for name in ("MONTHS", "USERS", "AUDIENCES"))
    store = bench.serve("--cache-bytes", "64MiB")
    watch = bench.watch(store)
    rows, json_bytes = [], 0
    for month in range(1, months + 1):
        before = len(watch.scrapes)
        metrics = bench.k6(store, "growth", MONTH=month)
        at = watch.scrapes[max(0, before - 1):]
        begun = time.monotonic()
        store.ask("/api/admin/checkpoint", "POST")
        files, size = files_of(bench.data / "audiences")
        stored = month * users * each
        if month == 1:
            answer, length = store.ask("/api/audiences?user_id=load_000000&limit=1000")
            json_bytes = length / max(answer["count"], 1)
        values = {kind: metrics[f"http_req_duration{{name:{kind}}}"]["values"] for kind in ("save", "list")}
        rows.append({"stored": stored, "files": files, "bytes": size, "resident": total(at[-1][1], "process_resident_memory_bytes"),
                     **{f"{kind} {which}": values[kind][which] for kind in values for which in ("med", "p(99)")}})
        say(f"  month {month}: {stored:,} audiences in {files:,} files, {size / stored:,.0f} bytes each; written in "
            f"{time.monotonic() - begun:.0f} s; save p99 {values['save']['p(99)']:.1f} ms, list p99 {values['list']['p(99)']:.1f} ms")
    seen(bench, watch.stop())
    store.server.stop()
    last, first = rows[-1], rows[0]
    bench.note("audiences", last["stored"])
    bench.note("users", users)
    bench.note("files", last["files"])
    bench.note("audiences a file", last["stored"] / last["files"])
    bench.note("bytes of an audience as JSON", json_bytes)
    bench.note("bytes of an audience on disk", last["bytes"] / last["stored"])
    for kind in ("save", "list"):
        for which, name in (("med", "median"), ("p(99)", "p99")):
            bench.note(f"{kind}: {name} in the first month, ms", first[f"{kind} {which}"])
            bench.note(f"{kind}: {name} in the last month, ms", last[f"{kind} {which}"])
    share = last["bytes"] / last["stored"] / json_bytes
    bench.threshold("one file a user and month", last["files"] / (users * months), last["files"] == users * months)
    bench.threshold("bytes on disk / bytes of JSON < 0.25", share, share < 0.25, timed=True)
    slower = last["save p(99)"] / first["save p(99)"]
    bench.threshold("p99 of saves, last month / first (empty store) < 1.2", slower, slower < 1.2, timed=True)
    resident = max(row["resident"] for row in rows) / MIB
    bench.threshold("resident memory < 512 MiB", resident, resident < 512, timed=True)
    curve = lambda key, factor=1.0: [(row["stored"], row[key] * factor) for row in rows]
    per = [(row["stored"], row["bytes"] / row["stored"]) for row in rows]
    across = "audiences stored"
    bench.plots += [
        plot("Bytes in files", "MiB", [("all", curve("bytes", 1 / MIB))], across),
        plot("Bytes of an audience", "bytes", [("on disk", per), ("JSON", [(x, json_bytes) for x, _ in per])], across),
        plot("Parquet files", "files", [("files", curve("files"))], across),
        plot("Resident memory after each month", "MiB", [("resident", curve("resident", 1 / MIB))], across),
        plot("Saves, as k6 saw them", "ms", [("median", curve("save med")), ("p99", curve("save p(99)"))], across),
        plot("Listings, as k6 saw them", "ms", [("median", curve("list med")), ("p99", curve("list p(99)"))], across),
    ]


def files_of(folder):
    """Files below a folder and their bytes."""
    files = size = 0
    for where, _, names in os.walk(folder):
        files += len(names)
        size += sum(os.lstat(os.path.join(where, name)).st_size for name in names)
    return files, size


def soak(bench):
    # Low bounds: what grows in the second half all the same has none.
    store = bench.serve("--resident-bytes", "24MiB", "--cache-bytes", "8MiB")
    watch = bench.watch(store)
    metrics = bench.k6(store, "soak")
    watch.stop()
    for kind in ("save", "list", "read"):
        bench.note_latency(metrics, f"http_req_duration{{name:{kind}}}", f"{kind}s")
    figures = {name: [value for _, value in watch.gauge(name)]
               for name in ("process_resident_memory_bytes", "process_open_fds", "log_bytes", "partition_memory_bytes", "listing_cache_bytes")}
    for name, what, most in (("process_resident_memory_bytes", "resident memory", 1.1), ("process_open_fds", "open files", 1.2),
                             ("log_bytes", "bytes of the log", 1.5)):
        values = figures[name]
        quarter = max(1, len(values) // 4)
        second, fourth = max(values[quarter:2 * quarter] or values), max(values[-quarter:])
        bench.threshold(f"{what}, last quarter / second quarter < {most}", fourth / second, fourth / second < most, timed=True)
    resident = max(figures["process_resident_memory_bytes"]) / MIB
    bench.note("records in memory at most, MiB", max(figures["partition_memory_bytes"]) / MIB)
    bench.note("listings in memory at most, MiB", max(figures["listing_cache_bytes"]) / MIB)
    bench.threshold("resident memory < 512 MiB", resident, resident < 512, timed=True)
    p99 = [watch.whole(0.99, "http_request_duration_seconds", between=quarter, status="2xx", **SAVES) or 0.0
           for quarter in ((0.25, 0.5), (0.75, 1))]
    for value, which in zip(p99, ("second", "last")):
        bench.note(f"saves, as the server saw them: p99 of the {which} quarter, ms", value * 1000)
    slower = p99[1] / max(p99[0], 1e-9)
    bench.threshold("p99 of saves, last quarter / second quarter < 1.5", slower, slower < 1.5, timed=True)
    seen(bench, watch)
    store.server.stop()


def overload(bench):
    """The log's disk is slow: what is under way waits for it, and one more is refused."""
    disk = SlowDisk(bench.work, float(bench.sizes["SYNC_MS"]))
    store = bench.serve("--max-writes", bench.sizes["WRITES"], env=disk.env())
    bench.note("a sync of the log takes more, ms", float(bench.sizes["SYNC_MS"]))
    offered, capacity = overloaded(bench, store, nullcontext(), kept=0.8)
    bench.threshold("offered / capacity > 2.7", offered / capacity, offered / capacity > 2.7, timed=True)


def overload_cpu(bench):
    """The processor's time is short, of which refusing takes too: within the server's own bounds all wait."""
    share = float(bench.sizes["SHARE"])
    store = bench.serve()
    bench.note("share of the processor's time that the server got", share)
    overloaded(bench, store, Throttled(store.server.pid, share), kept=0.8)


def overloaded(bench, store, meanwhile, kept):
    """Capacity first; then three times as much, of which nothing that was acknowledged may be lost. Answers and
    capacity, both a second."""
    console = bench.work / "acknowledged"
    with meanwhile:
        first = bench.k6(store, "overload", PHASE="capacity", SECONDS=bench.sizes["CAPACITY_SECONDS"])
        capacity = first["iterations"]["values"]["rate"]
        say(f"  capacity: {capacity:,.0f} saves/s")
        rate = max(3, round(3 * capacity))
        watch = bench.watch(store)
        metrics = bench.k6(store, "overload", console, PHASE="overload", RATE=rate)
    watch.stop()
    count = lambda name: metrics.get(name, {"values": {}})["values"].get("count", 0)
    seconds = float(bench.sizes["SECONDS"])
    offered = (count("saves_accepted") + count("saves_refused") + count("neither_saved_nor_refused")) / seconds
    bench.note("capacity, saves a second", capacity)
    bench.note("saves a second asked for", rate)
    bench.note("answers a second", offered)
    bench.note("arrivals that k6 had no client for", count("dropped_iterations"))
    bench.note("saves accepted", count("saves_accepted"))
    bench.note("saves refused with 503", count("saves_refused"))
    for name, what in (("refusal_time", "refusals"), ("admitted_time", "saves that were let in"), ("read_time", "reads meanwhile")):
        bench.note_latency(metrics, name, what)
    share = count("saves_accepted") / seconds / capacity
    bench.threshold(f"accepted under overload / capacity > {kept}", share, share > kept, timed=True)
    seen(bench, watch)
    bench.lost(store, console).server.stop()
    return offered, capacity


def seen(bench, watch):
    """Figures and plots that every scenario has."""
    bench.note_server(watch)
    ms = lambda points: [(x, y * 1000) for x, y in points]
    mib = lambda points: [(x, y / MIB) for x, y in points]
    duration = "http_request_duration_seconds"
    kinds = (("saves", SAVES), ("lists", LISTS), ("reads", READS))
    rates = [(name, watch.rate("http_requests_total", status="2xx", **labels)) for name, labels in kinds]
    rates.append(("503 and other 5xx", watch.rate("http_requests_total", status="5xx")))
    plots = [plot("Answers", "per second", [(name, points) for name, points in rates if any(y for _, y in points)])]
    for name, labels in kinds:
        quantiles = [(f"p{100 * q:g}", ms(watch.quantiles(q, duration, status="2xx", **labels))) for q in (0.5, 0.99)]
        plots.append(plot(f"Time of {name}, as the server saw it", "ms", quantiles))
    per_fsync = [(x, records / fsyncs) for (x, records), (_, fsyncs)
                 in zip(watch.rate("log_records_total"), watch.rate("log_fsyncs_total")) if fsyncs]
    plots += [
        plot("Time of an fsync", "ms", [(f"p{100 * q:g}", ms(watch.quantiles(q, "log_fsync_duration_seconds"))) for q in (0.5, 0.99)]),
        plot("Fsyncs", "per second", [("fsyncs", watch.rate("log_fsyncs_total"))]),
        plot("Records an fsync", "records", [("records", per_fsync)]),
        plot("Refused by a limit", "per second", [("refused", watch.rate("refused_total"))]) if watch.grown("refused_total") else "",
        plot("Under way", "requests, connections", [("requests", watch.gauge("http_requests_in_flight")),
                                                    ("connections", watch.gauge("connections_open"))]),
        plot("Memory", "MiB", [("resident", mib(watch.gauge("process_resident_memory_bytes"))),
                               ("partitions", mib(watch.gauge("partition_memory_bytes"))),
                               ("listing cache", mib(watch.gauge("listing_cache_bytes")))]),
        plot("Files", "files", [("open", watch.gauge("process_open_fds")), ("Parquet files (survey)", watch.gauge("usage_files"))]),
        plot("Log", "MiB", [("on disk", mib(watch.gauge("log_bytes"))), ("in no file yet", mib(watch.gauge("log_unpublished_bytes")))]),
        plot("Checkpoints", "per second", [("written", watch.rate("checkpoints_total", outcome="written"))]),
        plot("Partitions that run", "partitions", [("resident", watch.gauge("partitions_resident"))]),
        # It is counted in whole seconds.
        plot("Processor time, over five seconds", "cores", [("server", watch.rate("process_cpu_seconds_total", over=5))]),
    ]
    bench.plots += [one for one in plots if one]


@dataclass(frozen=True)
class Scenario:
    line: str
    run: Callable
    # Sizes as k6 gets them: of a real run, and of the smallest that shows that all works.
    sizes: Dict[str, str]
    smoke: Dict[str, str]


SCENARIOS = {
    "saves-once": Scenario("1,000 clients save at once, one audience each; kill -9; each is still there", saves_once,
                           {"CLIENTS": "1000"}, {"CLIENTS": "20"}),
    "saves": Scenario("1,000 clients save again and again for a minute", saves,
                      {"CLIENTS": "1000", "DURATION": "60s"}, {"CLIENTS": "10", "DURATION": "2s"}),
    "listings": Scenario("10,000 listings of 50 by 64 clients", listings,
                         {"CLIENTS": "64", "LISTINGS": "10000", "USERS": "100"},
                         {"CLIENTS": "4", "LISTINGS": "100", "USERS": "2"}),
    "big-listing": Scenario("a listing of 10,000 audiences, paged through: each exactly once", big_listing,
                            {"AUDIENCES": "10000", "PAGE": "100", "WALKS": "5", "DURATION": "20s"},
                            {"AUDIENCES": "300", "PAGE": "50", "WALKS": "2", "DURATION": "2s"}),
    "mixed": Scenario("90 % reads, 10 % saves, by 64 clients for a minute; few users ask most (Zipf)", mixed,
                      {"CLIENTS": "64", "USERS": "1000", "AUDIENCES": "10", "DURATION": "60s"},
                      {"CLIENTS": "4", "USERS": "20", "AUDIENCES": "2", "DURATION": "3s"}),
    "growth": Scenario("a year of months of 10,000 users (--users for fewer): bytes, files, latencies by size", growth,
                       {"USERS": "10000", "AUDIENCES": "3", "MONTHS": "12", "DURATION": "10s", "LISTS": "50"},
                       {"USERS": "20", "AUDIENCES": "2", "MONTHS": "2", "DURATION": "1s", "LISTS": "10"}),
    "soak": Scenario("steady mixed traffic for ten minutes (--duration for more): does anything grow?", soak,
                     {"USERS": "1000", "AUDIENCES": "10", "RATE": "300", "DURATION": "10m"},
                     {"USERS": "20", "AUDIENCES": "2", "RATE": "50", "DURATION": "3s"}),
    "overload": Scenario("three times the saves a slow disk can take: quick 503s, nothing lost, well again soon", overload,
                         {"USERS": "1000", "CLIENTS": "600", "CLOSED": "128", "WRITES": "128", "SYNC_MS": "50",
                          "CAPACITY_SECONDS": "10", "SECONDS": "20", "AFTER": "10"},
                         {"USERS": "20", "CLIENTS": "100", "CLOSED": "8", "WRITES": "8", "SYNC_MS": "50",
                          "CAPACITY_SECONDS": "2", "SECONDS": "4", "AFTER": "2"}),
    "overload-cpu": Scenario("three times the saves a twentieth of the processor can take: all answered, nothing lost", overload_cpu,
                             {"USERS": "1000", "CLIENTS": "2500", "CLOSED": "500", "SHARE": "0.05",
                              "CAPACITY_SECONDS": "10", "SECONDS": "20", "AFTER": "10", "STARVED": "yes"},
                             {"USERS": "20", "CLIENTS": "100", "CLOSED": "20", "SHARE": "0.1",
                              "CAPACITY_SECONDS": "2", "SECONDS": "4", "AFTER": "2", "STARVED": "yes"}),
}


def sizes(name, smoke, users=None, duration=None):
    """A scenario's sizes with what the command line says."""
    scenario = SCENARIOS[name]
    found = dict(scenario.smoke if smoke else scenario.sizes)
    for key, value in (("USERS", users), ("DURATION", duration)):
        if value is not None:
            if key not in found:
                raise Failed(f"{name} has no --{key.lower()}")
            found[key] = str(value)
    return found
