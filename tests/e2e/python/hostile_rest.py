"""The REST API and HTTP in hostile hands. The codes are those of `tests/hostile.md`; who may make which call is a table in the tests
of `rest`. Run: python3 -m unittest -v hostile_rest
"""

import json
import socket
import unittest

import world
from bystanders import MIB, PATIENCE_SECS, Hostile
from hostile_rooms import Dialogs
from wire import login
from world import form, new_user, raw_http, rest, session

URLENCODED = "application/x-www-form-urlencoded"
NONE = "53aaa06f535c12cea9007496"


@world.needs_rest
class Tokens(Hostile):
    def test_r01_tokens_that_are_none(self):
        mine = session()
        for token in (mine[:-1], mine + "0", mine.upper() + "x", "0" * 40, "x" * 3_000, "é", "'; DROP", f"{mine},{mine}"):
            with self.subTest(token[:50]):
                answer = rest("GET", "/users.json", headers={"QB-Token": token.encode("utf-8").decode("latin-1")})
                self.assertEqual(answer.status, 401, answer)
        # Those that are no header at all.
        for value, statuses in ((b"a\x00b", (b"400",)), (b"x" * MIB, (b"431", b"400")), (b"a\rb", (b"400", b"401"))):
            got = raw_http(b"GET /users.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\nQB-Token: " + value + b"\r\n\r\n")
            self.assertIn(got[9:12], statuses, got[:200])
        two = raw_http(f"GET /session.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\nQB-Token: {mine}\r\nQB-Token: {'0' * 40}\r\n\r\n".encode())
        self.assertIn(two[9:12], (b"200", b"400", b"401"), two[:200])

    def test_r04_bodies_without_end_and_requests_in_requests(self):
        head = b"POST /session.json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for name, data in {
            "100 MB": head + b"Content-Length: 100000000\r\n\r\n" + b"[" * MIB,
            "100 MB in chunks": head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + b"[" * MIB + b"\r\n") * 8,
            "chunks of one byte": head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n[\r\n" * 400_000,
            "chunk extensions": head + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 4 * MIB,
            "trailers": head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 200_000,
        }.items():
            with self.subTest(name):
                got = raw_http(data, timeout=PATIENCE_SECS, until=lambda got: b"\r\n\r\n" in got)
                self.assertIn(got[9:12], (b"400", b"413", b"431", b""), got[:200])
                self.assertEqual(got.count(b"HTTP/1.1 "), 1 if got else 0)
                self.memory_is_bounded()
        # Where one server sees an end and another none, a request hides in a request. Here it is refused and the connection closed.
        hidden = b"GET /session.json HTTP/1.1\r\nHost: x\r\nX: hidden\r\n\r\n"
        for fields in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                       b"Transfer-Encoding: identity, chunked\r\n", b"Transfer-Encoding: chunked, chunked\r\n", b"Transfer-Encoding : chunked\r\n",
                       b"Transfer-Encoding:\x0bchunked\r\n", b"Content-Length: +5\r\n", b"Content-Length: 5, 6\r\n", b"Content-Length: 0x5\r\n", b"Content-Length: 5 \r\nContent-Length: 6\r\n"):
            with self.subTest(fields):
                got = raw_http(head + fields + b"\r\n0\r\n\r\n" + hidden, timeout=PATIENCE_SECS)
                self.assertIn(got[9:12], (b"400", b"501"), got[:200])
                self.assertEqual(got.count(b"HTTP/1.1 "), 1, got)

    def test_r04_requests_sent_ahead_take_their_turn(self):
        # As many as fit into what is read at once, behind one that takes its time: each is taken up after the answer before it.
        user = new_user("ahead")
        body = json.dumps(world.session_fields({"login": user.login, "password": "wrong-password"})).encode()
        first = b"POST /session.json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        for plain in (True, False):
            got = raw_http(first + b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 5_100 + b"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", plain=plain, timeout=PATIENCE_SECS)
            self.assertEqual((got.count(b"HTTP/1.1 401 "), got.count(b"HTTP/1.1 404 ")), (1, 5_101))

    def test_r04_paths_lead_nowhere_else(self):
        for path in ("/chat/Dialog/../../etc/passwd", "/chat/Dialog/%2e%2e/%2e%2e/admin/apps", "/upload/../../admin.token", "/upload/%2e%2e/%2e%2e/admin.token",
                     "//admin/apps", "/./admin/apps", "/upload/..\\..\\secret", "/admin/apps%00.json", "/ADMIN/APPS", "http://elsewhere.example/admin/apps", "/" + "a/" * 3_000):
            with self.subTest(path[:60]):
                got = raw_http(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                self.assertIn(got[9:12], (b"400", b"401", b"404", b"414"), got[:300])
                self.assertNotIn(b"root:", got)

    def test_h01_many_slow_requests_at_once(self):
        held = []
        for n in range(300):
            sock = socket.create_connection((world.HOST, world.HTTP_PORT), 10)
            sock.sendall(b"POST /session.json HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n" + (b"\r\n" if n % 2 else b"X: "))
            held.append(sock)
        for _ in range(5):
            for sock in held:
                try:
                    sock.sendall(b"x")
                except OSError:
                    pass
        self.assertEqual(rest("GET", "/nowhere.json").status, 404)
        self.memory_is_bounded()
        for sock in held:
            sock.close()

    def test_r04_readers_that_never_read(self):
        token = session()
        held = []
        for _ in range(50):
            sock = socket.create_connection((world.HOST, world.HTTP_PORT), 10)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.settimeout(1)
            try:
                for _ in range(50):
                    sock.sendall(f"GET /users.json?per_page=100 HTTP/1.1\r\nHost: x\r\nQB-Token: {token}\r\n\r\n".encode() * 100)
            except OSError:
                pass
            held.append(sock)
        self.memory_is_bounded()
        for sock in held:
            sock.close()


class Questions(Dialogs):
    def test_r02_operators_are_no_code(self):
        dialog, _ = self.group(self.member)
        for n in range(3):
            self.call(self.owner, "POST", "/chat/Message.json", body={"chat_dialog_id": dialog, "message": f"secret {n}"})
        foreign = self.call(self.stranger, "POST", "/chat/Dialog.json", body={"type": 2, "name": "elsewhere", "occupants_ids": [self.member.id]}).json["_id"]
        for query in ([("_id[$ne]", "")], [("sender_id[$where]", "sleep(1000)")], [("name[ctn]", "(a+)+$")], [("name[regex]", ".*")], [("type[or]", "1")],
                      [("_id[in]", foreign), ("_id[in]", dialog)], [("occupants_ids[nin]", "0")], [("data[class_name]", "Secret")], [("user_id[gte]", "-1")],
                      [("name[ctn]", "%")], [("_id[ne]", NONE)], [("updated_at[gt]", "0")], [("name[", "x")], [("name[ctn", "x")], [("[ctn]", "x")], [("name[][ctn]", "x")],
                      [("type[in][]", "1")] * 31, [("name[ctn]", "x" * 10_000)]):
            with self.subTest(str(query)[:60]):
                answer = self.call(self.owner, "GET", "/chat/Dialog.json", query=query)
                self.assertIn(answer.status, (200, 400, 422), answer)
                if answer.status == 200:
                    self.assertLessEqual({item["_id"] for item in answer.json["items"]}, {dialog})
        many = ",".join(str(n % 10) for n in range(100_000))
        for module in ("/chat/Dialog.json", f"/chat/Message.json?chat_dialog_id={dialog}"):
            answer = self.call(self.owner, "GET", module, data=form([("type[in]", many), ("sender_id[in]", many)]), content_type=URLENCODED)
            self.assertIn(answer.status, (400, 413, 422), answer)
        answer = self.call(self.stranger, "GET", "/chat/Message.json", query=[("chat_dialog_id[ne]", NONE)])
        self.assertEqual(answer.status, 422, answer)

    def test_r03_pages_have_an_end(self):
        dialog, _ = self.group(self.member)
        for n in range(3):
            self.call(self.owner, "POST", "/chat/Message.json", body={"chat_dialog_id": dialog, "message": f"m{n}"})
        for path in ("/chat/Dialog.json", f"/chat/Message.json?chat_dialog_id={dialog}", "/users.json"):
            for pair in ("limit=-1", "limit=1e18", "limit=99999999999999999999999", "limit=NaN", "limit=", "skip=-1", f"skip={2**63}", "skip=1e400", "count=abc", "count=1",
                         "sort_desc=password", "sort_asc=credentials", "sort_desc=", "sort_desc=_id,_id", "order=asc+string+password", "page=0", "page=-5", "per_page=1000000"):
                with self.subTest(path=path[:20], pair=pair):
                    answer = self.call(self.owner, "GET", path + ("&" if "?" in path else "?") + pair)
                    self.assertIn(answer.status, (200, 400, 422), answer)
                    if answer.status == 200 and "items" in answer.json:
                        items = answer.json["items"]
                        self.assertLessEqual(items["count"] if isinstance(items, dict) else len(items), 100)

    def test_r04_thousands_of_ids_in_one_call(self):
        dialog, _ = self.group(self.member)
        ids = ",".join([dialog] + [f"{n:024x}" for n in range(10_000)])
        for method, path in (("DELETE", f"/chat/Dialog/{ids}.json"), ("DELETE", f"/chat/Message/{ids}.json"), ("GET", f"/chat/Message/unread.json?chat_dialog_ids={ids}")):
            answer = self.call(self.owner, method, path)
            self.assertIn(answer.status, (400, 414, 422, 431), answer)
        for body in ({"dialogs_ids": ids.split(","), "users_ids": [self.stranger.id]}, {"dialogs_ids": [dialog], "users_ids": list(range(100_000))}):
            answer = self.call(self.owner, "POST", "/chat/Dialogs/add_occupants.json", body=body)
            self.assertIn(answer.status, (200, 400, 413, 422), str(answer)[:300])
        occupants = self.call(self.owner, "GET", "/chat/Dialog.json", query=[("_id", dialog)]).json["items"][0]["occupants_ids"]
        self.assertLessEqual(set(occupants), {self.owner.id, self.member.id, self.stranger.id})

    def test_r05_rights_in_dialogs(self):
        dialog, _ = self.group(self.member)
        private = self.private(self.owner, self.member)
        message = self.call(self.owner, "POST", "/chat/Message.json", body={"chat_dialog_id": dialog, "message": "mine"}).json["_id"]
        path = f"/chat/Dialog/{dialog}.json"
        for user, method, target, body, statuses in (
                (self.stranger, "PUT", path, {"push_all": {"occupants_ids": [self.stranger.id]}}, (403, 404)),
                (self.member, "PUT", path, {"pull_all": {"occupants_ids": [self.owner.id]}}, (403,)),
                (self.member, "DELETE", path + "?force=1", None, (403,)),
                (self.member, "PUT", f"/chat/Message/{message}.json", {"chat_dialog_id": dialog, "message": "changed"}, (403,)),
                (self.member, "DELETE", f"/chat/Message/{message}.json?force=1", None, (403, 404)),
                (self.owner, "POST", "/chat/Dialog.json", {"type": 3, "occupants_ids": [self.member.id, self.stranger.id]}, (422,)),
                (self.owner, "POST", "/chat/Dialog.json", {"type": 3, "occupants_ids": [self.owner.id]}, (422,)),
                (self.owner, "POST", "/chat/Dialog.json", {"type": 3, "occupants_ids": [987_654_321]}, (422,)),
                (self.owner, "POST", "/chat/Dialog.json", {"type": 2, "name": "x", "occupants_ids": [987_654_321]}, (422,)),
                (self.owner, "POST", "/chat/Dialog.json", {"type": 7, "name": "x", "occupants_ids": [self.member.id]}, (422,)),
                (self.owner, "PUT", f"/chat/Dialog/{private}.json", {"push_all": {"occupants_ids": [self.stranger.id]}}, (403, 422))):
            with self.subTest(method=method, body=str(body)):
                self.assertIn(self.call(user, method, target, body=body).status, statuses)
        mine = self.call(self.owner, "GET", "/chat/Dialog.json", query=[("_id", dialog)]).json["items"][0]
        self.assertEqual(sorted(mine["occupants_ids"]), sorted([self.owner.id, self.member.id]))
        self.assertEqual([item["message"] for item in self.history(self.owner, dialog)], ["mine"])

    def test_r06_parameters_that_name_what_is_the_servers(self):
        dialog, _ = self.group(self.member)
        names = ("_id", "sender_id", "read_ids", "delivered_ids", "created_at", "updated_at", "__proto__", "constructor", "$set", "user_id", "xmpp_room_jid")
        body = {"chat_dialog_id": dialog, "message": "named", **{name: "forged" for name in names}}
        answer = self.call(self.owner, "POST", "/chat/Message.json", body=body)
        self.assertEqual(answer.status, 201, answer)
        kept = self.history(self.owner, dialog)[0]
        self.assertEqual((kept["sender_id"], kept["chat_dialog_id"], kept["read_ids"]), (self.owner.id, dialog, [self.owner.id]))
        self.assertNotEqual(kept["_id"], "forged")
        for more in ({f"p{n}": "1" for n in range(10_000)}, {"big": "x" * MIB}, {"": "empty"}, {"a.b": "dot", "a\u0000b": "nul"}):
            answer = self.call(self.owner, "POST", "/chat/Message.json", body={"chat_dialog_id": dialog, "message": "many", **more})
            self.assertIn(answer.status, (201, 400, 413, 422), str(answer)[:300])
            answer = self.call(self.owner, "PUT", f"/chat/Dialog/{dialog}.json", body={"data": {"class_name": "Params", **more}})
            self.assertIn(answer.status, (200, 400, 413, 422), str(answer)[:300])
        for item in self.history(self.owner, dialog):
            self.assertLessEqual(len(json.dumps(item)), 300_000)
        self.memory_is_bounded()

    def test_r07_reading_is_not_undone_and_counts_stay_right(self):
        dialog, _ = self.group(self.member)
        ids = [self.call(self.owner, "POST", "/chat/Message.json", body={"chat_dialog_id": dialog, "message": f"m{n}"}).json["_id"] for n in range(4)]

        def unread(user=self.member):
            return self.call(user, "GET", "/chat/Message/unread.json", query=[("chat_dialog_ids", dialog)]).json[dialog]

        self.assertEqual(unread(), 4)
        self.history(self.member, dialog)
        self.assertEqual(unread(), 4, "mark_as_read=0 marks nothing")
        self.assertEqual(self.call(self.stranger, "PUT", "/chat/Message.json", body={"chat_dialog_id": dialog, "read": 1}).status, 403)
        self.assertEqual(unread(), 4)
        for body in ({"read": 1}, {"read": 0}, {"read": 1}):
            self.assertEqual(self.call(self.member, "PUT", f"/chat/Message/{ids[0]}.json", body={"chat_dialog_id": dialog, **body}).status, 200)
        self.assertEqual(unread(), 3)
        self.assertEqual(self.call(self.member, "DELETE", f"/chat/Message/{ids[1]}.json").status, 200)
        self.assertEqual(unread(), 2)
        self.assertEqual(self.call(self.owner, "DELETE", f"/chat/Message/{ids[2]}.json?force=1").status, 200)
        self.assertEqual(unread(), 1)
        self.assertEqual(self.call(self.member, "DELETE", f"/chat/Dialog/{dialog}.json").status, 200)
        self.assertEqual(unread(), 0, "who has left has nothing to read")


@world.needs_rest
class Uploads(Hostile):
    def test_uploads_larger_than_said_or_allowed(self):
        client = login(new_user("uploader"), available=True)
        service = f"upload.{world.DOMAIN}"

        def slot(size, name="a.bin"):
            return client.iq("get", f"<request xmlns='urn:xmpp:http:upload:0' filename='{name}' size='{size}'/>", to=service)

        for size in (0, -1, 10**12, "x", 2**63, 2**64):
            self.assertEqual(slot(size).get("type"), "error", size)
        path = slot(1_000).find(".//{urn:xmpp:http:upload:0}put").get("url").split("/upload/")[1]
        target = f"PUT /upload/{path} HTTP/1.1\r\nHost: x\r\n"
        for head in (f"Content-Length: {10**12}\r\n\r\n", "Content-Length: 1001\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"):
            got = raw_http((target + head).encode() + b"x" * MIB, timeout=PATIENCE_SECS, until=lambda got: b"\r\n\r\n" in got)
            self.assertIn(got[9:12], (b"400", b"411", b"413", b"501", b""), got[:200])
        held = []
        for _ in range(60):
            # Fifty may wait; asking for more is refused.
            answer = slot(60 * MIB)
            if answer.get("type") == "error":
                break
            sock = socket.create_connection((world.HOST, world.HTTP_PORT), 10)
            path = answer.find(".//{urn:xmpp:http:upload:0}put").get("url").split("/upload/")[1]
            sock.sendall(f"PUT /upload/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {60 * MIB}\r\n\r\n".encode() + b"x" * 200_000)
            held.append(sock)
        self.assertLess(len(held), 60)
        self.memory_is_bounded()
        for sock in held:
            sock.close()
        client.close()


if __name__ == "__main__":
    unittest.main()
