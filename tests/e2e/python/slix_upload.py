"""Files over HTTP (XEP-0363): slixmpp finds the service and brings files with aiohttp, curl brings and fetches them by hand.

Run: SSL_CERT_FILE=.../tls/cert.pem python3 -m unittest -v slix_upload
"""

import asyncio
import hashlib
import io
import os
import pathlib
import subprocess
import tempfile
import urllib.parse

from slixmpp.exceptions import IqError

import slix
import world
from world import DOMAIN, new_user

SERVICE = f"upload.{DOMAIN}"
MIB = 1 << 20
# Where the server keeps what it was brought, when that is on this machine.
UPLOADS = os.environ.get("ROOKERY_UPLOADS")
REQUEST_SECS = int(os.environ.get("ROOKERY_REQUEST_SECS", 30))


def curl(*arguments, data=None):
    """The status, the headers by their names in lower case, and the body."""
    with tempfile.NamedTemporaryFile() as head:
        command = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "60", "--dump-header", head.name, *arguments]
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        lines = head.read().decode("latin-1").strip().split("\r\n\r\n")[-1].splitlines()
    assert lines, done
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), {name.lower(): value for name, value in headers.items()}, done.stdout


def put(url, data, *arguments):
    return curl("--upload-file", "-", "-H", f"Content-Length: {len(data)}", "-H", "Transfer-Encoding:", *arguments, url, data=data)[0]


def forget_peak():
    """From here on `peak` is about what comes. proc(5), `clear_refs`."""
    if world.SERVER_PID:
        pathlib.Path(f"/proc/{world.SERVER_PID}/clear_refs").write_text("5", encoding="ascii")


def peak():
    """The most memory that the server has had, in bytes."""
    if not world.SERVER_PID:
        return None
    status = pathlib.Path(f"/proc/{world.SERVER_PID}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def unfinished():
    return sorted(os.listdir(pathlib.Path(UPLOADS) / "unfinished"))


class Upload(slix.Suite):
    async def uploader(self, user=None):
        client = await self.client(user or new_user("romeo"))
        client.register_plugin("xep_0363")
        return client

    async def slot(self, client, name, data, content_type=None, size=None):
        answer = await client.plugin["xep_0363"].request_slot(SERVICE, name, len(data) if size is None else size, content_type, timeout=8)
        slot = answer["http_upload_slot"]
        return slot["put"]["url"], slot["get"]["url"]

    async def test_slixmpp_finds_the_service_and_brings_a_file(self):
        client = await self.uploader()
        info = await client.plugin["xep_0363"].find_upload_service(DOMAIN, timeout=8)
        self.assertEqual(info["from"], SERVICE)
        picture = os.urandom(3 * MIB + 17)
        url = await client.plugin["xep_0363"].upload_file("très cool.png", input_file=io.BytesIO(picture), domain=DOMAIN, timeout=8)
        self.assertTrue(url.endswith("/tr%C3%A8s%20cool.png"), url)
        status, headers, body = curl(url)
        self.assertEqual((status, headers["content-type"]), (200, "image/png"))
        self.assertEqual(hashlib.sha256(body).digest(), hashlib.sha256(picture).digest())
        self.assertEqual(headers["access-control-allow-origin"], "*")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertIn("sandbox", headers["content-security-policy"])
        self.assertTrue(headers["content-disposition"].startswith("inline;"), headers)

    async def test_a_large_file_is_not_held_in_memory(self):
        client = await self.uploader()
        data = os.urandom(MIB) * 60
        put_url, get_url = await self.slot(client, "large.bin", data)
        before = world.server_rss()
        forget_peak()
        self.assertEqual(await asyncio.to_thread(put, put_url, data), 201)
        brought = peak()
        self.assertEqual((await asyncio.to_thread(curl, get_url))[2], data)
        if before:
            # What threads and the allocator take when they first work; a file that was held whole would be twice as much.
            self.assertLess(brought - before, 20 * MIB)
            self.assertLess(peak() - before, 30 * MIB)

    async def test_a_slot_takes_its_file_once_and_nothing_else(self):
        client = await self.uploader()
        put_url, get_url = await self.slot(client, "a.txt", b"hello", "text/plain")
        kind = ("-H", "Content-Type: text/plain")
        self.assertEqual(curl(get_url)[0], 404)
        self.assertEqual(put(get_url, b"hello", *kind), 404)
        self.assertEqual(put(put_url[:-1] + ("0" if put_url[-1] != "0" else "1"), b"hello", *kind), 404)
        self.assertEqual(put(put_url.replace("a.txt", "b.txt"), b"hello", *kind), 404)
        self.assertEqual(put(put_url, b"hello!", *kind), 413)
        self.assertEqual(put(put_url, b"hell", *kind), 400)
        self.assertEqual(put(put_url, b"hello", "-H", "Content-Type: text/html"), 415)
        self.assertEqual(curl("--upload-file", "-", "-H", "Transfer-Encoding: chunked", put_url, data=b"hello")[0], 411)
        self.assertEqual(put(put_url, b"hello", *kind), 201)
        self.assertEqual(put(put_url, b"other", *kind), 409)
        self.assertEqual(curl(get_url)[2], b"hello")

    async def test_expecting_clients_are_told_to_go_on_or_not_to(self):
        client = await self.uploader()
        put_url, get_url = await self.slot(client, "a", b"hello")
        self.assertEqual(put(put_url.rsplit("-", 1)[0] + "-" + "0" * 32, b"hello", "-H", "Expect: 100-continue"), 404)
        self.assertEqual(put(put_url, b"hello", "-H", "Expect: 100-continue"), 201)
        self.assertEqual(curl(get_url)[2], b"hello")

    async def test_parts_heads_and_what_browsers_ask_first(self):
        client = await self.uploader()
        put_url, get_url = await self.slot(client, "a", b"0123456789")
        origin = ("-H", "Origin: https://web.example", "-H", "Access-Control-Request-Method: PUT", "-H", "Access-Control-Request-Headers: content-type")
        status, headers, _ = curl("-X", "OPTIONS", *origin, put_url)
        self.assertEqual((status, headers["access-control-allow-origin"], headers["access-control-allow-headers"]), (200, "*", "content-type"))
        self.assertIn("PUT", headers["access-control-allow-methods"])
        self.assertEqual(put(put_url, b"0123456789"), 201)
        status, headers, body = curl("--head", get_url)
        self.assertEqual((status, headers["content-length"]), (200, "10"))
        status, headers, body = curl("--range", "2-4", get_url)
        self.assertEqual((status, headers["content-range"], body), (206, "bytes 2-4/10", b"234"))
        self.assertEqual(curl("--range", "10-", get_url)[0], 416)
        self.assertEqual(curl("-H", f"If-None-Match: {headers['etag']}", get_url)[0], 304)
        # Several on one connection.
        with tempfile.NamedTemporaryFile() as other:
            self.assertEqual(curl(get_url, "--next", "--silent", "--insecure", "--output", other.name, get_url)[2], b"0123456789")
            self.assertEqual(other.read(), b"0123456789")
        self.assertEqual(curl("-X", "DELETE", get_url)[0], 405)

    async def test_a_page_is_saved_and_not_shown(self):
        client = await self.uploader()
        for name, kind in (("a.html", "text/html"), ("a.svg", "image/svg+xml"), ("a.png", "text/html")):
            page = b"<script>alert(1)</script>"
            put_url, get_url = await self.slot(client, name, page, kind)
            self.assertEqual(put(put_url, page, "-H", f"Content-Type: {kind}"), 201)
            headers = curl(get_url)[1]
            self.assertTrue(headers["content-disposition"].startswith("attachment;"), headers)
            self.assertIn("default-src 'none'", headers["content-security-policy"])

    async def test_names_lead_nowhere_else(self):
        client = await self.uploader()
        put_url, get_url = await self.slot(client, "../../../etc/passwd", b"x")
        self.assertTrue(get_url.endswith("/passwd"), get_url)
        self.assertEqual(put(put_url, b"x"), 201)
        base = get_url[: get_url.index("/upload/") + len("/upload/")]
        for path in ("", "..", "../store/CURRENT", "%2e%2e/store/CURRENT", "..%2fstore%2fCURRENT", "unfinished/x", f"{'0' * 32}/a%00"):
            self.assertIn(curl("--path-as-is", base + path)[0], (400, 404), path)

    async def test_what_is_too_much_is_refused_with_when_to_come_again(self):
        client = await self.uploader()
        with self.assertRaises(IqError) as refused:
            await self.slot(client, "a", b"", size=64 * MIB + 1)
        self.assertEqual(refused.exception.iq["error"]["condition"], "not-acceptable")
        xml = str(refused.exception.iq)
        self.assertIn(f"<max-file-size>{64 * MIB}</max-file-size>", xml)
        for _ in range(2):
            await self.slot(client, "a", b"", size=64 * MIB)
        with self.assertRaises(IqError) as refused:
            await self.slot(client, "a", b"", size=1)
        self.assertEqual(refused.exception.iq["error"]["condition"], "resource-constraint")
        self.assertIn("<retry ", str(refused.exception.iq))

    async def test_an_upload_that_breaks_off_or_stalls_leaves_nothing(self):
        client = await self.uploader()
        data = os.urandom(300_000)
        put_url, get_url = await self.slot(client, "a", data)
        target = urllib.parse.urlsplit(put_url)
        head = f"PUT {target.path}?{target.query} HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        # Cut off, and silent for longer than a request and these bytes may take.
        for sent, options in ((200_000, {"shut": True}), (20_000, {"timeout": REQUEST_SECS + 30})):
            answer = await asyncio.to_thread(world.raw_http, head + data[:sent], plain=True, **options)
            self.assertIn(answer[:13], (b"", b"HTTP/1.1 400 ", b"HTTP/1.1 408 "))
            self.assertEqual(curl(get_url)[0], 404)
            if UPLOADS:
                for _ in range(100):
                    if not unfinished():
                        break
                    await asyncio.sleep(0.05)
                self.assertEqual(unfinished(), [])
        self.assertEqual(put(put_url, data), 201, "the slot is still there")
        self.assertEqual(curl(get_url)[2], data)
