"""PostgreSQL as a reference: a cluster of its own on the disk that is measured, loaded by pgbench.

It is set up as somebody would who wants durable inserts to be fast: memory enough, no checkpoint
while it is measured, log segments there already, a socket and no TCP. Nothing that makes a commit
less durable is touched. Standard library only.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from harness import ROOT, Failed, Server

BIN = Path("/usr/lib/postgresql/15/bin")
BODY = ROOT / "loadtest" / "payloads" / "save_audience.json"
DATABASE = "postgres"
# What differs from what initdb writes. fsync, synchronous_commit and full_page_writes are the
# defaults, named so that the report says them.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "lz4",
    "shared_buffers": "1GB",
    "wal_buffers": "64MB",
    "min_wal_size": "4GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "max_connections": "100",
    "autovacuum": "off",
    "jit": "off",
}
# The columns of the store's audiences, with types as somebody would choose them, and one index,
# which serves both a read by id and a user's list in order of creation.
TABLE = """
CREATE SEQUENCE audience_number CACHE 100;
CREATE TABLE audiences (
    audience_id text NOT NULL DEFAULT 'aud_' || lpad(to_hex(nextval('audience_number')), 32, '0'),
    user_id text NOT NULL, name text NOT NULL, description text,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
    status text NOT NULL, data_type text NOT NULL, original_query text,
    selected_variables text[] NOT NULL, variable_details jsonb, segments jsonb,
    total_audience_size bigint, metadata jsonb, version bigint NOT NULL DEFAULT 1, extra jsonb,
    PRIMARY KEY (user_id, audience_id));
"""
TEXT = ["name", "description", "status", "data_type", "original_query"]
JSON = ["variable_details", "segments", "metadata"]


def account():
    """Whom it runs as: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise Failed("there is no user to run PostgreSQL as")


def insert(users):
    """A pgbench script that inserts what today's client saves, for one of `users`; and its variables."""
    body = json.loads(BODY.read_text())
    values = {name: body.pop(name) for name in TEXT}
    values["selected_variables"] = "{" + ",".join(body.pop("selected_variables")) + "}"
    values["total_audience_size"] = body.pop("total_audience_size")
    for name in JSON:
        values[name] = json.dumps(body.pop(name), separators=(",", ":"))
    body.pop("user_id")
    values["extra"] = json.dumps(body, separators=(",", ":"))
    casts = {"selected_variables": "::text[]", "total_audience_size": "::bigint", "extra": "::jsonb",
             **{name: "::jsonb" for name in JSON}}
    parameters = ", ".join(f":{name}{casts.get(name, '::text')}" for name in values)
    script = (f"\\set user random(0, {users - 1})\n"
              f"INSERT INTO audiences (user_id, {', '.join(values)}) "
              f"VALUES ('load_' || lpad(:user::text, 6, '0'), {parameters}) RETURNING audience_id;\n")
    return script, values


class Postgres:
    """A running cluster with the table; stopped like the other servers."""

    name = "PostgreSQL"

    def __init__(self, work, settings=(), binaries=BIN):
        self.binaries = Path(binaries)
        if not os.access(self.binaries / "pgbench", os.X_OK):
            raise Failed(f"there is no pgbench in {self.binaries}: install the package postgresql-15, or leave "
                         "this out with --only 'save-*,list-*,get-*'")
        self.account = account()
        self.folder = work / "postgres"
        self.folder.mkdir()
        # Its user must get at its folder, and at no other.
        work.chmod(0o711)
        if self.account:
            shutil.chown(self.folder, self.account["user"], self.account["group"])
        self.data = self.folder / "data"
        self.settings = {**SETTINGS, **dict(settings)}
        self.version = self.call("postgres", "--version").strip()
        self.call("initdb", "-D", self.data, "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=bench",
                  "--wal-segsize=64")
        options = {**self.settings, "listen_addresses": "''", "unix_socket_directories": f"'{self.folder}'"}
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in options.items())
        Server.running.add(self)
        self.call("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "start", quiet=True)
        self.query(TABLE)

    @property
    def pid(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def call(self, program, *arguments, quiet=False):
        command = [str(self.binaries / program), *map(str, arguments)]
        # What pg_ctl starts would keep a pipe open.
        output = subprocess.DEVNULL if quiet else subprocess.PIPE
        done = subprocess.run(command, stdout=output, stderr=output, text=True, check=False, cwd="/",
                              **self.account)
        if done.returncode != 0:
            raise Failed(f"{program} ended with {done.returncode}: {(done.stderr or '').strip()}")
        return done.stdout

    def query(self, text):
        return self.call("psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "bench",
                         "-c", text, DATABASE)

    def cpu_seconds(self):
        """Of all its processes: those of connections are reaped when pgbench has ended."""
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.main or int(stat.parent.name) == self.main:
                reaped = slice(11, 15) if int(stat.parent.name) == self.main else slice(11, 13)
                total += sum(map(int, fields[reaped]))
        return total / os.sysconf("SC_CLK_TCK")

    def inserts(self, connections, users, seconds, threads):
        """Durable inserts for so many seconds; what a driver's report says."""
        script, values = insert(users)
        path = self.folder / "insert.sql"
        path.write_text(script)
        path.chmod(0o644)
        defines = [part for name, value in values.items() for part in ("-D", f"{name}={value}")]
        self.main = self.pid
        before, rows = self.cpu_seconds(), self.rows()
        said = self.call("pgbench", "-n", "-M", "prepared", "-c", connections, "-j", threads, "-T", f"{seconds:.0f}",
                         "-f", path, *defines, "-h", self.folder, "-U", "bench", DATABASE)
        rate = re.search(r"^tps = ([0-9.]+) \(without initial connection time\)", said, re.M)
        mean = re.search(r"^latency average = ([0-9.]+) ms", said, re.M)
        failed = re.search(r"^number of failed transactions: (\d+)", said, re.M)
        made = self.rows() - rows
        if not rate or not mean or made == 0:
            raise Failed(f"pgbench said nothing usable:\n{said}")
        return {"per_second": float(rate[1]), "latency_us": {"mean": float(mean[1]) * 1000}, "answers": made, "seconds": seconds,
                "driver_cpu_seconds": None,
                "errors": int(failed[1]) if failed else 0,
                "server_cpu_us_per_answer": (self.cpu_seconds() - before) / made * 1e6}

    def rows(self):
        return int(self.query("SELECT count(*) FROM audiences"))

    def warm_up(self, connections, users, seconds, threads):
        """Fills log segments and gives them back: afterwards none has to be made."""
        self.inserts(connections, users, seconds, threads)
        self.query("CHECKPOINT")
        self.query("SELECT pg_switch_wal()")
        self.query("CHECKPOINT")

    def kill(self):
        Server.running.discard(self)
        subprocess.run([str(self.binaries / "pg_ctl"), "-D", str(self.data), "-m", "immediate", "-w", "stop"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, cwd="/", **self.account)

    def described(self):
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"- {self.version}; {settings}; segments of 64 MB, made before; a socket; pgbench -M prepared"
