#!/usr/bin/env python3
"""What bystanders feel of attacks: their latency before and during each, and the server's memory against its bound.

    cargo build --release -p rookery && tests/setup.sh
    ~/.cache/rookery/venv/bin/python bench/hostile.py --rookery target/release/rookery [--secs 5] [--only NAME ...] [--strict]

Starts a server of its own on loopback. A pair of bystanders, in a process of its own, exchanges messages at a fixed rate; each attack
runs in processes of its own. All share the machine: on one with two cores an attacker that keeps a core busy takes half of it from
server and bystanders alike, whatever the server does, so compare with `(busy)`, where the same processes only compute. A message that
does not arrive, or memory beyond the bound, ends with an error; with --strict so does a p99 that more than doubles.

The bound: what the server had before, 64 MiB that the store may hold before it writes tables and as much of what it has read, 32 MiB
of what allocators keep, and for every connection what may wait in it: 20 KiB while nobody has logged in, else `outbox_bytes_max`.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
KINDS = ("xmpp", "xmpps", "websocket", "bosh", "https", "http")
MIB = 1 << 20
STORE_BYTES, KEPT_BYTES, EARLY_BYTES, OUTBOX_BYTES = 128 * MIB, 32 * MIB, 20 * 1024, 4 * MIB
RATE = 200
PROCESSES = 2
START_SECS_MAX = 30

world = wire = None


def free_ports():
    held = [socket.socket() for _ in KINDS]
    for sock in held:
        sock.bind(("127.0.0.1", 0))
    ports = {kind: sock.getsockname()[1] for kind, sock in zip(KINDS, held)}
    for sock in held:
        sock.close()
    return ports


class Server:
    def __init__(self, binary, directory):
        self.binary, self.directory, self.ports = Path(binary).resolve(), Path(directory), free_ports()
        listen = "\n".join(f'{kind} = ["127.0.0.1:{port}"]' for kind, port in self.ports.items())
        (self.directory / "rookery.toml").write_text(f'domain = "localhost"\ndata_dir = "{self.directory}/data"\n[listen]\n{listen}\n')
        self.process = subprocess.Popen([self.binary], cwd=self.directory, stdout=open(self.directory / "log", "wb"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_SECS_MAX
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server did not start:\n{(self.directory / 'log').read_text()}")
            time.sleep(0.05)

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/readyz", timeout=2).status == 200
        except OSError:
            return False

    def environment(self):
        listed = subprocess.run([self.binary, "app", "list", "--json"], cwd=self.directory, capture_output=True, check=True)
        app = json.loads(listed.stdout)[0]
        names = {"xmpp": "XMPP", "xmpps": "XMPPS", "websocket": "WS", "bosh": "BOSH", "https": "HTTPS", "http": "HTTP"}
        return {**{f"ROOKERY_{names[kind]}_PORT": str(port) for kind, port in self.ports.items()}, "ROOKERY_PID": str(self.process.pid),
                "ROOKERY_APP_ID": str(app["id"]), "ROOKERY_AUTH_KEY": app["auth_key"], "ROOKERY_AUTH_SECRET": app["auth_secret"]}

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


# The bystanders.

def bystanders(users, pipe):
    """Sends at a fixed rate, whatever comes of it, and notes how long each message took; hands over what it has noted when asked."""
    here, there = (wire.login(user, available=True) for user in users)
    sent, noted, lock = {}, [], threading.Lock()

    def receive():
        while True:
            number = there.next("client:message", timeout=60).findtext(wire.tag("client:body"))
            with lock:
                noted.append(time.perf_counter() - sent.pop(number))

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    due, n = time.perf_counter(), 0
    while True:
        if pipe.poll():
            if pipe.recv() == "stop":
                os._exit(0)
            # What is still on its way took as long as it has until now, at least.
            with lock:
                now = time.perf_counter()
                pipe.send((noted + [now - since for since in sent.values()], receiver.is_alive()))
                noted.clear()
        due = max(due + 1 / RATE, time.perf_counter() - 1)
        time.sleep(max(0, due - time.perf_counter()))
        with lock:
            sent[str(n)] = due
        here.send(f"<message to='{there.full_jid}' type='chat'><body>{n}</body></message>")
        n += 1


# The attacks: each a generator that is pulled until time is up; what it yields is how many connections it holds.

def harmlessly(step):
    """One step, whatever the server does to the connection."""
    try:
        return step()
    except (OSError, AssertionError, EOFError, wire.Closed, wire.ET.ParseError):
        return None


def busy(_):
    while True:
        sum(range(10_000))
        yield 0


def xml(_):
    from itertools import cycle
    header = wire.HEADER
    bombs = [header + "<a>" * 200_000, header + "<iq " + " ".join(f"a{n}='1'" for n in range(30_000)) + "/>", header[:-1] + " x='" + "A" * MIB,
             '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>', header + "<iq " + " ".join(f"xmlns:p{n}='u'" for n in range(20_000)) + "/>"]
    for bomb in cycle(bombs):
        def throw(bomb=bomb):
            stream = wire.Stream()
            stream.pour(bomb, patience=1)
            stream.close()
        harmlessly(throw)
        yield 1


def half_open(options):
    held = []
    limit = options.connections // PROCESSES
    while True:
        if len(held) < limit:
            sock = harmlessly(lambda: socket.create_connection((world.HOST, world.XMPP_PORT), 5))
            if sock:
                harmlessly(lambda: sock.sendall(wire.HEADER[:60].encode()))
                held.append(sock)
        else:
            time.sleep(0.01)
        yield len(held)


def early_stanzas(_):
    flood = wire.HEADER + "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>" * 2_000
    while True:
        def pour():
            stream = wire.Stream()
            stream.pour(flood, patience=1)
            stream.close()
        harmlessly(pour)
        yield 1


def slowly(port, head):
    held = []
    while True:
        if len(held) < 250:
            sock = harmlessly(lambda: socket.create_connection((world.HOST, port), 5))
            if sock:
                held.append(sock)
        for sock in held[len(held) - 250:]:
            harmlessly(lambda sock=sock: sock.sendall(head[:1]))
        head = head[1:] or b" "
        yield len(held)


def slow_xmpp(_):
    yield from slowly(world.XMPP_PORT, wire.HEADER.encode())


def slow_http(_):
    yield from slowly(world.HTTP_PORT, b"GET /users.json HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 10_000)


def cut_handshakes(_):
    context = world.tls_context()
    while True:
        def cut():
            incoming, outgoing = wire.ssl_memory(), wire.ssl_memory()
            tls = context.wrap_bio(incoming, outgoing, server_hostname=world.DOMAIN)
            try:
                tls.do_handshake()
            except OSError:
                pass
            sock = socket.create_connection((world.HOST, world.XMPPS_PORT), 5)
            sock.sendall(outgoing.read())
            sock.recv(100)
            sock.close()
        harmlessly(cut)
        yield 1


def brute_force(options):
    while True:
        def guess():
            stream = wire.Stream(tls_first=True)
            stream.secure()
            for n in range(5):
                stream.plain(options.users[0], f"guess {n}")
        harmlessly(guess)
        yield 1


def logged_in(user, flood, drain=True):
    """Logs in and sends the same over and over, reading what comes back."""
    stream = wire.login(user, available=True)
    stream.sock.settimeout(5)
    data = flood(stream).encode() if isinstance(flood(stream), str) else flood(stream)
    while True:
        stream.send(data)
        if drain:
            stream.send("<iq type='get' id='turn' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
            tail = b""
            while b"turn" not in tail:
                tail = tail[-100:] + stream.sock.recv(1 << 18)
        yield 1


def messages(options):
    yield from logged_in(options.user(), lambda stream: f"<message to='{stream.full_jid}' type='chat'><body>flood</body></message>" * 500)


def offline_messages(options):
    absent = options.user().bare
    yield from logged_in(options.user(), lambda _: f"<message to='{absent}' type='chat'><body>flood</body></message>" * 100)


def presence(options):
    yield from logged_in(options.user(), lambda _: "<presence type='unavailable'/><presence><status>x</status></presence>" * 200)


def roster(options):
    items = "".join(f"<iq type='set' id='r{n}'><query xmlns='jabber:iq:roster'><item jid='{n}-1@localhost' name='{random.random()}'/></query></iq>" for n in range(100))
    yield from logged_in(options.user(), lambda _: items)


def room(options):
    owner, others = options.user(), [options.user() for _ in range(10)]
    answer = world.rest("POST", "/chat/Dialog.json", token=owner.session(), body={"type": 2, "name": "flood", "occupants_ids": [user.id for user in others]})
    to = answer.json["xmpp_room_jid"]

    def enter(user):
        stream = wire.login(user, available=True)
        stream.send(f"<presence to='{to}/{user.id}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        return stream

    members = [enter(user) for user in others]
    for _ in logged_in(owner, lambda stream: f"<presence to='{to}/{owner.id}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
                       + f"<message to='{to}' type='groupchat'><body>flood</body></message>" * 100):
        for member in members:
            member.sock.setblocking(False)
            harmlessly(lambda member=member: [member.sock.recv(1 << 20) for _ in range(100)])
        yield 1 + len(members)


def acks(options):
    yield from logged_in(options.user(), lambda _: "<enable xmlns='urn:xmpp:sm:3'/>" + "<r xmlns='urn:xmpp:sm:3'/>" * 2_000)


def deaf(options):
    users = [options.user() for _ in range(8)]
    attacker = wire.login(options.user(), available=True)
    held = [wire.login(user, available=True) for user in users]
    while True:
        for user in users:
            attacker.send(f"<message to='{user.bare}' type='chat'><body>{'d' * 30_000}</body></message>" * 4)
        harmlessly(lambda: attacker.ping(timeout=30))
        yield 1 + len(held)


def pipelines(_):
    token = world.session()
    requests = f"GET /users.json?per_page=100 HTTP/1.1\r\nHost: x\r\nQB-Token: {token}\r\n\r\n".encode() * 500
    held = []
    while True:
        sock = socket.create_connection((world.HOST, world.HTTP_PORT), 5)
        sock.settimeout(0.05)
        harmlessly(lambda: [sock.sendall(requests) for _ in range(20)])
        held.append(sock)
        if len(held) > 50:
            held.pop(0).close()
        yield len(held)


def large_bodies(_):
    head = f"POST /session.json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {MIB}\r\n\r\n".encode()
    body = b"[" * MIB
    while True:
        def send():
            sock = socket.create_connection((world.HOST, world.HTTP_PORT), 5)
            sock.sendall(head + body)
            sock.recv(1_000)
            sock.close()
        harmlessly(send)
        yield 1


def bosh_sessions(_):
    body = (f"<body rid='1' to='localhost' hold='1' wait='60' ver='1.6' xmlns='{wire.NS['httpbind']}' xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0'/>").encode()
    request = b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    sock = socket.create_connection((world.HOST, world.HTTP_PORT), 5)
    while True:
        sock.sendall(request * 50)
        answers = 0
        while answers < 50:
            data = sock.recv(1 << 18)
            if not data:
                raise OSError("closed")
            answers += data.count(b"HTTP/1.1 ")
        yield 1


def herd(options):
    users = [options.user() for _ in range(20)]
    while True:
        held = [stream for stream in (harmlessly(lambda user=user: wire.login(user, available=True)) for user in users for _ in range(5)) if stream]
        yield len(held)
        for stream in held:
            stream.close()


ATTACKS = {"(busy)": busy, "xml": xml, "half-open": half_open, "stanzas before login": early_stanzas, "slow xmpp": slow_xmpp, "slow http": slow_http,
           "cut handshakes": cut_handshakes, "brute force": brute_force, "messages": messages, "offline messages": offline_messages, "presence": presence,
           "roster": roster, "room": room, "acks": acks, "readers that never read": deaf, "pipelined requests": pipelines, "large bodies": large_bodies,
           "bosh sessions": bosh_sessions, "herd": herd}
LOGGED_IN = {"messages", "offline messages", "presence", "roster", "room", "acks", "readers that never read", "herd"}


class Options:
    def __init__(self, users, connections):
        self.users, self.connections, self.next = users, connections, 0

    def user(self):
        self.next += 1
        return self.users[self.next - 1]


def attacker(name, users, connections, over, held):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while not over.is_set():
        try:
            for count in ATTACKS[name](Options(users, connections)):
                held.value = max(held.value, count)
                if over.is_set():
                    return
        except (OSError, AssertionError, wire.Closed):
            continue


def percentile(sample, share):
    return sorted(sample)[min(len(sample) - 1, int(len(sample) * share))] * 1_000 if sample else float("nan")


def main():
    global world, wire
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rookery", required=True, help="the server's binary")
    parser.add_argument("--secs", type=float, default=5, help="how long each phase is measured")
    parser.add_argument("--only", nargs="*", choices=list(ATTACKS), help="these attacks")
    parser.add_argument("--connections", type=int, default=10_000, help="half-open ones; as many as open files allow")
    parser.add_argument("--strict", action="store_true", help="a p99 that more than doubles is a failure")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = min(arguments.connections, hard - 1_000)
    failures = []
    with tempfile.TemporaryDirectory(prefix="rookery-hostile-") as directory:
        server = Server(arguments.rookery, directory)
        try:
            os.environ.update(server.environment())
            sys.path.insert(0, str(HOME / "tests/e2e/python"))
            world, wire = importlib.import_module("world"), importlib.import_module("wire")
            wire.ssl_memory = world.ssl.MemoryBIO
            run(server, arguments, connections, failures)
        finally:
            server.stop()
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


def run(server, arguments, connections, failures):
    users = [world.new_user("hostile") for _ in range(PROCESSES * 24)]
    ours, theirs = multiprocessing.Pipe()
    pair = multiprocessing.Process(target=bystanders, args=([world.new_user("by"), world.new_user("stander")], theirs), daemon=True)
    pair.start()
    theirs.close()

    def noted():
        ours.send("hand over")
        try:
            sample, is_well = ours.recv()
        except EOFError:
            is_well = False
        if not is_well:
            sys.exit("a bystander's message did not arrive within a minute, or the bystanders were thrown out")
        return sample

    print(f"{RATE} messages a second between bystanders, {arguments.secs:g} s before and during each attack by {PROCESSES} processes\n")
    print("| attack | p50 before | during | p99 before | during | RSS before | most | bound | held |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in arguments.only or ATTACKS:
        noted()
        time.sleep(arguments.secs)
        before, memory, most = noted(), world.server_rss(), 0
        over, held = multiprocessing.Event(), [multiprocessing.Value("q", 0) for _ in range(PROCESSES)]
        share = len(users) // PROCESSES
        attackers = [multiprocessing.Process(target=attacker, args=(name, users[n * share:(n + 1) * share], connections, over, held[n]), daemon=True)
                     for n in range(PROCESSES)]
        for process in attackers:
            process.start()
        time.sleep(1)
        noted()
        until = time.monotonic() + arguments.secs
        while time.monotonic() < until:
            most = max(most, world.server_rss())
            time.sleep(0.02)
        during = noted()
        over.set()
        for process in attackers:
            process.join(10)
            process.kill()
        count = sum(value.value for value in held)
        bound = memory + STORE_BYTES + KEPT_BYTES + count * (OUTBOX_BYTES if name in LOGGED_IN or name == "pipelined requests" else EARLY_BYTES)
        row = [percentile(sample, share) for share in (0.5, 0.99) for sample in (before, during)]
        print(f"| {name} | " + " | ".join(f"{value:.2f} ms" for value in row) + f" | {memory // MIB} MiB | {most // MIB} MiB | {bound // MIB} MiB | {count} |", flush=True)
        if most > bound:
            failures.append(f"{name}: {most // MIB} MiB are more than {bound // MIB} MiB")
        if arguments.strict and name != "(busy)" and row[3] > 2 * row[2]:
            failures.append(f"{name}: the p99 went from {row[2]:.2f} to {row[3]:.2f} ms")
        time.sleep(1)
    ours.send("stop")
    pair.join(20)


if __name__ == "__main__":
    main()
