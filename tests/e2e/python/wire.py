"""XMPP by hand: sockets, bytes, and Python's own XML parser. For what no honest client library can be made to send."""

import base64
import itertools
import os
import re
import socket
import struct
import time
import urllib.parse
import xml.etree.ElementTree as ET

import world

NS = {
    "client": "jabber:client",
    "stream": "http://etherx.jabber.org/streams",
    "streams": "urn:ietf:params:xml:ns:xmpp-streams",
    "stanzas": "urn:ietf:params:xml:ns:xmpp-stanzas",
    "sasl": "urn:ietf:params:xml:ns:xmpp-sasl",
    "tls": "urn:ietf:params:xml:ns:xmpp-tls",
    "bind": "urn:ietf:params:xml:ns:xmpp-bind",
    "roster": "jabber:iq:roster",
    "ping": "urn:xmpp:ping",
    "delay": "urn:xmpp:delay",
    "framing": "urn:ietf:params:xml:ns:xmpp-framing",
    "httpbind": "http://jabber.org/protocol/httpbind",
}

HEADER = (f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='{NS['stream']}' "
          f"to='{world.DOMAIN}' version='1.0'>")

_ids = itertools.count(1)


def new_id():
    return f"wire{os.getpid()}x{next(_ids)}"


def tag(name):
    """"sasl:failure" → "{urn:…}failure"."""
    prefix, local = name.split(":")
    return f"{{{NS[prefix]}}}{local}"


def condition(element, namespace):
    """The defined condition inside an error: the local name of its first child in that namespace."""
    error = element if element is None or element.tag.endswith("}error") or namespace == "sasl" else element.find(tag("client:error"))
    for child in (error if error is not None else ()):
        if child.tag.startswith(f"{{{NS[namespace]}}}") and not child.tag.endswith("}text"):
            return child.tag.split("}")[1]
    return None


class Closed(Exception):
    """The other side ended the stream or the connection while more was expected."""


class Elements:
    """Top-level elements of a stream, from bytes in any pieces. A stream restart needs a new one."""

    def __init__(self):
        self.parser = ET.XMLPullParser(events=("start", "end"))
        self.depth = 0
        self.root = None
        self.header = {}

    def feed(self, data):
        self.parser.feed(data)
        found = []
        for event, element in self.parser.read_events():
            if event == "start":
                self.depth += 1
                if self.depth == 1:
                    self.root = element
                    self.header = dict(element.attrib)
            else:
                self.depth -= 1
                if self.depth == 1:
                    found.append(element)
                    self.root.clear()
                elif self.depth == 0:
                    found.append(None)  # </stream:stream>
        return found


class Stream:
    """A client connection over TCP. Elements are `xml.etree` elements; `log` keeps the last bytes of both directions."""

    def __init__(self, tls_first=False, timeout=10):
        port = world.XMPPS_PORT if tls_first else world.XMPP_PORT
        self.sock = socket.create_connection((world.HOST, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.ready = []
        self.elements = Elements()
        self.full_jid = None
        if tls_first:
            self.start_tls_now()

    def start_tls_now(self):
        context = world.tls_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=world.DOMAIN)

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def pour(self, data, patience=20):
        """Sends a lot to somebody who may stop reading; False when the server broke off or stopped before it was all out."""
        self.sock.settimeout(patience)
        try:
            self.send(data)
            return True
        except OSError:
            return False

    def restart(self, header=HEADER):
        """A new stream header, and the features that answer it."""
        self.elements = Elements()
        self.ready = []
        self.send(header)
        return self.next("stream:features")

    def next(self, *names, timeout=10):
        """The next element, or the next of one of those names; others are dropped. `Closed` at the end of the stream."""
        deadline = time.monotonic() + timeout
        wanted = {tag(name) for name in names}
        while True:
            while self.ready:
                element = self.ready.pop(0)
                if element is None:
                    raise Closed(f"</stream:stream> while waiting for {names or 'anything'}: …{self.received[-300:]!r}")
                if element.tag == tag("stream:error") and tag("stream:error") not in wanted:
                    raise Closed(f"stream error while waiting for {names or 'anything'}: {ET.tostring(element)}")
                if not wanted or element.tag in wanted:
                    return element
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no {' or '.join(names) or 'element'} in {timeout} s: …{self.received[-300:]!r}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            except OSError as error:
                raise Closed(f"{error} while waiting for {names}: …{self.received[-300:]!r}") from None
            if not data:
                raise Closed(f"connection closed while waiting for {names}: …{self.received[-300:]!r}")
            self.received = (self.received + data)[-100_000:]
            self.ready += self.elements.feed(data)

    def rest(self, timeout=10):
        """Everything until the server closes the connection, as bytes; fails if it does not close."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"the server did not close the connection in {timeout} s: …{self.received[-300:]!r}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return self.received
            if not data:
                return self.received
            self.received = (self.received + data)[-100_000:]

    def secure(self):
        """Up to the features under TLS; the features are returned."""
        if hasattr(self.sock, "version"):
            return self.restart()
        features = self.restart()
        assert features.find(tag("tls:starttls")) is not None, "STARTTLS is not offered"
        self.send(f"<starttls xmlns='{NS['tls']}'/>")
        self.next("tls:proceed")
        self.start_tls_now()
        return self.restart()

    def plain(self, user, password=None, authzid=""):
        """One try at SASL PLAIN; `sasl:success` or `sasl:failure`."""
        secret = "\0".join((authzid, user.node, user.password if password is None else password)).encode()
        self.send(f"<auth xmlns='{NS['sasl']}' mechanism='PLAIN'>{base64.b64encode(secret).decode()}</auth>")
        return self.next("sasl:success", "sasl:failure")

    def bind(self, resource=None):
        asked = f"<resource>{resource}</resource>" if resource else ""
        answer = self.iq("set", f"<bind xmlns='{NS['bind']}'>{asked}</bind>", to=None)
        assert answer.get("type") == "result", ET.tostring(answer)
        self.full_jid = answer.find(f"{tag('bind:bind')}/{tag('bind:jid')}").text
        return self

    def iq(self, kind, payload, to=world.DOMAIN, timeout=10):
        """Sends an iq and waits for its answer; what comes in between is kept for `next`."""
        id = new_id()
        address = f" to='{to}'" if to else ""
        self.send(f"<iq type='{kind}' id='{id}'{address}>{payload}</iq>")
        aside = []
        deadline = time.monotonic() + timeout
        try:
            while True:
                element = self.next(timeout=max(0.01, deadline - time.monotonic()))
                if element.tag == tag("client:iq") and element.get("id") == id and element.get("type") in ("result", "error"):
                    return element
                aside.append(element)
        finally:
            self.ready = aside + self.ready

    def ping(self, timeout=5):
        answer = self.iq("get", f"<ping xmlns='{NS['ping']}'/>", timeout=timeout)
        assert answer.get("type") == "result", ET.tostring(answer)

    def available(self, priority=None):
        """Initial presence, and its echo: then the server has taken it in."""
        self.send(f"<presence><priority>{priority}</priority></presence>" if priority is not None else "<presence/>")
        while self.next("client:presence").get("from") != self.full_jid:
            pass
        return self

    def message(self, body, timeout=10):
        """The next message with that body."""
        deadline = time.monotonic() + timeout
        while True:
            element = self.next("client:message", timeout=max(0.01, deadline - time.monotonic()))
            if element.findtext(tag("client:body")) == body:
                return element

    def close(self):
        self.sock.close()


def login(user, resource=None, tls_first=True, available=False):
    """A bound stream."""
    stream = Stream(tls_first)
    stream.secure()
    answer = stream.plain(user)
    assert answer.tag == tag("sasl:success"), ET.tostring(answer)
    stream.restart()
    stream.bind(resource)
    return stream.available() if available else stream


class WebSocket:
    """A WebSocket connection by hand: frames as bytes, well-formed or not."""

    def __init__(self, protocol="xmpp", headers=(), path=None, timeout=10):
        url = urllib.parse.urlsplit(world.WS_URL)
        sock = socket.create_connection((url.hostname, url.port), timeout)
        self.sock = world.tls_context().wrap_socket(sock, server_hostname=world.DOMAIN) if url.scheme == "wss" else sock
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path or url.path} HTTP/1.1", f"Host: {url.hostname}:{url.port}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            data = self.sock.recv(4096)
            if not data:
                break
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")
        self.status = int(self.head.split()[1]) if self.head else 0

    @staticmethod
    def frame(payload, opcode=1, fin=True, masked=True, reserved=0, length=None):
        payload = payload.encode() if isinstance(payload, str) else payload
        size = len(payload) if length is None else length
        first = (0x80 if fin else 0) | (reserved << 4) | opcode
        bit = 0x80 if masked else 0
        if size < 126:
            head = struct.pack("!BB", first, bit | size)
        elif size < 65536:
            head = struct.pack("!BBH", first, bit | 126, size)
        else:
            head = struct.pack("!BBQ", first, bit | 127, size)
        if not masked:
            return head + payload
        mask = os.urandom(4)
        stream = (mask * (len(payload) // 4 + 1))[:len(payload)]
        masked_payload = (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")
        return head + mask + masked_payload

    def send(self, payload, **options):
        self.sock.sendall(self.frame(payload, **options))

    def fill(self, size):
        while len(self.buffer) < size:
            data = self.sock.recv(65536)
            if not data:
                raise Closed(f"connection closed inside a frame: {self.buffer!r}")
            self.buffer += data

    def receive(self):
        """(opcode, payload) of the next frame."""
        self.fill(2)
        size, offset = self.buffer[1] & 0x7F, 2
        if size == 126:
            self.fill(4)
            size, offset = struct.unpack("!H", self.buffer[2:4])[0], 4
        elif size == 127:
            self.fill(10)
            size, offset = struct.unpack("!Q", self.buffer[2:10])[0], 10
        self.fill(offset + size)
        opcode, payload = self.buffer[0] & 0xF, self.buffer[offset:offset + size]
        self.buffer = self.buffer[offset + size:]
        return opcode, payload

    def element(self, name=None):
        """The next text frame as an element; with a name, the next of that name."""
        while True:
            opcode, payload = self.receive()
            if opcode == 8:
                raise Closed(f"close frame {payload!r} while waiting for {name}")
            if opcode == 1:
                element = ET.fromstring(payload)
                if name is None or element.tag == tag(name):
                    return element

    def open(self):
        self.send(f"<open xmlns='{NS['framing']}' to='{world.DOMAIN}' version='1.0'/>")
        self.element("framing:open")
        return self.element("stream:features")

    def login(self, user):
        self.open()
        secret = base64.b64encode(f"\0{user.node}\0{user.password}".encode()).decode()
        self.send(f"<auth xmlns='{NS['sasl']}' mechanism='PLAIN'>{secret}</auth>")
        self.element("sasl:success")
        self.open()
        self.send(f"<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='{NS['bind']}'/></iq>")
        answer = self.element("client:iq")
        self.full_jid = re.search("<jid>(.*?)</jid>", re.sub(r"<(/?)\w+:", r"<\1", ET.tostring(answer).decode())).group(1)
        return self

    def ended(self, timeout=10):
        """True when the server ends it: a close frame, the end of the connection, or a reset."""
        self.sock.settimeout(timeout)
        try:
            while True:
                opcode, _ = self.receive()
                if opcode == 8:
                    return True
        except TimeoutError:
            return False
        except (Closed, OSError):
            return True
