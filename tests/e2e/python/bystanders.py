"""What holds for everybody else while somebody is hostile: the base of all hostile suites.

A pair of bystanders talks all the time, a message at a time, whatever happens. After every case all their messages have arrived, in
order; one who was logged in all along is answered, somebody new can log in, and (where the server's process is known) its memory has
not run away. How long it took is for `bench/hostile.py` to say: on a busy machine a test that measured time would tell nothing.
"""

import re
import threading
import time
import unittest

import world
from wire import Closed, condition, login, new_id, tag
from world import new_user

MIB = 1 << 20
# What one hostile connection, or a burst of them, may leave behind in the server while or after it lasts. Most of it is the
# store's, which may keep 64 MiB of rows in memory before it writes them to tables, and as much of what it reads.
GROWTH_MAX = 160 * MIB
# How long a message of the bystanders may take before it counts as lost.
PATIENCE_SECS = 60
# Between two messages of theirs.
PAUSE_SECS = 0.02


class Pair(threading.Thread):
    """Two users who talk until they are told to stop. The streams are this thread's alone."""

    def __init__(self):
        super().__init__(daemon=True)
        self.here, self.there = login(new_user("here"), available=True), login(new_user("there"), available=True)
        self.arrived = 0
        self.trouble = None
        self.over = threading.Event()
        self.start()

    def run(self):
        try:
            while not self.over.wait(PAUSE_SECS):
                body = f"bystander {self.arrived}"
                self.here.send(f"<message to='{self.there.full_jid}' type='chat'><body>{body}</body></message>")
                got = self.there.next("client:message", timeout=PATIENCE_SECS).findtext(tag("client:body"))
                if got != body:
                    raise AssertionError(f"{body!r} was sent, {got!r} came")
                self.arrived += 1
        except (Closed, OSError, AssertionError) as trouble:
            self.trouble = trouble

    def went_on_since(self, before):
        """Waits for another message, sent after all that has happened, to arrive."""
        deadline = time.monotonic() + PATIENCE_SECS
        wanted = max(before, self.arrived) + 2
        while self.arrived < wanted and self.trouble is None and time.monotonic() < deadline:
            time.sleep(PAUSE_SECS / 4)
        return self.trouble is None and self.arrived >= wanted

    def stop(self):
        self.over.set()
        self.join(PATIENCE_SECS)
        self.here.close()
        self.there.close()


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pair = Pair()
        cls.bystander = login(new_user("bystander"), available=True)
        cls.passer_by = new_user("passer")
        cls.victim_user = new_user("victim")
        cls.attacker_user = new_user("attacker")
        cls.memory = world.server_rss()

    @classmethod
    def tearDownClass(cls):
        cls.bystander.close()
        cls.pair.stop()

    def setUp(self):
        self.said_before = self.pair.arrived

    def tearDown(self):
        self.assertTrue(self.pair.went_on_since(self.said_before), f"bystanders' messages do not arrive: {self.pair.trouble}")
        self.bystander.ping(timeout=PATIENCE_SECS)
        login(self.passer_by).close()
        self.memory_is_bounded()

    def memory_is_bounded(self):
        if self.memory is not None:
            self.assertLess(world.server_rss() - self.memory, GROWTH_MAX, "the server's memory grew")

    def ended_with(self, stream, *conditions, timeout=20):
        """The server ends the stream with one of these errors, a closing tag, and the end of the connection."""
        got = stream.rest(timeout)
        match = re.search(rb"<(?:\w+:)?error[ >].*?<([a-z-]+) xmlns=['\"]urn:ietf:params:xml:ns:xmpp-streams", got, re.S)
        self.assertTrue(match, f"no stream error: …{got[-400:]!r}")
        self.assertIn(match.group(1).decode(), conditions, got[-400:])
        self.assertIn(b"</stream:stream>", got)

    def attacker(self):
        return login(self.attacker_user, available=True)

    def victim(self):
        return login(self.victim_user, available=True)

    def until_fence(self, sender, receiver):
        """Everything that came to one client before a last message of another, and so everything the other had sent it."""
        fence = f"fence {new_id()}"
        sender.send(f"<message to='{receiver.full_jid}' type='chat'><body>{fence}</body></message>")
        heard = []
        while (element := receiver.next(timeout=PATIENCE_SECS)).findtext(tag("client:body")) != fence:
            heard.append(element)
        return heard

    def shape(self, answer):
        """What an answer says, without what names the one who was asked."""
        return (answer.tag, answer.get("type"), condition(answer, "stanzas"))
