"""Blocking and privacy lists with slixmpp: who is kept from whom, on which of their clients.

XEP-0016, 0191. Run: python3 -m unittest -v slix_privacy
"""

from slixmpp.exceptions import IqError

import slix
from world import new_user


def is_chat(message):
    return message["type"] != "error"


class Client(slix.Client):
    """A client that blocks, and notes what its user's other clients have blocked."""

    plugins = ("xep_0016", "xep_0191")
    events = ("blocked", "unblocked")

    @property
    def lists(self):
        return self.plugin["xep_0016"]

    @property
    def blocking(self):
        return self.plugin["xep_0191"]

    async def blocked_jids(self):
        return {jid.bare for jid in await self.blocking.get_blocked_jids(timeout=8)}

    async def list_names(self):
        lists = (await self.lists.get_privacy_lists(timeout=8))["privacy"]
        return {found["name"] for found in lists["lists"]}, lists["active"]["name"], lists["default"]["name"]


class Suite(slix.Suite):
    client_class = Client

    async def befriend(self, one, other):
        for asker, asked in ((one, other), (other, one)):
            asker.send_presence_subscription(asked.boundjid.bare)
            await asked.until("presence", wants=lambda got: got["type"] == "subscribe")
            asked.send_presence_subscription(asker.boundjid.bare, ptype="subscribed")
            await asker.until("presence", wants=lambda got: got["type"] == "subscribed")
        await one.until("presence", wants=lambda got: got["from"] == other.boundjid and got["type"] == "available")
        await other.until("presence", wants=lambda got: got["from"] == one.boundjid and got["type"] == "available")

    async def refused(self, condition, awaitable):
        with self.assertRaises(IqError) as caught:
            await awaitable
        self.assertEqual(caught.exception.condition, condition)


class Blocking(Suite):
    async def test_who_is_blocked_is_kept_away_until_he_is_not(self):
        romeo, juliet = await self.pair()
        await self.befriend(romeo, juliet)
        tab = await self.client(juliet.user, resource="tab")
        # A client hears of changes once it has asked for the list. XEP-0191 §3.3
        self.assertEqual(await tab.blocked_jids(), set())
        await romeo.until("presence", wants=lambda got: got["from"] == tab.boundjid and got["type"] == "available")

        await juliet.blocking.block(romeo.boundjid.bare, timeout=8)
        pushed = await tab.until("blocked")
        self.assertEqual({item["jid"] for item in pushed["block"]}, {romeo.boundjid.bare})
        self.assertEqual(await juliet.blocked_jids(), {romeo.boundjid.bare})
        for client in (juliet, tab):
            await romeo.until("presence", wants=lambda got: got["from"] == client.boundjid and got["type"] == "unavailable")

        romeo.send_message(juliet.boundjid.bare, "hello?", mtype="chat")
        error = await romeo.until("message_error")
        self.assertEqual(error["error"]["condition"], "service-unavailable")
        await self.refused("service-unavailable", romeo.plugin["xep_0199"].send_ping(juliet.boundjid, timeout=8))
        juliet.send_message(romeo.boundjid.bare, "not you", mtype="chat")
        error = await juliet.until("message_error")
        self.assertEqual(error["error"]["condition"], "not-acceptable")
        for client in (romeo, juliet, tab):
            await client.never("message", wants=is_chat)

        await juliet.blocking.unblock(romeo.boundjid.bare, timeout=8)
        await tab.until("unblocked")
        await romeo.until("presence", wants=lambda got: got["from"] == juliet.boundjid and got["type"] == "available")
        romeo.send_message(juliet.boundjid.bare, "again", mtype="chat")
        await juliet.message("again")

    async def test_a_block_is_kept_for_those_who_come_later(self):
        romeo, juliet = await self.pair()
        await juliet.blocking.block({romeo.boundjid.bare, "somebody@elsewhere.example"}, timeout=8)
        await juliet.gone()
        romeo.send_message(juliet.boundjid.bare, "while you were away", mtype="chat")
        self.assertEqual((await romeo.until("message_error"))["error"]["condition"], "service-unavailable")
        juliet = await self.client(juliet.user)
        self.assertEqual(await juliet.blocked_jids(), {romeo.boundjid.bare, "somebody@elsewhere.example"})
        await juliet.never("message", wants=is_chat)

    async def test_what_is_no_address_is_not_blocked(self):
        juliet = await self.client(new_user("juliet"))
        await self.refused("bad-request", juliet.blocking.block([], timeout=8))
        await self.refused("jid-malformed", juliet.blocking.block(["@nobody"], timeout=8))
        self.assertEqual(await juliet.blocked_jids(), set())


class Lists(Suite):
    async def test_the_active_list_is_of_one_client_and_the_default_of_all(self):
        romeo, juliet = await self.pair()
        tab = await self.client(juliet.user, resource="tab")
        rules = [{"type": "jid", "value": romeo.boundjid.bare, "action": "deny", "order": "1", "message": True}]
        await tab.lists.edit_list("quiet", rules, timeout=8)
        await tab.lists.activate("quiet", timeout=8)
        self.assertEqual(await tab.list_names(), ({"quiet"}, "quiet", ""))
        romeo.send_message(juliet.boundjid.bare, "to one of them", mtype="chat")
        await juliet.message("to one of them")
        await tab.never("message", wants=is_chat)

        await tab.lists.deactivate(timeout=8)
        await juliet.lists.make_default("quiet", timeout=8)
        self.assertEqual(await juliet.list_names(), ({"quiet"}, "", "quiet"))
        romeo.send_message(juliet.boundjid.bare, "to none of them", mtype="chat")
        self.assertEqual((await romeo.until("message_error"))["error"]["condition"], "service-unavailable")
        for client in (juliet, tab):
            await client.never("message", wants=is_chat)

        # It is the other client's list, too. XEP-0016 §2.5
        await self.refused("conflict", juliet.lists.remove_default(timeout=8))
        await tab.gone()
        await juliet.until("presence", wants=lambda got: got["from"] == tab.boundjid and got["type"] == "unavailable")
        await juliet.lists.remove_default(timeout=8)
        await juliet.lists.remove_list("quiet", timeout=8)
        romeo.send_message(juliet.boundjid.bare, "to her", mtype="chat")
        await juliet.message("to her")

    async def test_what_is_not_there_or_in_use_is_refused(self):
        juliet = await self.client(new_user("juliet"))
        tab = await self.client(juliet.user, resource="tab")
        for what in (juliet.lists.get_list("none", timeout=8), juliet.lists.activate("none", timeout=8),
                     juliet.lists.make_default("none", timeout=8), juliet.lists.remove_list("none", timeout=8)):
            await self.refused("item-not-found", what)
        allow = [{"value": None, "action": "allow", "order": "1"}]
        await juliet.lists.edit_list("mine", allow, timeout=8)
        await tab.lists.activate("mine", timeout=8)
        await self.refused("conflict", juliet.lists.remove_list("mine", timeout=8))
        twice = [{"type": "subscription", "value": "none", "action": "deny", "order": "1"}, *allow]
        await self.refused("bad-request", juliet.lists.edit_list("mine", twice, timeout=8))
