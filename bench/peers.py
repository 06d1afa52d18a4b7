#!/usr/bin/env python3
"""Rookery beside Debian's ejabberd and Prosody: same machine, same driver, same scenarios, in turn.

    cargo build --release -p rookery-bench -p rookery-relay && cargo build --release -p rookery
    bench/peers.py --bench target/release/rookery-bench --rookery target/release/rookery

Installs the two if they are missing (Debian, root), starts each server alone on loopback with private ports, a
self-signed P-256 certificate, SCRAM accounts, roster, carbons, stream management and offline storage, without shapers and
without s2s; runs the scenarios of rookery-bench against it; stops it; takes the next. Archives are off, as they cost every
message, except for the scenarios that are about them: those get a server of their own with mod_mam (ejabberd: Mnesia,
Prosody: SQLite), which keeps everything, where Rookery keeps what asks for it (`save_to_history`). The maximum rate is the best
of closed loops with several numbers of pairs and of messages in flight; the driver has one thread and the same processors, so a
fast server's maximum may be the driver's. Prints a markdown table; the JSON results stay in --out, with the table and a chart.
Only the server's own CPU time counts, so the driver on the same machine costs nobody anything but
cache. Everything started here is ended here, by its process id.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DOMAIN = "localhost"
MUC_DOMAIN = f"conference.{DOMAIN}"
PASSWORD = "rookery-bench"
SALT = b"rookery-bench-16"
ITERATIONS = 4096
START_SECS_MAX = 60
STOP_SECS_MAX = 20
# Scenarios of what the others do not have, or have switched off.
OURS = ("websocket", "rest-read", "rest-write", "mixed")
# Pairs, and messages that each keeps in flight: closed loops, of which the one with most messages a second counts.
MAXIMUM = ((50, 4), (50, 16), (50, 64), (50, 256), (150, 16))


def scram_keys():
    """StoredKey and ServerKey of SCRAM-SHA-1 (RFC 5802 §3), the same for everybody: they all have one password and salt."""
    salted = hashlib.pbkdf2_hmac("sha1", PASSWORD.encode(), SALT, ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha1")
    return hashlib.sha1(client).digest(), hmac.digest(salted, b"Server Key", "sha1")


def free_port():
    """A port of loopback nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server in a directory of its own; `command` is what runs in it."""

    name = ""
    # Scenarios it cannot take part in, and arguments that go with all others.
    without = OURS
    arguments = []
    environment = {}
    # How connections to it are protected.
    tls = "starttls"

    def __init__(self, directory, options, archive):
        self.directory = Path(directory) / self.name
        self.options = options
        self.archive = archive
        self.process = None
        self.users = self.directory / "users.txt"
        self.port = free_port()

    def start(self):
        """Begins with an empty store, and returns when the port answers and the users are there."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        command = self.prepare()
        log = open(self.directory / "console.log", "wb")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | self.environment,
            cwd=self.directory,
            start_new_session=True,
        )
        end = time.monotonic() + START_SECS_MAX
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise SystemExit(f"{self.name} does not start; its last words:\n{self.last_words()}")
            time.sleep(0.1)
        self.populate()

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def last_words(self):
        return (self.directory / "console.log").read_text(errors="replace")[-4000:]

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def names(self):
        return [f"u{i:05}" for i in range(self.options.users)]

    def populate(self):
        """Writes the file of users; servers whose users come with their store have nothing else to do."""
        self.users.write_text("".join(f"{name}@{DOMAIN} {PASSWORD}\n" for name in self.names()))

    def rooms(self):
        """Arguments that say which rooms: by default such as are made by entering them."""
        return ["--muc", MUC_DOMAIN]

    def adapt(self, scenario, command):
        """The driver's command line, where a scenario needs another one."""
        return command

    def certificate(self):
        """A P-256 key and certificate in one file, as all servers here get one."""
        pem = self.directory / "cert.pem"
        key, cert = self.directory / "key.part", self.directory / "cert.part"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-days", "30", "-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN}"]
            + ["-keyout", key, "-out", cert],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        pem.write_text(key.read_text() + cert.read_text())
        return pem


class Ejabberd(Server):
    name = "ejabberd"

    def prepare(self):
        (self.directory / "mnesia").mkdir()
        # Each user's archive as it is by default with Mnesia; a page of 100 is within its bounds.
        archive = "  mod_mam: {db_type: mnesia, default: always, compress_xml: false}" if self.archive else ""
        (self.directory / "ejabberd.yml").write_text(f"""\
hosts: [{DOMAIN}]
loglevel: error
certfiles: ["{self.certificate()}"]
acme: {{auto: false}}
auth_method: mnesia
auth_password_format: scram
listen:
  - {{port: {self.port}, ip: "127.0.0.1", module: ejabberd_c2s, access: c2s, shaper: none, starttls: true, backlog: 1024}}
access_rules: {{c2s: {{allow: all}}}}
shaper_rules: {{max_user_offline_messages: infinity, max_user_sessions: 10}}
modules:
  mod_roster: {{}}
  mod_disco: {{}}
  mod_ping: {{}}
  mod_carboncopy: {{}}
  mod_stream_mgmt: {{}}
  mod_privacy: {{}}
  mod_blocking: {{}}
  mod_last: {{}}
  mod_version: {{}}
  mod_offline: {{access_max_user_messages: max_user_offline_messages}}
  mod_muc:
    host: {MUC_DOMAIN}
    max_users: 5000
    max_user_conferences: 1000
    history_size: 0
    default_room_options: {{max_users: 5000, mam: {str(self.archive).lower()}}}
{archive}
""")
        stored, server = (base64.b64encode(key).decode() for key in scram_keys())
        salt = base64.b64encode(SALT).decode()
        secret = f'{{scram,<<"{stored}">>,<<"{server}">>,<<"{salt}">>,sha,{ITERATIONS}}}'
        rows = (f'{{passwd,{{<<"{name}">>,<<"{DOMAIN}">>}},{secret}}}.\n' for name in self.names())
        (self.directory / "users.terms").write_text("".join(rows))
        self.environment = {
            "EJABBERD_CONFIG_PATH": str(self.directory / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.directory / "ejabberd.log"),
            "ERL_LIBS": "/usr/lib/x86_64-linux-gnu",
            "ERL_MAX_PORTS": "32000",
            "ERL_CRASH_DUMP_BYTES": "0",
            "HOME": str(self.directory),
        }
        # As Debian's ejabberdctl starts it, but without distribution: no epmd, no cookie.
        load = (
            f'{{ok, Rows}} = file:consult("{self.directory}/users.terms"), '
            "ok = mnesia:wait_for_tables([passwd], 10000), "
            "[ok = mnesia:dirty_write(Row) || Row <- Rows], "
            f'ok = file:write_file("{self.directory}/loaded", "ok").'
        )
        return (
            ["erl", "+K", "true", "+P", "250000", "-noinput", "-mnesia", "dir", f'"{self.directory}/mnesia"']
            + ["-s", "ejabberd", "-eval", load]
        )

    def answers(self):
        return (self.directory / "loaded").exists() and super().answers()


class Prosody(Server):
    name = "prosody"

    def prepare(self):
        pem = self.certificate()
        accounts = self.directory / "data" / DOMAIN / "accounts"
        accounts.mkdir(parents=True)
        stored, server = (key.hex() for key in scram_keys())
        account = (
            f'return {{ ["salt"] = "{SALT.decode()}"; ["iteration_count"] = {ITERATIONS}; '
            f'["stored_key"] = "{stored}"; ["server_key"] = "{server}"; }};\n'
        )
        for name in self.names():
            (accounts / f"{name}.dat").write_text(account)
        mam, archive, muc_mam = "", "", ""
        if self.archive:
            mam = ', "mam"'
            archive = """\
default_archive_policy = true
max_archive_query_results = 100
storage = { archive = "sql", muc_log = "sql" }
sql = { driver = "SQLite3", database = "archive.sqlite" }"""
            muc_mam = '  modules_enabled = { "muc_mam" }\n  muc_log_by_default = true\n  max_archive_query_results = 100'
        config = self.directory / "prosody.cfg.lua"
        config.write_text(f"""\
run_as_root = true
pidfile = "{self.directory}/prosody.pid"
data_path = "{self.directory}/data"
modules_enabled = {{
  "roster", "saslauth", "tls", "disco", "ping", "time", "version", "carbons", "smacks", "blocklist"{mam}
}}
modules_disabled = {{ "s2s" }}
c2s_ports = {{ {self.port} }}
c2s_interfaces = {{ "127.0.0.1" }}
c2s_direct_tls_ports = {{}}
c2s_require_encryption = false
authentication = "internal_hashed"
default_storage = "internal"
network_backend = "epoll"
network_settings = {{ tcp_backlog = 1024 }}
-- Faster than Prosody's default, for messages and for logins.
gc = {{ mode = "generational" }}
log = {{ warn = "{self.directory}/prosody.log" }}
ssl = {{ key = "{pem}", certificate = "{pem}" }}
{archive}
VirtualHost "{DOMAIN}"
Component "{MUC_DOMAIN}" "muc"
{muc_mam}
""")
        return ["prosody", "-F", "--config", str(config)]


class Relay(Server):
    """The floor: the server's runtime and TLS forward messages between connections, store nothing and check nothing."""

    name = "relay"
    without = ("login-scram", "offline", "saved", "archive", "muc", "muc-rate", "muc-saved", *OURS)
    arguments = ["--mechanism", "plain"]

    def prepare(self):
        return [self.options.relay, "--port", str(self.port), "--certificate", str(self.certificate())]


class RelayPlain(Relay):
    """The floor without TLS: what the kernel and the runtime take for the same bytes."""

    name = "relay-plain"
    tls = "plain"

    def prepare(self):
        return [self.options.relay, "--port", str(self.port)]


class Rookery(Server):
    """Ours; its users are made as an app makes them, through the REST API with the first app's keys."""

    name = "rookery"
    without = ()

    def prepare(self):
        self.api, self.https, self.websocket = free_port(), free_port(), free_port()
        pem = self.certificate()
        config = self.directory / "rookery.toml"
        # The limits that correspond to shapers and quotas, which the others have switched off, too.
        config.write_text(f"""\
domain = "{DOMAIN}"
muc_domain = "{MUC_DOMAIN}"
data_dir = "{self.directory}/data"

[listen]
xmpp = ["127.0.0.1:{self.port}"]
xmpps = []
websocket = ["127.0.0.1:{self.websocket}"]
bosh = []
https = ["127.0.0.1:{self.https}"]
http = ["127.0.0.1:{self.api}"]

[tls]
cert = "{pem}"
key = "{pem}"

[log]
level = "warn"

[limits]
client_bytes_per_sec_max = 0
connections_per_address_max = 0
connections_max = 0
""")
        return [self.options.rookery, "--config", str(config)]

    def answers(self):
        return self.run_file().exists() and super().answers()

    def run_file(self):
        """What a running server leaves in its data directory; written when it listens."""
        return self.directory / "data" / "run.json"

    def keys(self):
        """Application id, authorization key and secret."""
        found = json.loads(self.run_file().read_text())
        return str(found["app_id"]), found["auth_key"], found["auth_secret"]

    def access(self, api):
        app, key, secret = self.keys()
        # With `=`: a secret may begin with a dash.
        return [f"--api={api}", f"--app={app}", f"--key={key}", f"--secret={secret}"]

    def make(self, what, *arguments):
        access = self.access(f"http://127.0.0.1:{self.api}")
        subprocess.run([self.options.bench, what, "rookery", *access, *arguments], check=True)

    def adapt(self, scenario, command):
        if scenario == "websocket":
            for option, value in (("--port", str(self.websocket)), ("--tls", "direct")):
                command[command.index(option) + 1] = value
        elif scenario in OURS:
            command += self.access(f"https://127.0.0.1:{self.https}")
        return command

    def populate(self):
        wish = ["--domain", DOMAIN, "--password", PASSWORD, "--count", str(self.options.users)]
        self.make("users", *wish, "--out", self.users)

    def rooms(self):
        """Here rooms are dialogs, made once for all scenarios of this start."""
        path = self.directory / "rooms.txt"
        if not path.exists():
            size = ["--rooms", str(self.options.rooms), "--members", str(self.options.members)]
            self.make("rooms", "--users", self.users, *size, "--out", path)
        return ["--rooms-file", str(path)]


def run(server, scenario, arguments, out, options, tls=None):
    """One scenario; returns the result, or None if the driver could not measure."""
    path = out / f"{server.name}-{scenario}.json"
    path.unlink(missing_ok=True)
    extra = [] if "--mechanism" in arguments else list(server.arguments)
    if arguments[0] == "muc":
        extra += server.rooms()
    command = [options.bench, *arguments, *extra, "--port", str(server.port), "--tls", tls or server.tls, "--users", str(server.users)]
    command += ["--pid", str(server.process.pid), "--server", server.name, "--json", str(path)]
    print(f"== {server.name}: {scenario}", flush=True)
    done = subprocess.run(server.adapt(scenario, [*command, "--label", scenario]))
    if done.returncode not in (0, 2) or not path.exists():
        print(f"   {server.name} gives no result for {scenario}", flush=True)
        return None
    return json.loads(path.read_text()) | {"path": str(path)}


def scenarios(options):
    """Whether archives are on, then names and arguments, grouped by server start: memory is read on a fresh server."""
    rate, secs = str(options.rate), str(options.secs)
    connections = options.connections
    plain = ["--mechanism", "plain"]
    pairs = ["pairs", "--pairs", "50", "--secs", secs]
    muc = ["muc", "--rooms", str(options.rooms), "--members", str(options.members), "--secs", secs]
    muc_rate = ["--rate", str(options.muc_rate)]
    return [
        (False, {"idle": ["idle", "--connections", str(connections), "--hold-secs", "10"]}),
        (
            False,
            {
                "saturated": [*pairs, "--window", "1"],
                "rate": [*pairs, "--rate", rate],
                "many": ["pairs", "--pairs", str(connections // 2), "--secs", secs, "--rate", rate],
                "login-scram": ["churn", "--count", str(options.logins)],
                "login-plain": ["churn", "--count", str(options.logins), *plain],
                "offline": ["offline", "--recipients", "200", "--messages", str(options.offline)],
            },
        ),
        # The maximum is the best of these: what a server can do at most takes different loads on different servers.
        (
            False,
            {
                f"max-{pairs}x{window}": ["pairs", "--pairs", str(pairs), "--window", str(window), "--secs", secs]
                for pairs, window in MAXIMUM
            },
        ),
        (False, {"muc": muc, "muc-rate": [*muc, *muc_rate]}),
        # The archive first: it wants to find none.
        (
            True,
            {
                "archive": ["archive", "--messages", str(options.archive)],
                "saved": [*pairs, "--rate", rate, "--save"],
                "muc-saved": [*muc, *muc_rate, "--save"],
            },
        ),
        (
            False,
            {
                "websocket": [*pairs, "--rate", rate, "--transport", "websocket"],
                "rest-read": ["rest-read", "--secs", secs, "--rate", str(options.rest_rate)],
                "rest-write": ["rest-write", "--secs", secs, "--rate", str(options.rest_rate)],
                "mixed": ["mixed", "--secs", secs, "--rate", rate],
            },
        ),
    ]


def keep_best(results, server, number, result):
    """Among the runs of a round that look for the maximum, the one with most messages a second that lost none."""
    found = results.setdefault((server, "maximum"), [])
    if result["failures"]:
        return
    per_second = lambda result: phase(result, "talk")["figures"]["operations_per_sec"]
    if len(found) <= number:
        found.append(result)
    elif per_second(result) > per_second(found[number]):
        found[number] = result


def phase(result, name):
    return next(p for p in result["phases"] if p["name"] == name)


def cpu(name):
    return lambda result: phase(result, name)["server"]["cpu_us_per_operation"]


def latency(key):
    return lambda result: phase(result, "talk")["latency_us"][key] / 1000


def table_rows(options):
    """Title, unit, scenario, how to read the number."""
    per_second = lambda name: lambda result: phase(result, name)["figures"]["operations_per_sec"]
    at = f"at {options.rate}/s"
    seats = f" ({options.rooms} × {options.members})"
    muc_at = f"at {options.muc_rate} messages/s"
    return [
        ("CPU per TLS 1:1 message, saturated", "µs", "saturated", cpu("talk")),
        ("1:1 messages/s, saturated", "", "saturated", per_second("talk")),
        ("1:1 messages/s at most, best of some closed loops", "", "maximum", per_second("talk")),
        ("CPU per 1:1 message there", "µs", "maximum", cpu("talk")),
        (f"CPU per TLS 1:1 message {at}, 100 connections", "µs", "rate", cpu("talk")),
        (f"p50 {at}", "ms", "rate", latency("p50")),
        (f"p99 {at}", "ms", "rate", latency("p99")),
        (f"p99.9 {at}", "ms", "rate", latency("p999")),
        (f"CPU per TLS 1:1 message {at}, {options.connections} connections", "µs", "many", cpu("talk")),
        (f"p99 {at}, {options.connections} connections", "ms", "many", latency("p99")),
        (f"RSS per idle TLS connection, {options.connections}", "KiB", "idle",
         lambda result: phase(result, "hold")["figures"]["rss_kib_per_connection"]),
        (f"CPU per TLS 1:1 message kept in the history {at}", "µs", "saved", cpu("talk")),
        ("CPU per message archived, archive filled in a closed loop", "µs", "archive", cpu("fill")),
        ("CPU per result of the archive, pages of 100", "µs", "archive", cpu("page")),
        ("p50 of a page", "ms", "archive", lambda result: phase(result, "page")["latency_us"]["p50"] / 1000),
        (f"CPU per delivery in rooms{seats}, saturated", "µs", "muc", cpu("talk")),
        ("deliveries/s, saturated", "", "muc", per_second("talk")),
        (f"CPU per delivery in rooms{seats} {muc_at}", "µs", "muc-rate", cpu("talk")),
        (f"p50 of a delivery {muc_at}", "ms", "muc-rate", latency("p50")),
        (f"p99 of a delivery {muc_at}", "ms", "muc-rate", latency("p99")),
        (f"CPU per delivery kept in the history {muc_at}", "µs", "muc-saved", cpu("talk")),
        ("CPU per join of a room", "µs", "muc", cpu("join")),
        ("CPU per SCRAM-SHA-1 login over TLS", "µs", "login-scram", cpu("logins")),
        ("CPU per PLAIN login over TLS", "µs", "login-plain", cpu("logins")),
        ("logins/s, SCRAM-SHA-1", "", "login-scram", per_second("logins")),
        ("CPU per offline message stored", "µs", "offline", cpu("store")),
        ("CPU per offline message fetched, login taken off", "µs", "offline",
         lambda result: phase(result, "fetch")["figures"]["cpu_us_per_message_without_login"]),
        (f"CPU per 1:1 message over WebSocket with TLS {at}", "µs", "websocket", cpu("talk")),
        (f"p99 over WebSocket {at}", "ms", "websocket", latency("p99")),
        (f"CPU per list of 20 dialogs, API over TLS at {options.rest_rate}/s", "µs", "rest-read", cpu("dialogs")),
        ("CPU per page of 100 messages, the same", "µs", "rest-read", cpu("messages")),
        ("CPU per message to a user who listens, the same", "µs", "rest-write", cpu("private")),
        ("CPU per message to a room of ten, the same", "µs", "rest-write", cpu("group")),
        (f"CPU per thing of a mixed day {at}", "µs", "mixed", cpu("mixed")),
    ]


def table(results, servers, options):
    """Medians over the rounds; in brackets, how many times Rookery's."""
    lines = ["| | " + " | ".join(servers) + " |", "|---|" + "---:|" * len(servers)]
    for title, unit, scenario, read in table_rows(options):
        values = {}
        for server in servers:
            found = [read(r) for r in results.get((server, scenario), []) if not r["failures"] or options.with_failures]
            values[server] = statistics.median(found) if found else None
        if not any(values.values()):
            continue
        ours = values.get("rookery")
        cells = []
        for server in servers:
            value = values[server]
            if not value:
                cells.append("–")
                continue
            cell = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
            if ours and server != "rookery":
                cell += f" ({value / ours:.1f}×)"
            cells.append(cell)
        lines.append(f"| {title}{f', {unit}' if unit else ''} | " + " | ".join(cells) + " |")
    found = [result["machine"] for runs in results.values() for result in runs]
    if found:
        loads = [machine["load"] for machine in found]
        machine = f"{found[0]['cores']} cores {found[0]['cpu']}, Linux {found[0]['kernel']}"
        lines += ["", f"{machine}; load before the runs {min(loads):.1f} to {max(loads):.1f}", ""]
    for (server, scenario), found in results.items():
        for result in found:
            lines += [f"- {server}, {scenario}: {failure}" for failure in result["failures"]]
    return "\n".join(lines)


def chart(results, options):
    """A picture of all runs, beside the table."""
    files = dict.fromkeys(result["path"] for runs in results.values() for result in runs)
    if files:
        subprocess.run([options.bench, "chart", "--out", options.out / "chart.svg", *files], check=True)


def install(servers):
    needs = {"ejabberd": [("ejabberd", "/usr/sbin/ejabberdctl")],
             "prosody": [("prosody", "/usr/bin/prosody"), ("lua-dbi-sqlite3", "/usr/share/doc/lua-dbi-sqlite3")]}
    missing = [package for s in servers for package, proof in needs.get(s, []) if not Path(proof).exists()]
    if not missing:
        return
    # Debian starts what it installs, unless this file forbids it.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update"], check=True, env=environment, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *missing], check=True, env=environment,
                       stdout=subprocess.DEVNULL)
    finally:
        if ours:
            policy.unlink()


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", default="target/release/rookery-bench", help="the driver")
    parser.add_argument("--rookery", help="the rookery binary; without it only the others run")
    parser.add_argument("--relay", help="the floor; by default rookery-relay beside the driver")
    parser.add_argument("--servers", default="rookery,ejabberd,prosody", help="which, with commas; also: relay, relay-plain")
    parser.add_argument("--only", help="scenarios, with commas")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--secs", type=int, default=10)
    parser.add_argument("--logins", type=int, default=2000)
    parser.add_argument("--offline", type=int, default=50, help="messages for each of 200 users")
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--members", type=int, default=100, help="of each room")
    parser.add_argument("--muc-rate", type=int, default=50, help="messages a second to all rooms together")
    parser.add_argument("--archive", type=int, default=1000, help="messages in each of 10 archives")
    parser.add_argument("--nice", type=int, default=0, help="for servers and driver alike; below 0 keeps other work away")
    parser.add_argument("--rest-rate", type=int, default=500, help="calls of the API a second")
    parser.add_argument("--with-failures", action="store_true", help="count runs with failures, too")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "rookery-bench")
    options = parser.parse_args(arguments)
    options.bench = str(Path(options.bench).resolve())
    options.relay = str(Path(options.relay or Path(options.bench).with_name("rookery-relay")).resolve())
    options.rookery = options.rookery and str(Path(options.rookery).resolve())
    options.users = max(options.connections, 300, options.rooms * options.members)
    return options


def main():
    options = options_of(sys.argv[1:])
    kinds = {kind.name: kind for kind in (Rookery, Ejabberd, Prosody, Relay, RelayPlain)}
    servers = [name for name in options.servers.split(",") if name != "rookery" or options.rookery]
    for name in servers:
        if name not in kinds:
            raise SystemExit(f"there is no server {name}; there are {', '.join(kinds)}")
    install(servers)
    # Servers and driver inherit this.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(options.nice)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = options.only and options.only.split(",")
    results = {}
    with tempfile.TemporaryDirectory(prefix="rookery-peers-") as directory:
        for number in range(options.rounds):
            out = options.out / f"round-{number + 1}"
            out.mkdir(exist_ok=True)
            for archive, group in scenarios(options):
                group = {name: arguments for name, arguments in group.items() if not wanted or name in wanted or name.split("-")[0] in wanted}
                for name in servers if group else []:
                    if set(group) <= set(kinds[name].without):
                        continue
                    server = kinds[name](directory, options, archive)
                    try:
                        server.start()
                        for scenario, arguments in group.items():
                            if scenario in server.without:
                                continue
                            result = run(server, scenario, arguments, out, options)
                            if result:
                                results.setdefault((name, scenario), []).append(result)
                            if result and scenario.startswith("max-"):
                                keep_best(results, name, number, result)
                    finally:
                        server.stop()
    text = table(results, servers, options)
    (options.out / "table.md").write_text(text + "\n")
    chart(results, options)
    print(f"\n{text}")


if __name__ == "__main__":
    main()
