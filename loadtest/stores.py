"""A large store: making it, who has audiences in it, what it takes on disk and as JSON."""

import http.client
import json
import os
import subprocess
import time
import urllib.parse

from harness import Failed, say

TABLES = ("audiences", "platforms", "distributions")
SAMPLE_USERS = 20


def seed(tools, data, users, audiences, more):
    """Fills a folder with `audience-store seed`; the seconds that took."""
    say(f"seeding {users:,} users with {audiences:,} audiences each")
    begun = time.monotonic()
    command = [str(tools.subject), "seed", "--data", str(data), "--users", str(users), "--audiences", str(audiences), *more]
    if subprocess.run(command, check=False).returncode != 0:
        raise Failed("seeding failed")
    took = time.monotonic() - begun
    say(f"seeded in {took:.0f} s")
    return took


def users_of(data):
    """The users that have audiences, as the folders name them."""
    folder = data / "audiences"
    names = sorted(entry.name for entry in os.scandir(folder)) if folder.is_dir() else []
    users = [urllib.parse.unquote(name.partition("=")[2]) for name in names if name.startswith("user_id=")]
    if not users:
        raise Failed(f"there are no users in {folder}")
    return users


def bytes_by_folder(data):
    """Files, bytes and allocated bytes below each of the tables' folders, and of all else."""
    found = {}
    for folder, _, names in os.walk(data):
        parts = os.path.relpath(folder, data).split(os.sep)
        kind = parts[0] if parts[0] in TABLES else "log and the rest"
        entry = found.setdefault(kind, {"files": 0, "bytes": 0, "allocated": 0})
        for name in names:
            stat = os.lstat(os.path.join(folder, name))
            entry["files"] += 1
            entry["bytes"] += stat.st_size
            entry["allocated"] += stat.st_blocks * 512
    return found


def sample(address, users):
    """Bytes of an audience as the server sends it, and audiences of a user, on average over some users."""
    asked = users[::max(1, len(users) // SAMPLE_USERS)]
    total = count = 0
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        for user in asked:
            connection.request("GET", "/api/audiences?limit=1000&user_id=" + urllib.parse.quote(user, safe=""))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise Failed(f"a listing of {user}: {answer.status}")
            total += len(body)
            count += len(json.loads(body)["audiences"])
    finally:
        connection.close()
    return total / max(count, 1), count / len(asked)
