"""H01: every stage of a connection has a time limit of its own, and silence is asked about before it is punished.

For a server whose limits are a few seconds (the harness sets `login_secs_max`, `request_secs_max`, `keep_alive_secs_max`,
`idle_secs_max` and `ping_secs_max` to 4): with the defaults each wait would take minutes. Run: python3 -m unittest -v slow
"""

import socket
import time
import unittest

import together
import world
from wire import HEADER, Closed, Stream, login, tag
from world import new_user, raw_http

# They wait for different things, all at the same server.
load_tests = together.load_tests

# Limits of four seconds, a coarse clock, and a busy machine.
CLOSED_SECS_MAX = 15
FAIR_SECS_MIN = 2


class Slow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.user = new_user("slow")

    def closes_fairly(self, stream):
        started = time.monotonic()
        stream.rest(CLOSED_SECS_MAX)
        self.assertGreater(time.monotonic() - started, FAIR_SECS_MIN, "closed before anybody could have been late")

    def opened(self):
        stream = Stream(tls_first=True)
        stream.secure()
        return stream


class Xmpp(Slow):
    def test_a_stream_header_that_comes_a_byte_at_a_time(self):
        stream = Stream()
        deadline = time.monotonic() + CLOSED_SECS_MAX
        with self.assertRaises(OSError, msg="a slow header is waited for"):
            for byte in HEADER.encode():
                stream.send(bytes([byte]))
                time.sleep(0.3)
                self.assertLess(time.monotonic(), deadline, "a slow header is waited for")

    def test_idle_before_anything(self):
        self.closes_fairly(Stream())

    def test_idle_in_the_tls_handshake(self):
        for hello in (b"", bytes.fromhex("1603010200"), bytes.fromhex("16030102000100")):
            sock = socket.create_connection((world.HOST, world.XMPPS_PORT), CLOSED_SECS_MAX)
            sock.sendall(hello)
            try:
                while sock.recv(100):
                    pass
            except ConnectionResetError:
                pass
            sock.close()

    def test_idle_after_proceed(self):
        stream = Stream()
        stream.restart()
        stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        stream.next("tls:proceed")
        self.closes_fairly(stream)

    def test_idle_after_features(self):
        self.closes_fairly(self.opened())

    def test_idle_inside_scram(self):
        stream = self.opened()
        stream.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>biwsbj0xLTEscj1meWtv</auth>")
        stream.next("sasl:challenge")
        self.closes_fairly(stream)

    def test_idle_after_login_before_bind(self):
        stream = self.opened()
        self.assertEqual(stream.plain(self.user).tag, tag("sasl:success"))
        stream.restart()
        self.closes_fairly(stream)

    def test_white_space_does_not_keep_a_login_open(self):
        stream = self.opened()
        started = time.monotonic()
        with self.assertRaises((OSError, Closed), msg="kept open by white space"):
            while time.monotonic() - started < CLOSED_SECS_MAX:
                stream.send(" ")
                try:
                    stream.next(timeout=0.5)
                except TimeoutError:
                    pass

    def test_a_silent_client_is_pinged_and_one_that_answers_stays(self):
        stream = login(self.user, available=True)
        for _ in range(2):
            # White space or XEP-0199, a client cannot tell which is coming: any traffic back is a sign of life.
            before = len(stream.received)
            stream.sock.settimeout(CLOSED_SECS_MAX)
            data = stream.sock.recv(4096)
            self.assertTrue(data, "closed without having been asked")
            stream.received += data
            self.assertGreater(len(stream.received), before)
            stream.send(" ")
        stream.ready, stream.elements = [], stream.elements
        stream.send("<iq type='get' id='alive'><ping xmlns='urn:xmpp:ping'/></iq>")
        while b"alive" not in stream.received:
            data = stream.sock.recv(4096)
            self.assertTrue(data)
            stream.received += data

    def test_a_client_that_never_answers_is_closed_with_a_reason(self):
        stream = login(self.user, available=True)
        got = stream.rest(2 * CLOSED_SECS_MAX)
        self.assertRegex(got, rb"connection-timeout|policy-violation|reset")
        self.assertIn(b"</stream:stream>", got)


class Http(Slow):
    def test_a_head_that_never_ends_is_408_or_a_close(self):
        got = raw_http(b"GET /users.json HTTP/1.1\r\nHost: x\r\nX-Slow: ", timeout=CLOSED_SECS_MAX)
        self.assertIn(got[9:12], (b"408", b""), got)

    def test_a_body_that_never_ends_is_408(self):
        head = b"POST /session.json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        got = raw_http(head + b"{", timeout=CLOSED_SECS_MAX)
        self.assertEqual(got[9:12], b"408", got)

    def test_a_body_a_byte_at_a_time_is_408(self):
        sock = socket.create_connection((world.HOST, world.HTTPS_PORT), CLOSED_SECS_MAX)
        with world.tls_context().wrap_socket(sock, server_hostname=world.DOMAIN) as tls:
            tls.sendall(b"POST /session.json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
            tls.settimeout(0.2)
            got, deadline = b"", time.monotonic() + CLOSED_SECS_MAX
            while not got and time.monotonic() < deadline:
                tls.sendall(b" ")
                try:
                    got = tls.recv(4096)
                except TimeoutError:
                    pass
        self.assertEqual(got[9:12], b"408", got)

    def test_a_kept_alive_connection_is_not_kept_for_ever(self):
        started = time.monotonic()
        got = raw_http(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", timeout=CLOSED_SECS_MAX)
        self.assertEqual(got.count(b"HTTP/1.1 "), 1, got)
        self.assertGreater(time.monotonic() - started, FAIR_SECS_MIN)


if __name__ == "__main__":
    unittest.main()
