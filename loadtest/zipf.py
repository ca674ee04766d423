"""Everyday traffic over all users of a store: 90 % reads, 10 % saves; few users ask most (Zipf).

k6 holds what it knows of 100,000 users once a client; this needs a list. It is no measure of rates."""

import bisect
import http.client
import itertools
import json
import random
import re
import threading
import time
import urllib.parse
from collections import Counter

from harness import ROOT

BODY = json.loads((ROOT / "loadtest" / "payloads" / "save_audience.json").read_text())

AUDIENCE_ID = re.compile(rb'"audience_id":"([^"]+)"')


class Traffic:
    """Threads that ask, each over its own connection, until the time is over."""

    def __init__(self, address, users, clients, seed=1):
        self.address, self.seed = address, seed
        # The n-th user is asked in proportion to 1/n. Which user is the n-th has nothing to do with his name.
        self.users = random.Random(seed).sample(users, len(users))
        self.weights = list(itertools.accumulate(1 / rank for rank in range(1, len(users) + 1)))
        self.answers, self.errors, self.asked = Counter(), Counter(), set()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(number,), daemon=True) for number in range(clients)]

    def run(self, seconds):
        self.end = time.monotonic() + seconds
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()
        return self

    def client(self, number):
        chance = random.Random(f"{self.seed} {number}")
        connection = http.client.HTTPConnection(self.address, timeout=60)
        answers, errors, asked, mine = Counter(), Counter(), set(), None
        while time.monotonic() < self.end:
            user = self.users[bisect.bisect(self.weights, chance.random() * self.weights[-1])]
            what = chance.random()
            kind = "saves" if what < 0.1 or mine is None else "lists" if what < 0.55 else "reads"
            try:
                status, text = self.ask(connection, kind, user, mine)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                errors[f"{kind}: {type(error).__name__}"] += 1
                continue
            if status not in (200, 201):
                errors[f"{kind}: {status}"] += 1
                continue
            if kind == "saves":
                mine = (user, AUDIENCE_ID.search(text)[1].decode())
            answers[kind] += 1
            asked.add(user)
        connection.close()
        with self.lock:
            self.answers += answers
            self.errors += errors
            self.asked |= asked

    @staticmethod
    def ask(connection, kind, user, mine):
        if kind == "saves":
            body = json.dumps({**BODY, "user_id": user})
            connection.request("POST", "/api/audiences", body, {"Content-Type": "application/json"})
        elif kind == "lists":
            connection.request("GET", "/api/audiences?limit=50&user_id=" + urllib.parse.quote(user, safe=""))
        else:
            owner, audience = mine
            connection.request("GET", f"/api/audiences/{audience}?user_id=" + urllib.parse.quote(owner, safe=""))
        answer = connection.getresponse()
        return answer.status, answer.read()
