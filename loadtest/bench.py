"""What a scenario of loadtest/run works with: a server, k6, thresholds, and what was seen."""

import http.client
import json
import os
import re
import signal
import struct
import subprocess
import threading
import time
import urllib.parse
from collections import Counter
from pathlib import Path

import harness
from harness import ROOT, Failed, Server, say
from watch import Watch, total

K6 = ROOT / "loadtest" / "k6"
# k6's exit status when all was run and a threshold failed.
THRESHOLDS = 99
SAVES = {"endpoint": "/api/audiences", "method": "POST"}
LISTS = {"endpoint": "/api/audiences", "method": "GET"}
READS = {"endpoint": "/api/audiences/{audience_id}", "method": "GET"}


class Store:
    """A running server with a port for metrics of its own."""

    def __init__(self, tools, work, data, more, env=None):
        self.metrics = harness.free_address()
        command = [tools.subject, "serve", "--data", data, "--metrics-listen", self.metrics, "--log-level", "warn", *more]
        self.server = Server(tools, command, work, "audience-store", env)
        self.url = f"http://{self.server.address}"

    def ask(self, path, method="GET"):
        """An answer's JSON and its bytes; fails unless the status is 200."""
        connection = http.client.HTTPConnection(self.server.address, timeout=120)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise Failed(f"{method} {path}: {answer.status} {text[:300].decode(errors='replace')}")
        return json.loads(text), len(text)

    def missing(self, acknowledged):
        """Those of the acknowledged (user, id) that no listing has."""
        lost = []
        by_user = {}
        for user, audience in acknowledged:
            by_user.setdefault(user, set()).add(audience)
        for user, wanted in by_user.items():
            cursor = ""
            while wanted and cursor is not None:
                more = "&cursor=" + urllib.parse.quote(cursor, safe="") if cursor else ""
                answer, _ = self.ask(f"/api/audiences?user_id={user}&limit=1000&fields=audience_id{more}")
                wanted -= {audience["audience_id"] for audience in answer["audiences"]}
                cursor = answer["next_cursor"]
            lost += [(user, audience) for audience in wanted]
        return lost


class SlowDisk:
    """A library that makes each sync of the log take longer, as a slow disk does (tests/faults/preload.c)."""

    def __init__(self, work, milliseconds):
        self.library, self.control = work / "preload.so", work / "preload.control"
        source = ROOT / "tests" / "faults" / "preload.c"
        built = subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(self.library), str(source)],
                               stderr=subprocess.PIPE, text=True, check=False)
        if built.returncode != 0:
            raise Failed(f"the library that slows syncs could not be built: {built.stderr}")
        # struct control: hold, waiting, delay in µs, fail, failed, clock, part of the path.
        self.control.write_bytes(struct.pack("<5Qq208s", 0, 0, round(milliseconds * 1000), 0, 0, 0, b"/data/log/"))

    def env(self):
        return {"LD_PRELOAD": str(self.library), "FAULTS_CONTROL": str(self.control)}


class Throttled:
    """A process that gets a share of the processor's time alone, as a container with a quota does: it is
    stopped for the rest of each period."""

    PERIOD = 0.05

    def __init__(self, pid, share):
        self.pid, self.share = pid, share
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def run(self):
        while not self.ending.is_set():
            os.kill(self.pid, signal.SIGSTOP)
            self.ending.wait(self.PERIOD * (1 - self.share))
            os.kill(self.pid, signal.SIGCONT)
            self.ending.wait(self.PERIOD * self.share)

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        os.kill(self.pid, signal.SIGCONT)


class Bench:
    """One run of one scenario."""

    def __init__(self, tools, k6, work, sizes, timed):
        self.tools, self.k6_program, self.work, self.sizes, self.timed = tools, k6, work, sizes, timed
        self.data = work / "data"
        self.verdicts = []
        self.figures = []
        self.plots = []
        self.probe = None
        self.shown = 0.0

    def serve(self, *more, env=None):
        return Store(self.tools, self.work, self.data, ["--usage-interval", "5s", *more], env)

    def threshold(self, what, value, ok, timed=False):
        """A threshold that k6 cannot check. One on time counts only where times are measured."""
        if self.timed or not timed:
            self.judge(what, value, bool(ok))

    def judge(self, what, value, ok):
        """Of runs of one script, one after another, the last counts, or one that failed."""
        for at, (before, _, held) in enumerate(self.verdicts):
            if before == what:
                if held:
                    self.verdicts[at] = (what, value, ok)
                return
        self.verdicts.append((what, value, ok))

    def watch(self, store):
        self.shown = time.monotonic()
        return Watch(store.metrics, self.progress)

    def progress(self, watch):
        now = time.monotonic()
        if now - self.shown < 5 or len(watch.scrapes) < 2:
            return
        since, self.shown = self.shown, now
        names = ("saves", SAVES), ("lists", LISTS), ("reads", READS)
        recent = [(at, scrape) for at, scrape in watch.scrapes if watch.begun + at >= since - 1.5]
        if len(recent) < 2:
            return
        (first, old), (last, new) = recent[0], recent[-1]
        rates = ((name, (total(new, "http_requests_total", **labels) - total(old, "http_requests_total", **labels)) / (last - first))
                 for name, labels in names)
        resident = total(new, "process_resident_memory_bytes") / 2**20
        say(f"  {last:4.0f} s  " + "  ".join(f"{name} {rate:>7,.0f}/s" for name, rate in rates if rate > 0) + f"  {resident:,.0f} MiB")

    def k6(self, store, script, acknowledged=None, **environment):
        """Runs a script; its metrics. Its thresholds become verdicts."""
        summary, log = self.work / f"{script}.json", self.work / f"{script}.log"
        summary.unlink(missing_ok=True)
        given = {"BASE": store.url, "SUMMARY": summary, "TIMED": "yes" if self.timed else "no", **self.sizes, **environment}
        console = acknowledged or self.work / f"{script}.console"
        command = [self.k6_program, "run", "--quiet", "--no-color", "--no-usage-report", "--address", "127.0.0.1:0",
                   "--log-format", "raw", "--console-output", str(console)]
        for name, value in given.items():
            command += ["--env", f"{name}={value}"]
        with open(log, "wb") as out:
            done = subprocess.run([*command, str(K6 / f"{script}.js")], stdout=out, stderr=out, check=False,
                                  stdin=subprocess.DEVNULL)
        if done.returncode not in (0, THRESHOLDS) or not summary.exists():
            raise Failed(f"k6 run {script}.js ended with {done.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
        metrics = json.loads(summary.read_text())["metrics"]
        for name, metric in sorted(metrics.items()):
            for expression, verdict in metric.get("thresholds", {}).items():
                if not expression.endswith(">=0"):
                    self.judge(f"{name}: {expression}", reached(metric, expression), verdict["ok"])
        for line, times in Counter(line for line in Path(console).read_text().splitlines() if line.startswith("!")).most_common(5):
            say(f"  {times} times: {line[2:]}")
        return metrics

    def note(self, what, value):
        self.figures.append((what, value))

    def note_latency(self, metrics, name, what):
        """What k6 saw of one kind of request."""
        metric = metrics.get(name)
        if metric and metric["values"].get("count"):
            values = metric["values"]
            self.note(f"{what}: answers", values["count"])
            self.note(f"{what}, as k6 saw it: median, ms", values["med"])
            self.note(f"{what}, as k6 saw it: p99, ms", values["p(99)"])

    def note_server(self, watch):
        """What the server counted, over the whole run."""
        for what, labels in ("saves", SAVES), ("lists", LISTS), ("reads", READS):
            if watch.grown("http_request_duration_seconds_count", **labels):
                for share, name in (0.5, "median"), (0.99, "p99"):
                    value = watch.whole(share, "http_request_duration_seconds", status="2xx", **labels)
                    self.note(f"{what}, as the server saw it: {name}, ms", None if value is None else value * 1000)
        fsyncs = watch.grown("log_fsyncs_total")
        if fsyncs:
            self.note("fsyncs of the log", fsyncs)
            self.note("records an fsync", watch.grown("log_records_total") / fsyncs)
            self.note("time of an fsync: median, ms", (watch.whole(0.5, "log_fsync_duration_seconds") or 0) * 1000)
        resident = [value for _, value in watch.gauge("process_resident_memory_bytes")]
        self.note("resident memory at most, MiB", max(resident) / 2**20)
        self.note("open files at most", max(value for _, value in watch.gauge("process_open_fds")))
        if watch.failed:
            self.note("scrapes that failed", watch.failed)

    def lost(self, store, console):
        """Restarts the store after kill -9 and looks for every acknowledged save; the store that runs then."""
        acknowledged = [tuple(line.split()) for line in Path(console).read_text().splitlines() if len(line.split()) == 2]
        store.server.kill()
        store = self.serve()
        lost = store.missing(acknowledged)
        self.note("acknowledged saves looked for after kill -9", len(acknowledged))
        self.threshold("acknowledged saves lost, after kill -9: none", len(lost), not lost and acknowledged)
        return store


def reached(metric, expression):
    """The value that a threshold's expression speaks of."""
    name = re.match(r"[^<>=!]+", expression)[0].strip()
    return metric["values"].get(name, metric["values"].get("value"))
