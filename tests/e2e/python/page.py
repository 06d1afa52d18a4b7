"""The product page with curl: every request it shows, as it shows it, and a case for each row of its tables.

The commands are the page's own but for ids, tokens and the address. Run: python3 -m unittest -v page
"""

import json
import subprocess
import time
import unittest

import world
from world import new_user

API = f"https://{world.HOST}:{world.HTTPS_PORT}"
NO_DIALOG = "23aabe15e4b077ddd43e7fd1"
JSON = ("-H", "Content-Type: application/json")


def curl(*arguments):
    """Runs curl; the status, and the body as JSON if it is any."""
    command = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "10", "--globoff", "--write-out", "\n%{http_code}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stderr}")
    body, status = done.stdout.rsplit("\n", 1)
    return int(status), json.loads(body) if body.strip() else None


class Person:
    """A user with a session, who calls the API."""

    def __init__(self, stem, full_name):
        self.user = new_user(stem, full_name=full_name)
        self.id = self.user.id
        self.token = self.user.session()

    def curl(self, method, path, *arguments):
        return curl("-X", method, "-H", f"QB-Token: {self.token}", *arguments, f"{API}{path}")


class Page(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.bob, cls.sam, cls.garry = Person("bob", "Bob Bobson"), Person("sam", "Sam Samson"), Person("garry", "Garry Bones")

    def call(self, who, method, path, *arguments, status=200):
        got, body = who.curl(method, path, *arguments)
        self.assertEqual(got, status, f"{method} {path} {arguments}: {body}")
        return body

    def group(self, **fields):
        wish = {"type": 2, "name": "Chat with Bob, Sam, Garry", "occupants_ids": f"{self.sam.id}, {self.garry.id}", **fields}
        return self.call(self.bob, "POST", "/chat/Dialog.json", *JSON, "-d", json.dumps(wish), status=201)

    def message(self, dialog, text, who=None, **fields):
        wish = json.dumps({"chat_dialog_id": dialog, "message": text, **fields})
        return self.call(who or self.bob, "POST", "/chat/Message.json", *JSON, "-d", wish, status=201)


@world.needs_rest
class CreateDialog(Page):
    def test_the_example(self):
        made = self.group()
        self.assertRegex(made["_id"], "^[0-9a-f]{24}$")
        self.assertRegex(made["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        known = {"_id": made["_id"], "created_at": made["created_at"], "updated_at": made["updated_at"]}
        self.assertEqual(made, known | {
            "last_message": None, "last_message_date_sent": None, "last_message_id": None, "last_message_user_id": None,
            "name": "Chat with Bob, Sam, Garry", "photo": None, "type": 2, "user_id": self.bob.id,
            "occupants_ids": sorted([self.bob.id, self.sam.id, self.garry.id]), "unread_messages_count": 0,
            "xmpp_room_jid": f"{world.APP_ID}_{made['_id']}@muc.{world.DOMAIN}",
        })

    def test_each_type(self):
        for kind, fields in (
            (1, {"name": "Public"}),
            (2, {"name": "Group", "occupants_ids": f"{self.sam.id}"}),
            (3, {"occupants_ids": f"{self.sam.id}"}),
        ):
            pairs = [word for key, value in {"type": kind, **fields}.items() for word in ("--data-urlencode", f"{key}={value}")]
            made = self.call(self.bob, "POST", "/chat/Dialog.json", *pairs, status=201)
            self.assertEqual((made["type"], made["xmpp_room_jid"] is None), (kind, kind == 3))
            self.assertEqual(made["name"], fields.get("name", "Sam Samson"))

    def test_what_is_required(self):
        for wish in ({"name": "no type", "occupants_ids": f"{self.sam.id}"}, {"type": 2, "occupants_ids": f"{self.sam.id}"},
                     {"type": 1}, {"type": 2, "name": "alone"}, {"type": 3}, {"type": 4, "name": "x"}):
            body = self.call(self.bob, "POST", "/chat/Dialog.json", *JSON, "-d", json.dumps(wish), status=422)
            self.assertIsInstance(body["errors"], list)

    def test_name_and_photo_are_ignored_for_private(self):
        made = self.call(self.bob, "POST", "/chat/Dialog.json", "-d", f"type=3&name=Mine&photo=67834&occupants_ids={self.garry.id}", status=201)
        self.assertEqual((made["name"], made["photo"]), ("Garry Bones", None))
        self.assertEqual(self.group(photo="67834")["photo"], "67834")

    def test_custom_parameters(self):
        made = self.group(data={"class_name": "CoolDialog", "category": "friends"})
        self.assertEqual(made["data"], {"class_name": "CoolDialog", "category": "friends"})
        # The example as it is printed, which lacks a brace, and is no JSON.
        printed = '{"type": 2, "name": "Chat with Bob, Sam, Garry", "occupants_ids": "55,678,22", "data" : { "class_name" : "CoolDialog", "category" : "friends" }'
        body = self.call(self.bob, "POST", "/chat/Dialog.json", *JSON, "-d", printed, status=400)
        self.assertIn("errors", body)
        # With curl's -d on a GET the filter is in the body.
        found = self.call(self.sam, "GET", "/chat/Dialog.json", "-d", "data[class_name]=CoolDialog&data[category]=friends")
        self.assertIn(made["_id"], [dialog["_id"] for dialog in found["items"]])
        found = self.call(self.sam, "GET", "/chat/Dialog.json", "-d", "data[class_name]=CoolDialog&data[category]=foes")
        self.assertEqual(found["items"], [])
        new = ("-d", "data[class_name]=CoolDialog&data[category]=foes&data[rank]=3")
        changed = self.call(self.bob, "PUT", f"/chat/Dialog/{made['_id']}.json", *new)
        self.assertEqual(changed["data"], {"class_name": "CoolDialog", "category": "foes", "rank": "3"})


@world.needs_rest
class RetrieveDialogs(Page):
    def setUp(self):
        self.viewer = Person("viewer", "Viewer")
        self.made = []
        for number, name in enumerate(["alpha", "beta", "gamma"]):
            fields = {"type": 2, "name": name, "occupants_ids": [self.viewer.id]}
            dialog = self.call(self.bob, "POST", "/chat/Dialog.json", *JSON, "-d", json.dumps(fields), status=201)
            self.made.append(dialog["_id"])
            self.message(dialog["_id"], f"last {number}")
        private = json.dumps({"type": 3, "occupants_ids": [self.viewer.id]})
        self.made.append(self.call(self.bob, "POST", "/chat/Dialog.json", *JSON, "-d", private, status=201)["_id"])

    def found(self, query):
        items = self.call(self.viewer, "GET", f"/chat/Dialog.json?{query}")["items"]
        return [self.made.index(dialog["_id"]) for dialog in items if dialog["_id"] in self.made]

    def test_the_example(self):
        answer = self.call(self.viewer, "GET", "/chat/Dialog.json")
        self.assertEqual((answer["limit"], answer["skip"]), (100, 0))
        first = next(dialog for dialog in answer["items"] if dialog["_id"] == self.made[0])
        shown = {key: first[key] for key in ("last_message", "last_message_user_id", "name", "photo", "occupants_ids", "type", "unread_messages_count")}
        self.assertEqual(shown, {
            "last_message": "last 0", "last_message_user_id": self.bob.id, "name": "alpha", "photo": None,
            "occupants_ids": sorted([self.bob.id, self.viewer.id]), "type": 2, "unread_messages_count": 1,
        })
        self.assertAlmostEqual(first["last_message_date_sent"], time.time(), delta=60)

    def test_each_operator(self):
        one, two, three, private = self.made
        now = int(time.time())
        for query, expected in (
            (f"_id={one}", [0]), ("type=3", [3]), ("name=beta", [1]),
            (f"_id[in]={one},{three}", [0, 2]), (f"_id[nin]={one},{three}", [1, 3]), (f"_id[ne]={one}", [1, 2, 3]),
            ("type[in]=2,3", [0, 1, 2, 3]), ("type[lt]=3", [0, 1, 2]), ("type[lte]=3&name[ctn]=a", [0, 1, 2]), ("type[gt]=2", [3]),
            ("type[gte]=3", [3]), ("name[ctn]=amm", [2]), ("name[ne]=beta&type=2", [0, 2]), ("name[in]=alpha,gamma", [0, 2]),
            (f"last_message_date_sent[lte]={now + 60}", [0, 1, 2]), (f"last_message_date_sent[gt]={now + 60}", []),
            (f"created_at[lt]={now + 60}.5", [0, 1, 2, 3]), (f"created_at[gte]={now + 60}", []),
            (f"updated_at[gt]={now - 600}", [0, 1, 2, 3]), (f"updated_at[lt]={now - 600}", []),
            (f"occupants_ids[all]={self.bob.id},{self.viewer.id}", [0, 1, 2, 3]), (f"occupants_ids[all]={self.sam.id}", []),
        ):
            with self.subTest(query):
                self.assertEqual(sorted(self.found(query)), expected)
        body = self.call(self.viewer, "GET", "/chat/Dialog.json?type[like]=2", status=422)
        self.assertIn("like", body["errors"][0])

    def test_pages_counts_and_order(self):
        self.assertEqual(self.found("type=2&sort_asc=name&limit=2"), [0, 1])
        self.assertEqual(self.found("type=2&sort_asc=name&limit=2&skip=2"), [2])
        self.assertEqual(self.found("type=2&sort_desc=name&skip=1"), [1, 0])
        self.assertEqual(self.call(self.viewer, "GET", "/chat/Dialog.json?type=2&count=1"), {"items": {"count": 3}})
        dates = [dialog["last_message_date_sent"] for dialog in self.call(self.viewer, "GET", "/chat/Dialog.json?sort_desc=last_message_date_sent&type=2")["items"]]
        self.assertEqual(dates, sorted(dates, reverse=True))


@world.needs_rest
class UpdateDialog(Page):
    def test_the_example(self):
        made = self.group()
        wish = json.dumps({"name": "Chat with Garry and John", "pull_all": {"occupants_ids": [self.sam.id]}})
        changed = self.call(self.bob, "PUT", f"/chat/Dialog/{made['_id']}.json", *JSON, "-d", wish)
        self.assertEqual(changed["name"], "Chat with Garry and John")
        self.assertEqual(changed["occupants_ids"], sorted([self.bob.id, self.garry.id]))
        self.assertEqual({**changed, "name": None, "occupants_ids": None, "updated_at": None},
                         {**made, "name": None, "occupants_ids": None, "updated_at": None})

    def test_each_field_as_the_table_writes_it(self):
        others = [Person("one", "One"), Person("two", "Two")]
        path = f"/chat/Dialog/{self.group()['_id']}.json"
        ids = ",".join(str(other.id) for other in others)
        pushed = self.call(self.garry, "PUT", path, "-d", f"push_all[occupants_ids][]={ids}")
        self.assertTrue({other.id for other in others} <= set(pushed["occupants_ids"]))
        pulled = self.call(self.bob, "PUT", path, "-d", f"pull_all[occupants_ids][]={ids}")
        self.assertFalse({other.id for other in others} & set(pulled["occupants_ids"]))
        self.assertEqual(self.call(self.garry, "PUT", path, "-d", "name=Chat with Garry and John")["name"], "Chat with Garry and John")
        self.assertEqual(self.call(self.garry, "PUT", path, "-d", "photo=674")["photo"], "674")

    def test_who_may_do_what(self):
        path = f"/chat/Dialog/{self.group()['_id']}.json"
        self.call(self.sam, "PUT", path, "-d", f"pull_all[occupants_ids][]={self.garry.id}", status=403)
        left = self.call(self.sam, "PUT", path, "-d", f"pull_all[occupants_ids][]={self.sam.id}")
        self.assertNotIn(self.sam.id, left["occupants_ids"])
        self.call(self.sam, "PUT", path, "-d", "name=mine", status=403)
        public = self.call(self.bob, "POST", "/chat/Dialog.json", "-d", "type=1&name=Square", status=201)["_id"]
        self.call(self.sam, "PUT", f"/chat/Dialog/{public}.json", "-d", "name=mine", status=403)
        self.assertEqual(self.call(self.bob, "PUT", f"/chat/Dialog/{public}.json", "-d", "name=Plaza")["name"], "Plaza")
        self.call(self.bob, "PUT", f"/chat/Dialog/{NO_DIALOG}.json", "-d", "name=x", status=404)


@world.needs_rest
class DeleteDialog(Page):
    def test_one(self):
        made = self.group()["_id"]
        self.assertIsNone(self.call(self.sam, "DELETE", f"/chat/Dialog/{made}.json", *JSON))
        self.assertEqual(self.call(self.sam, "GET", f"/chat/Dialog.json?_id={made}")["items"], [])
        self.assertEqual(len(self.call(self.garry, "GET", f"/chat/Dialog.json?_id={made}")["items"]), 1)

    def test_several_as_in_the_example(self):
        made = self.group()["_id"]
        lists = self.call(self.sam, "DELETE", f"/chat/Dialog/{made},{NO_DIALOG}.json", *JSON)
        self.assertEqual(lists, {"SuccessfullyDeleted": {"ids": [made]}, "WrongPermissions": {"ids": []}, "NotFound": {"ids": [NO_DIALOG]}})

    def test_for_all_by_the_owner_only(self):
        made = self.group()["_id"]
        self.call(self.sam, "DELETE", f"/chat/Dialog/{made}.json?force=1", status=403)
        self.call(self.bob, "DELETE", f"/chat/Dialog/{made}.json?force=1")
        self.call(self.garry, "GET", f"/chat/Message.json?chat_dialog_id={made}", status=404)


@world.needs_rest
class Notifications(Page):
    def test_the_examples(self):
        path = f"/chat/Dialog/{self.group()['_id']}/notifications.json"
        self.assertEqual(self.call(self.sam, "GET", path, *JSON), {"notifications": {"enabled": 1}})
        self.assertEqual(self.call(self.sam, "PUT", path, *JSON, "-d", '{"enabled":"0"}'), {"notifications": {"enabled": 0}})
        self.assertEqual(self.call(self.sam, "GET", path, *JSON), {"notifications": {"enabled": 0}})
        self.assertEqual(self.call(self.garry, "GET", path), {"notifications": {"enabled": 1}})


@world.needs_rest
class RetrieveMessages(Page):
    def setUp(self):
        self.dialog = self.group()["_id"]
        self.sent = [
            self.message(self.dialog, "hello"),
            self.message(self.dialog, "a photo", attachments={"0": {"type": "image", "id": "47863"}}),
            self.message(self.dialog, "and goodbye", who=self.garry),
        ]
        self.ids = [message["_id"] for message in self.sent]

    def found(self, query, who=None):
        items = self.call(who or self.sam, "GET", f"/chat/Message.json?chat_dialog_id={self.dialog}&{query}")["items"]
        return [self.ids.index(message["_id"]) for message in items]

    def test_the_example_and_that_it_marks_as_read(self):
        self.assertEqual(self.found("mark_as_read=0"), [0, 1, 2])
        unread = self.call(self.sam, "GET", f"/chat/Message/unread.json?chat_dialog_ids={self.dialog}")
        self.assertEqual(unread[self.dialog], 3)
        answer = self.call(self.sam, "GET", f"/chat/Message.json?chat_dialog_id={self.dialog}")
        self.assertEqual((answer["skip"], answer["limit"]), (0, 100))
        first = answer["items"][0]
        readers = sorted([self.bob.id, self.sam.id])
        self.assertEqual({**first, "updated_at": None, "created_at": None}, {
            "_id": self.ids[0], "created_at": None, "updated_at": None, "attachments": [], "read_ids": readers,
            "delivered_ids": readers, "chat_dialog_id": self.dialog, "date_sent": self.sent[0]["date_sent"], "message": "hello",
            "recipient_id": 0, "sender_id": self.bob.id, "read": 0,
        })
        unread = self.call(self.sam, "GET", f"/chat/Message/unread.json?chat_dialog_ids={self.dialog}")
        self.assertEqual(unread[self.dialog], 0)

    def test_each_operator(self):
        bob, garry, now = self.bob.id, self.garry.id, int(time.time())
        for query, expected in (
            (f"_id={self.ids[1]}", [1]), ("message=hello", [0]), (f"sender_id={garry}", [2]), (f"sender_id[in]={bob},{garry}", [0, 1, 2]),
            (f"sender_id[nin]={bob}", [2]), (f"sender_id[ne]={bob}", [2]), (f"sender_id[or]={bob},{garry}", [0, 1, 2]),
            ("message[ctn]=good", [2]), ("message[or]=hello,a photo".replace(" ", "%20"), [0, 1]), ("attachments.type=image", [1]),
            ("attachments.type[in]=image,video", [1]), ("recipient_id=0", [0, 1, 2]), (f"_id[in]={self.ids[0]},{self.ids[2]}", [0, 2]),
            (f"date_sent[lte]={now + 60}", [0, 1, 2]), (f"date_sent[gt]={now + 60}", []), (f"date_sent[gte]={now - 600}", [0, 1, 2]),
            (f"date_sent[lt]={now - 600}", []), (f"updated_at[gt]={now - 600}", [0, 1, 2]), (f"_id[all]={self.ids[0]}", [0]),
        ):
            with self.subTest(query):
                self.assertEqual(self.found(f"mark_as_read=0&{query}"), expected)
        body = self.call(self.sam, "GET", f"/chat/Message.json?chat_dialog_id={self.dialog}&date_sent[near]=1", status=422)
        self.assertIn("near", body["errors"][0])

    def test_pages_counts_and_order(self):
        self.assertEqual(self.found("limit=2"), [0, 1])
        self.assertEqual(self.found("limit=2&skip=2"), [2])
        self.assertEqual(self.found("sort_desc=date_sent"), [2, 1, 0])
        self.assertEqual(self.found("sort_asc=date_sent&skip=1"), [1, 2])
        count = self.call(self.sam, "GET", f"/chat/Message.json?chat_dialog_id={self.dialog}&count=1")
        self.assertEqual(count, {"items": {"count": 3}})

    def test_only_who_is_in_it_or_if_it_is_public(self):
        stranger = Person("stranger", "Stranger")
        self.call(stranger, "GET", f"/chat/Message.json?chat_dialog_id={self.dialog}", status=403)
        public = self.call(self.bob, "POST", "/chat/Dialog.json", "-d", "type=1&name=Square", status=201)["_id"]
        self.message(public, "for all")
        items = self.call(stranger, "GET", f"/chat/Message.json?chat_dialog_id={public}")["items"]
        self.assertEqual([message["message"] for message in items], ["for all"])


@world.needs_rest
class Unread(Page):
    def test_the_example(self):
        reader = Person("reader", "Reader")
        one, two = (self.group(occupants_ids=[reader.id])["_id"] for _ in range(2))
        for text in "abc":
            self.message(one, text)
        counts = self.call(reader, "GET", f"/chat/Message/unread.json?chat_dialog_ids={one},{two}")
        self.assertEqual(counts, {"total": 3, one: 3, two: 0})
        self.assertEqual(self.call(reader, "GET", "/chat/Message/unread.json"), {"total": 3})


@world.needs_rest
class CreateMessage(Page):
    def test_the_example(self):
        dialog = self.group()["_id"]
        wish = ('{"chat_dialog_id": "%s", "message": "hello!", "recipient_id": 343,"attachments": {"0": {"type": "image", "id": "47863"}, '
                '"1": {"type": "image", "id": "47863"} }, "age": "25"}' % dialog)
        made = self.call(self.bob, "POST", "/chat/Message.json", *JSON, "-d", wish, status=201)
        self.assertEqual({**made, "_id": None, "created_at": None, "updated_at": None, "date_sent": None}, {
            "_id": None, "created_at": None, "updated_at": None, "date_sent": None, "age": "25",
            "attachments": [{"id": "47863", "type": "image"}, {"id": "47863", "type": "image"}], "read_ids": [self.bob.id],
            "delivered_ids": [self.bob.id], "chat_dialog_id": dialog, "message": "hello!", "recipient_id": 0,
            "sender_id": self.bob.id, "read": 0,
        })
        self.assertAlmostEqual(made["date_sent"], time.time(), delta=60)

    def test_each_field_as_the_table_writes_it(self):
        dialog = self.group()["_id"]
        attachments = "attachments[0][id]=47863&attachments[0][type]=image&attachments[1][url]=www.mysite.com/image.png&attachments[1][type]=image"
        made = self.call(self.bob, "POST", "/chat/Message.json", "-d", f"chat_dialog_id={dialog}&message=hello%21&{attachments}&age=25&markable=1&send_to_chat=1", status=201)
        self.assertEqual((made["message"], made["age"]), ("hello!", "25"))
        self.assertEqual(made["attachments"], [{"id": "47863", "type": "image"}, {"url": "www.mysite.com/image.png", "type": "image"}])
        self.assertNotIn("send_to_chat", made)
        private = self.call(self.bob, "POST", "/chat/Message.json", "-d", f"recipient_id={self.garry.id}&message=hi", status=201)
        self.assertEqual(private["recipient_id"], self.garry.id)
        self.call(self.bob, "POST", "/chat/Message.json", "-d", "message=nowhere", status=422)
        self.call(self.bob, "POST", "/chat/Message.json", "-d", f"chat_dialog_id={NO_DIALOG}&message=x", status=404)


@world.needs_rest
class UpdateMessage(Page):
    def setUp(self):
        self.dialog = self.group()["_id"]
        self.ids = [self.message(self.dialog, text)["_id"] for text in ("one", "two")]

    def shown(self, at, who=None):
        query = f"chat_dialog_id={self.dialog}&mark_as_read=0&_id={self.ids[at]}"
        return self.call(who or self.sam, "GET", f"/chat/Message.json?{query}")["items"][0]

    def test_the_example(self):
        wish = json.dumps({"read": "1", "chat_dialog_id": self.dialog})
        self.assertIsNone(self.call(self.sam, "PUT", f"/chat/Message/{self.ids[0]}.json", *JSON, "-d", wish))
        self.assertIn(self.sam.id, self.shown(0)["read_ids"])
        self.assertNotIn(self.sam.id, self.shown(1)["read_ids"])

    def test_each_field(self):
        path = f"/chat/Message/{self.ids[0]}.json?chat_dialog_id={self.dialog}"
        self.call(self.sam, "PUT", path, "-d", "delivered=1")
        self.assertEqual((self.sam.id in self.shown(0)["delivered_ids"], self.sam.id in self.shown(0)["read_ids"]), (True, False))
        self.call(self.sam, "PUT", path, "-d", "read=1")
        self.call(self.sam, "PUT", path, "-d", "read=0")
        self.assertNotIn(self.sam.id, self.shown(0)["read_ids"])
        self.call(self.bob, "PUT", path, "-d", "message=HelloWorld")
        self.assertEqual(self.shown(0)["message"], "HelloWorld")
        self.call(self.sam, "PUT", path, "-d", "message=not mine", status=403)

    def test_without_an_id_all_of_them(self):
        self.call(self.sam, "PUT", f"/chat/Message.json?chat_dialog_id={self.dialog}", "-d", "read=1")
        self.assertTrue(all(self.sam.id in self.shown(at)["read_ids"] for at in (0, 1)))


@world.needs_rest
class DeleteMessage(Page):
    def setUp(self):
        self.dialog = self.group()["_id"]
        self.ids = [self.message(self.dialog, text)["_id"] for text in ("one", "two")]

    def left(self, who):
        items = self.call(who, "GET", f"/chat/Message.json?chat_dialog_id={self.dialog}&mark_as_read=0")["items"]
        return [message["message"] for message in items]

    def test_the_example(self):
        self.call(self.sam, "DELETE", f"/chat/Message/{','.join(self.ids)}.json", *JSON)
        self.assertEqual((self.left(self.sam), self.left(self.garry)), ([], ["one", "two"]))

    def test_for_all_by_its_sender_only(self):
        self.call(self.sam, "DELETE", f"/chat/Message/{self.ids[0]}.json?force=1", status=403)
        self.call(self.bob, "DELETE", f"/chat/Message/{self.ids[0]}.json?force=1")
        self.assertEqual((self.left(self.sam), self.left(self.bob)), (["two"], ["two"]))


if __name__ == "__main__":
    unittest.main()
