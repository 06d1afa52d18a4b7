"""What extensions make of messages, with slixmpp: files in bands, rules and addresses, receipts, markers, states and corrections.

XEP-0033, 0047, 0079, 0085, 0184, 0280, 0308, 0333, 0334, 0424, 0444, 0461. Run: python3 -m unittest -v slix_messages
"""

import asyncio
import datetime
import hashlib
import random

from slixmpp.exceptions import IqError

import slix
from world import DOMAIN, new_user

PLUGINS = ("xep_0033", "xep_0047", "xep_0079", "xep_0085", "xep_0184", "xep_0280", "xep_0308", "xep_0333", "xep_0334", "xep_0424", "xep_0444", "xep_0461")
EVENTS = ("amp_alert", "amp_error", "amp_notify", "carbon_received", "carbon_sent", "chatstate", "ibb_stream_start", "ibb_stream_end", "marker", "message_correction", "message_reply",
          "message_retract", "reactions", "receipt_received")
AMP = "http://jabber.org/protocol/amp"
ADDRESS = "http://jabber.org/protocol/address"


class Client(slix.Client):
    """A client with much to say; with what it hears in the same queue."""

    plugins = PLUGINS
    events = EVENTS

    def says(self, to, body=None, kind="chat"):
        return self.make_message(mto=to, mbody=body, mtype=kind)

    def follows(self, *rules, to, body, kind="chat"):
        message = self.says(to, body, kind)
        for rule in rules:
            message["amp"].add_rule(*rule)
        message.send()
        return message["id"]


class Suite(slix.Suite):
    client_class = Client

    async def befriend(self, romeo, juliet):
        """Each sees the other's presence."""
        for one, other in ((romeo, juliet), (juliet, romeo)):
            one.send_presence(pto=other.boundjid.bare, ptype="subscribe")
            await other.until("presence", wants=lambda got: got["type"] == "subscribe")
            other.send_presence(pto=one.boundjid.bare, ptype="subscribed")
            await one.until("presence", wants=lambda got, of=other: got["type"] == "available" and got["from"] == of.boundjid)


class Bytestreams(Suite):
    """XEP-0047"""

    async def carries(self, sender, receiver, data, **options):
        stream = await sender.plugin["xep_0047"].open_stream(receiver.boundjid, timeout=8, **options)
        theirs = await receiver.until("ibb_stream_start", wants=lambda got: got.sid == stream.sid)
        gathering = asyncio.ensure_future(theirs.gather(timeout=60))
        await asyncio.sleep(0)
        await stream.sendall(data, timeout=8)
        stream.close(timeout=8)
        got = await gathering
        self.assertEqual((len(got), hashlib.sha256(got).hexdigest()), (len(data), hashlib.sha256(data).hexdigest()))

    async def test_files_in_iqs_both_ways_at_once(self):
        romeo, juliet = await self.pair()
        for client in (romeo, juliet):
            client.plugin["xep_0047"].auto_accept = True
        one, other = (random.Random(seed).randbytes(300 * 1024) for seed in (1, 2))
        await asyncio.gather(self.carries(romeo, juliet, one, block_size=4096), self.carries(juliet, romeo, other, block_size=4096))

    async def test_a_file_in_messages(self):
        romeo, juliet = await self.pair()
        juliet.plugin["xep_0047"].auto_accept = True
        await self.carries(romeo, juliet, random.Random(3).randbytes(300 * 1024), block_size=8192, use_messages=True)

    async def test_one_that_nobody_accepts_is_refused_by_the_client(self):
        romeo, juliet = await self.pair()
        juliet.plugin["xep_0047"].auto_accept = False
        with self.assertRaises(IqError) as refusal:
            await romeo.plugin["xep_0047"].open_stream(juliet.boundjid, timeout=8)
        self.assertEqual(refusal.exception.condition, "not-acceptable")


class Addresses(Suite):
    """XEP-0033"""

    async def test_one_message_for_three(self):
        romeo, juliet = await self.pair()
        nurse = await self.client(new_user("nurse"))
        info = await romeo.plugin["xep_0030"].get_info(jid=DOMAIN, timeout=8)
        self.assertIn(ADDRESS, info["disco_info"]["features"])
        message = romeo.says(DOMAIN, "for three")
        message["addresses"].add_address(atype="to", jid=juliet.boundjid.bare, desc="Juliet")
        message["addresses"].add_address(atype="bcc", jid=nurse.boundjid.bare)
        message["addresses"].add_address(atype="cc", jid=romeo.boundjid.bare)
        message["addresses"].add_address(atype="noreply")
        message.send()
        for client, blind in ((juliet, []), (nurse, [nurse.boundjid.bare]), (romeo, [])):
            got = await client.message("for three")
            self.assertEqual(got["from"], romeo.boundjid)
            self.assertEqual(got["to"].bare, client.boundjid.bare)
            seen = got["addresses"]
            self.assertEqual([(address["jid"].bare, address["delivered"]) for address in seen["to"]], [(juliet.boundjid.bare, True)])
            self.assertEqual([address["jid"].bare for address in seen["cc"]], [romeo.boundjid.bare])
            self.assertEqual([address["jid"].bare for address in seen["bcc"]], blind)
            self.assertEqual(len(seen["noreply"]), 1)
            await client.never("message")

    async def test_too_many_reach_nobody(self):
        romeo, juliet = await self.pair()
        message = romeo.says(DOMAIN, "spam")
        for _ in range(1_000):
            message["addresses"].add_address(atype="bcc", jid=juliet.boundjid.bare)
        message.send()
        error = await romeo.until("message_error")
        self.assertEqual((error["error"]["condition"], error["from"]), ("not-acceptable", DOMAIN))
        await juliet.never("message")


class Rules(Suite):
    """XEP-0079"""

    async def test_disco_tells_what_rules_there_are(self):
        romeo = await self.client(new_user("romeo"))
        info = await romeo.plugin["xep_0079"].discover_support(timeout=8)
        features = info["disco_info"]["features"]
        for what in ("action=alert", "action=drop", "action=error", "action=notify", "condition=deliver", "condition=expire-at", "condition=match-resource"):
            self.assertIn(f"{AMP}?{what}", features)

    async def test_alert_error_notify_and_drop(self):
        romeo, juliet = await self.pair()
        await self.befriend(romeo, juliet)
        notified = romeo.follows(("notify", "deliver", "direct"), to=juliet.boundjid.bare, body="now")
        got = await romeo.until("amp_notify", wants=lambda got: got["id"] == notified)
        self.assertEqual((got["from"], got["amp"]["from"]), (DOMAIN, romeo.boundjid))
        got = await juliet.message("now")
        self.assertEqual((got["amp"]["from"], got["amp"].xml.get("to")), (romeo.boundjid, juliet.boundjid.bare))
        bare = juliet.boundjid.bare
        await juliet.gone()
        alerted = romeo.follows(("alert", "deliver", "stored"), to=bare, body="no")
        await romeo.until("amp_alert", wants=lambda got: got["id"] == alerted)
        failed = romeo.follows(("error", "match-resource", "exact"), to=bare, body="no")
        error = await romeo.until("amp_error", wants=lambda got: got["id"] == failed)
        self.assertEqual(error["error"]["condition"], "undefined-condition")
        romeo.follows(("drop", "deliver", "stored"), to=bare, body="no")
        await romeo.barrier()
        back = await self.client(juliet.user)
        await back.never("message", wants=lambda got: got["body"] == "no")

    async def test_a_message_that_waited_too_long(self):
        romeo, juliet = await self.pair()
        await self.befriend(romeo, juliet)
        bare = juliet.boundjid.bare
        await juliet.gone()
        await romeo.until("presence", wants=lambda got: got["type"] == "unavailable")
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
        late = romeo.follows(("alert", "expire-at", soon.strftime("%Y-%m-%dT%H:%M:%SZ")), to=bare, body="late")
        romeo.follows(("alert", "expire-at", "2099-01-01T00:00:00Z"), to=bare, body="in time")
        await romeo.barrier()
        await asyncio.sleep(1.5)
        back = await self.client(juliet.user)
        await back.message("in time")
        await back.never("message", wants=lambda got: got["body"] == "late")
        await romeo.until("amp_alert", wants=lambda got: got["id"] == late)

    async def test_a_stranger_learns_nothing(self):
        romeo, juliet = await self.pair()
        asked = romeo.follows(("notify", "deliver", "direct"), to=juliet.boundjid.bare, body="there?")
        error = await romeo.until("message_error", wants=lambda got: got["id"] == asked)
        self.assertEqual(error["error"]["condition"], "not-acceptable")
        self.assertEqual([rule["action"] for rule in error["error"]["invalid_rules"]["substanzas"]], ["notify"])
        await juliet.never("message")


class Conversation(Suite):
    """What is between clients, as slixmpp's plugins say it."""

    async def test_receipts(self):
        romeo, juliet = await self.pair()
        message = romeo.says(juliet.boundjid.full, "got it?")
        message["request_receipt"] = True
        message.send()
        got = await romeo.until("receipt_received")
        self.assertEqual((got["receipt"], got["from"]), (message["id"], juliet.boundjid))
        # One who is away gets the message, and the receipt finds the sender's account.
        bare = juliet.boundjid.bare
        await juliet.gone()
        message = romeo.says(bare, "later?")
        message["request_receipt"] = True
        message.send()
        await romeo.barrier()
        await self.client(juliet.user)
        got = await romeo.until("receipt_received")
        self.assertEqual(got["receipt"], message["id"])

    async def test_states_are_of_the_moment(self):
        romeo, juliet = await self.pair()
        for state in ("composing", "paused", "active", "inactive", "gone"):
            message = romeo.says(juliet.boundjid.full)
            message["chat_state"] = state
            message.send()
            got = await juliet.until("chatstate")
            self.assertEqual((got["chat_state"], got["from"]), (state, romeo.boundjid))
        bare = juliet.boundjid.bare
        await juliet.gone()
        message = romeo.says(bare)
        message["chat_state"] = "composing"
        message.enable("no-copy")
        message.send()
        romeo.send_message(mto=bare, mbody="said", mtype="chat")
        await romeo.barrier()
        back = await self.client(juliet.user)
        await back.message("said")
        await back.never("chatstate")

    async def test_carbons(self):
        romeo, juliet = await self.pair()
        other = await self.client(romeo.user)
        await other.plugin["xep_0280"].enable(timeout=8)
        romeo.send_message(mto=juliet.boundjid, mbody="said by one", mtype="chat")
        got = (await other.until("carbon_sent"))["carbon_sent"]
        self.assertEqual((got["body"], got["from"], got["to"]), ("said by one", romeo.boundjid, juliet.boundjid))
        # Official SDKs take copies of what comes for markers, so there are none: what is for the user comes to all clients itself.
        juliet.send_message(mto=romeo.boundjid.bare, mbody="said to both", mtype="chat")
        for client in (romeo, other):
            await client.message("said to both")
        # §7: what is private stays between two.
        message = romeo.says(juliet.boundjid, "for you alone")
        message.enable("carbon_private")
        message.send()
        await juliet.message("for you alone")
        await other.plugin["xep_0280"].disable(timeout=8)
        romeo.send_message(mto=juliet.boundjid, mbody="no more", mtype="chat")
        await juliet.message("no more")
        await other.barrier()
        await other.never("carbon_received", "carbon_sent")

    async def test_markers(self):
        romeo, juliet = await self.pair()
        romeo.send_message(mto=juliet.boundjid.bare, mbody="read me", mtype="chat")
        got = await juliet.message("read me")
        for marker in ("received", "displayed", "acknowledged"):
            juliet.plugin["xep_0333"].send_marker(romeo.boundjid.full, got["id"], marker, mtype="chat")
            seen = await romeo.until("marker")
            self.assertEqual(seen[marker]["id"], got["id"])

    async def test_corrections_reactions_replies_and_retractions(self):
        romeo, juliet = await self.pair()
        bare = juliet.boundjid.bare
        first = romeo.says(bare, "Helo")
        first.send()
        await juliet.message("Helo")
        romeo.plugin["xep_0308"].correct_message(first, "Hello")
        got = await juliet.until("message_correction")
        self.assertEqual((got["replace"]["id"], got["body"]), (first["id"], "Hello"))
        juliet.plugin["xep_0444"].send_reactions(romeo.boundjid.bare, first["id"], ["\N{WAVING HAND SIGN}"])
        got = await romeo.until("reactions")
        self.assertEqual((got["reactions"]["id"], got["reactions"]["values"]), (first["id"], {"\N{WAVING HAND SIGN}"}))
        juliet.plugin["xep_0461"].send_reply(romeo.boundjid, first["id"], mto=romeo.boundjid.bare, mbody="Well met", mtype="chat")
        got = await romeo.until("message_reply")
        self.assertEqual((got["reply"]["id"], got["body"]), (first["id"], "Well met"))
        romeo.plugin["xep_0424"].send_retraction(bare, first["id"])
        got = await juliet.until("message_retract")
        self.assertEqual(got["retract"]["id"], first["id"])

    async def test_hints(self):
        romeo, juliet = await self.pair()
        bare = juliet.boundjid.bare
        await juliet.gone()
        for hint, body in (("no-store", "now or never"), ("no-permanent-store", "off the record"), ("store", "for good")):
            message = romeo.says(bare, body)
            message.enable(hint)
            message.send()
        await romeo.barrier()
        back = await self.client(juliet.user)
        await back.message("for good")
        await back.message("off the record", timeout=1)
        await back.never("message", wants=lambda got: got["body"] == "now or never")
