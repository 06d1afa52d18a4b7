"""The bridge to the local network (XEP-0174) where another machine has the server's name already. As `link`, in the same network."""

import contextlib
import socket
import threading
import unittest

import link
import wire
import world
from link import DOMAIN, HERE, on_link, until


class Defender:
    """Answers whoever wants to be called `pronto.local`, as the machine of that name does (RFC 6762 §9); python-zeroconf does not."""

    NAME = b"\x06pronto\x05local\0"
    ANSWER = b"\0\0\x84\0\0\0\0\1\0\0\0\0" + NAME + b"\0\1\x80\1\0\0\0\x78\0\4" + socket.inet_aton(HERE)
    GROUP = ("224.0.0.251", 5353)

    def __init__(self):
        self.socket = on_link(self.open)
        threading.Thread(target=self.defend, daemon=True).start()

    def open(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("", self.GROUP[1]))
        own = socket.inet_aton(HERE)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(self.GROUP[0]) + own)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        return sock

    def defend(self):
        with contextlib.suppress(OSError):
            while True:
                packet, (sender, _) = self.socket.recvfrom(9000)
                is_query = len(packet) > 12 and not packet[2] & 0x80
                # Written out, or with the rest somewhere before it.
                asks = any(self.NAME[:7] + rest in packet for rest in (self.NAME[7:], b"\xc0"))
                if sender != HERE and is_query and asks:
                    self.socket.sendto(self.ANSWER, self.GROUP)


class TakenName(unittest.TestCase):
    def test_another_machine_keeps_its_name(self):
        neighbours = link.Neighbours()
        self.addCleanup(neighbours.close)
        self.addCleanup(Defender().socket.close)
        neighbours.announce("juliet@pronto", 5298, host="pronto", address=HERE)
        user = world.new_user("taken")
        client = wire.login(user, available=True)
        self.addCleanup(client.close)
        client.iq("set", link.form(), to=DOMAIN)
        # XEP-0174 §4: "-1" and so on, until it is nobody else's.
        name = f"{user.node}@pronto-1"
        info = until(f"{name} is announced", lambda: neighbours.seen.get(name))
        self.assertEqual(info.server, "pronto-1.local.")
        until("the old name is gone", lambda: f"{user.node}@pronto" not in neighbours.seen)
        # The other one's users are neighbours now.
        items = until("she is on the list", lambda: [
            item.get("jid") for item in client.iq("get", link.ITEMS, to=DOMAIN)[0] if "juliet" in item.get("jid")])
        self.assertEqual(items, [rf"juliet\40pronto@{DOMAIN}"])
        stream = link.Link.open(info.port, "juliet@pronto", name)
        self.addCleanup(stream.sock.close)
        stream.say("juliet@pronto", name, "I took it first")
        client.message("I took it first")
        client.send("<presence type='unavailable'/>")
        until("gone", lambda: name not in neighbours.seen)


if __name__ == "__main__":
    unittest.main()
