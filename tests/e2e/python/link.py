"""The bridge to the local network (XEP-0174), from a machine beside the server: announcements are read and made with python-zeroconf,
streams are opened and taken by hand, as the specification has them.

Runs in the network namespaces that `tests/it/link_local.rs` makes: the server is at 169.254.7.1, and what `on_link` does, is done on
another machine, at 169.254.7.2 and 169.254.7.3.
"""

import concurrent.futures
import contextlib
import ctypes
import ipaddress
import socket
import time
import unittest
import xml.etree.ElementTree as ET

import zeroconf

import wire
import world
from wire import tag

SERVER, HERE, ELSEWHERE = "169.254.7.1", "169.254.7.2", "169.254.7.3"
SERVICE = "_presence._tcp.local."
DOMAIN = f"link.{world.DOMAIN}"
MARK = "{urn:x-rookery:link-local}unverified"
ITEMS = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
PATIENCE = 20


def enter():
    """Moves the thread to the other machine; sockets and threads that it makes are there too."""
    with open("/run/netns/neighbour", encoding="ascii") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")


machine = concurrent.futures.ThreadPoolExecutor(max_workers=1, initializer=enter)


def on_link(act, *arguments, **named):
    return machine.submit(act, *arguments, **named).result(PATIENCE)


def until(what, look, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {patience} s: {what}")


class Neighbours(zeroconf.ServiceListener):
    """Who is announced, as another machine sees it."""

    def __init__(self):
        self.seen = {}
        self.zeroconf = on_link(zeroconf.Zeroconf, interfaces=[HERE], ip_version=zeroconf.IPVersion.V4Only)
        self.browser = on_link(zeroconf.ServiceBrowser, self.zeroconf, SERVICE, self)

    def add_service(self, zc, type_, name):
        info = None
        with contextlib.suppress(zeroconf.Error):  # Some tests announce names that are none.
            info = zc.get_service_info(type_, name)
        if info:
            self.seen[name.removesuffix("." + SERVICE)] = info

    update_service = add_service

    def remove_service(self, zc, type_, name):
        self.seen.pop(name.removesuffix("." + SERVICE), None)

    def txt(self, name):
        info = self.seen.get(name)
        return {key.decode(): (value or b"").decode() for key, value in info.properties.items()} if info else {}

    def announce(self, name, port, host="forza", address=HERE, **txt):
        info = zeroconf.ServiceInfo(SERVICE, f"{name}.{SERVICE}", port=port, server=f"{host}.local.",
                                    addresses=[socket.inet_aton(address)], properties={"txtvers": "1", **txt})
        on_link(self.zeroconf.register_service, info)
        return info

    def close(self):
        on_link(self.zeroconf.close)


class Link:
    """One end of a serverless stream."""

    def __init__(self, sock):
        self.sock = sock
        self.elements = wire.Elements()
        self.ready = []
        self.closed = False

    @classmethod
    def open(cls, port, ours, theirs, version="version='1.0'", source=HERE):
        stream = cls(on_link(socket.create_connection, (SERVER, port), 10, (source, 0)))
        names = (f" from='{ours}'" if ours else "") + (f" to='{theirs}'" if theirs else "")
        stream.send(f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='{wire.NS['stream']}'{names} {version}>")
        return stream

    def send(self, text):
        self.sock.sendall(text.encode())

    def say(self, ours, theirs, body, more=""):
        self.send(f"<message from='{ours}' to='{theirs}' type='chat' id='{wire.new_id()}'><body>{body}</body>{more}</message>")

    def next(self, patience=10):
        """The next element; none at the end of the stream."""
        self.sock.settimeout(patience)
        while not self.ready:
            data = self.sock.recv(65536)
            if not data:
                self.closed = True
                return None
            self.ready += self.elements.feed(data)
        return self.ready.pop(0)

    def header(self):
        """The attributes of the header that came."""
        self.ready.insert(0, self.next())
        return self.elements.header

    def error(self):
        element = self.next()
        while element is not None and element.tag != tag("stream:error"):
            element = self.next()
        return wire.condition(element, "streams")

    def is_closed(self):
        """Whether the connection ends by itself."""
        with contextlib.suppress(ConnectionResetError):
            while self.next() is not None or not self.closed:
                pass
        return True


def form(**fields):
    fields = {"FORM_TYPE": "jabber:iq:register", **fields}
    inside = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in fields.items())
    return f"<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>{inside}</x></query>"


class TheLink(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.neighbours = Neighbours()

    @classmethod
    def tearDownClass(cls):
        cls.neighbours.close()

    def online(self, register=True, **fields):
        """A user who is online, and his name on the link."""
        user = world.new_user("link")
        client = wire.login(user, available=True)
        self.addCleanup(client.close)
        if register:
            answer = client.iq("set", form(**fields), to=DOMAIN)
            self.assertEqual(answer.get("type"), "result", ET.tostring(answer))
        return user, client, f"{user.node}@pronto"

    def port(self, name):
        return until(f"{name} is announced", lambda: self.neighbours.seen.get(name)).port

    def talk(self, name, ours="romeo@forza", **options):
        stream = Link.open(self.port(name), ours, name, **options)
        self.addCleanup(stream.sock.close)
        return stream

    def test_nobody_is_there_who_has_not_asked_for_it(self):
        _, _, shy = self.online(register=False)
        _, _, name = self.online()
        port = self.port(name)
        self.assertNotIn(shy, self.neighbours.seen)
        stream = Link.open(port, "romeo@forza", shy)
        self.assertEqual(stream.error(), "host-unknown")
        self.assertTrue(stream.is_closed())

    def test_the_service_is_found_and_says_what_it_wants(self):
        _, client, _ = self.online(register=False)
        items = client.iq("get", ITEMS)
        self.assertIn(DOMAIN, [item.get("jid") for item in items[0]])
        asked = client.iq("get", "<query xmlns='jabber:iq:register'/>", to=DOMAIN)
        self.assertIn("Nobody checks", asked[0].findtext("{jabber:iq:register}instructions"))
        self.assertEqual(wire.condition(client.iq("get", ITEMS, to=DOMAIN), "stanzas"), "registration-required")
        # Another app has no part in it.
        other = wire.login(world.new_user("link", app=world.APP2), available=True)
        self.addCleanup(other.close)
        answer = other.iq("set", form(), to=DOMAIN)
        self.assertEqual(wire.condition(answer, "stanzas"), "remote-server-not-found")

    def test_an_announcement_follows_presence_to_the_goodbye(self):
        user, client, name = self.online(nick="JuliC", text="1")
        info = until("announced", lambda: self.neighbours.seen.get(name))
        self.assertEqual(info.server, "pronto.local.")
        self.assertIn(ipaddress.ip_address(SERVER).packed, info.addresses)
        txt = self.neighbours.txt(name)
        self.assertEqual(next(iter(txt)), "txtvers")
        self.assertEqual((txt["txtvers"], txt["status"], txt["nick"], txt["hash"]), ("1", "avail", "JuliC", "sha-1"))
        self.assertEqual(txt["port.p2pj"], str(info.port))
        self.assertNotIn("jid", txt)
        self.assertNotIn("msg", txt)
        client.send("<presence><show>away</show><status>Hanging out downtown</status></presence>")
        until("away", lambda: self.neighbours.txt(name).get("status") == "away")
        self.assertEqual(self.neighbours.txt(name)["msg"], "Hanging out downtown")
        client.send("<presence><show>dnd</show></presence>")
        until("busy", lambda: self.neighbours.txt(name).get("status") == "dnd")
        # What is shown can be changed, and taken back.
        client.iq("set", form(jid="true"), to=DOMAIN)
        until("an address", lambda: self.neighbours.txt(name).get("jid") == user.bare)
        self.assertNotIn("nick", self.neighbours.txt(name))
        client.send("<presence type='unavailable'/>")
        until("gone", lambda: name not in self.neighbours.seen)
        client.send("<presence/>")
        until("back", lambda: name in self.neighbours.seen)
        client.iq("set", "<query xmlns='jabber:iq:register'><remove/></query>", to=DOMAIN)
        until("off the link", lambda: name not in self.neighbours.seen)
        client.send("<presence/>")
        client.ping()
        time.sleep(1)
        self.assertNotIn(name, self.neighbours.seen)

    def test_a_wish_outlasts_a_session(self):
        user, client, name = self.online()
        self.port(name)
        client.close()
        until("gone with the connection", lambda: name not in self.neighbours.seen)
        again = wire.login(user, available=True)
        self.addCleanup(again.close)
        self.port(name)

    def test_a_neighbour_writes_and_is_answered(self):
        user, client, name = self.online()
        stream = self.talk(name)
        header = stream.header()
        self.assertEqual((header.get("from"), header.get("to"), header.get("version")), (name, "romeo@forza", "1.0"))
        features = stream.next()
        self.assertEqual(features.tag, tag("stream:features"))
        txt = self.neighbours.txt(name)
        self.assertEqual(features[0].get("node"), f"{txt['node']}#{txt['ver']}")

        claims = "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x><delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>"
        stream.say("romeo@forza", name, "M'lady, I would be pleased to make your acquaintance.", claims)
        warned = client.next("client:message")
        self.assertEqual((warned.get("from"), warned.get("type")), (DOMAIN, "headline"))
        self.assertIn("Nobody has checked", warned.findtext(tag("client:body")))
        got = client.next("client:message")
        self.assertEqual(got.get("from"), rf"romeo\40forza@{DOMAIN}")
        self.assertEqual(got.get("to"), user.bare)
        self.assertEqual([child.tag for child in got], [tag("client:body"), MARK])
        self.assertEqual(got.find(MARK).get("name"), "romeo@forza")

        client.send(f"<message type='chat' id='r1' to='{got.get('from')}'><body>Art thou not Romeo, and a Montague?</body></message>")
        reply = stream.next()
        self.assertEqual((reply.get("from"), reply.get("to"), reply.get("type"), reply.get("id")), (name, "romeo@forza", "chat", "r1"))
        self.assertEqual([child.tag for child in reply], [tag("client:body")])
        # What went wrong, the session hears that said it.
        stream.send(f"<message from='romeo@forza' to='{name}' type='error' id='r1'><error type='cancel'>"
                    "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
        error = client.next("client:message")
        self.assertEqual((error.get("id"), wire.condition(error, "stanzas")), ("r1", "not-acceptable"))
        # Nobody is warned twice of the same one.
        stream.say("romeo@forza", name, "Neither, fair saint.")
        self.assertEqual(client.next("client:message").findtext(tag("client:body")), "Neither, fair saint.")

        # §9: closed in both directions.
        stream.send("</stream:stream>")
        self.assertIsNone(stream.next())
        stream.sock.close()
        # And now there is nobody any more.
        client.send(f"<message type='chat' id='r2' to='{got.get('from')}'><body>Romeo?</body></message>")
        error = until("an error", lambda: client.next("client:message"))
        self.assertEqual((error.get("type"), error.get("id"), wire.condition(error, "stanzas")), ("error", "r2", "item-not-found"))

    def test_a_user_is_the_first_to_write(self):
        _, client, name = self.online()
        listener = on_link(socket.create_server, (HERE, 0))
        self.addCleanup(listener.close)
        info = self.neighbours.announce("mercutio.m@verona", listener.getsockname()[1], host="verona", nick="Mercutio")
        self.addCleanup(on_link, self.neighbours.zeroconf.unregister_service, info)
        peer = rf"mercutio.m\40verona@{DOMAIN}"

        def listed():
            return {item.get("jid"): item.get("name") for item in client.iq("get", ITEMS, to=DOMAIN)[0]}
        until("he is on the list", lambda: peer in listed())
        self.assertEqual(listed()[peer], "Mercutio (mercutio.m@verona)")
        self.assertFalse([jid for jid in listed() if "pronto" in jid], "users of the server are not neighbours")

        client.send(f"<message type='chat' id='m1' to='{peer}'><body>A plague o' both your houses!</body></message>")
        listener.settimeout(PATIENCE)
        stream = Link(listener.accept()[0])
        self.addCleanup(stream.sock.close)
        stream.send(f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='{wire.NS['stream']}' "
                    f"from='mercutio.m@verona' to='{name}' version='1.0'><stream:features/>")
        got = stream.next()
        self.assertEqual(stream.elements.header, {"from": name, "to": "mercutio.m@verona", "version": "1.0"})
        self.assertEqual((got.get("from"), got.get("to"), got.findtext(tag("client:body"))),
                         (name, "mercutio.m@verona", "A plague o' both your houses!"))
        stream.say("mercutio.m@verona", name, "I am hurt.")
        self.assertEqual(client.next("client:message").findtext(tag("client:body")), "I am hurt.")
        # The user goes offline: the stream is closed, and what comes until the answer is not.
        client.send("<presence type='unavailable'/>")
        self.assertIsNone(stream.next())
        stream.send("</stream:stream>")
        self.assertTrue(stream.is_closed())

    def test_whoever_is_not_there_is_an_error(self):
        _, client, _ = self.online()
        gone = on_link(socket.create_server, (HERE, 0))
        info = self.neighbours.announce("tybalt@mantua", gone.getsockname()[1], host="mantua")
        self.addCleanup(on_link, self.neighbours.zeroconf.unregister_service, info)
        gone.close()
        until("he is on the list", lambda: b"tybalt" in ET.tostring(client.iq("get", ITEMS, to=DOMAIN)))
        for peer, condition in [("tybalt", "remote-server-timeout"), ("nobody", "item-not-found")]:
            client.send(rf"<message type='chat' id='{peer}' to='{peer}\40mantua@{DOMAIN}'><body>Turn, villain</body></message>")
            error = client.next("client:message")
            self.assertEqual((error.get("id"), wire.condition(error, "stanzas")), (peer, condition))

    def test_nobody_leads_the_server_to_itself(self):
        _, client, _ = self.online()
        for name, host, address in [("a@trap", "trap", "127.0.0.1"), ("b@trap", "trapb", SERVER), ("c@trap", "trapc", "10.0.0.1")]:
            info = self.neighbours.announce(name, world.HTTP_PORT, host=host, address=address)
            self.addCleanup(on_link, self.neighbours.zeroconf.unregister_service, info)
            until("it is on the list", lambda: name.encode() in ET.tostring(client.iq("get", ITEMS, to=DOMAIN)))
            client.send(f"<message type='chat' id='t' to='{name.replace('@', chr(92) + '40')}@{DOMAIN}'><body>x</body></message>")
            self.assertEqual(wire.condition(client.next("client:message"), "stanzas"), "remote-server-timeout", address)

    def test_names_that_are_not_ones_own_are_refused(self):
        _, _, name = self.online()
        _, _, other = self.online()
        self.port(other)
        info = self.neighbours.announce("paris@palace", 5298, host="palace", address=HERE)
        self.addCleanup(on_link, self.neighbours.zeroconf.unregister_service, info)
        _, client, _ = self.online()
        until("he is known", lambda: b"paris" in ET.tostring(client.iq("get", ITEMS, to=DOMAIN)))
        for ours, source, condition in [(other, HERE, "invalid-from"), ("x@PRONTO", HERE, "invalid-from"),
                                        ("paris@palace", ELSEWHERE, "invalid-from"), ("nobody", HERE, "improper-addressing")]:
            self.assertEqual(self.talk(name, ours, source=source).error(), condition, ours)
        # Who has a stream has his name, too.
        first = self.talk(name, "benvolio@street")
        self.assertEqual(first.next().tag, tag("stream:features"))
        self.assertEqual(self.talk(name, "benvolio@street", source=ELSEWHERE).error(), "conflict")
        # A stream is for two.
        first.say("paris@palace", name, "I am another")
        self.assertEqual(first.error(), "invalid-from")
        second = self.talk(name, "benvolio@street")
        second.say("benvolio@street", other, "I want another")
        self.assertEqual(second.error(), "improper-addressing")

    def test_an_address_of_the_server_is_a_name_like_any_other(self):
        user, client, name = self.online()
        victim, _, _ = self.online(register=False)
        stream = self.talk(name, f"{victim.node}@{world.DOMAIN}")
        stream.say(f"{victim.node}@{world.DOMAIN}", name, "It is me")
        got = client.message("It is me")
        self.assertEqual(got.get("from"), rf"{victim.node}\40{world.DOMAIN}@{DOMAIN}")

    def test_older_clients_are_understood(self):
        _, client, name = self.online()
        info = self.neighbours.announce("old@chat", 5298, host="chat", address=ELSEWHERE)
        self.addCleanup(on_link, self.neighbours.zeroconf.unregister_service, info)
        until("he is known", lambda: b"old" in ET.tostring(client.iq("get", ITEMS, to=DOMAIN)))
        stream = self.talk(name, None, version="", source=ELSEWHERE)
        stream.send(f"<message to='{name}'><body>Without a name</body><html xmlns='http://www.w3.org/1999/xhtml'><body/></html></message>")
        got = client.message("Without a name")
        self.assertEqual(got.get("from"), rf"old\40chat@{DOMAIN}")
        client.send(f"<message to='{got.get('from')}'><body>Heard</body></message>")
        heard = stream.next()
        self.assertEqual((heard.tag, heard.get("to")), (tag("client:message"), "old@chat"))
        self.assertNotIn("version", stream.elements.header)

    def test_nothing_but_messages_comes_through(self):
        user, client, name = self.online()
        stream = self.talk(name)
        self.assertEqual(stream.next().tag, tag("stream:features"))
        for payload in ["<query xmlns='jabber:iq:roster'><item jid='a@b'/></query>", "<query xmlns='jabber:iq:register'><remove/></query>"]:
            stream.send(f"<iq type='set' id='1' from='romeo@forza' to='{name}'>{payload}</iq>")
            self.assertEqual(wire.condition(stream.next(), "stanzas"), "service-unavailable")
        stream.send(f"<iq type='get' id='2' from='romeo@forza' to='{name}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        self.assertEqual(stream.next().get("type"), "result")
        stream.send(f"<presence from='romeo@forza' to='{name}' type='subscribe'/>")
        stream.say("romeo@forza", name, "After it")
        self.assertEqual(client.next("client:message").get("from"), DOMAIN)
        self.assertEqual(client.next("client:message", "client:presence").findtext(tag("client:body")), "After it")
        self.assertEqual(len(client.iq("get", f"<query xmlns='{wire.NS['roster']}'/>", to=None)[0]), 0)

    def test_blocked_neighbours_hear_that_there_is_no_service(self):
        _, client, name = self.online()
        stream = self.talk(name)
        self.assertEqual(stream.next().tag, tag("stream:features"))
        client.iq("set", rf"<block xmlns='urn:xmpp:blocking'><item jid='romeo\40forza@{DOMAIN}'/></block>", to=None)
        stream.say("romeo@forza", name, "Anybody?")
        error = stream.next()
        self.assertEqual((error.get("type"), wire.condition(error, "stanzas")), ("error", "service-unavailable"))
        # To block the service is to leave the link.
        client.iq("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{DOMAIN}'/></block>", to=None)
        until("gone", lambda: name not in self.neighbours.seen)

    def test_noise_and_floods_are_bounded(self):
        _, client, name = self.online()
        port = self.port(name)
        for noise in [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"<", b"\x00" * 100]:
            sock = on_link(socket.create_connection, (SERVER, port), 10, (HERE, 0))
            sock.sendall(noise)
            sock.shutdown(socket.SHUT_WR)
            self.assertTrue(Link(sock).is_closed())
        stream = self.talk(name)
        stream.send(f"<message to='{name}' from='romeo@forza'><body>{'x' * 40_000}")
        self.assertEqual(stream.error(), "policy-violation")
        # A few streams are enough for one machine.
        held = [on_link(socket.create_connection, (SERVER, port), 10, (ELSEWHERE, 0)) for _ in range(20)]
        time.sleep(0.5)
        refused = 0
        for sock in held:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                refused += sock.recv(1) == b""
            sock.close()
        self.assertGreaterEqual(refused, 12)
        # Who says more than can be read waits, and is heard in the end; nobody else waits for him.
        flood = self.talk(name, "nurse@house")
        for number in range(200):
            flood.say("nurse@house", name, f"Juliet! {number}")
        other = self.talk(name, "friar@cell")
        other.say("friar@cell", name, "Wisely and slow")
        client.message("Wisely and slow")
        client.ping()
        self.assertEqual(client.message("Juliet! 199", timeout=60).get("from"), rf"nurse\40house@{DOMAIN}")

    def test_hostile_packets_change_nothing(self):
        _, client, name = self.online()
        self.port(name)

        def throw():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HERE))
                query = b"\0\0\0\0\0\1\0\0\0\0\0\0\x09_presence\x04_tcp\x05local\0\0\x0c\0\1"
                answer = b"\0\0\x84\0\0\0\0\1\0\0\0\0\x09_presence\x04_tcp\x05local\0\0\x0c\0\1\0\0\x11\x94"
                loop = b"\xc0\x0c"
                packets = [b"", b"\0", b"\xff" * 600, query[:-3], answer + b"\xff\xff" + loop, answer + b"\0\x02\xc0\x2a",
                           answer + b"\0\x40\x3f" + b"\xff" * 63, answer + b"\0\x42\x40" + b"a" * 64 + b"\0",
                           answer + b"\0\x08\x05a\0@/.\xc0\x0c", answer + b"\0\x06\x03a@b\xc0\x0c"]
                for packet in packets + [bytes([at & 0xff]) * at for at in range(0, 1400, 37)]:
                    sock.sendto(packet, ("224.0.0.251", 5353))
        on_link(throw)
        stream = self.talk(name)
        stream.say("romeo@forza", name, "Still here?")
        client.message("Still here?")
        client.iq("get", ITEMS, to=DOMAIN)


if __name__ == "__main__":
    unittest.main()
