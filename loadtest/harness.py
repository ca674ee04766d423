"""What compare, footprint and run share: binaries, servers that are always stopped, the machine.

Standard library only. Every server that is started here is stopped when the script ends, also
when it fails or is interrupted.
"""

import atexit
import datetime
import json
import os
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "loadtest" / "reports"
READY_SECONDS = 600
STOP_SECONDS = 120
# The driver's exit status when the run was made and some answers were not good.
SOME_FAILED = 3


class Failed(Exception):
    """Something to tell the caller in one sentence."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def main(body):
    """Runs `body` so that interrupts clean up and errors are one line; the exit status is 1 where it
    gives False: a goal was missed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A server that is started must not hear of settings in the caller's environment.
    for variable in [name for name in os.environ if name.startswith("AUDIENCE_STORE_")]:
        del os.environ[variable]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < 4096:
        say(f"warning: only {hard} open files are allowed; 1,000 connections may fail")
    try:
        if body() is False:
            sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Failed as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


class Tools:
    """The binaries: of a release, or as tests build them (`debug`)."""

    def __init__(self, subject, build, debug=False, noop=True):
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        target = target if target.is_absolute() else ROOT / target
        folder = target / ("debug" if debug else "release")
        examples = ["--example", "drive"] + (["--example", "noop"] if noop else [])
        if build:
            say(f"building {folder.name} binaries")
            binary = [] if subject else ["--bin", "audience-store"]
            command = ["cargo", "build", "--locked", *([] if debug else ["--release"]), *binary, *examples]
            if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
                raise Failed("the build failed")
        self.subject = Path(subject).resolve() if subject else folder / "audience-store"
        self.noop = folder / "examples" / "noop"
        self.driver = folder / "examples" / "drive"
        for binary in [self.subject, self.driver] + ([self.noop] if noop else []):
            if not os.access(binary, os.X_OK):
                raise Failed(f"{binary} is missing; run without --no-build")

    def drive(self, *arguments):
        """Runs the driver; its standard output. Bad answers are not an error here."""
        command = [str(self.driver), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, SOME_FAILED):
            raise Failed(f"drive {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def measure(self, *arguments):
        """Runs a load; its report."""
        return json.loads(self.drive(*arguments, "--json"))

    def measure_good(self, *arguments):
        """Runs a load of which every answer must be good; its report."""
        found = self.measure(*arguments)
        if found["errors"]:
            raise Failed(f"{found['errors']} of {arguments[0]} failed: {found['errors_by_status']} "
                         f"{found['errors_without_answer']}")
        return found


def drop_caches():
    """Empties the page cache; needs root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def free_address():
    """Of this machine, with a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Server:
    """A server process, ready to answer when the constructor returns."""

    running = set()

    def __init__(self, tools, command, work, name, env=None):
        """`env` is added to the environment."""
        self.name = name
        self.address = free_address()
        self.log = work / f"{name}.log"
        command = [str(part) for part in command] + ["--listen", self.address]
        with open(self.log, "wb") as log:
            since = time.time_ns()
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **(env or {})})
        Server.running.add(self)
        arguments = ["wait-ready", "--addr", self.address, "--since", since, "--timeout", READY_SECONDS]
        wait = subprocess.Popen([str(tools.driver), *map(str, arguments)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            while wait.poll() is None:
                if self.process.poll() is not None:
                    raise Failed(f"{name} ended with {self.process.returncode}:\n{self.tail()}")
                time.sleep(0.01)
        finally:
            wait.kill()
        if wait.returncode != 0:
            raise Failed(f"{name}: {wait.stderr.read().strip()}:\n{self.tail()}")
        self.ready_ms = float(wait.stdout.read())

    @property
    def pid(self):
        return self.process.pid

    def tail(self):
        return self.log.read_text(errors="replace")[-2000:]

    def status_bytes(self, field):
        """A field of /proc/PID/status that is given in kB, as VmRSS is."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise Failed(f"{self.name} has no {field}")

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self, at_most=60):
        """Waits until the process does next to nothing."""
        end = time.monotonic() + at_most
        before = self.cpu_seconds()
        while time.monotonic() < end:
            time.sleep(1)
            now = self.cpu_seconds()
            if now - before <= 0.02:
                return
            before = now
        say(f"warning: {self.name} was still busy after {at_most} s")

    def stop(self):
        """Asks it to end; the seconds that took."""
        begun = time.monotonic()
        self.process.terminate()
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} did not stop within {STOP_SECONDS} s") from None
        Server.running.discard(self)
        if code not in (0, -signal.SIGTERM):
            raise Failed(f"{self.name} stopped with {code}:\n{self.tail()}")
        return time.monotonic() - begun

    def kill(self):
        self.process.kill()
        self.process.wait()
        Server.running.discard(self)


@atexit.register
def stop_all():
    for server in list(Server.running):
        server.kill()


def work_folder(parent):
    """A folder for stores and logs, removed at the end."""
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="loadtest-", dir=parent))

    def remove():
        stop_all()
        shutil.rmtree(work, ignore_errors=True)

    atexit.register(remove)
    return work


def default_work_parent():
    """On the disk of the checkout: a temporary folder may be in memory, where fsync is free."""
    return ROOT / "target" / "loadtest"


def file_system(folder):
    """The kind of the file system that a folder is on, as the kernel names it."""
    found = ("", "unknown file system")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind = line.split()[:3]
        within = f"{folder.resolve()}/".startswith(place.rstrip("/") + "/")
        # A later mount on the same place hides an earlier one.
        if within and len(place) >= len(found[0]):
            found = (place, kind)
    return found[1]


def machine(tools, work):
    """Lines of Markdown that say where this was measured."""
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    rates = json.loads(tools.drive("fsync-probe", "--dir", work, "--json"))
    syncs = ", ".join(f"{rate['per_second']:,.0f}/s of {rate['bytes'] // 1024} kB (p99 {rate['p99_us'] / 1000:.2f} ms)"
                      for rate in rates)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True,
                            check=False)
    return [
        f"- {len(os.sched_getaffinity(0))} cores ({cpu}), {memory / 1024 / 1024:.1f} GiB memory, "
        f"{platform.system()} {platform.release()}; driver and server on the same machine",
        f"- disk: {file_system(work)}; append and fdatasync, one at a time: {syncs}",
        f"- commit {commit.stdout.strip() or 'unknown'}; load average before: {os.getloadavg()[0]:.2f}",
    ]


def median(values):
    return statistics.median(values)


def table(head, rows):
    """A Markdown table; the first column is text, the rest are figures."""
    lines = ["| " + " | ".join(head) + " |", "| --- " + "| ---: " * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]


def publish(name, lines, raw):
    """Prints a report and keeps it, with the raw figures beside it."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H%M%SZ")
    path = REPORTS / f"{name}-{stamp}.md"
    text = "\n".join([f"# {name}, {stamp}", "", *lines]) + "\n"
    path.write_text(text)
    path.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n")
    print(text)
    say(f"kept as {path.relative_to(ROOT)}")
