"""Stream management (XEP-0198) in hostile hands. The codes are those of `tests/hostile.md`. Run: python3 -m unittest -v hostile_acks"""

import unittest
import xml.etree.ElementTree as ET

import world
from bystanders import PATIENCE_SECS, Hostile
from wire import NS, Closed, Stream, login, tag
from world import new_user

NS["sm"] = "urn:xmpp:sm:3"
ENABLE = f"<enable xmlns='{NS['sm']}'/>"
RESUMABLE = f"<enable xmlns='{NS['sm']}' resume='true'/>"
ASK = f"<r xmlns='{NS['sm']}'/>"


def refusal(failed):
    """The condition inside `<failed/>`."""
    found = [child.tag.split("}")[1] for child in failed if NS["stanzas"] in child.tag]
    return found[0] if found else None


class Acks(Hostile):
    def authenticated(self, user):
        stream = Stream(tls_first=True)
        stream.secure()
        assert stream.plain(user).tag == tag("sasl:success")
        stream.restart()
        return stream

    def resumable(self, user, available=True):
        stream = login(user)
        stream.send(RESUMABLE)
        stream.token = stream.next("sm:enabled").get("id")
        self.assertTrue(stream.token)
        return stream.available() if available else stream

    def test_m01_acknowledging_what_was_never_sent(self):
        attacker = self.resumable(self.attacker_user, available=False)
        attacker.send(f"<a xmlns='{NS['sm']}' h='5'/>")
        got = attacker.rest(20)
        self.assertIn(b"handled-count-too-high", got)
        self.assertIn(b"</stream:stream>", got)
        # SDKs that count wrongly ask for no resumption, and nothing hangs on their counts.
        attacker = self.attacker()
        attacker.send(ENABLE + f"<a xmlns='{NS['sm']}' h='5000'/>")
        attacker.next("sm:enabled")
        attacker.ping()
        attacker.close()

    def test_m01_numbers_that_are_none(self):
        for h in ("-1", "4294967296", "9" * 40, "1e3", "", " 0", "x", "0x0", None):
            with self.subTest(h):
                attacker = self.resumable(self.attacker_user, available=False)
                attacker.send(f"<a xmlns='{NS['sm']}'/>" if h is None else f"<a xmlns='{NS['sm']}' h='{h}'/>")
                try:
                    attacker.ping()
                except Closed as closed:
                    self.assertRegex(str(closed), "bad-format|invalid-xml|policy-violation|handled-count-too-high|undefined-condition")
                attacker.close()

    def test_m02_sessions_of_others_cannot_be_taken_over(self):
        victim = self.resumable(self.victim_user)
        victim.close()
        for previd in ("", "x", "0" * 32, victim.token[:-1], victim.token.upper() + " ", "a" * 500, victim.token):
            with self.subTest(previd):
                stream = self.authenticated(self.attacker_user)
                stream.send(f"<resume xmlns='{NS['sm']}' h='0' previd='{previd}'/>")
                failed = stream.next("sm:failed", "sm:resumed")
                self.assertEqual((failed.tag, refusal(failed)), (tag("sm:failed"), "item-not-found"), ET.tostring(failed))
                stream.bind().ping()
                stream.close()
        # Its own user gets it, as if nobody had tried.
        stream = self.authenticated(self.victim_user)
        stream.send(f"<resume xmlns='{NS['sm']}' h='0' previd='{victim.token}'/>")
        self.assertEqual(stream.next("sm:failed", "sm:resumed").tag, tag("sm:resumed"))
        stream.close()

    def test_m03_at_the_wrong_time(self):
        for request in (ENABLE, RESUMABLE):
            stream = self.authenticated(self.attacker_user)
            stream.send(request)
            try:
                failed = stream.next("sm:failed", "sm:enabled")
                self.assertEqual((failed.tag, refusal(failed)), (tag("sm:failed"), "unexpected-request"))
                stream.bind().ping()
            except Closed as closed:
                self.assertRegex(str(closed), "unsupported-stanza-type|not-authorized")
            stream.close()
        stream = self.resumable(self.attacker_user)
        stream.send(f"<resume xmlns='{NS['sm']}' h='0' previd='{stream.token}'/>")
        self.assertEqual(refusal(stream.next("sm:failed", "sm:resumed")), "unexpected-request")
        stream.send(ENABLE)
        try:
            self.assertEqual(refusal(stream.next("sm:failed")), "unexpected-request")
        except Closed as closed:
            self.assertRegex(str(closed), "unsupported-stanza-type|policy-violation|undefined-condition")
        stream.close()
        # Before anybody has logged in.
        stream = Stream(tls_first=True)
        stream.secure()
        stream.pour(RESUMABLE + f"<resume xmlns='{NS['sm']}' h='0' previd='x'/>" + ASK * 1_000)
        self.assertNotIn(b"<enabled", stream.rest(20))

    def test_m04_one_who_reads_and_never_acknowledges(self):
        attacker = self.attacker()
        for enable in (ENABLE, RESUMABLE):
            deaf_user = new_user("silent")
            deaf = login(deaf_user)
            deaf.send(enable)
            deaf.next("sm:enabled")
            deaf.available()
            one = f"<message to='{deaf_user.bare}' type='chat'><body>{'u' * 1_000}</body></message>"
            ended = False
            for _ in range(200):
                attacker.send(one * 100)
                attacker.ping(timeout=PATIENCE_SECS)
                self.memory_is_bounded()
                try:
                    deaf.ping(timeout=PATIENCE_SECS)
                    deaf.ready, deaf.received = [], b""
                except (Closed, OSError):
                    ended = True
                    break
            # One who may come back for it all is not waited for without end; for others nothing is kept.
            self.assertEqual(ended, enable == RESUMABLE)
            deaf.close()
            # What it did not acknowledge was not lost for that.
            if enable == RESUMABLE:
                again = login(deaf_user)
                again.send("<presence/>")
                self.assertEqual(again.next("client:message", timeout=PATIENCE_SECS).findtext(tag("client:body")), "u" * 1_000)
                again.close()
        attacker.close()

    def test_m05_150_sessions_that_were_cut_off(self):
        crowd = new_user("crowd")
        for _ in range(150):
            self.resumable(crowd, available=False).close()
        self.memory_is_bounded()
        # There is always room for one who comes for himself.
        stream = login(crowd, available=True)
        stream.ping()
        stream.close()

    def test_m06_a_flood_of_questions(self):
        attacker = self.attacker()
        attacker.send(ENABLE)
        attacker.next("sm:enabled")
        flood = ASK * 50_000
        self.assertTrue(attacker.pour(flood, patience=60) or True)
        got = 0
        attacker.sock.settimeout(PATIENCE_SECS)
        answers = attacker.sock
        answers.sendall(b"<iq type='get' id='end' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
        tail = b""
        while b"id='end'" not in tail and b'id="end"' not in tail:
            data = answers.recv(1 << 16)
            if not data:
                break
            got += len(data)
            tail = (tail + data)[-200:]
        # Never more than was asked for.
        self.assertLess(got, 2 * len(flood))
        attacker.close()

    def test_m07_cut_in_the_middle_of_200_messages(self):
        attacker = self.attacker()
        victim_user = new_user("cut")
        victim = self.resumable(victim_user)
        got, taken = [], 0
        for first in range(0, 200, 50):
            attacker.send("".join(f"<message to='{victim_user.bare}' type='chat' id='m{n}'><body>m{n}</body></message>" for n in range(first, first + 50)))
            attacker.ping(timeout=PATIENCE_SECS)
            # Some of them are read, and then the line is dead without a word.
            for _ in range(17):
                element = victim.next("client:message", timeout=PATIENCE_SECS)
                got.append(element.get("id"))
            # The stanzas that came in this session, as both sides count them: its presence was the first.
            taken = len(got) + 1
            victim.sock.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER: a reset
            victim.close()
            again = self.authenticated(victim_user)
            again.send(f"<resume xmlns='{NS['sm']}' h='{taken}' previd='{victim.token}'/>")
            self.assertEqual(again.next("sm:failed", "sm:resumed").tag, tag("sm:resumed"))
            again.token, again.full_jid = victim.token, victim.full_jid
            victim = again
        while len(got) < 200:
            got.append(victim.next("client:message", timeout=PATIENCE_SECS).get("id"))
        self.assertEqual(got, [f"m{n}" for n in range(200)])
        victim.ping()
        self.assertFalse([element for element in victim.ready if element.tag == tag("client:message")], "something came twice")
        victim.close()
        attacker.close()


if __name__ == "__main__":
    unittest.main()
