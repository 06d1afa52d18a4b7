"""External components with slixmpp: an echo that users find, write to, subscribe to and ask, and that is restarted with and without
the server.

XEP-0114. Run: python3 -m unittest -v slix_component
"""

import asyncio
import unittest

import slixmpp
from slixmpp.exceptions import IqError

import slix
import world
from world import DOMAIN, HOST, new_user

PORT = int(world.need("ROOKERY_COMPONENT_PORT"))
ECHO = f"echo.{DOMAIN}"
SECRET = world.need("ROOKERY_COMPONENT_SECRET")
# Serves the second application alone.
OTHER = f"other.{DOMAIN}"


class Component(slixmpp.ComponentXMPP):
    """A component that echoes messages, answers service discovery and pings, and notes what arrives."""

    def __init__(self, domain=ECHO, secret=SECRET):
        super().__init__(domain, secret, HOST, PORT)
        self.arrived = []
        self.news = asyncio.Event()
        # The test answers for it.
        self.auto_authorize = None
        self.auto_subscribe = False
        for plugin in ("xep_0030", "xep_0092", "xep_0199"):
            self.register_plugin(plugin)
        self.plugin["xep_0030"].add_identity("gateway", "sms", name="Echo", jid=domain)
        self.plugin["xep_0030"].add_feature("urn:x:echo", jid=domain)
        self.add_event_handler("message", self.echo)
        for event in ("message", "message_error", "presence", "presence_subscribe", "presence_probe", "session_start", "stream_error", "disconnected"):
            self.add_event_handler(event, lambda what, event=event: self.note(event, what))

    def reschedule_connection_attempt(self):
        """Never: the test says when."""

    note = slix.Client.note
    until = slix.Client.until

    def abort(self):
        # As that of the clients.
        if self.transport is None or not self.transport.is_closing():
            super().abort()

    def echo(self, message):
        if message["type"] in ("chat", "normal") and message["body"].startswith("echo "):
            message.reply(message["body"][5:]).send()


class Suite(slix.Suite):
    async def component(self, **options):
        component = Component(**options)
        self.open.append(component)
        component.connect()
        return component

    async def connected(self, **options):
        component = await self.component(**options)
        await component.until("session_start")
        return component


class Echo(Suite):
    async def test_what_a_user_writes_comes_back(self):
        await self.connected()
        romeo = await self.client(new_user("romeo"))
        for address in (ECHO, f"bot@{ECHO}", f"bot@{ECHO}/corner"):
            body = f"<hi & höla> {address}"
            romeo.send_message(address, f"echo {body}", mtype="chat")
            answer = await romeo.message(body)
            self.assertEqual((answer["from"].full, answer["to"]), (address, romeo.boundjid))

    async def test_a_component_writes_to_a_user_who_is_away(self):
        component = await self.connected()
        user = new_user("romeo")
        component.send_message(user.bare, "while you were out", mfrom=f"bot@{ECHO}", mtype="chat")
        romeo = await self.client(user)
        waited = await romeo.message("while you were out")
        self.assertTrue(waited["delay"]["stamp"])

    async def test_it_is_found_and_asked(self):
        component = await self.connected()
        romeo = await self.client(new_user("romeo"))
        items = await romeo.plugin["xep_0030"].get_items(DOMAIN, timeout=8)
        self.assertIn(ECHO, {item[0] for item in items["disco_items"]["items"]})
        self.assertNotIn(OTHER, {item[0] for item in items["disco_items"]["items"]})
        info = (await romeo.plugin["xep_0030"].get_info(ECHO, timeout=8))["disco_info"]
        self.assertIn(("gateway", "sms"), {identity[:2] for identity in info["identities"]})
        self.assertIn("urn:x:echo", info["features"])
        self.assertLess(await romeo.plugin["xep_0199"].ping(ECHO, timeout=8), 8)
        # And it asks: a user's client, his account and the server.
        about = await component.plugin["xep_0030"].get_info(romeo.boundjid.full, ifrom=ECHO, timeout=8)
        self.assertTrue(about["disco_info"]["identities"])
        await component.plugin["xep_0199"].send_ping(romeo.boundjid.bare, ifrom=ECHO, timeout=8)
        about = await component.plugin["xep_0030"].get_info(DOMAIN, ifrom=ECHO, timeout=8)
        self.assertIn(("server", "im"), {identity[:2] for identity in about["disco_info"]["identities"]})
        # Which error it is, slixmpp looks for in the namespace of clients alone.
        with self.assertRaises(IqError):
            await component.plugin["xep_0030"].get_info(f"nobody-1@{DOMAIN}", ifrom=ECHO, timeout=8)

    async def test_a_user_and_a_component_see_each_other(self):
        component = await self.connected()
        romeo = await self.client(new_user("romeo"))
        contact = f"sms@{ECHO}"
        romeo.send_presence_subscription(contact)
        asked = await component.until("presence_subscribe", wants=lambda got: got["to"].bare == contact)
        self.assertEqual(asked["from"].full, romeo.boundjid.bare)
        component.send_presence(pfrom=contact, pto=romeo.boundjid.bare, ptype="subscribed")
        component.send_presence(pfrom=contact, pto=romeo.boundjid.bare, pstatus="on the road")
        there = await romeo.until("presence", wants=lambda got: got["from"] == contact and got["type"] == "available")
        self.assertEqual(there["status"], "on the road")
        component.send_presence(pfrom=contact, pto=romeo.boundjid.bare, ptype="subscribe")
        await romeo.until("presence", wants=lambda got: got["from"] == contact and got["type"] == "subscribe")
        romeo.send_presence_subscription(contact, ptype="subscribed")
        await component.until("presence", wants=lambda got: got["from"] == romeo.boundjid and got["type"] == "available")
        self.assertEqual(romeo.client_roster[contact]["subscription"], "both")
        await romeo.gone()
        await component.until("presence", wants=lambda got: got["from"] == romeo.boundjid and got["type"] == "unavailable")


class Connections(Suite):
    async def refusal(self, **options):
        component = await self.component(**options)
        error = await component.until("stream_error")
        await component.until("disconnected")
        return error["condition"]

    async def test_a_wrong_secret_or_name_is_refused(self):
        self.assertEqual(await self.refusal(secret="something else"), "not-authorized")
        self.assertEqual(await self.refusal(domain=f"unknown.{DOMAIN}"), "host-unknown")
        self.assertEqual(await self.refusal(domain=DOMAIN), "host-unknown")

    async def test_it_connects_once(self):
        first = await self.connected()
        self.assertEqual(await self.refusal(), "conflict")
        romeo = await self.client(new_user("romeo"))
        romeo.send_message(ECHO, "echo still here", mtype="chat")
        await romeo.message("still here")
        self.assertFalse(any(event == "disconnected" for event, _ in first.arrived))

    async def test_in_another_name_it_says_nothing(self):
        component = await self.connected()
        romeo, juliet = await self.pair()
        component.send_message(romeo.boundjid.bare, "forged", mfrom=juliet.boundjid.bare, mtype="chat")
        self.assertEqual((await component.until("stream_error"))["condition"], "invalid-from")
        await romeo.never("message")

    async def test_it_comes_back_after_a_cut(self):
        romeo = await self.client(new_user("romeo"))
        romeo.send_message(ECHO, "echo nobody", mtype="chat")
        refused = await romeo.until("message_error")
        self.assertEqual(refused["error"]["condition"], "remote-server-timeout")
        for turn in range(3):
            component = await self.connected()
            romeo.send_message(ECHO, f"echo {turn}", mtype="chat")
            await romeo.message(str(turn))
            component.abort()
            # The server notices in its own time.
            for _ in range(80):
                romeo.send_message(ECHO, "gone?", mtype="chat")
                try:
                    await romeo.until("message_error", timeout=0.1)
                    break
                except AssertionError:
                    pass
            else:
                self.fail("the server still takes messages for it")

    @world.needs_two_apps
    async def test_the_component_of_another_app_is_elsewhere(self):
        other = await self.connected(domain=OTHER)
        romeo = await self.client(new_user("romeo"))
        romeo.send_message(OTHER, "anybody?", mtype="chat")
        refused = await romeo.until("message_error")
        self.assertEqual(refused["error"]["condition"], "remote-server-not-found")
        other.send_message(romeo.boundjid.full, "psst", mfrom=OTHER, mtype="chat")
        other.send_presence(pfrom=OTHER, pto=romeo.boundjid.bare, ptype="subscribe")
        await romeo.never("message", "presence", wants=lambda got: got["from"].domain == OTHER and got["type"] != "error")
        self.assertFalse(any(event == "message" for event, _ in other.arrived))


if __name__ == "__main__":
    unittest.main()
