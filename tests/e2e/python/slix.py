"""slixmpp, an XMPP library nobody here wrote, over STARTTLS and over TLS from the first byte.

RFC 6120 and 6121 and the small XEPs, as a client of somebody else's sees them. Run: python3 -m unittest -v slix
"""

import asyncio
import datetime
import logging
import ssl
import unittest

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream import ET

import world
from world import DOMAIN, new_user

# Failures are reported by the tests; what the library and a debugging event loop remark besides is noise.
for name in ("slixmpp", "asyncio"):
    logging.getLogger(name).setLevel(logging.CRITICAL)

PLUGINS = ("xep_0004", "xep_0012", "xep_0030", "xep_0045", "xep_0092", "xep_0199", "xep_0202", "xep_0203", "xep_0313", "xep_0441")


class Client(slixmpp.ClientXMPP):
    """slixmpp, with what arrives put into queues that a test can wait on."""

    # What a suite needs besides.
    plugins = ()
    events = ()

    def __init__(self, user, resource=None, password=None, mechanism=None):
        jid = user.bare + (f"/{resource}" if resource else "")
        super().__init__(jid, user.password if password is None else password, sasl_mech=mechanism)
        self.user = user
        self.arrived = []
        self.news = asyncio.Event()
        self.auto_authorize = None
        self.auto_subscribe = False
        for plugin in (*PLUGINS, *self.plugins):
            self.register_plugin(plugin)
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE
        for event in ("message", "message_error", "presence", "presence_error", "roster_update", "stream_error", "disconnected", "failed_all_auth",
                      "failed_auth", "session_start", "stream_negotiated", "connection_failed", "groupchat_presence", "groupchat_subject", "groupchat_config_status",
                      *self.events):
            self.add_event_handler(event, lambda what, event=event: self.note(event, what))

    def reschedule_connection_attempt(self):
        """Never: a test that is not connected has failed."""

    def abort(self):
        # slixmpp may have closed it already, and twice, after which Python 3.11 cannot abort it any more.
        if self.transport is None or not self.transport.is_closing():
            super().abort()

    def note(self, event, what):
        self.arrived.append((event, what))
        self.news.set()

    async def until(self, *events, wants=lambda what: True, timeout=8):
        """The first of those events, past or to come, that `wants` accepts; it is taken out."""
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            for at, (event, what) in enumerate(self.arrived):
                if event in events and wants(what):
                    return self.arrived.pop(at)[1]
            self.news.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self.news.wait(), max(0.001, left))
            except asyncio.TimeoutError:
                seen = "\n  ".join(f"{event}: {what}" for event, what in self.arrived)
                raise AssertionError(f"{self.boundjid}: no {' or '.join(events)} in {timeout} s; there was\n  {seen}") from None

    async def never(self, *events, wants=lambda what: True, within=0.4):
        try:
            what = await self.until(*events, wants=wants, timeout=within)
        except AssertionError:
            return
        raise AssertionError(f"unexpected: {what}")

    async def message(self, body, timeout=8):
        return await self.until("message", "message_error", wants=lambda got: got["body"] == body, timeout=timeout)

    async def barrier(self):
        """Everything sent before has been taken in by the server, and its answers are here."""
        await self.plugin["xep_0199"].send_ping(DOMAIN, timeout=8)

    async def available(self, **presence):
        """Presence, and its echo."""
        self.send_presence(**presence)
        await self.until("presence", wants=lambda got: got["from"] == self.boundjid and got["type"] != "unavailable")
        return self

    async def gone(self):
        await self.disconnect()


async def connect(user, direct_tls=False, client_class=Client, **options):
    client = client_class(user, **options)
    client.enable_direct_tls, client.enable_starttls = direct_tls, not direct_tls
    client.connect(world.HOST, world.XMPPS_PORT if direct_tls else world.XMPP_PORT)
    try:
        await client.until("session_start", timeout=10)
    except AssertionError:
        client.abort()
        raise
    return client


class Suite(unittest.IsolatedAsyncioTestCase):
    client_class = Client

    async def asyncSetUp(self):
        self.open = []

    async def asyncTearDown(self):
        for client in self.open:
            client.abort()
        await asyncio.sleep(0)

    async def client(self, user, available=True, **options):
        client = await connect(user, client_class=self.client_class, **options)
        self.open.append(client)
        await client.get_roster()
        return await client.available() if available else client

    async def pair(self):
        return await self.client(new_user("romeo")), await self.client(new_user("juliet"))


class Login(Suite):
    async def logs_in(self, user, **options):
        for direct_tls in (False, True):
            with self.subTest(direct_tls=direct_tls, **options):
                client = await self.client(user, direct_tls=direct_tls, **options)
                self.assertEqual(client.boundjid.bare, user.bare)
                self.assertTrue(client.boundjid.resource)
                await client.barrier()
                await client.gone()

    async def test_the_mechanism_that_slixmpp_picks(self):
        await self.logs_in(new_user())

    async def test_scram_sha_1(self):
        await self.logs_in(new_user(), mechanism="SCRAM-SHA-1")

    async def test_scram_sha_256(self):
        await self.logs_in(new_user(), mechanism="SCRAM-SHA-256")

    async def test_plain(self):
        await self.logs_in(new_user(), mechanism="PLAIN")

    @world.needs_rest
    async def test_a_session_token_is_a_password_for_every_mechanism(self):
        user = new_user("token")
        token = user.session()
        for mechanism in (None, "SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN"):
            await self.logs_in(user, mechanism=mechanism, password=token)

    @world.needs_rest
    async def test_the_password_works_beside_live_tokens(self):
        user = new_user("both")
        tokens = [user.session() for _ in range(3)]
        await self.logs_in(user, mechanism="SCRAM-SHA-256")
        for token in tokens:
            await self.logs_in(user, mechanism="SCRAM-SHA-256", password=token)

    @world.needs_rest
    async def test_a_token_that_was_ended_or_is_somebody_elses_is_refused(self):
        user, other = new_user("token"), new_user("token")
        ended = user.session()
        self.assertEqual(world.rest("DELETE", "/session.json", token=ended).status, 200)
        for mechanism in ("SCRAM-SHA-256", "PLAIN"):
            for token in (ended, other.session(), world.session()):
                with self.subTest(mechanism):
                    await self.refused(user, mechanism=mechanism, password=token)

    async def refused(self, user, **options):
        client = Client(user, **options)
        self.open.append(client)
        client.enable_direct_tls, client.enable_starttls = True, False
        client.connect(world.HOST, world.XMPPS_PORT)
        failure = await client.until("failed_auth")
        self.assertEqual(failure["condition"], "not-authorized")
        client.abort()

    async def test_a_wrong_password_is_not_authorized(self):
        for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN"):
            with self.subTest(mechanism):
                await self.refused(new_user("wrong"), mechanism=mechanism, password="not-the-password")

    async def test_mechanisms_on_offer(self):
        client = await self.client(new_user())
        offered = client.plugin["feature_mechanisms"].mech_list
        for mechanism in ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"):
            self.assertIn(mechanism, offered)
        if not world.XMPP_ONLY:
            for mechanism in ("SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"):
                self.assertIn(mechanism, offered)

    async def test_the_resource_asked_for_is_given(self):
        client = await self.client(new_user(), resource="balcony")
        self.assertEqual(client.boundjid.resource, "balcony")

    async def test_the_same_resource_again_ends_the_older_session(self):
        user = new_user("conflict")
        older = await self.client(user, resource="phone")
        newer = await self.client(user, resource="phone")
        error = await older.until("stream_error")
        self.assertEqual(error["condition"], "conflict")
        await older.until("disconnected")
        await newer.barrier()


class Messages(Suite):
    async def test_both_ways_with_full_jid_and_id(self):
        romeo, juliet = await self.pair()
        sent = romeo.make_message(mto=juliet.boundjid.bare, mbody="hello", mtype="chat")
        sent["id"] = "53aadc78535c127f15009b6c"
        sent.send()
        got = await juliet.message("hello")
        self.assertEqual((got["from"], got["id"], got["type"]), (romeo.boundjid, "53aadc78535c127f15009b6c", "chat"))
        juliet.send_message(mto=got["from"], mbody="well met", mtype="chat")
        self.assertEqual((await romeo.message("well met"))["from"], juliet.boundjid)

    async def test_children_of_any_kind_are_passed_on(self):
        romeo, juliet = await self.pair()
        message = romeo.make_message(mto=juliet.boundjid.bare, mbody="with more", mtype="chat")
        extra = ET.fromstring("<extraParams xmlns='jabber:client'><age>25</age><attachment type='video' id='4&amp;7'/>"
                              "<x xmlns='urn:example:x' y='&lt;'>ü<z xmlns=''/></x></extraParams>")
        message.append(extra)
        message.send()
        got = (await juliet.message("with more")).xml.find("{jabber:client}extraParams")
        self.assertEqual(ET.canonicalize(ET.tostring(got)), ET.canonicalize(ET.tostring(extra)))

    async def test_every_available_resource_gets_a_message_to_the_account(self):
        romeo = await self.client(new_user("romeo"))
        user = new_user("juliet")
        phone, tablet = await self.client(user, resource="phone"), await self.client(user, resource="tablet")
        silent = await self.client(user, available=False, resource="silent")
        shy = await self.client(user, available=False, resource="shy")
        await shy.available(ppriority=-1)
        romeo.send_message(mto=user.bare, mbody="to all", mtype="chat")
        for client in (phone, tablet):
            await client.message("to all")
        for client in (silent, shy):
            await client.never("message", wants=lambda got: got["body"] == "to all")
        romeo.send_message(mto=phone.boundjid, mbody="to the phone", mtype="chat")
        await phone.message("to the phone")
        await tablet.never("message", wants=lambda got: got["body"] == "to the phone")
        romeo.send_message(mto=shy.boundjid, mbody="to the shy one", mtype="chat")
        await shy.message("to the shy one")

    async def test_offline_messages_wait_in_order_and_come_once(self):
        romeo, user = await self.client(new_user("romeo")), new_user("absent")
        before = datetime.datetime.now(datetime.timezone.utc)
        for n in range(20):
            romeo.send_message(mto=user.bare, mbody=f"kept {n}", mtype="chat" if n % 2 else "normal")
        await romeo.barrier()
        shy = await self.client(user, available=False, resource="shy")
        await shy.available(ppriority=-1)
        await shy.never("message")
        await shy.gone()
        client = await self.client(user)
        for n in range(20):
            got = await client.until("message")
            self.assertEqual(got["body"], f"kept {n}")
            self.assertIsNotNone(got.xml.find("{urn:xmpp:delay}delay"))
            self.assertLess(abs((got["delay"]["stamp"] - before).total_seconds()), 60)
        await client.gone()
        client = await self.client(user)
        await client.never("message")

    async def test_what_is_not_kept(self):
        romeo, user = await self.client(new_user("romeo")), new_user("absent")
        romeo.send_message(mto=user.bare, mbody="a headline", mtype="headline")
        romeo.send_message(mto=user.bare, mbody="a group message", mtype="groupchat")
        state = romeo.make_message(mto=user.bare, mtype="chat")
        state.append(ET.Element("{http://jabber.org/protocol/chatstates}composing"))
        state.send()
        romeo.send_message(mto=user.bare, mbody="kept", mtype="chat")
        await romeo.barrier()
        client = await self.client(user)
        await client.message("kept")
        await client.never("message")

    @unittest.skipIf(world.XMPP_ONLY, "servers differ")
    async def test_a_full_jid_that_is_gone(self):
        romeo, juliet = await self.pair()
        gone = f"{juliet.boundjid.bare}/gone"
        romeo.send_message(mto=gone, mbody="chat goes to the account", mtype="chat")
        await juliet.message("chat goes to the account")
        for kind in ("normal", "headline"):
            romeo.send_message(mto=gone, mbody=kind, mtype=kind)
            error = await romeo.until("message_error")
            self.assertEqual((error["from"].full, error["error"]["condition"]), (gone, "recipient-unavailable"))
            self.assertEqual(error["error"]["code"], "404")
            self.assertTrue(error["error"]["text"])

    async def test_a_message_to_oneself(self):
        romeo = await self.client(new_user("romeo"))
        romeo.send_message(mto=romeo.boundjid.bare, mbody="note to self", mtype="chat")
        self.assertEqual((await romeo.message("note to self"))["from"], romeo.boundjid)

    async def test_an_unknown_user_gets_nothing_and_breaks_nothing(self):
        romeo = await self.client(new_user("romeo"))
        romeo.send_message(mto=f"987654321-{world.APP_ID}@{DOMAIN}", mbody="anybody?", mtype="chat")
        romeo.send_message(mto=f"admin@{DOMAIN}", mbody="anybody?", mtype="chat")
        await romeo.barrier()


class Roster(Suite):
    async def test_items_are_kept_pushed_changed_and_removed(self):
        user, contact = new_user("keeper"), new_user("contact").bare
        one, two = await self.client(user), await self.client(user)

        async def pushed(check):
            for client in (one, two):
                await client.until("roster_update", wants=lambda push: contact in push["roster"]["items"] and check(push["roster"]["items"][contact]))

        await one.update_roster(contact, name="Näme & <Co>", groups=["Friends", "Work & Play"])
        await pushed(lambda item: item["name"] == "Näme & <Co>" and sorted(item["groups"]) == ["Friends", "Work & Play"])
        await two.update_roster(contact, name="Other", groups=[])
        await pushed(lambda item: item["name"] == "Other" and not item["groups"])
        fresh = await self.client(user)
        self.assertEqual(fresh.client_roster[contact]["name"], "Other")
        await one.del_roster_item(contact)
        await pushed(lambda item: item["subscription"] == "remove")
        roster = await (await self.client(user)).get_roster()
        self.assertNotIn(contact, roster["roster"]["items"])

    async def test_versions_spare_the_list_when_nothing_changed(self):
        user = new_user("versions")
        client = await self.client(user)
        self.assertIn("rosterver", client.features)
        await client.update_roster(new_user("contact").bare, name="One")

        async def fetch(version):
            iq = client.make_iq_get(queryxmlns="jabber:iq:roster")
            iq.xml[0].set("ver", version)
            return await iq.send()

        full = (await fetch("")).xml.find("{jabber:iq:roster}query")
        self.assertEqual(len(full), 1, "an empty ver gets the full list")
        version = full.get("ver")
        self.assertTrue(version)
        answer = await fetch(version)
        query = answer.xml.find("{jabber:iq:roster}query")
        self.assertTrue(query is None or len(query) == 0, ET.tostring(answer.xml))
        self.assertIsNotNone((await fetch("a version nobody gave")).xml.find("{jabber:iq:roster}query/{jabber:iq:roster}item"))

    async def test_broken_roster_requests(self):
        client = await self.client(new_user("broken"))
        for items, condition in (("", "bad-request"), ("<item/>", "bad-request"), ("<item jid='a@b'/><item jid='c@d'/>", "bad-request"),
                                 ("<item jid='@@@'/>", None), (f"<item jid='{new_user('x').bare}' subscription='remove'/>", "item-not-found")):
            with self.subTest(items):
                iq = client.make_iq_set()
                iq.append(ET.fromstring(f"<query xmlns='jabber:iq:roster'>{items}</query>"))
                with self.assertRaises(IqError) as caught:
                    await iq.send(timeout=5)
                if condition:
                    self.assertEqual(caught.exception.condition, condition)
        await client.barrier()

    async def test_somebody_elses_roster_is_out_of_reach(self):
        romeo, juliet = await self.pair()
        for kind in ("get", "set"):
            iq = romeo.make_iq(itype=kind, ito=juliet.boundjid.bare)
            iq.append(ET.fromstring("<query xmlns='jabber:iq:roster'><item jid='a@b' subscription='both'/></query>"))
            with self.assertRaises(IqError):
                await iq.send(timeout=5)
        # A push is believed only from oneself (CVE-2015-8688): the server does not pass on what looks like one.
        forged = romeo.make_iq_set(ito=juliet.boundjid)
        forged.append(ET.fromstring("<query xmlns='jabber:iq:roster'><item jid='evil@example.com' subscription='both'/></query>"))
        forged.send(timeout=1)
        await juliet.barrier()
        roster = await juliet.get_roster()
        self.assertNotIn("evil@example.com", roster["roster"]["items"])


class Subscriptions(Suite):
    def state(self, client, other):
        item = client.client_roster[other.boundjid.bare if isinstance(other, Client) else other.bare]
        return {(False, False): "none", (True, False): "to", (False, True): "from", (True, True): "both"}[item["to"], item["from"]]

    async def kind(self, client, kind, other):
        return await client.until("presence", "presence_error", wants=lambda got: got["type"] == kind and got["from"].bare == other.boundjid.bare)

    async def test_the_whole_dance(self):
        romeo, juliet = await self.pair()
        romeo.send_presence_subscription(juliet.boundjid.bare)
        asked = await self.kind(juliet, "subscribe", romeo)
        self.assertEqual(asked["from"], romeo.boundjid.bare)
        await romeo.until("roster_update", wants=lambda push: [item["ask"] for item in push["roster"]["items"].values()] == ["subscribe"])
        juliet.send_presence_subscription(romeo.boundjid.bare, ptype="subscribed")
        await self.kind(romeo, "subscribed", juliet)
        await self.kind(romeo, "available", juliet)
        await juliet.barrier()
        await romeo.barrier()
        self.assertEqual((self.state(romeo, juliet), self.state(juliet, romeo)), ("to", "from"))

        juliet.send_presence_subscription(romeo.boundjid.bare)
        await self.kind(romeo, "subscribe", juliet)
        romeo.send_presence_subscription(juliet.boundjid.bare, ptype="subscribed")
        await self.kind(juliet, "subscribed", romeo)
        await self.kind(juliet, "available", romeo)
        await romeo.barrier()
        self.assertEqual((self.state(romeo, juliet), self.state(juliet, romeo)), ("both", "both"))

        romeo.send_presence(pshow="away", pstatus="banished", ppriority=3)
        away = await juliet.until("presence", wants=lambda got: got["show"] == "away")
        self.assertEqual((away["from"], away["status"], away["priority"]), (romeo.boundjid, "banished", 3))

        romeo.send_presence_subscription(juliet.boundjid.bare, ptype="unsubscribe")
        await self.kind(juliet, "unsubscribe", romeo)
        await self.kind(romeo, "unavailable", juliet)
        juliet.send_presence_subscription(romeo.boundjid.bare, ptype="unsubscribed")
        await juliet.barrier()
        await romeo.barrier()
        self.assertEqual((self.state(romeo, juliet), self.state(juliet, romeo)), ("from", "to"))
        # …Romeo was `from` before: Juliet only took back what he no longer had.

    async def test_presence_follows_subscriptions_over_sessions(self):
        romeo, juliet = await self.pair()
        for one, other in ((romeo, juliet), (juliet, romeo)):
            one.send_presence_subscription(other.boundjid.bare)
            await self.kind(other, "subscribe", one)
            other.send_presence_subscription(one.boundjid.bare, ptype="subscribed")
            await self.kind(one, "subscribed", other)
        await self.kind(romeo, "available", juliet)
        user = juliet.user
        await juliet.gone()
        await self.kind(romeo, "unavailable", juliet)
        juliet = await self.client(user)
        await self.kind(romeo, "available", juliet)
        # …and who comes is told who is there.
        got = await self.kind(juliet, "available", romeo)
        self.assertEqual(got["from"], romeo.boundjid)
        # A connection that breaks off counts as going.
        juliet.abort()
        await self.kind(romeo, "unavailable", juliet)

    async def test_a_request_waits_for_who_is_offline_until_answered(self):
        romeo, user = await self.client(new_user("romeo")), new_user("absent")
        romeo.send_presence_subscription(user.bare)
        await romeo.barrier()
        for _ in range(2):
            juliet = await self.client(user)
            await self.kind(juliet, "subscribe", romeo)
            await juliet.gone()
        juliet = await self.client(user)
        await self.kind(juliet, "subscribe", romeo)
        juliet.send_presence_subscription(romeo.boundjid.bare, ptype="unsubscribed")
        await self.kind(romeo, "unsubscribed", juliet)
        await juliet.gone()
        juliet = await self.client(user)
        await juliet.never("presence", wants=lambda got: got["type"] == "subscribe")

    async def test_removing_a_contact_ends_both_ways(self):
        romeo, juliet = await self.pair()
        for one, other in ((romeo, juliet), (juliet, romeo)):
            one.send_presence_subscription(other.boundjid.bare)
            await self.kind(other, "subscribe", one)
            other.send_presence_subscription(one.boundjid.bare, ptype="subscribed")
            await self.kind(one, "subscribed", other)
        await romeo.del_roster_item(juliet.boundjid.bare)
        await self.kind(juliet, "unsubscribed", romeo)
        await self.kind(juliet, "unsubscribe", romeo)
        await juliet.barrier()
        self.assertEqual(self.state(juliet, romeo), "none")

    async def test_strangers_learn_nothing(self):
        romeo, juliet = await self.pair()
        romeo.send_presence(pto=juliet.boundjid.bare, ptype="probe")
        romeo.send_presence_subscription(juliet.boundjid.bare, ptype="subscribed")
        await romeo.barrier()
        await romeo.never("presence", wants=lambda got: got["from"].bare == juliet.boundjid.bare and got["type"] == "available")
        await juliet.never("presence", wants=lambda got: got["type"] == "subscribed")
        self.assertNotIn(romeo.boundjid.bare, (await juliet.get_roster())["roster"]["items"])

    async def test_directed_presence_reaches_one_and_is_taken_back(self):
        romeo, juliet = await self.pair()
        romeo.send_presence(pto=juliet.boundjid, pstatus="only for you")
        got = await juliet.until("presence", wants=lambda got: got["status"] == "only for you")
        self.assertEqual(got["from"], romeo.boundjid)
        romeo.abort()
        await juliet.until("presence", wants=lambda got: got["type"] == "unavailable" and got["from"] == romeo.boundjid)

    @unittest.skipIf(world.XMPP_ONLY, "servers differ")
    async def test_one_cannot_subscribe_to_oneself(self):
        romeo = await self.client(new_user("romeo"))
        romeo.send_presence_subscription(romeo.boundjid.bare)
        error = await romeo.until("presence_error")
        self.assertEqual(error["error"]["condition"], "not-allowed")

    async def test_other_resources_of_the_same_user_see_each_other(self):
        user = new_user("twice")
        one = await self.client(user, resource="one")
        two = await self.client(user, resource="two")
        await one.until("presence", wants=lambda got: got["from"] == two.boundjid)
        await two.until("presence", wants=lambda got: got["from"] == one.boundjid)
        await two.gone()
        await one.until("presence", wants=lambda got: got["from"] == two.boundjid and got["type"] == "unavailable")


@unittest.skipIf(world.XMPP_ONLY, "what other servers archive is theirs to decide")
class Archive(Suite):
    """XEP-0313 as slixmpp's plugin asks: pages, filters, rooms, the ends, preferences."""

    async def say(self, sender, to, body, kind="chat"):
        """A message that is to be saved."""
        message = sender.make_message(mto=to, mbody=body, mtype=kind)
        message.xml.append(ET.fromstring("<extraParams xmlns='jabber:client'><save_to_history>1</save_to_history></extraParams>"))
        message.send()
        await sender.barrier()

    async def bodies(self, client, **query):
        found = client.plugin["xep_0313"].iterate(**query)
        return [message["mam_result"]["forwarded"]["stanza"]["body"] async for message in found]

    async def refused(self, condition, asking):
        with self.assertRaises(IqError) as refusal:
            await asking
        self.assertEqual(refusal.exception.iq["error"]["condition"], condition)

    async def test_pages_of_everything_and_of_one_conversation(self):
        romeo, juliet = await self.pair()
        mercutio = await self.client(new_user("mercutio"))
        expected = []
        for n in range(12):
            sender, to = [(romeo, juliet), (juliet, romeo), (mercutio, romeo)][n % 3]
            await self.say(sender, to.boundjid.bare, f"line {n}")
            await to.message(f"line {n}")
            expected.append(f"line {n}")
        self.assertEqual(await self.bodies(romeo), expected)
        self.assertEqual(await self.bodies(romeo, rsm={"max": 5}), expected)
        self.assertEqual(await self.bodies(romeo, rsm={"max": 5}, reverse=True), expected[::-1])
        with_mercutio = expected[2::3]
        self.assertEqual(await self.bodies(romeo, with_jid=mercutio.boundjid.bare, rsm={"max": 2}), with_mercutio)
        self.assertEqual(await self.bodies(mercutio), with_mercutio)
        later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        self.assertEqual(await self.bodies(romeo, start=later), [])
        self.assertEqual(await self.bodies(romeo, end=later), expected)

        answer = await romeo.plugin["xep_0313"].retrieve(rsm={"max": 3}, timeout=8)
        self.assertEqual(len(answer["mam"]["results"]), 3)
        self.assertNotEqual(answer["mam_fin"]["complete"], "true")
        ends = (await romeo.plugin["xep_0313"].get_archive_metadata(timeout=8))["mam_metadata"]
        self.assertEqual(ends["start"]["id"], answer["mam"]["results"][0]["mam_result"]["id"])
        self.assertLessEqual(ends["start"]["timestamp"], ends["end"]["timestamp"])
        info = (await romeo.plugin["xep_0030"].get_info(romeo.boundjid.bare, timeout=8))["disco_info"]
        for feature in ("urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:sid:0"):
            self.assertIn(feature, info["features"])

    async def test_an_archive_is_its_owners_alone(self):
        romeo, juliet = await self.pair()
        tybalt = await self.client(new_user("tybalt"))
        await self.say(romeo, juliet.boundjid.bare, "secret")
        await juliet.message("secret")
        mam = tybalt.plugin["xep_0313"]
        await self.refused("service-unavailable", mam.retrieve(jid=romeo.boundjid.bare, timeout=8))
        await self.refused("service-unavailable", mam.get_archive_metadata(jid=romeo.boundjid.bare, timeout=8))
        self.assertEqual(await self.bodies(tybalt), [])

    async def test_the_archive_of_a_room(self):
        romeo, juliet = await self.pair()
        tybalt = await self.client(new_user("tybalt"))
        body = {"type": 2, "name": "Capulets", "occupants_ids": [juliet.user.id]}
        made = world.rest("POST", "/chat/Dialog.json", token=romeo.user.session(), body=body)
        self.assertEqual(made.status, 201, made)
        room = made.json["xmpp_room_jid"]
        romeo.send_raw(f"<presence to='{room}/{romeo.user.id}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await romeo.barrier()
        for n in range(3):
            await self.say(romeo, room, f"all {n}", kind="groupchat")
            await romeo.message(f"all {n}")
        self.assertEqual(await self.bodies(juliet, jid=room, rsm={"max": 2}), ["all 0", "all 1", "all 2"])
        self.assertEqual(await self.bodies(juliet, with_jid=room), ["all 0", "all 1", "all 2"])
        self.assertEqual(await self.bodies(juliet), [], "rooms are no part of a user's own archive")
        history = world.rest("GET", "/chat/Message.json", token=juliet.user.session(), query=[("chat_dialog_id", made.json["_id"])])
        found = [message async for message in juliet.plugin["xep_0313"].iterate(jid=room)]
        self.assertEqual([item["_id"] for item in history.json["items"]], [message["mam_result"]["id"] for message in found])
        await self.refused("item-not-found", tybalt.plugin["xep_0313"].retrieve(jid=room, timeout=8))

    async def test_preferences_are_kept(self):
        romeo = await self.client(new_user("romeo"))
        prefs = romeo.plugin["xep_0441"]
        self.assertEqual(await prefs.get_preferences(timeout=8), ("never", set(), set()))
        friend = slixmpp.JID(new_user("friend").bare)
        await prefs.set_preferences(default="roster", always=[friend], never=[], timeout=8)
        self.assertEqual(await prefs.get_preferences(timeout=8), ("roster", {friend}, set()))


class RoomSuite(Suite):
    """A room, and three who may know of it. Rooms are dialogs, which the API makes."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.romeo, self.juliet = await self.pair()
        self.tybalt = await self.client(new_user("tybalt"))
        self.room = self.group(self.juliet)

    def group(self, *others, kind=2):
        body = {"type": kind, "name": "Verona", "occupants_ids": [other.user.id for other in others]}
        made = world.rest("POST", "/chat/Dialog.json", token=self.romeo.user.session(), body=body)
        self.assertEqual(made.status, 201, made)
        return made.json["xmpp_room_jid"]

    def dialog(self, path=""):
        return f"/chat/Dialog/{self.room.split('_')[1].split('@')[0]}{path}.json"

    def muc(self, client):
        return client.plugin["xep_0045"]

    async def join(self, client, **options):
        return await self.muc(client).join_muc_wait(self.room, str(client.user.id), timeout=8, **options)

    async def refused(self, condition, asking):
        with self.assertRaises(IqError) as refusal:
            await asking
        self.assertEqual(refusal.exception.iq["error"]["condition"], condition)

    def roster(self, client):
        return sorted(self.muc(client).get_roster(self.room))

    async def gone(self, client, who):
        nick = f"{self.room}/{who.user.id}"
        return await client.until("groupchat_presence", wants=lambda got: got["type"] == "unavailable" and got["from"].full == nick)


class Rooms(RoomSuite):
    """XEP-0045 as slixmpp's plugin has it."""

    async def test_joining_talking_and_leaving(self):
        own, subject, occupants, history = await self.join(self.romeo, maxstanzas=0)
        self.assertEqual((own["muc"]["affiliation"], own["muc"]["role"], own["muc"]["nick"]), ("owner", "moderator", str(self.romeo.user.id)))
        self.assertEqual((subject["subject"] or "", [seen["muc"]["jid"] for seen in occupants], history), ("", [self.romeo.boundjid], []))
        own, _, occupants, _ = await self.join(self.juliet)
        self.assertEqual((own["muc"]["affiliation"], own["muc"]["role"]), ("member", "participant"))
        self.assertEqual([seen["muc"]["jid"] for seen in occupants], [self.romeo.boundjid, self.juliet.boundjid])
        both = sorted(str(client.user.id) for client in (self.romeo, self.juliet))
        await self.romeo.until("groupchat_presence", wants=lambda got: got["from"].full == f"{self.room}/{self.juliet.user.id}")
        self.assertEqual((self.roster(self.romeo), self.roster(self.juliet)), (both, both))
        self.juliet.send_message(mto=self.room, mbody="hello all", mtype="groupchat")
        for client in (self.romeo, self.juliet):
            got = await client.message("hello all")
            self.assertEqual((got["from"], got["type"]), (f"{self.room}/{self.juliet.user.id}", "groupchat"))
        self.juliet.send_message(mto=f"{self.room}/{self.romeo.user.id}", mbody="psst", mtype="chat")
        got = await self.romeo.message("psst")
        self.assertEqual((got["from"], got["type"]), (f"{self.room}/{self.juliet.user.id}", "chat"))
        self.muc(self.juliet).set_subject(self.room, subject="Balconies")
        await self.romeo.until("groupchat_subject", wants=lambda got: got["subject"] == "Balconies")
        self.muc(self.juliet).leave_muc(self.room, str(self.juliet.user.id))
        await self.gone(self.romeo, self.juliet)
        _, subject, _, _ = await self.join(self.juliet)
        self.assertEqual(subject["subject"], "Balconies")

    async def test_history_on_join_is_the_history_of_the_api(self):
        sent = [world.rest("POST", "/chat/Message.json", token=self.romeo.user.session(), body={"chat_dialog_id": self.room.split("_")[1].split("@")[0], "message": f"m{n}"}) for n in range(4)]
        self.assertEqual([answer.status for answer in sent], [201] * 4)
        _, _, _, history = await self.join(self.juliet, maxstanzas=3)
        self.assertEqual([got["body"] for got in history], ["m1", "m2", "m3"])
        self.assertTrue(all(got["delay"]["stamp"] and got["from"] == f"{self.room}/{self.romeo.user.id}" for got in history))

    async def test_strangers_stay_outside(self):
        with self.assertRaises(slixmpp.exceptions.PresenceError) as refusal:
            await self.join(self.tybalt)
        self.assertEqual(refusal.exception.condition, "registration-required")
        self.tybalt.send_message(mto=self.room, mbody="let me in", mtype="groupchat")
        error = await self.tybalt.until("message_error")
        self.assertEqual(error["error"]["condition"], "forbidden")
        await self.refused("item-not-found", self.muc(self.tybalt).get_affiliation_list(self.room, "member", timeout=8))

    async def test_orders_change_the_dialog_and_the_dialog_the_room(self):
        for client in (self.romeo, self.juliet):
            await self.join(client)
        muc = self.muc(self.romeo)
        await self.muc(self.juliet).set_affiliation(self.room, "member", jid=self.tybalt.boundjid.bare, timeout=8)
        await self.join(self.tybalt)
        self.assertEqual(sorted(await muc.get_affiliation_list(self.room, "member", timeout=8)), sorted([self.juliet.boundjid.bare, self.tybalt.boundjid.bare]))
        self.assertEqual(await muc.get_affiliation_list(self.room, "owner", timeout=8), [self.romeo.boundjid.bare])
        self.assertEqual(await muc.get_roles_list(self.room, "moderator", timeout=8), [str(self.romeo.user.id)])
        await self.refused("forbidden", self.muc(self.juliet).set_affiliation(self.room, "none", jid=self.tybalt.boundjid.bare, timeout=8))
        await self.refused("forbidden", self.muc(self.juliet).get_room_config(self.room, timeout=8))
        await self.refused("not-allowed", muc.set_affiliation(self.room, "outcast", jid=self.tybalt.boundjid.bare, timeout=8))
        await muc.set_role(self.room, str(self.tybalt.user.id), "none", timeout=8)
        await self.gone(self.juliet, self.tybalt)
        await self.gone(self.tybalt, self.tybalt)
        await self.join(self.tybalt)
        await muc.set_affiliation(self.room, "none", jid=self.tybalt.boundjid.bare, timeout=8)
        await self.gone(self.tybalt, self.tybalt)
        with self.assertRaises(slixmpp.exceptions.PresenceError):
            await self.join(self.tybalt)

        form = await muc.get_room_config(self.room, timeout=8)
        self.assertEqual(form.get_values()["muc#roomconfig_roomname"], "Verona")
        form["type"] = "submit"
        form.set_values({"muc#roomconfig_roomname": "Mantua"})
        await muc.set_room_config(self.room, form, timeout=8)
        await self.juliet.until("groupchat_config_status")
        listed = world.rest("GET", "/chat/Dialog.json", token=self.juliet.user.session(), query=[("name", "Mantua")])
        self.assertEqual([dialog["xmpp_room_jid"] for dialog in listed.json["items"]], [self.room])
        self.assertEqual(listed.json["items"][0]["occupants_ids"], sorted([self.romeo.user.id, self.juliet.user.id]))
        self.assertEqual(world.rest("PUT", self.dialog(), token=self.romeo.user.session(), body={"name": "Padua"}).status, 200)
        await self.juliet.until("groupchat_config_status")
        info = (await self.juliet.plugin["xep_0030"].get_info(self.room, timeout=8))["disco_info"]
        self.assertEqual({name for _, _, _, name in info["identities"]}, {"Padua"})

        await muc.destroy(self.room, "over", timeout=8)
        await self.gone(self.juliet, self.juliet)
        self.assertEqual(world.rest("GET", "/chat/Dialog.json", token=self.juliet.user.session()).json["total_entries"], 0)

    async def test_who_is_taken_out_over_rest_is_out_of_the_room(self):
        for client in (self.romeo, self.juliet):
            await self.join(client)
        body = {"pull_all": {"occupants_ids": [self.juliet.user.id]}}
        self.assertEqual(world.rest("PUT", self.dialog(), token=self.romeo.user.session(), body=body).status, 200)
        self.assertIn(301, (await self.gone(self.juliet, self.juliet))["muc"]["status_codes"])
        await self.gone(self.romeo, self.juliet)

    async def test_public_rooms_are_listed_and_open_to_all(self):
        self.room = self.group(kind=1)
        items = (await self.tybalt.plugin["xep_0030"].get_items(f"muc.{DOMAIN}", timeout=8))["disco_items"]["items"]
        self.assertIn(self.room, {jid for jid, _, _ in items})
        own, _, _, _ = await self.join(self.tybalt)
        self.assertEqual((own["muc"]["affiliation"], own["muc"]["role"]), ("none", "participant"))
        items = (await self.romeo.plugin["xep_0030"].get_items(self.room, timeout=8))["disco_items"]["items"]
        self.assertEqual({jid for jid, _, _ in items}, {f"{self.room}/{self.tybalt.user.id}"})


class Services(Suite):
    async def test_ping_version_time_and_uptime_of_the_server(self):
        client = await self.client(new_user())
        self.assertLess(await client.plugin["xep_0199"].ping(DOMAIN, timeout=5), 2)
        version = (await client.plugin["xep_0092"].get_version(DOMAIN, timeout=5))["software_version"]
        self.assertTrue(version["name"])
        self.assertTrue(version["version"])
        answer = await client.plugin["xep_0202"].get_entity_time(DOMAIN, timeout=5)
        # By its text: slixmpp's own reading of <utc/> appends a second "Z".
        told = datetime.datetime.fromisoformat(answer.xml.findtext("{urn:xmpp:time}time/{urn:xmpp:time}utc"))
        self.assertLess(abs((told - datetime.datetime.now(datetime.timezone.utc)).total_seconds()), 5)
        last = await client.plugin["xep_0012"].get_last_activity(DOMAIN, timeout=5)
        self.assertGreaterEqual(last["last_activity"]["seconds"], 0)

    async def test_disco_of_the_server_is_true(self):
        client = await self.client(new_user())
        info = (await client.plugin["xep_0030"].get_info(DOMAIN, timeout=5))["disco_info"]
        self.assertIn("server", {identity[0] for identity in info["identities"]})
        for feature in ("http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items", "urn:xmpp:ping",
                        "jabber:iq:version", "urn:xmpp:time", "jabber:iq:last", "msgoffline"):
            self.assertIn(feature, info["features"])
        items = await client.plugin["xep_0030"].get_items(DOMAIN, timeout=5)
        self.assertEqual(items["type"], "result")

    async def test_disco_of_ones_own_account(self):
        client = await self.client(new_user())
        info = (await client.plugin["xep_0030"].get_info(client.boundjid.bare, timeout=5))["disco_info"]
        self.assertIn("account", {identity[0] for identity in info["identities"]})

    @unittest.skipIf(world.XMPP_ONLY, "servers ask for a subscription")
    async def test_last_activity_of_users(self):
        romeo, juliet = await self.pair()

        async def seconds(user):
            return (await romeo.plugin["xep_0012"].get_last_activity(user, timeout=5))["last_activity"]["seconds"]

        self.assertEqual(await seconds(juliet.boundjid.bare), 0)
        await juliet.gone()
        await asyncio.sleep(1.2)
        self.assertIn(await seconds(juliet.user.bare), (1, 2, 3))
        for nobody in (f"987654321-{world.APP_ID}@{DOMAIN}", new_user("never").bare):
            with self.assertRaises(IqError):
                await seconds(nobody)

    async def test_iq_between_clients_is_passed_on_and_answered(self):
        romeo, juliet = await self.pair()
        version = (await romeo.plugin["xep_0092"].get_version(juliet.boundjid, timeout=5))["software_version"]
        self.assertTrue(version["name"])
        with self.assertRaises(IqError) as caught:
            await romeo.plugin["xep_0092"].get_version(f"{juliet.boundjid.bare}/gone", timeout=5)
        self.assertEqual(caught.exception.condition, "service-unavailable")

    async def test_errors_carry_type_condition_code_and_text(self):
        client = await self.client(new_user())
        iq = client.make_iq_get(ito=DOMAIN, queryxmlns="urn:example:nobody-knows")
        with self.assertRaises(IqError) as caught:
            await iq.send(timeout=5)
        error = caught.exception.iq["error"]
        self.assertEqual((error["condition"], error["type"]), ("service-unavailable", "cancel"))
        if not world.XMPP_ONLY:
            # SDK 2.0.4 reads both without a check (wire spec §13.8).
            self.assertEqual(error["code"], "503")
            self.assertTrue(error["text"])
            self.assertIsNotNone(caught.exception.iq.xml.find("{urn:example:nobody-knows}query"), "the request's child is repeated")

    async def test_the_session_survives_wrong_stanzas(self):
        client = await self.client(new_user())
        for wrong in ("<iq type='get' id='w1'/>", "<iq type='result' id='w2'><x xmlns='u'/></iq>", "<message type='nonsense' to='nowhere.example'/>",
                      "<presence type='nonsense'/>", "<message to='a@b@c'><body>x</body></message>", "<iq type='set' id='w3'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"):
            client.send_raw(wrong)
            try:
                await client.barrier()
            except IqTimeout:
                self.fail(f"no answer any more after {wrong}")

    async def test_whitespace_between_stanzas_is_nothing(self):
        client = await self.client(new_user())
        client.send_raw(" \n\t " * 100)
        await client.barrier()


if __name__ == "__main__":
    unittest.main()
