"""Rooms, the wall between apps, and what clients write into messages that only the server may say.

The codes are those of `tests/hostile.md`. Run: python3 -m unittest -v hostile_rooms
"""

import time
import unittest
import xml.etree.ElementTree as ET

import world
from bystanders import PATIENCE_SECS, Hostile
from wire import Closed, login, new_id, tag
from world import new_user, rest

MUC = "http://jabber.org/protocol/muc"
SID, OCCUPANT, MARKERS = "urn:xmpp:sid:0", "urn:xmpp:occupant-id:0", "urn:xmpp:chat-markers:0"
WISH = "<save_to_history>1</save_to_history>"
EXTRA = "{jabber:client}extraParams"


def extra(inside, xmlns="jabber:client"):
    return f"<extraParams xmlns='{xmlns}'>{inside}</extraParams>"


@world.needs_rest
class Dialogs(Hostile):
    def setUp(self):
        super().setUp()
        self.owner, self.member, self.stranger = new_user("owner"), new_user("member"), new_user("stranger")
        self.tokens = {user.id: user.session() for user in (self.owner, self.member, self.stranger)}

    def call(self, user, method, path, **options):
        return rest(method, path, token=self.tokens[user.id], **options)

    def group(self, *others, name="group"):
        answer = self.call(self.owner, "POST", "/chat/Dialog.json", body={"type": 2, "name": name, "occupants_ids": [user.id for user in others]})
        self.assertEqual(answer.status, 201, answer)
        return answer.json["_id"], answer.json["xmpp_room_jid"]

    def history(self, user, dialog):
        answer = self.call(user, "GET", "/chat/Message.json", query=[("chat_dialog_id", dialog), ("mark_as_read", 0), ("limit", 100)])
        self.assertEqual(answer.status, 200, answer)
        return answer.json["items"]

    def private(self, one, other):
        """The private dialog of two users."""
        answer = self.call(one, "POST", "/chat/Dialog.json", body={"type": 3, "occupants_ids": [other.id]})
        self.assertEqual(answer.status, 201, answer)
        return answer.json["_id"]

    def enter(self, stream, room, nick, history="<history maxstanzas='0'/>"):
        """Asks to come in, and gives what comes until one's own presence or a refusal."""
        stream.send(f"<presence to='{room}/{nick}'><x xmlns='{MUC}'>{history}</x></presence>")
        while True:
            presence = stream.next("client:presence", timeout=PATIENCE_SECS)
            own = [status for status in presence.iter(f"{{{MUC}#user}}status") if status.get("code") == "110"]
            if own or presence.get("type") == "error":
                return presence


class Rooms(Dialogs):
    def test_g01_nobody_speaks_for_another(self):
        dialog, room = self.group(self.member)
        owner, member, stranger = login(self.owner, available=True), login(self.member, available=True), login(self.stranger, available=True)
        self.enter(owner, room, self.owner.id)
        # One who has not entered, and one who may not: in the room it is nobody else's word in any case.
        for stream in (member, stranger):
            stream.send(f"<message to='{room}' type='groupchat' id='early'><body>from outside</body></message>")
        answer = stranger.next("client:message")
        self.assertEqual((answer.get("type"), answer.get("id")), ("error", "early"))
        for element in self.until_fence(member, owner):
            if element.findtext(tag("client:body")) == "from outside":
                self.assertEqual(element.get("from"), f"{room}/{self.member.id}")
        # A name that is another's.
        presence = self.enter(member, room, self.owner.id)
        if presence.get("type") != "error":
            self.assertEqual(presence.get("from"), f"{room}/{self.member.id}", ET.tostring(presence))
        self.enter(member, room, self.member.id)
        stolen = self.enter(member, room, self.owner.id)
        self.assertNotEqual((stolen.get("type"), stolen.get("from")), (None, f"{room}/{self.owner.id}"))
        # In the room, with a sender of one's own making.
        for forged in (f"{room}/{self.owner.id}", room, owner.full_jid):
            member.send(f"<message from='{forged}' to='{room}/{self.owner.id}' type='chat'><body>private {forged}</body></message>"
                        f"<message from='{forged}' to='{room}' type='groupchat'><body>public {forged}</body></message>")
            try:
                heard = self.until_fence(member, owner)
            except Closed as closed:
                self.assertIn("invalid-from", str(closed))
                member = login(self.member, available=True)
                self.enter(member, room, self.member.id)
                continue
            for element in heard:
                if (element.findtext(tag("client:body")) or "").startswith(("private", "public")):
                    self.assertEqual(element.get("from"), f"{room}/{self.member.id}", ET.tostring(element))
        self.assertEqual(self.history(self.owner, dialog), [])
        for stream in (owner, member, stranger):
            stream.close()

    def test_g02_orders_and_lists_are_for_those_who_have_a_right_to_them(self):
        dialog, room = self.group(self.member)
        member, stranger = login(self.member, available=True), login(self.stranger, available=True)
        self.enter(member, room, self.member.id)
        admin, owner = f"{MUC}#admin", f"{MUC}#owner"
        orders = [
            f"<query xmlns='{admin}'><item affiliation='{affiliation}' jid='{user.bare}'/></query>"
            for affiliation in ("owner", "admin", "outcast", "none") for user in (self.member, self.owner)
            if (affiliation, user) != ("owner", self.owner)  # What is so already may be asked for.
        ] + [
            f"<query xmlns='{admin}'><item role='none' nick='{self.owner.id}'/></query>",
            f"<query xmlns='{admin}'><item role='moderator' nick='{self.member.id}'/></query>",
            f"<query xmlns='{owner}'><destroy/></query>",
            f"<query xmlns='{owner}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{MUC}#roomconfig</value></field>"
            "<field var='muc#roomconfig_roomname'><value>stolen</value></field></x></query>",
        ]
        for order in orders:
            for stream in (member, stranger):
                if stream is member and f"affiliation='none' jid='{self.member.bare}'" in order:
                    continue  # To leave is one's own to decide.
                answer = stream.iq("set", order, to=room)
                self.assertEqual(answer.get("type"), "error", order)
        for question in [f"<query xmlns='{admin}'><item affiliation='{kind}'/></query>" for kind in ("owner", "admin", "member", "outcast")] + [
                f"<query xmlns='{owner}'/>", "<query xmlns='http://jabber.org/protocol/disco#items'/>", "<query xmlns='urn:xmpp:mam:2'/>"]:
            answer = stranger.iq("set" if "mam" in question else "get", question, to=room)
            self.assertEqual((answer.get("type"), answer.find(".//{*}item[@jid]")), ("error", None), question)
        mine = self.call(self.owner, "GET", "/chat/Dialog.json", query=[("_id", dialog)]).json["items"][0]
        self.assertEqual((mine["name"], sorted(mine["occupants_ids"]), mine["user_id"]), ("group", sorted([self.owner.id, self.member.id]), self.owner.id))
        for stream in (member, stranger):
            stream.close()

    def test_g03_ids_in_a_room_are_the_rooms(self):
        _, room = self.group(self.member)
        owner, member = login(self.owner, available=True), login(self.member, available=True)
        self.enter(owner, room, self.owner.id)
        self.enter(member, room, self.member.id)
        claims = (f"<stanza-id xmlns='{SID}' by='{room}' id='forged'/>" * 2 + f"<occupant-id xmlns='{OCCUPANT}' id='forged'/>" * 2
                  + f"<x xmlns='{MUC}#user'><status code='110'/><item affiliation='owner' role='moderator'/></x>"
                  + f"<delay xmlns='urn:xmpp:delay' from='{room}' stamp='2001-01-01T00:00:00Z'/>")
        for more in (claims, claims + extra(WISH), extra(WISH) + claims):
            body = new_id()
            member.send(f"<message to='{room}' type='groupchat'><body>{body}</body>{more}</message>")
            got = owner.message(body)
            self.assertEqual(len(got.findall(f"{{{OCCUPANT}}}occupant-id")), 1, ET.tostring(got))
            self.assertNotIn("forged", [found.get("id") for found in got.findall(f"{{{OCCUPANT}}}occupant-id") + got.findall(f"{{{SID}}}stanza-id")])
        member.send(f"<presence to='{room}/{self.member.id}'><occupant-id xmlns='{OCCUPANT}' id='forged'/><x xmlns='{MUC}#user'><item affiliation='owner'/></x></presence>")
        for element in self.until_fence(member, owner):
            if element.tag == tag("client:presence") and element.get("from") == f"{room}/{self.member.id}":
                self.assertNotIn("forged", [found.get("id") for found in element.findall(f"{{{OCCUPANT}}}occupant-id")])
                self.assertNotIn("owner", [item.get("affiliation") for item in element.iter(f"{{{MUC}#user}}item")])
        owner.close()
        member.close()

    def test_g04_300_rooms_and_300_names(self):
        over = world.connection(plain=True)
        for n in range(300):
            answer = rest("POST", "/chat/Dialog.json", token=self.tokens[self.owner.id], body={"type": 2, "name": f"room {n}", "occupants_ids": [self.member.id]}, over=over)
            self.assertEqual(answer.status, 201, answer)
        page = self.call(self.owner, "GET", "/chat/Dialog.json", query=[("limit", 1_000)]).json
        self.assertEqual((page["total_entries"], len(page["items"])), (300, 100))
        _, room = self.group(self.member)
        owner, member = login(self.owner, available=True), login(self.member, available=True)
        self.enter(owner, room, self.owner.id)
        self.enter(member, room, self.member.id)
        member.send("".join(f"<presence to='{room}/another-{n}'><x xmlns='{MUC}'><history maxstanzas='0'/></x></presence>" for n in range(300)))
        for element in self.until_fence(member, owner):
            if element.tag == tag("client:presence") and element.get("from", "").startswith(room):
                self.assertEqual(element.get("from"), f"{room}/{self.member.id}", ET.tostring(element))
        owner.close()
        member.close()

    def test_g05_all_of_history_at_once(self):
        _, room = self.group(self.member)
        owner, member = login(self.owner, available=True), login(self.member, available=True)
        self.enter(owner, room, self.owner.id)
        owner.send("".join(f"<message to='{room}' type='groupchat'><body>h{n}</body>{extra(WISH)}</message>" for n in range(300)))
        while owner.next("client:message", timeout=PATIENCE_SECS).findtext(tag("client:body")) != "h299":
            pass
        for wish in ("maxstanzas='1000000'", "since='1970-01-01T00:00:00Z'", "seconds='99999999999999999999'", "maxchars='99999999999'", "maxstanzas='-1'", "since='never'"):
            with self.subTest(wish):
                presence = self.enter(member, room, self.member.id, f"<history {wish}/>")
                if presence.get("type") == "error":
                    self.assertIn(wish, ("maxstanzas='-1'", "since='never'"))
                    continue
                # The subject comes last. XEP-0045 §7.1
                said = []
                while (message := member.next("client:message", timeout=PATIENCE_SECS)).find(tag("client:subject")) is None:
                    said.append(message.findtext(tag("client:body")))
                self.assertLessEqual(len(said), 200)
                self.assertEqual(said, [f"h{n}" for n in range(300 - len(said), 300)])
                member.send(f"<presence type='unavailable' to='{room}/{self.member.id}'/>")
                while member.next("client:presence", timeout=PATIENCE_SECS).get("type") != "unavailable":
                    pass
        owner.close()
        member.close()


class Walls(Dialogs):
    @world.needs_two_apps
    def test_q01_nothing_passes_from_app_to_app(self):
        foreign = login(new_user("foreign", app=world.APP2), available=True)
        _, room = self.group(self.member)
        owner = login(self.owner, available=True)
        self.enter(owner, room, self.owner.id)
        nobody = f"987654321-{world.APP_ID}@{world.DOMAIN}"
        other_room = room.replace(f"{world.APP_ID}_", f"{world.APP2[0]}_", 1)
        none = room.replace(room[5:10], "0" * 5)
        for to in (self.owner.bare, owner.full_jid):
            foreign.send("".join(f"<presence type='{kind}' to='{to}'/>" for kind in ("subscribe", "subscribed", "probe", "unsubscribe", "unavailable"))
                         + f"<presence to='{to}'/><message to='{to}' type='chat'><body>over the wall</body>{extra(WISH)}</message>"
                         + f"<message to='{to}' type='headline'>{extra('<moduleIdentifier>SystemNotifications</moduleIdentifier>')}</message>"
                         + f"<message to='{to}'><received xmlns='{MARKERS}' id='{'0' * 24}'/></message>")
        for stanza in ("<message type='groupchat' to='{}' id='x'><body>over the wall</body></message>", "<presence to='{}/1' id='x'><x xmlns='" + MUC + "'/></presence>",
                       "<message type='chat' to='{}/" + str(self.owner.id) + "' id='x'><body>over the wall</body></message>"):
            shapes = []
            for address in (room, other_room, none):
                foreign.send(stanza.format(address))
                while (element := foreign.next("client:message", "client:presence")).get("id") != "x":
                    pass
                shapes.append(self.shape(element))
            self.assertEqual(len(set(shapes)), 1, f"{stanza}: {shapes}")
            self.assertEqual(shapes[0][1], "error")
        for query in ("http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items", f"{MUC}#admin"):
            shapes = {self.shape(foreign.iq("get", f"<query xmlns='{query}'/>", to=address)) for address in (room, other_room, none)}
            self.assertEqual(len(shapes), 1, f"{query}: {shapes}")
        for payload in ("<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:last'/>", "<vCard xmlns='vcard-temp'/>",
                        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:data'/></pubsub>"):
            shapes = {self.shape(foreign.iq("get", payload, to=address)) for address in (self.owner.bare, nobody)}
            self.assertEqual(len(shapes), 1, f"{payload}: {shapes}")
        foreign.ping()
        other = login(self.stranger, available=True)
        for element in self.until_fence(other, owner):
            # The empty subject of a room that one enters is all there is.
            self.assertEqual((element.get("from"), element.find(tag("client:body"))), (room, None), ET.tostring(element))
        for stream in (foreign, owner, other):
            stream.close()

    def test_q02_what_only_the_server_says(self):
        sender, receiver = login(self.stranger, available=True), login(self.member, available=True)
        dialog = self.private(self.stranger, self.member)
        for date in ("5", "-5", str(2**63), "1e3", "", "9" * 400, str(int(time.time()) + 3_600), str(int(time.time()) - 3_600), "now"):
            with self.subTest(date):
                body = new_id()
                claimed = f"<message_id>{'f' * 24}</message_id><dialog_id>{'e' * 24}</dialog_id><date_sent>{date}</date_sent>"
                sender.send(f"<message to='{self.member.bare}' type='chat' id='{new_id()}'><body>{body}</body>{extra(WISH + claimed + claimed)}</message>")
                got = receiver.message(body).find(EXTRA)
                said = {name: [child.text for child in got if child.tag.endswith("}" + name)] for name in ("message_id", "dialog_id", "date_sent")}
                self.assertEqual(said["dialog_id"], [dialog])
                self.assertEqual(len(said["date_sent"]), 1)
                self.assertAlmostEqual(int(said["date_sent"][0]), time.time(), delta=60)
                kept = [item for item in self.history(self.member, dialog) if item["message"] == body]
                self.assertEqual([item["_id"] for item in kept], said["message_id"])
                self.assertEqual(kept[0]["sender_id"], self.stranger.id)
        # An id of one's own choice is good for one message, and not for one of somebody else's.
        chosen = f"{int(time.time()):08x}" + "0123456789abcdef"
        for stream, other, to in ((sender, receiver, self.member), (receiver, sender, self.stranger)):
            stream.send(f"<message to='{to.bare}' type='chat' id='{chosen}'><body>chosen</body>{extra(WISH)}</message>")
            self.until_fence(stream, other)
        kept = [item for item in self.history(self.member, dialog) if item["message"] == "chosen"]
        self.assertEqual(len({item["_id"] for item in kept}), len(kept))
        self.assertLessEqual({(item["_id"], item["sender_id"]) for item in kept if item["_id"] == chosen}, {(chosen, self.stranger.id)})
        # What is no wish to be kept.
        before = len(self.history(self.member, dialog))
        for stanza in (f"<message to='{{}}' type='error'><body>no</body>{extra(WISH)}</message>", f"<message to='{{}}' type='headline'><body>no</body>{extra(WISH)}</message>",
                       f"<message to='{{}}' type='chat'><body>no</body>{extra(WISH, 'urn:other')}</message>",
                       f"<message to='{{}}' type='chat'><body>no</body><x xmlns='urn:x'>{extra(WISH)}</x></message>"):
            sender.send(stanza.format(self.member.bare))
        self.until_fence(sender, receiver)
        self.assertEqual(len(self.history(self.member, dialog)), before)
        # Twice is once.
        sender.send(f"<message to='{self.member.bare}' type='chat'><body>once</body>{extra(WISH + WISH)}{extra(WISH)}</message>")
        receiver.message("once")
        self.assertEqual(len([item for item in self.history(self.member, dialog) if item["message"] == "once"]), 1)
        sender.close()
        receiver.close()

    def test_q03_marks_are_for_what_one_was_sent(self):
        one, other, third = login(self.owner, available=True), login(self.member, available=True), login(self.stranger, available=True)
        dialog = self.private(self.owner, self.member)
        one.send(f"<message to='{self.member.bare}' type='chat'><body>mark me</body>{extra(WISH)}</message>")
        other.message("mark me")
        message = self.history(self.owner, dialog)[0]["_id"]

        def mark(stream, kind, to, id, named=dialog):
            stream.send(f"<message to='{to}' type='chat'><{kind} xmlns='{MARKERS}' id='{id}'/>{extra(f'<dialog_id>{named}</dialog_id>')}</message>")

        for kind in ("received", "displayed"):
            mark(third, kind, self.owner.bare, message)
            mark(third, kind, self.member.bare, message, "null")
            mark(one, kind, self.member.bare, message)
        self.until_fence(third, one)
        self.until_fence(one, other)
        kept = self.history(self.owner, dialog)[0]
        self.assertEqual((kept["read_ids"], kept["delivered_ids"]), ([self.owner.id], [self.owner.id]))
        # Thousands at once, of which none is known but the last.
        many = "".join(f"<displayed xmlns='{MARKERS}' id='{n:024x}'/>" for n in range(2_000))
        other.send(f"<message to='{self.owner.bare}' type='chat'>{many}{extra(f'<dialog_id>{dialog}</dialog_id>')}</message>")
        try:
            self.until_fence(other, one)
        except Closed as closed:
            self.assertIn("policy-violation", str(closed))
            other = login(self.member, available=True)
        mark(other, "displayed", self.owner.bare, message)
        # The mark goes its own way, to the dialog.
        for _ in range(500):
            read = sorted(self.history(self.owner, dialog)[0]["read_ids"])
            if read == sorted([self.owner.id, self.member.id]):
                break
            time.sleep(0.02)
        self.assertEqual(read, sorted([self.owner.id, self.member.id]))
        for stream in (one, other, third):
            stream.close()

    def test_q04_who_is_out_is_out(self):
        dialog, room = self.group(self.member)
        owner, member = login(self.owner, available=True), login(self.member, available=True)
        self.enter(owner, room, self.owner.id)
        self.enter(member, room, self.member.id)
        flood = "".join(f"<message to='{room}' type='groupchat' id='f{n}'><body>f{n}</body>{extra(WISH)}</message>" for n in range(200))
        member.send(flood[:len(flood) // 2])
        answer = self.call(self.owner, "PUT", f"/chat/Dialog/{dialog}.json", body={"pull_all": {"occupants_ids": [self.member.id]}})
        self.assertEqual(answer.status, 200, answer)
        kept = {item["message"] for item in self.history(self.owner, dialog)}
        member.send(flood[len(flood) // 2:])
        member.send(f"<message to='{room}' type='groupchat' id='late'><body>late</body>{extra(WISH)}</message>")
        while (element := member.next("client:message", timeout=PATIENCE_SECS)).get("id") != "late":
            pass
        self.assertEqual(element.get("type"), "error")
        self.assertEqual({item["message"] for item in self.history(self.owner, dialog)}, kept, "something was kept after the door was shut")
        self.assertEqual(self.call(self.owner, "DELETE", f"/chat/Dialog/{dialog}.json", query=[("force", 1)]).status, 200)
        for to in (room, f"{world.APP_ID}_{'f' * 24}@{room.split('@')[1]}", f"{world.APP_ID}_x@{room.split('@')[1]}", f"@{room.split('@')[1]}"):
            owner.send(f"<message to='{to}' type='groupchat' id='gone'><body>anybody?</body></message>")
            while (element := owner.next("client:message", timeout=PATIENCE_SECS)).get("id") != "gone":
                pass
            self.assertEqual(element.get("type"), "error", to)
        owner.close()
        member.close()

    def test_q05_parameters_without_end(self):
        sender, receiver = login(self.owner, available=True), login(self.member, available=True)
        dialog = self.private(self.owner, self.member)
        cases = {
            "10,000 children": "".join(f"<p{n}>1</p{n}>" for n in range(10_000)),
            "1,000 attachments": "".join(f"<attachment type='image' id='{n}'/>" for n in range(1_000)),
            "one in another": extra(WISH + "<a>1</a>") + "<b><c><d>1</d></c></b>",
            "one name": "<same>1</same><same>2</same>" * 500,
            "names of records": "".join(f"<{name}>1</{name}>" for name in ("_id", "sender_id", "read_ids", "created_at", "__proto__", "chat_dialog_id")),
        }
        for name, inside in cases.items():
            with self.subTest(name):
                body = new_id()
                sender.send(f"<message to='{self.member.bare}' type='chat'><body>{body}</body>{extra(WISH + inside)}</message>")
                receiver.message(body)
                kept = [item for item in self.history(self.member, dialog) if item["message"] == body]
                self.assertEqual(len(kept), 1)
                self.assertEqual((kept[0]["sender_id"], kept[0]["chat_dialog_id"]), (self.owner.id, dialog))
                self.assertLessEqual(len(kept[0]), 600)
                self.assertLessEqual(len(kept[0]["attachments"]), 100)
                self.memory_is_bounded()
        other = "<extraParams xmlns='urn:other' a='1'><x> kept &amp; as it is </x><y xmlns='urn:y'/></extraParams>"
        sender.send(f"<message to='{self.member.bare}' type='chat'><body>other</body>{other}</message>")
        receiver.message("other")
        self.assertIn(b"<x> kept &amp; as it is </x>", receiver.received)
        huge = login(self.owner)
        huge.pour(f"<message to='{self.member.bare}' type='chat'><body>huge</body>{extra(WISH + '<p>' + 'x' * (1 << 20) + '</p>')}</message>")
        self.assertIn(b"policy-violation", huge.rest(20))
        self.assertFalse([item for item in self.history(self.member, dialog) if item["message"] == "huge"])
        sender.close()
        receiver.close()

    def test_q06_system_notifications_are_of_the_moment(self):
        sender = login(self.owner, available=True)
        dialog = self.private(self.owner, self.member)
        note = extra(f"<moduleIdentifier>SystemNotifications</moduleIdentifier>{WISH}<dialog_id>{dialog}</dialog_id>")
        sender.send(f"<message to='{self.member.bare}' type='headline' id='note'><body>absent</body>{note}</message>")
        sender.ping()
        receiver = login(self.member, available=True)
        sender.send(f"<message to='{self.member.bare}' type='headline' id='note'><body>here</body>{note}</message>")
        heard = [element.findtext(tag("client:body")) for element in self.until_fence(sender, receiver) if element.tag == tag("client:message")]
        self.assertEqual(heard, ["here"])
        self.assertEqual(self.history(self.member, dialog), [])
        sender.close()
        receiver.close()


if __name__ == "__main__":
    unittest.main()
