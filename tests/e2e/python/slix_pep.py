"""Personal eventing, avatars and bookmarks with slixmpp: what a client publishes, and who hears of it.

XEP-0060, 0163, 0223, 0115, 0084, 0153, 0398, 0402, 0490. Run: python3 -m unittest -v slix_pep
"""

import base64
import hashlib
import os

from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0402.stanza import Conference
from slixmpp.xmlstream import ET

import slix
import world
from world import new_user

PLUGINS = ("xep_0049", "xep_0054", "xep_0060", "xep_0084", "xep_0107", "xep_0115", "xep_0163", "xep_0172", "xep_0223", "xep_0490")
EVENTS = ("avatar_metadata_publish", "user_mood_publish", "user_mood_retract", "user_mood_delete", "pubsub_publish", "pubsub_retract",
          "pubsub_delete", "message_displayed_synchronization_publish")
BOOKMARKS = "urn:xmpp:bookmarks:1"


class Client(slix.Client):
    """A client that publishes; with what it hears of in the same queue."""

    plugins = PLUGINS
    events = EVENTS

    @property
    def pubsub(self):
        return self.plugin["xep_0060"]

    async def mood(self, text):
        mood = self.plugin["xep_0107"].stanza.UserMood()
        mood["value"], mood["text"] = "happy", text
        await self.plugin["xep_0163"].publish(mood, timeout=8)

    async def hears_mood(self, text, of, timeout=8):
        return await self.until(
            "user_mood_publish", timeout=timeout,
            wants=lambda got: (got["from"] == of.boundjid.bare and got["pubsub_event"]["items"]["item"]["mood"]["text"] == text))

    async def form(self, kind, **fields):
        form = self.plugin["xep_0004"].make_form("submit")
        form.add_field("FORM_TYPE", "hidden", value=f"http://jabber.org/protocol/pubsub#{kind}")
        for field, value in fields.items():
            form.add_field(f"pubsub#{field}", value=value)
        return form


class Suite(slix.Suite):
    async def client(self, user, available=True, **options):
        client = Client(user, **options)
        self.open.append(client)
        client.enable_direct_tls, client.enable_starttls = False, True
        client.connect(world.HOST, world.XMPP_PORT)
        await client.until("session_start", timeout=10)
        await client.get_roster()
        # Not before the server has given a resource: slixmpp says it of the full JID.
        client.plugin["xep_0163"].add_interest([BOOKMARKS, client.plugin["xep_0490"].stanza.NS])
        if available:
            # The presence with capabilities, once slixmpp has worked them out.
            await client.plugin["xep_0115"].update_caps(broadcast=False)
            await client.available()
            # The answer to what the server asks on account of it is on its way before what is sent next.
            await client.barrier()
        return client

    async def befriend(self, one, other):
        for asker, asked in ((one, other), (other, one)):
            asker.send_presence_subscription(asked.boundjid.bare)
            await asked.until("presence", "presence_subscribe", wants=lambda got: got["type"] == "subscribe")
            asked.send_presence_subscription(asker.boundjid.bare, ptype="subscribed")
            await asker.until("presence", wants=lambda got: got["type"] == "subscribed")

    async def friends(self):
        romeo, juliet = await self.client(new_user("romeo")), await self.client(new_user("juliet"))
        await self.befriend(romeo, juliet)
        return romeo, juliet

    async def refused(self, condition, awaitable, detail=None):
        with self.assertRaises(IqError) as caught:
            await awaitable
        self.assertEqual(caught.exception.condition, condition)
        if detail:
            errors = "{http://jabber.org/protocol/pubsub#errors}"
            self.assertIsNotNone(caught.exception.iq.xml.find(f".//{errors}{detail}"), str(caught.exception.iq))


class Eventing(Suite):
    async def test_the_account_says_what_it_is(self):
        romeo = await self.client(new_user())
        info = await romeo.plugin["xep_0030"].get_info(romeo.boundjid.bare, timeout=8)
        self.assertIn(("pubsub", "pep", None), [identity[:3] for identity in info["disco_info"]["identities"]])
        for feature in ("publish", "auto-create", "publish-options", "filtered-notifications", "persistent-items", "config-node-max"):
            self.assertIn(f"http://jabber.org/protocol/pubsub#{feature}", info["disco_info"]["features"])

    async def test_contacts_and_own_clients_hear_of_what_is_published(self):
        romeo, juliet = await self.friends()
        tab = await self.client(juliet.user, resource="tab")
        stranger = await self.client(new_user("stranger"))
        await juliet.mood("one")
        for client in (romeo, juliet, tab):
            await client.hears_mood("one", juliet)
        await stranger.never("user_mood_publish")
        await self.refused("service-unavailable", stranger.pubsub.get_items(juliet.boundjid.bare, "http://jabber.org/protocol/mood", timeout=8))
        items = await romeo.pubsub.get_items(juliet.boundjid.bare, "http://jabber.org/protocol/mood", timeout=8)
        self.assertEqual([item["id"] for item in items["pubsub"]["items"]], ["current"])

    async def test_who_comes_gets_the_newest(self):
        romeo, juliet = await self.friends()
        await romeo.gone()
        await juliet.mood("while you were away")
        await juliet.gone()
        romeo = await self.client(romeo.user)
        got = await romeo.hears_mood("while you were away", juliet)
        self.assertIsNotNone(got.xml.find("{urn:xmpp:delay}delay"))
        await romeo.never("user_mood_publish")

    async def test_retracting_and_deleting(self):
        romeo, juliet = await self.friends()
        node, own = "http://jabber.org/protocol/mood", juliet.boundjid.bare
        await juliet.mood("one")
        await romeo.hears_mood("one", juliet)
        await juliet.pubsub.retract(own, node, "current", notify=True, timeout=8)
        await romeo.until("user_mood_retract")
        await self.refused("item-not-found", juliet.pubsub.retract(own, node, "current", timeout=8))
        await juliet.pubsub.delete_node(own, node, timeout=8)
        await romeo.until("user_mood_delete")
        await self.refused("item-not-found", juliet.pubsub.get_items(own, node, timeout=8))
        await self.refused("forbidden", romeo.pubsub.delete_node(own, node, timeout=8))

    async def test_nodes_are_made_configured_and_found(self):
        romeo, juliet = await self.friends()
        own = juliet.boundjid.bare
        await juliet.pubsub.create_node(own, "urn:x:blog", config=await juliet.form("node_config", access_model="open", max_items="3"), timeout=8)
        await self.refused("conflict", juliet.pubsub.create_node(own, "urn:x:blog", timeout=8))
        for number in range(5):
            await juliet.pubsub.publish(own, "urn:x:blog", id=str(number), payload=ET.fromstring(f"<entry xmlns='urn:x:blog'>{number}</entry>"), timeout=8)
        items = await romeo.pubsub.get_items(own, "urn:x:blog", timeout=8)
        self.assertEqual([item["id"] for item in items["pubsub"]["items"]], ["2", "3", "4"])
        newest = await romeo.pubsub.get_items(own, "urn:x:blog", max_items=1, timeout=8)
        self.assertEqual([item["id"] for item in newest["pubsub"]["items"]], ["4"])
        config = await juliet.pubsub.get_node_config(own, "urn:x:blog", timeout=8)
        form = config["pubsub_owner"]["configure"]["form"]
        self.assertEqual(form.get_values()["pubsub#max_items"], "3")
        await juliet.pubsub.set_node_config(own, "urn:x:blog", await juliet.form("node_config", max_items="1"), timeout=8)
        ids = await romeo.pubsub.get_item_ids(own, "urn:x:blog", timeout=8)
        self.assertEqual([item[2] for item in ids["disco_items"]["items"]], ["4"])
        nodes = await romeo.pubsub.get_nodes(jid=own, timeout=8)
        self.assertIn("urn:x:blog", [item[1] for item in nodes["disco_items"]["items"]])

    async def test_options_are_conditions(self):
        juliet = await self.client(new_user())
        own, payload = juliet.boundjid.bare, ET.fromstring("<x xmlns='urn:x'/>")
        await juliet.pubsub.publish(own, "urn:x", id="a", payload=payload, options=await juliet.form("publish-options", access_model="open"), timeout=8)
        await self.refused("conflict", juliet.pubsub.publish(own, "urn:x", id="a", payload=payload, timeout=8,
                                                             options=await juliet.form("publish-options", access_model="whitelist")), "precondition-not-met")

    async def test_an_open_node_can_be_subscribed_to_by_a_stranger(self):
        juliet, tybalt = await self.client(new_user("juliet")), await self.client(new_user("tybalt"))
        own = juliet.boundjid.bare
        await juliet.pubsub.create_node(own, "urn:x:open", config=await juliet.form("node_config", access_model="open"), timeout=8)
        await self.refused("service-unavailable", tybalt.pubsub.subscribe(own, "urn:x:none", timeout=8))
        subscribed = await tybalt.pubsub.subscribe(own, "urn:x:open", timeout=8)
        self.assertEqual(subscribed["pubsub"]["subscription"]["subscription"], "subscribed")
        await juliet.pubsub.publish(own, "urn:x:open", id="a", payload=ET.fromstring("<entry xmlns='urn:x:open'/>"), timeout=8)
        await tybalt.until("pubsub_publish", wants=lambda got: got["from"] == own)
        await tybalt.pubsub.unsubscribe(own, "urn:x:open", timeout=8)
        await juliet.pubsub.publish(own, "urn:x:open", id="b", payload=ET.fromstring("<entry xmlns='urn:x:open'/>"), timeout=8)
        await tybalt.never("pubsub_publish")


class Avatars(Suite):
    PICTURE = b"\x89PNG\r\n\x1a\n" + os.urandom(90_000)

    async def publish(self, client, picture=PICTURE):
        avatars, hash = client.plugin["xep_0084"], hashlib.sha1(picture).hexdigest()
        await avatars.publish_avatar(picture, timeout=8)
        await avatars.publish_avatar_metadata({"id": hash, "type": "image/png", "bytes": len(picture)}, timeout=8)
        return hash

    async def test_a_large_picture_is_seen_by_contacts_and_stands_on_the_card(self):
        romeo, juliet = await self.friends()
        hash = await self.publish(juliet)
        got = await romeo.until("avatar_metadata_publish", wants=lambda got: got["from"] == juliet.boundjid.bare)
        info = got["pubsub_event"]["items"]["item"]["avatar_metadata"]["items"][0]
        self.assertEqual((info["id"], info["bytes"]), (hash, len(self.PICTURE)))
        data = await romeo.plugin["xep_0084"].retrieve_avatar(juliet.boundjid.bare, hash, timeout=8)
        self.assertEqual(data["pubsub"]["items"]["item"]["avatar_data"]["value"], self.PICTURE)
        card = await romeo.plugin["xep_0054"].get_vcard(juliet.boundjid.bare, timeout=8)
        self.assertEqual(card["vcard_temp"]["PHOTO"]["BINVAL"], self.PICTURE)
        await romeo.until("presence", wants=lambda got: (got["from"] == juliet.boundjid and got.xml.findtext(
            "{vcard-temp:x:update}x/{vcard-temp:x:update}photo") == hash))

    async def test_a_picture_on_a_card_is_published(self):
        romeo, juliet = await self.friends()
        picture = os.urandom(5_000)
        cards = juliet.plugin["xep_0054"]
        card = cards.make_vcard()
        card["FN"], card["PHOTO"]["TYPE"], card["PHOTO"]["BINVAL"] = "Juliet", "image/png", picture
        await cards.publish_vcard(card, timeout=8)
        got = await romeo.until("avatar_metadata_publish", wants=lambda got: got["from"] == juliet.boundjid.bare)
        hash = got["pubsub_event"]["items"]["item"]["id"]
        self.assertEqual(hash, hashlib.sha1(picture).hexdigest())
        data = await romeo.plugin["xep_0084"].retrieve_avatar(juliet.boundjid.bare, hash, timeout=8)
        self.assertEqual(data["pubsub"]["items"]["item"]["avatar_data"]["value"], picture)

    async def test_a_picture_that_is_too_large_is_refused(self):
        juliet = await self.client(new_user())
        await self.refused("not-acceptable", juliet.plugin["xep_0084"].publish_avatar(os.urandom(160_000), timeout=8), "payload-too-big")
        await juliet.barrier()


class Private(Suite):
    async def test_bookmarks_are_the_same_for_old_and_new_clients(self):
        juliet = await self.client(new_user())
        tab = await self.client(juliet.user, resource="tab")
        conference = Conference()
        conference["name"], conference["autojoin"], conference["nick"] = "The Play", True, "JC"
        private = juliet.plugin["xep_0223"]
        private.node_profiles[BOOKMARKS] = {"pubsub#max_items": "max", "pubsub#send_last_published_item": "never"}
        await private.store(conference, BOOKMARKS, id="play@muc.localhost", timeout=8)
        await tab.until("pubsub_publish", wants=lambda got: got["pubsub_event"]["items"]["node"] == BOOKMARKS)
        old = tab.make_iq_get()
        old.append(ET.fromstring("<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>"))
        storage = (await old.send(timeout=8)).xml.find("{jabber:iq:private}query/{storage:bookmarks}storage")
        self.assertEqual([room.attrib for room in storage], [{"jid": "play@muc.localhost", "name": "The Play", "autojoin": "true"}])
        new = tab.make_iq_set()
        new.append(ET.fromstring("<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'><conference jid='ball@muc.localhost'/></storage></query>"))
        await new.send(timeout=8)
        await juliet.until("pubsub_retract", wants=lambda got: got["pubsub_event"]["items"]["node"] == BOOKMARKS)
        items = await private.retrieve(BOOKMARKS, timeout=8)
        self.assertEqual([item["id"] for item in items["pubsub"]["items"]], ["ball@muc.localhost"])

    async def test_clients_know_how_far_others_have_read(self):
        romeo, juliet = await self.friends()
        tab = await self.client(juliet.user, resource="tab")
        for chat, id in (("a@localhost", "1"), ("b@localhost", "2"), ("a@localhost", "3")):
            await juliet.plugin["xep_0490"].flag_chat(chat, id, timeout=8)
            await tab.until("message_displayed_synchronization_publish", wants=lambda got, id=id: (
                got["pubsub_event"]["items"]["item"]["displayed"]["stanza_id"]["id"] == id))
        late = await self.client(juliet.user, resource="late")
        items = (await late.plugin["xep_0490"].catch_up(timeout=8))["pubsub"]["items"]
        self.assertEqual([(item["id"], item["displayed"]["stanza_id"]["id"]) for item in items], [("b@localhost", "2"), ("a@localhost", "3")])
        await self.refused("not-allowed", romeo.pubsub.get_items(juliet.boundjid.bare, "urn:xmpp:mds:displayed:0", timeout=8), "closed-node")

    async def test_what_is_kept_survives_a_flood(self):
        juliet = await self.client(new_user(), available=False)
        own, payload = juliet.boundjid.bare, ET.fromstring(f"<x xmlns='urn:x'>{base64.b64encode(os.urandom(30)).decode()}</x>")
        refused = 0
        for number in range(300):
            try:
                await juliet.pubsub.publish(own, f"urn:x:{number}", id="a", payload=payload, timeout=8)
            except IqError as error:
                self.assertEqual(error.condition, "resource-constraint")
                refused += 1
        self.assertGreater(refused, 0)
        self.assertLess(refused, 100)
