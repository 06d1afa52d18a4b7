"""BOSH (XEP-0124, XEP-0206) by hand, a request at a time. Run: python3 -m unittest -v bosh"""

import base64
import http.client
import random
import threading
import time
import unittest
import urllib.parse
import xml.etree.ElementTree as ET

import world
from wire import NS, login, tag
from world import DOMAIN, new_user

URL = urllib.parse.urlsplit(world.BOSH_URL)
XBOSH = "urn:xmpp:xbosh"


def post(body, path=None, method="POST", headers=None, timeout=15):
    """One request on a connection of its own: (status, headers, bytes)."""
    if URL.scheme == "https":
        conn = http.client.HTTPSConnection(URL.hostname, URL.port, timeout=timeout, context=world.tls_context())
    else:
        conn = http.client.HTTPConnection(URL.hostname, URL.port, timeout=timeout)
    try:
        conn.request(method, path or URL.path, body=body and body.encode(), headers={"Content-Type": "text/xml; charset=utf-8", **(headers or {})})
        answer = conn.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        conn.close()


class Session:
    """A BOSH session. `send` makes a request and returns the `<body/>` that answers it."""

    def __init__(self, path=None, **attributes):
        self.path = path
        self.rid = random.randrange(1, 2**40)
        self.sid = None
        wanted = {"to": DOMAIN, "hold": "1", "wait": "2", "ver": "1.6", "xml:lang": "en", **attributes}
        text = " ".join(f"{key}='{value}'" for key, value in wanted.items())
        self.created = self.raw(f"<body rid='{self.rid}' {text} xmpp:version='1.0' xmlns:xmpp='{XBOSH}' xmlns='{NS['httpbind']}'/>")
        self.sid = self.created.get("sid")

    def raw(self, xml, timeout=15):
        status, headers, data = post(xml, self.path, timeout=timeout)
        assert status == 200, (status, data)
        assert headers["Content-Type"].startswith("text/xml"), headers["Content-Type"]
        self.last = xml
        self.answer = data
        body = ET.fromstring(data)
        assert body.tag == tag("httpbind:body"), data
        return body

    def body(self, payload="", rid=None, **attributes):
        extra = " ".join(f"{key.replace('__', ':')}='{value}'" for key, value in attributes.items())
        return f"<body rid='{self.rid if rid is None else rid}' sid='{self.sid}' {extra} xmlns:xmpp='{XBOSH}' xmlns='{NS['httpbind']}'>{payload}</body>"

    def send(self, payload="", timeout=15, **attributes):
        self.rid += 1
        return self.raw(self.body(payload, **attributes), timeout)

    def until(self, payload, name, timeout=10):
        """Sends, then polls, until an element of that name has come."""
        deadline = time.monotonic() + timeout
        body = self.send(payload)
        while (found := body.find(tag(name))) is None:
            assert time.monotonic() < deadline, f"no {name}: {self.answer!r}"
            assert body.get("type") != "terminate", self.answer
            body = self.send()
        return found

    def login(self, user, password=None):
        features = self.created.find(tag("stream:features"))
        if features is None:
            features = self.until("", "stream:features")
        assert features.find(tag("sasl:mechanisms")) is not None, ET.tostring(features)
        secret = base64.b64encode(f"{user.bare}\0{user.node}\0{password or user.password}".encode()).decode()
        self.until(f"<auth xmlns='{NS['sasl']}' mechanism='PLAIN'>{secret}</auth>", "sasl:success")
        body = self.send(to=DOMAIN, xmpp__restart="true")
        if body.find(tag("stream:features")) is None:
            self.until("", "stream:features")
        answer = self.until(f"<iq xmlns='jabber:client' type='set' id='_bind_auth_2'><bind xmlns='{NS['bind']}'/></iq>", "client:iq")
        assert answer.get("type") == "result", ET.tostring(answer)
        self.jid = answer.find(f"{tag('bind:bind')}/{tag('bind:jid')}").text
        self.until("<presence xmlns='jabber:client'/>", "client:presence")
        return self


class Bosh(unittest.TestCase):
    def test_creation_says_what_it_grants(self):
        session = Session()
        created = session.created
        self.assertGreaterEqual(len(session.sid), 22, "a sid of fewer than 128 bits can be guessed")
        self.assertNotEqual(session.sid, Session().sid)
        self.assertLessEqual(int(created.get("wait")), 2)
        self.assertLessEqual(int(created.get("hold")), 1)
        self.assertEqual(created.get("requests"), "2")
        self.assertTrue(created.get("inactivity"))
        self.assertEqual(created.get(f"{{{XBOSH}}}version"), "1.0")
        self.assertEqual(created.get("from"), DOMAIN)

    @unittest.skipIf(world.XMPP_ONLY, "servers differ")
    def test_both_paths_serve(self):
        for path in ("/", "/http-bind/", "/http-bind"):
            with self.subTest(path):
                Session(path=path).login(new_user("bosh"))

    def test_login_and_messages_both_ways(self):
        romeo, juliet = new_user("romeo"), new_user("juliet")
        here, there = Session().login(romeo), login(juliet, available=True)
        here.send(f"<message xmlns='jabber:client' to='{juliet.bare}' type='chat' id='b1'><body>über BOSH &amp; back 🐦</body></message>")
        got = there.message("über BOSH & back 🐦")
        self.assertEqual((got.get("from"), got.get("id")), (here.jid, "b1"))
        there.send(f"<message to='{here.jid}' type='chat' id='b2'><body>received</body></message>")
        back = here.until("", "client:message")
        self.assertEqual((back.get("from"), back.findtext(tag("client:body"))), (there.full_jid, "received"))
        there.close()

    def test_a_held_request_is_answered_as_soon_as_there_is_something(self):
        juliet, other = Session().login(new_user("juliet")), login(new_user("romeo"), available=True)
        timer = threading.Timer(1, other.send, [f"<message to='{juliet.jid}' type='chat'><body>wake up</body></message>"])
        timer.start()
        started = time.monotonic()
        body = juliet.send()
        self.assertIsNotNone(body.find(tag("client:message")), juliet.answer)
        self.assertTrue(0.5 < time.monotonic() - started < 3)
        other.close()

    def test_an_empty_request_waits_and_then_returns_empty(self):
        session = Session().login(new_user("idle"))
        started = time.monotonic()
        body = session.send()
        self.assertEqual(len(body), 0, session.answer)
        self.assertTrue(1 < time.monotonic() - started < 5)

    def test_a_request_sent_again_gets_the_same_answer_and_does_nothing_twice(self):
        romeo, juliet = Session().login(new_user("romeo")), login(new_user("juliet"), available=True)
        romeo.send(f"<iq xmlns='jabber:client' type='get' id='again' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>"
                   f"<message xmlns='jabber:client' to='{juliet.full_jid}' type='chat'><body>once</body></message>")
        first, request = romeo.answer, romeo.last
        romeo.raw(request)
        self.assertEqual(romeo.answer, first)
        juliet.message("once")
        juliet.ping()
        self.assertEqual(juliet.received.count(b"once"), 1)
        juliet.close()

    def test_requests_out_of_order_are_put_in_order(self):
        session, juliet = Session().login(new_user("romeo")), login(new_user("juliet"), available=True)
        message = lambda body: f"<message xmlns='jabber:client' to='{juliet.full_jid}' type='chat'><body>{body}</body></message>"  # noqa: E731
        later = threading.Thread(target=post, args=(session.body(message("second"), rid=session.rid + 2),))
        later.start()
        time.sleep(0.5)
        session.raw(session.body(message("first"), rid=session.rid + 1))
        juliet.message("first")
        juliet.message("second")
        later.join(15)
        juliet.close()

    def ended(self, status, data, condition="item-not-found"):
        """An old binding says 404, XEP-0124 says a terminating body; both end it."""
        if status == 200:
            body = ET.fromstring(data)
            self.assertEqual((body.get("type"), body.get("condition")), ("terminate", condition), data)
        else:
            self.assertIn(status, (400, 403, 404), data)

    def test_h04_a_guessed_sid(self):
        for sid in ("0" * 32, "x", "a' b='c", ""):
            with self.subTest(sid):
                status, _, data = post(f"<body rid='1' sid=\"{sid}\" xmlns='{NS['httpbind']}'/>")
                self.ended(status, data)

    def test_h04_a_rid_far_ahead_ends_the_session(self):
        session = Session().login(new_user("ahead"))
        status, _, data = post(session.body(rid=session.rid + 1000))
        self.ended(status, data)
        status, _, data = post(session.body(rid=session.rid + 1))
        self.ended(status, data)

    def test_h04_a_rid_going_back_ends_the_session(self):
        session = Session().login(new_user("back"))
        status, _, data = post(session.body(rid=session.rid - 5))
        self.ended(status, data)

    def test_h04_absurd_wishes_are_cut_to_size(self):
        session = Session(hold="1000", wait="1000000000")
        self.assertLessEqual(int(session.created.get("hold")), 10)
        self.assertLessEqual(int(session.created.get("wait")), 600)

    def test_h04_broken_bodies(self):
        for name, body in {"no XML": "hello", "not closed": "<body", "another element": "<html/>", "two bodies": f"<body xmlns='{NS['httpbind']}'/><body/>",
                           "no rid": f"<body to='{DOMAIN}' xmlns='{NS['httpbind']}'/>", "a rid that is none": f"<body rid='abc' to='{DOMAIN}' xmlns='{NS['httpbind']}'/>",
                           "a huge rid": f"<body rid='{10**40}' to='{DOMAIN}' xmlns='{NS['httpbind']}'/>", "a DTD": f"<!DOCTYPE x><body rid='1' to='{DOMAIN}' xmlns='{NS['httpbind']}'/>",
                           "nothing": "", "unknown host": f"<body rid='1' to='nowhere.example' wait='1' hold='1' xmlns='{NS['httpbind']}'/>"}.items():
            with self.subTest(name):
                status, _, data = post(body)
                if status == 200:
                    got = ET.fromstring(data)
                    self.assertEqual(got.get("type"), "terminate", data)
                    self.assertIn(got.get("condition"), ("bad-request", "host-unknown", "improper-addressing", "item-not-found", "undefined-condition"))
                else:
                    self.assertIn(status, (400, 403, 404, 411), data)

    def test_h04_a_body_of_10_mib(self):
        try:
            status, _, data = post("<body xmlns='" + NS["httpbind"] + "'>" + "A" * (10 << 20) + "</body>")
        except (ConnectionResetError, BrokenPipeError, http.client.HTTPException, world.ssl.SSLError):
            return
        self.assertIn(status, (200, 400, 403, 404, 413), data)

    def test_a_wrong_password(self):
        session = Session()
        user = new_user("wrong")
        secret = base64.b64encode(f"\0{user.node}\0not-the-password".encode()).decode()
        failure = session.until(f"<auth xmlns='{NS['sasl']}' mechanism='PLAIN'>{secret}</auth>", "sasl:failure")
        self.assertIsNotNone(failure.find(tag("sasl:not-authorized")))

    def test_terminate_ends_it_and_says_goodbye(self):
        # Strophe puts the last presence into the request that terminates.
        romeo, watcher = new_user("romeo"), login(new_user("watcher"), available=True)
        session = Session().login(romeo)
        session.send(f"<presence xmlns='jabber:client' to='{watcher.full_jid}'/>")
        while watcher.next("client:presence").get("from") != session.jid:
            pass
        body = session.send("<presence xmlns='jabber:client' type='unavailable'/>", type="terminate")
        self.assertEqual(body.get("type"), "terminate")
        while True:
            got = watcher.next("client:presence")
            if got.get("from") == session.jid and got.get("type") == "unavailable":
                break
        status, _, data = post(session.body(rid=session.rid + 1))
        self.ended(status, data)
        watcher.close()

    def test_offline_messages_come_over_bosh(self):
        romeo, absent = login(new_user("romeo"), available=True), new_user("absent")
        romeo.send(f"<message to='{absent.bare}' type='chat'><body>kept for BOSH</body></message>")
        romeo.ping()
        session = Session()
        session.login(absent)
        got = ET.fromstring(session.answer).find(tag("client:message"))
        if got is None:
            got = session.until("", "client:message")
        self.assertEqual(got.findtext(tag("client:body")), "kept for BOSH")
        self.assertIsNotNone(got.find(tag("delay:delay")))
        romeo.close()

    def test_browsers_may_ask_first(self):
        status, headers, _ = post(None, method="OPTIONS", headers={
            "Origin": "https://app.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
        self.assertIn(status, (200, 204))
        self.assertIn(headers["Access-Control-Allow-Origin"], ("*", "https://app.example"))
        self.assertIn("content-type", headers["Access-Control-Allow-Headers"].lower())
        self.assertIn("POST", headers["Access-Control-Allow-Methods"])

    def test_answers_are_readable_from_other_origins(self):
        _, headers, _ = post(f"<body rid='1' sid='unknown' xmlns='{NS['httpbind']}'/>", headers={"Origin": "https://app.example"})
        self.assertIn(headers["Access-Control-Allow-Origin"], ("*", "https://app.example"))


if __name__ == "__main__":
    unittest.main()
