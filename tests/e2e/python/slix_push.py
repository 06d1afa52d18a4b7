"""Push notifications (XEP-0357): clients that are away, and a push service that is a component, both of slixmpp.

Run: python3 -m unittest -v slix_push.Push (with ROOKERY_COMPONENT_… set); `Before` and `After` are the two sides of a crash.
"""

import asyncio
import json
import os

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

import slix
import world
from world import new_user

PORT = int(world.need("ROOKERY_COMPONENT_PORT"))
SECRET = world.need("ROOKERY_COMPONENT_SECRET")
SERVICE = world.need("ROOKERY_COMPONENT_DOMAIN")
# What passes from before a crash to after it.
NOTES = os.environ.get("ROOKERY_NOTES", "")

PUBSUB = "http://jabber.org/protocol/pubsub"
PUSH = "urn:xmpp:push:0"
OPTIONS = f"{PUBSUB}#publish-options"


class Service(slixmpp.ComponentXMPP):
    """Counts notifications, and answers them as it is told to."""

    def __init__(self):
        super().__init__(SERVICE, SECRET, world.HOST, PORT)
        self.told, self.news = [], asyncio.Event()
        self.ready = asyncio.Event()
        # An error's type and condition, by node.
        self.refused = {}
        self.add_event_handler("session_start", lambda _: self.ready.set())
        path = f"{{{self.default_ns}}}iq/{{{PUBSUB}}}pubsub"
        self.register_handler(Callback("notifications", MatchXPath(path), self.publish))

    def reschedule_connection_attempt(self):
        """Never: a test that is not connected has failed."""

    def publish(self, iq):
        pubsub = iq.xml.find(f"{{{PUBSUB}}}pubsub")
        node = pubsub.find(f"{{{PUBSUB}}}publish").get("node")
        reply = iq.reply()
        if node in self.refused:
            reply.error()
            reply["error"]["type"], reply["error"]["condition"] = self.refused[node]
        reply.send()
        self.told.append((node, iq))
        self.news.set()

    async def hears(self, node, timeout=8):
        """The next notification for a node."""
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            for at, (other, iq) in enumerate(self.told):
                if other == node:
                    del self.told[at]
                    return iq
            self.news.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self.news.wait(), max(0.001, left))
            except asyncio.TimeoutError:
                raise AssertionError(f"nothing for {node} in {timeout} s, but {self.told}") from None

    async def hears_nothing(self, node, within=0.4):
        try:
            iq = await self.hears(node, within)
        except AssertionError:
            return
        raise AssertionError(f"unexpected: {iq}")


def fields(iq):
    """What a notification says."""
    path = f".//{{{PUSH}}}notification/{{jabber:x:data}}x/{{jabber:x:data}}field"
    return {field.get("var"): field.findtext("{jabber:x:data}value") for field in iq.xml.iterfind(path)}


class Base(slix.Suite):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.service = Service()
        self.open.append(self.service)
        self.service.connect()
        await asyncio.wait_for(self.service.ready.wait(), 10)

    async def enable(self, client, node, jid=SERVICE, secret=None):
        enable = ET.Element(f"{{{PUSH}}}enable", {"jid": jid, "node": node})
        if secret:
            form = ET.SubElement(enable, "{jabber:x:data}x", {"type": "submit"})
            for name, value in (("FORM_TYPE", OPTIONS), ("secret", secret)):
                field = ET.SubElement(form, "{jabber:x:data}field", {"var": name})
                ET.SubElement(field, "{jabber:x:data}value").text = value
        return await client.make_iq_set(enable, ito=client.boundjid.bare).send(timeout=8)

    async def disable(self, client, **attributes):
        disable = ET.Element(f"{{{PUSH}}}disable", attributes)
        return await client.make_iq_set(disable, ito=client.boundjid.bare).send(timeout=8)

    async def says(self, client, to, body):
        client.send_message(to, body, mtype="chat")
        await client.barrier()

    async def leaves(self, client):
        await client.gone()
        await client.until("disconnected")


class Push(Base):
    async def resumable(self, user):
        client = slix.Client(user)
        client.register_plugin("xep_0198")
        client.register_plugin("xep_0352")
        for event in ("sm_enabled", "session_resumed"):
            client.add_event_handler(event, lambda what, event=event: client.note(event, what))
        self.open.append(client)
        await self.reaches(client, "session_start")
        await client.until("sm_enabled")
        return await client.available()

    async def reaches(self, client, event):
        client.enable_direct_tls, client.enable_starttls = True, False
        client.connect(world.HOST, world.XMPPS_PORT)
        return await client.until(event, timeout=10)

    async def cut(self, client):
        while not client.waiting_queue.empty():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        client.transport.abort()
        await client.until("disconnected")

    async def test_the_account_says_that_it_can(self):
        client = await self.client(new_user())
        info = await client.plugin["xep_0030"].get_info(jid=client.boundjid.bare, timeout=8)
        self.assertIn(PUSH, info["disco_info"]["features"])

    async def test_a_message_for_a_user_who_is_away(self):
        romeo, juliet = await self.pair()
        await self.enable(romeo, "phone", secret="<s3cret> & \"more\"")
        await self.enable(romeo, "tablet")
        await self.says(juliet, romeo.boundjid.bare, "seen at once")
        await self.service.hears_nothing("phone")
        await self.leaves(romeo)
        for count in ("1", "2"):
            await self.says(juliet, romeo.boundjid.bare, "are you there?")
            for node in ("phone", "tablet"):
                iq = await self.service.hears(node)
                self.assertEqual((iq["from"], iq["to"]), (romeo.boundjid.bare, SERVICE))
                said = fields(iq)
                self.assertEqual(said.pop("FORM_TYPE"), "urn:xmpp:push:summary")
                self.assertEqual(said, {"message-count": count}, "and nothing of who said what")
                given = iq.xml.find(f".//{{{PUBSUB}}}publish-options")
                values = [] if given is None else [value.text for value in given.iter("{jabber:x:data}value")]
                self.assertEqual(values, [OPTIONS, "<s3cret> & \"more\""] if node == "phone" else [])
        # Nobody is woken by what nobody would want to see, nor by himself.
        states = juliet.make_message(romeo.boundjid.bare, mtype="chat")
        states.append(ET.Element("{http://jabber.org/protocol/chatstates}composing"))
        states.send()
        await juliet.barrier()
        await self.service.hears_nothing("phone")
        # What has waited is given out, and told of no more.
        romeo = await self.client(romeo.user)
        await romeo.message("are you there?")
        await romeo.message("are you there?")
        await self.service.hears_nothing("phone")

    async def test_what_was_disabled_is_told_no_more(self):
        romeo, juliet = await self.pair()
        for node in ("a", "b", "c"):
            await self.enable(romeo, node)
        await self.disable(romeo, jid=SERVICE, node="a")
        await self.leaves(romeo)
        await self.says(juliet, romeo.boundjid.bare, "one")
        for node in ("b", "c"):
            await self.service.hears(node)
        await self.service.hears_nothing("a")
        romeo = await self.client(romeo.user)
        await self.disable(romeo, jid=SERVICE)
        await self.leaves(romeo)
        await self.says(juliet, romeo.boundjid.bare, "two")
        await self.service.hears_nothing("b")

    async def test_a_client_that_was_cut_off(self):
        romeo, juliet = await self.resumable(new_user("romeo")), await self.client(new_user("juliet"))
        await self.enable(romeo, "cut")
        await self.says(juliet, romeo.boundjid.bare, "seen")
        await romeo.message("seen")
        await romeo.barrier()
        await self.cut(romeo)
        await self.service.hears_nothing("cut")
        await self.says(juliet, romeo.boundjid.bare, "one")
        await self.service.hears("cut")
        await self.says(juliet, romeo.boundjid.full, "two")
        await self.service.hears("cut")
        for _ in range(2):
            await self.reaches(romeo, "session_resumed")
            await romeo.barrier()
            await self.cut(romeo)
        await self.service.hears_nothing("cut")
        await self.reaches(romeo, "session_resumed")
        await romeo.message("one")
        await romeo.message("two")
        await self.says(juliet, romeo.boundjid.bare, "three")
        await romeo.message("three")
        await self.service.hears_nothing("cut")

    async def test_an_inactive_client_is_woken_once(self):
        romeo, juliet = await self.resumable(new_user("romeo")), await self.client(new_user("juliet"))
        await self.enable(romeo, "inactive")
        for _ in range(2):
            romeo.plugin["xep_0352"].send_inactive()
            await romeo.barrier()
            for body in ("one", "two", "three"):
                await self.says(juliet, romeo.boundjid.bare, body)
                await romeo.message(body)
            await self.service.hears("inactive")
            await self.service.hears_nothing("inactive")
            romeo.plugin["xep_0352"].send_active()
            await romeo.barrier()

    async def test_who_is_blocked_wakes_nobody(self):
        romeo, juliet = await self.pair()
        romeo.register_plugin("xep_0191")
        await self.enable(romeo, "blocked")
        await romeo.plugin["xep_0191"].block(juliet.boundjid.bare, timeout=8)
        await self.leaves(romeo)
        await self.says(juliet, romeo.boundjid.bare, "please")
        await juliet.until("message_error")
        await self.service.hears_nothing("blocked")

    async def test_an_error_ends_it_unless_it_passes(self):
        romeo, juliet = await self.pair()
        self.service.refused = {"passing": ("wait", "resource-constraint"), "gone": ("cancel", "item-not-found")}
        for node in ("passing", "gone", "well"):
            await self.enable(romeo, node)
        await self.leaves(romeo)
        await self.says(juliet, romeo.boundjid.bare, "one")
        for node in ("passing", "gone", "well"):
            await self.service.hears(node)
        # Its answer is on its way.
        await asyncio.sleep(0.3)
        await self.says(juliet, romeo.boundjid.bare, "two")
        for node in ("passing", "well"):
            await self.service.hears(node)
        await self.service.hears_nothing("gone")

    async def test_what_is_no_push_service_is_refused(self):
        romeo, juliet = await self.pair()
        for jid, condition in (
            ("push.example.com", "remote-server-not-found"),
            (world.DOMAIN, "item-not-found"),
            (juliet.boundjid.bare, "item-not-found"),
            (romeo.boundjid.bare, "item-not-found"),
            (f"muc.{world.DOMAIN}", "item-not-found"),
            ("", "bad-request"),
            ("@", "jid-malformed"),
        ):
            with self.subTest(jid), self.assertRaises(IqError) as refused:
                await self.enable(romeo, "node", jid=jid)
            self.assertEqual(refused.exception.condition, condition)
        # Nor is anybody else's account ours.
        enable = ET.Element(f"{{{PUSH}}}enable", {"jid": SERVICE, "node": "theirs"})
        with self.assertRaises(IqError):
            await romeo.make_iq_set(enable, ito=juliet.boundjid.bare).send(timeout=8)

    async def test_a_service_that_never_answers_holds_nobody_up(self):
        romeo, juliet = await self.pair()
        await self.enable(romeo, "silent")
        await self.leaves(romeo)
        # It neither reads nor answers.
        self.service.transport.pause_reading()
        for number in range(200):
            juliet.send_message(romeo.boundjid.bare, str(number), mtype="chat")
        await juliet.barrier()
        romeo = await self.client(romeo.user)
        for number in range(200):
            await romeo.message(str(number))
        self.service.transport.resume_reading()
        await self.service.hears("silent")
        self.assertLess(len(self.service.told), 20, "it was told no more after a few")


class Before(Base):
    async def test_enabled_and_told_of_once(self):
        romeo, juliet = await self.pair()
        await self.enable(romeo, "crash", secret="kept")
        await self.leaves(romeo)
        await self.says(juliet, romeo.boundjid.bare, "before")
        await self.service.hears("crash")
        with open(NOTES, "w", encoding="utf-8") as notes:
            json.dump([[user.id, user.password, user.login] for user in (romeo.user, juliet.user)], notes)


class After(Base):
    async def test_still_enabled_and_told_of_what_is_new(self):
        with open(NOTES, encoding="utf-8") as notes:
            romeo, juliet = (world.User(*user) for user in json.load(notes))
        await self.service.hears_nothing("crash")
        juliet = await self.client(juliet)
        await self.says(juliet, romeo.bare, "after")
        iq = await self.service.hears("crash")
        self.assertEqual(fields(iq)["message-count"], "2")
        self.assertIn("kept", [value.text for value in iq.xml.iter("{jabber:x:data}value")])
        # A client comes, is given both and is cut off before it says that it has them: they are not told of again.
        client = await self.client(romeo)
        await client.message("before")
        await client.message("after")
        client.abort()
        await self.service.hears_nothing("crash")
