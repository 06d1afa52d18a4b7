"""TLS, ports and what speaks another protocol. The codes are those of `tests/hostile.md`. Run: python3 -m unittest -v hostile_tls"""

import os
import socket
import ssl
import unittest

import world
from bystanders import Hostile
from wire import HEADER, Stream, login


def hello_of(version):
    """A ClientHello of an old version, as a client of that time would write it (RFC 4346 §7.4.1.2)."""
    suites = bytes.fromhex("002f0035000a")
    body = version + os.urandom(32) + b"\0" + len(suites).to_bytes(2, "big") + suites + b"\x01\0"
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16" + version + len(message).to_bytes(2, "big") + message


class Tls(Hostile):
    def answer_to(self, data, port=world.XMPPS_PORT):
        with socket.create_connection((world.HOST, port), 20) as sock:
            got = b""
            try:
                sock.sendall(data)
                while part := sock.recv(4096):
                    got += part
            except (ConnectionResetError, BrokenPipeError):
                pass
            return got

    def test_h02_old_versions_are_refused(self):
        for version in (b"\x03\x00", b"\x03\x01", b"\x03\x02"):
            for port in (world.XMPPS_PORT, world.HTTPS_PORT):
                got = self.answer_to(hello_of(version), port)
                # An alert or nothing; never a ServerHello.
                self.assertTrue(got == b"" or got[0] == 0x15, got[:20])

    def test_h02_a_hello_of_64_kib_and_one_without_end(self):
        whole = b"\x01" + (65_000).to_bytes(3, "big") + b"\x03\x03" + os.urandom(64_998)
        pieces = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in (whole[at:at + 16_000] for at in range(0, len(whole), 16_000)))
        self.answer_to(pieces)
        self.answer_to(b"\x16\x03\x01" + (65_535).to_bytes(2, "big") + os.urandom(65_535))
        endless = b"\x01\xff\xff\xff\x03\x03" + b"\0" * 15_994
        self.answer_to((b"\x16\x03\x01" + len(endless).to_bytes(2, "big") + endless) * 200)
        self.memory_is_bounded()

    def test_h02_500_handshakes_that_are_cut(self):
        context = world.tls_context()
        for n in range(500):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname=world.DOMAIN)
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            hello = outgoing.read()
            sock = socket.create_connection((world.HOST, world.XMPPS_PORT), 10)
            sock.sendall(hello[:len(hello) * (n % 5) // 4])
            if n % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            elif n % 10 == 4:
                sock.recv(100)
            sock.close()

    def test_h02_renegotiation_is_not_done(self):
        context = world.tls_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection((world.HOST, world.XMPPS_PORT), 10) as sock, context.wrap_socket(sock, server_hostname=world.DOMAIN) as tls:
            self.assertEqual(tls.version(), "TLSv1.2")
            self.assertNotIn("RC4", tls.cipher()[0])
            self.assertRegex(tls.cipher()[0], "ECDHE")
            tls.sendall(HEADER.encode())
            self.assertIn(b"stream:stream", tls.recv(4096))
        # A client that asks for a new handshake inside the first one's protection cannot be made of Python's parts; bytes of
        # the handshake type where records of data belong must end the connection.
        with socket.create_connection((world.HOST, world.XMPPS_PORT), 10) as sock:
            tls = context.wrap_socket(sock.dup(), server_hostname=world.DOMAIN)
            sock.sendall(hello_of(b"\x03\x03"))
            tls.settimeout(20)
            try:
                while tls.recv(4096):
                    pass
            except OSError:
                pass

    def test_h02_another_name_gets_the_same_certificate_and_no_more(self):
        shown = set()
        for name in (world.DOMAIN, "elsewhere.example", "x" * 60 + ".example"):
            with socket.create_connection((world.HOST, world.XMPPS_PORT), 10) as sock:
                try:
                    with world.tls_context().wrap_socket(sock, server_hostname=name) as tls:
                        shown.add(tls.getpeercert(binary_form=True))
                        tls.sendall(HEADER.replace(f"to='{world.DOMAIN}'", f"to='{name}'").encode())
                        got = tls.recv(4096)
                        while b"<stream:features" not in got and b"error" not in got and (part := tls.recv(4096)):
                            got += part
                        self.assertEqual(b"host-unknown" in got, name != world.DOMAIN, got)
                except ssl.SSLError:
                    self.assertNotEqual(name, world.DOMAIN)
        self.assertEqual(len(shown), 1)

    def test_h05_servers_are_not_talked_to(self):
        for element in (f"<db:result xmlns:db='jabber:server:dialback' from='elsewhere.example' to='{world.DOMAIN}'>key</db:result>",
                        f"<db:verify xmlns:db='jabber:server:dialback' id='1' from='elsewhere.example' to='{world.DOMAIN}'>key</db:verify>"):
            for tls_first in (False, True):
                with self.subTest(element[:10], tls_first=tls_first):
                    stream = Stream(tls_first)
                    stream.send(HEADER.replace("<stream:stream", "<stream:stream xmlns:db='jabber:server:dialback'") + element)
                    self.ended_with(stream, "unsupported-stanza-type", "not-authorized", "invalid-namespace")
        with self.assertRaises(OSError):
            socket.create_connection((world.HOST, 5269), 2).close()

    def test_x19_protocols_on_ports_of_others(self):
        for port in (world.HTTPS_PORT, world.HTTP_PORT, world.XMPPS_PORT, world.XMPP_PORT):
            for data in (HEADER.encode(), b"SSH-2.0-x\r\n" * 100, b"\x05\x01\x00", b"EHLO x\r\n" * 500, b"\0" * 20_000, hello_of(b"\x03\x03")[:20] + b"\0" * 300):
                with self.subTest(port=port, data=data[:10]):
                    sock = socket.create_connection((world.HOST, port), 5)
                    try:
                        sock.sendall(data)
                        sock.shutdown(socket.SHUT_WR)
                        while sock.recv(4096):
                            pass
                    except OSError:
                        pass
                    sock.close()

    def test_tls_records_that_are_no_data(self):
        # Empty records and warnings cost their sender as much as the server: neither may be answered without end.
        stream = login(self.attacker_user)
        raw = socket.socket(fileno=os.dup(stream.sock.fileno()))
        try:
            raw.sendall(b"\x17\x03\x03\0\0" * 100_000)
        except OSError:
            pass
        raw.close()
        stream.close()
        self.memory_is_bounded()


if __name__ == "__main__":
    unittest.main()
