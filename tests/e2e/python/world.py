"""Where the server under test is, who may log in to it, and one HTTP client for all suites.

Everything comes from the environment; the Rust harness (`tests/src/server.rs`) sets it, by hand set the same names. With
ROOKERY_USERS ("101:secret,102:secret,...") accounts are taken from there and nobody is signed up over REST, so that
the suites of plain XMPP run against any XMPP server whose accounts are called `101-APP`, `102-APP` and so on.
"""

import hashlib
import hmac
import http.client
import itertools
import json
import os
import random
import socket
import ssl
import time
import unittest
import urllib.parse


def need(name):
    value = os.environ.get(name)
    if not value:
        raise SystemExit(f"{name} is not set: which server should be tested? (see tests/src/server.rs)")
    return value


HOST = os.environ.get("ROOKERY_HOST", "127.0.0.1")
DOMAIN = os.environ.get("ROOKERY_DOMAIN", "localhost")
XMPP_PORT = int(need("ROOKERY_XMPP_PORT"))
XMPPS_PORT = int(need("ROOKERY_XMPPS_PORT"))
WS_URL = os.environ.get("ROOKERY_WS_URL") or f"wss://{HOST}:{need('ROOKERY_WS_PORT')}/"
BOSH_URL = os.environ.get("ROOKERY_BOSH_URL") or f"https://{HOST}:{need('ROOKERY_BOSH_PORT')}/http-bind/"
HTTPS_PORT = int(os.environ.get("ROOKERY_HTTPS_PORT", 0))
HTTP_PORT = int(os.environ.get("ROOKERY_HTTP_PORT", 0))
APP_ID = int(need("ROOKERY_APP_ID"))
AUTH_KEY = os.environ.get("ROOKERY_AUTH_KEY", "")
AUTH_SECRET = os.environ.get("ROOKERY_AUTH_SECRET", "")
ACCOUNT_KEY = os.environ.get("ROOKERY_ACCOUNT_KEY", "")
# A second application on the same server, for what must not pass between the two.
APP2 = tuple(os.environ.get(f"ROOKERY_APP2_{part}", "") for part in ("ID", "AUTH_KEY", "AUTH_SECRET"))
# The process of the server, to look at its memory; absent when it runs elsewhere.
SERVER_PID = int(os.environ.get("ROOKERY_PID", 0))

XMPP_ONLY = bool(os.environ.get("ROOKERY_USERS"))
needs_rest = unittest.skipIf(XMPP_ONLY, "ROOKERY_USERS: no REST API here")
needs_two_apps = unittest.skipIf(not all(APP2), "ROOKERY_APP2_…: no second application given")


def tls_context():
    """For a server whose certificate is its own: encrypted, not verified. (The usual maker would load the authorities each time.)"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Answer:
    """One HTTP response. `body` is bytes; `json` parses it and says what it was if it is no JSON."""

    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise AssertionError(f"not JSON: {self!r}") from None

    def __repr__(self):
        return f"HTTP {self.status} {self.reason} {dict(self.headers)} {self.body[:500]!r}"


def form(pairs):
    """A list of (key, value) as `application/x-www-form-urlencoded`, brackets escaped as browsers do."""
    return urllib.parse.urlencode(pairs).encode()


def multipart(pairs, boundary="----rookery-e2e-boundary"):
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in pairs]
    return (f"multipart/form-data; boundary={boundary}", ("".join(parts) + f"--{boundary}--\r\n").encode())


def connection(plain=False, timeout=10):
    if plain:
        return http.client.HTTPConnection(HOST, HTTP_PORT, timeout=timeout)
    return http.client.HTTPSConnection(HOST, HTTPS_PORT, timeout=timeout, context=tls_context())


def rest(method, path, *, token=None, body=None, data=None, content_type=None, headers=None, query=None, over=None):
    """One call. `body` goes as JSON; `data` (bytes) goes as it is, with `content_type`; `query` is a list of pairs."""
    send = dict(headers or {})
    if body is not None:
        data, content_type = json.dumps(body).encode(), "application/json"
    if content_type:
        send["Content-Type"] = content_type
    if token:
        send["QB-Token"] = token
    if query:
        path += "?" + urllib.parse.urlencode(query)
    conn = over or connection()
    conn.request(method, path, body=data, headers=send)
    response = conn.getresponse()
    answer = Answer(response.status, response.reason, response.headers, response.read())
    if over is None:
        conn.close()
    return answer


def raw_http(data, *, plain=False, timeout=10, until=None, shut=False):
    """Bytes to the HTTP(S) port, everything that comes back until the server closes or `until(bytes)` is satisfied."""
    sock = socket.create_connection((HOST, HTTP_PORT if plain else HTTPS_PORT), timeout)
    if not plain:
        sock = tls_context().wrap_socket(sock, server_hostname=DOMAIN)
    with sock:
        try:
            sock.sendall(data)
            if shut:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass  # It may answer and close before it has read everything.
        got = b""
        while not (until and until(got)):
            try:
                part = sock.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                break
            if not part:
                break
            got += part
        return got


def session_fields(user=None, app=None, algorithm="sha1", **changes):
    """The fields of `POST /session`, signed (wire spec §3); `changes` replace or add before the signature."""
    app_id, key, secret = app or (APP_ID, AUTH_KEY, AUTH_SECRET)
    fields = {
        "application_id": int(app_id),
        "auth_key": key,
        "nonce": random.SystemRandom().randrange(2**31),
        "timestamp": int(time.time()),
    }
    fields.update(changes)
    if user:
        fields["user"] = user
    flat = [(key, value) for key, value in fields.items() if not isinstance(value, dict)]
    flat += [(f"{key}[{sub}]", value) for key, inner in fields.items() if isinstance(inner, dict) for sub, value in inner.items()]
    text = "&".join(sorted(f"{key}={value}" for key, value in flat))
    fields["signature"] = hmac.new(secret.encode(), text.encode(), algorithm).hexdigest()
    return fields


def flattened(fields):
    """Nested fields as pairs with bracket keys."""
    for key, value in fields.items():
        if isinstance(value, dict):
            yield from ((f"{key}[{sub}]", inner) for sub, inner in value.items())
        else:
            yield key, value


def session(user=None, app=None):
    """The token of a new application session, or of a user session with `user` = {login, password}."""
    answer = rest("POST", "/session.json", body=session_fields(user, app))
    assert answer.status == 201, answer
    return answer.json["session"]["token"]


_serial = itertools.count(1)
_given = [pair.split(":", 1) for pair in os.environ.get("ROOKERY_USERS", "").split(",") if pair]


def fresh(stem):
    """A name no other test, process or earlier run has taken; letters and digits only."""
    return f"{stem}{os.getpid()}x{int(time.time() * 1000):x}x{next(_serial)}"


class User:
    """An account: id, login, password, and its addresses."""

    def __init__(self, id, password, login=None, app_id=None):
        self.id, self.password, self.login = int(id), password, login
        self.node = f"{self.id}-{app_id or APP_ID}"
        self.bare = f"{self.node}@{DOMAIN}"

    def session(self):
        return session({"login": self.login, "password": self.password})


def new_user(stem="user", app=None, **fields):
    if XMPP_ONLY:
        return User(*_given.pop(0))
    login, password = fresh(stem), "Secret1" + hashlib.sha256(os.urandom(8)).hexdigest()[:12]
    body = {"user": {"login": login, "password": password, **fields}}
    answer = rest("POST", "/users.json", token=session(app=app), body=body)
    assert answer.status == 201, answer
    return User(answer.json["user"]["id"], password, login, app and app[0])


def server_rss():
    """Resident memory of the server in bytes, or None when its process is not known."""
    if not SERVER_PID:
        return None
    with open(f"/proc/{SERVER_PID}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
