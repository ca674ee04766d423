"""What the readers' checks share.

Each `read_*.py` beside this file gives a function that reads one table's whole tree with one
library; here its rows are compared with each other and with what the API says. A script is called
with a mode, the server's URL, the data folder and the users (a JSON list), and prints a JSON
verdict: {"ok": …, "rows": {table: n}, …}.
"""

import contextlib
import datetime
import json
import os
import shutil
import sys
import tempfile
import traceback
import urllib.parse
import urllib.request

TABLES = ("audiences", "platforms", "distributions")
PARTITIONS = {"audiences": ("year", "month"), "platforms": (), "distributions": ("year", "month")}
JSON_COLUMNS = {
    "variable_details", "segments", "metadata", "extra", "settings", "match_results",
    "error_details",
}
READS = 6


def id_column(table):
    return table[:-1] + "_id"


def files(data, table):
    return os.path.join(data, table)


def from_api(url, table, user):
    """All records of a user's table."""
    query = {"user_id": user, "limit": "100"}
    while True:
        with urllib.request.urlopen(f"{url}/api/{table}?{urllib.parse.urlencode(query)}") as answer:
            page = json.load(answer)
        yield from page[table]
        if not page["next_cursor"]:
            return
        query["cursor"] = page["next_cursor"]


def instant(value):
    """A timestamp as the API writes it."""
    if not isinstance(value, datetime.datetime):
        return value
    assert value.tzinfo is not None, f"no time zone: {value!r}"
    value = value.astimezone(datetime.timezone.utc)
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def element(text):
    """An element of `segments_distributed`: a number, or a text, as it came."""
    if text.startswith('"'):
        return json.loads(text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def as_shown(table, row):
    """A row as the API shows it, without nulls. Checks the partition columns on the way."""
    row = dict(row)
    if PARTITIONS[table]:
        partition = f"{int(row.pop('year')):04}-{int(row.pop('month')):02}"
        assert instant(row["created_at"]).startswith(partition), row
    shown = {}
    for column, value in row.items():
        if value is None:
            continue
        if column == "credentials":
            assert isinstance(value, bytes), value
            value = "sealed"
        elif column in JSON_COLUMNS:
            value = json.loads(value)
        elif column == "segments_distributed":
            value = [element(text) for text in value]
        elif isinstance(value, (list, tuple)):
            value = list(value)
        else:
            value = instant(value)
        shown[column] = value
    shown.update(shown.pop("extra", {}))
    return shown


def from_answer(record):
    """A record of the API, without nulls."""
    shown = {field: value for field, value in record.items() if value is not None}
    if "credentials" in shown:
        assert shown["credentials"]["encrypted"] is True, shown
        shown["credentials"] = "sealed"
    return shown


def compare(read, url, data, users):
    """Everything the files hold is what the API says, and the other way round."""
    counts, differences = {}, []
    for table in TABLES:
        key = id_column(table)
        stored = {}
        for row in read(files(data, table), table):
            shown = as_shown(table, row)
            place = (shown["user_id"], shown[key])
            if place in stored:
                differences.append(["twice", place])
            stored[place] = (shown, set(row))
        answered = {}
        for user in users:
            for record in from_api(url, table, user):
                answered[user, record[key]] = record
        counts[table] = len(stored)
        for place in sorted(stored.keys() | answered.keys()):
            if place not in stored or place not in answered:
                differences.append(["only in", "API" if place in answered else "files", place])
                continue
            (shown, columns), record = stored[place], answered[place]
            expected = from_answer(record)
            for field in sorted(shown.keys() | expected.keys()):
                if shown.get(field) != expected.get(field):
                    differences.append([place, field, repr(shown.get(field)), repr(expected.get(field))])
            # Fields that no column has came out of `extra`.
            missing = set(record) - columns - shown.keys()
            if missing:
                differences.append([place, "no columns", sorted(missing)])
    return {"ok": not differences, "rows": counts, "differences": differences[:10]}


@contextlib.contextmanager
def linked(folder):
    """A second tree of the same files, which no checkpoint replaces: hard links, no copies."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.dirname(folder))) as snapshot:
        tree = os.path.join(snapshot, os.path.basename(folder))
        shutil.copytree(folder, tree, copy_function=os.link)
        yield tree


def checkpoint(url):
    request = urllib.request.Request(f"{url}/api/admin/checkpoint", method="POST")
    with urllib.request.urlopen(request) as answer:
        answer.read()


def watch(read, url, data):
    """While others write: every read succeeds, has each id once, and nothing goes back.

    Files are replaced before each read and not during it: these readers open some files twice,
    and no two opens are promised the same version.

    `first` and `last` are sums of versions: they differ where the reads saw changes.
    """
    seen, first, differences = {}, None, []
    for _ in range(READS):
        checkpoint(url)
        for table in TABLES:
            key = id_column(table)
            now = {}
            for row in read(files(data, table), table):
                place = (table, row["user_id"], row[key])
                if place in now:
                    differences.append(["twice", place])
                now[place] = int(row["version"])
            for place, version in seen.items():
                if place[0] == table and now.get(place, 0) < version:
                    differences.append([place, "was", version, "is", now.get(place)])
            seen.update(now)
        first = first or sum(seen.values())
    last = sum(seen.values())
    return {"ok": not differences, "first": first, "last": last, "differences": differences[:10]}


def main(read):
    mode, url, data, users = sys.argv[1:]
    try:
        if mode == "watch":
            verdict = watch(read, url, data)
        else:
            verdict = compare(read, url, data, json.loads(users))
    except Exception:  # a reader that fails is a verdict too
        verdict = {"ok": False, "error": traceback.format_exc()}
    print(json.dumps(verdict))
