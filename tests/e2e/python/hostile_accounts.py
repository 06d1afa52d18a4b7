"""What a hostile user may try on other accounts and on its own: forged pushes, spying, lists without end, names that look like keys.

The codes are those of `tests/hostile.md`. Run: python3 -m unittest -v hostile_accounts
"""

import unittest
import xml.etree.ElementTree as ET

import world
from bystanders import PATIENCE_SECS, Hostile
from wire import NS, Closed, Stream, condition, login, new_id, tag
from world import new_user

CARBONS, FORWARD, MAM, SID = "urn:xmpp:carbons:2", "urn:xmpp:forward:0", "urn:xmpp:mam:2", "urn:xmpp:sid:0"
PRIVACY, PRIVATE, PUBSUB = "jabber:iq:privacy", "jabber:iq:private", "http://jabber.org/protocol/pubsub"
SAVED = "<extraParams xmlns='jabber:client'><save_to_history>1</save_to_history></extraParams>"

# Names that a store might take for something else: separators, prefixes of one another, the last characters there are.
NAMES = ["a", "a/b", "a|b", "a:b", "a b", "a%00", "a\u0001".replace("\u0001", "\u0085"), "a\u00ff", "a\U0010fffd", "ab", "b", "a" * 400, "..", "'"]


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&apos;")


class Forgeries(Hostile):
    def test_b01_two_binds_at_once(self):
        stream = Stream(tls_first=True)
        stream.secure()
        stream.plain(self.attacker_user)
        stream.restart()
        stream.send("".join(f"<iq type='set' id='b{n}'><bind xmlns='{NS['bind']}'><resource>twin</resource></bind></iq>" for n in (1, 2)))
        answers = {element.get("id"): element.get("type") for element in (stream.next("client:iq"), stream.next("client:iq"))}
        self.assertEqual(answers, {"b1": "result", "b2": "error"})
        stream.ping()
        stream.close()

    def test_b09_pushes_and_carbons_are_the_servers_to_send(self):
        victim, attacker = self.victim(), self.attacker()
        victim.iq("set", f"<enable xmlns='{CARBONS}'/>", to=None)
        evil = f"<query xmlns='{NS['roster']}'><item jid='evil@{world.DOMAIN}' subscription='both'/></query>"
        inner = f"<forwarded xmlns='{FORWARD}'><message xmlns='jabber:client' from='{self.passer_by.bare}' to='{self.victim_user.bare}'><body>forged</body></message></forwarded>"
        for to in (victim.full_jid, self.victim_user.bare):
            attacker.send(f"<iq type='set' id='{new_id()}' to='{to}'>{evil}</iq>")
            for kind in ("chat", "normal", "headline"):
                attacker.send(f"<message to='{to}' type='{kind}'><received xmlns='{CARBONS}'>{inner}</received></message>"
                              f"<message to='{to}' type='{kind}'><sent xmlns='{CARBONS}'>{inner}</sent></message>"
                              f"<message to='{to}' type='{kind}'><result xmlns='{MAM}' id='1'>{inner}</result></message>")
        for element in self.until_fence(attacker, victim):
            # Clients believe what comes from their own account or from no address; this says whose it is.
            self.assertEqual(element.get("from"), attacker.full_jid, ET.tostring(element))
        # In the victim's own name nothing gets even so far.
        for forged in (self.victim_user.bare, world.DOMAIN):
            stranger = self.attacker()
            stranger.send(f"<iq type='set' id='{new_id()}' from='{forged}' to='{victim.full_jid}'>{evil}</iq>")
            try:
                for element in self.until_fence(stranger, victim):
                    self.assertEqual(element.get("from"), stranger.full_jid, ET.tostring(element))
            except Closed as closed:
                self.assertIn("invalid-from", str(closed))
            stranger.close()
        roster = victim.iq("get", f"<query xmlns='{NS['roster']}'/>", to=None)
        self.assertEqual(len(roster.find(tag("roster:query"))), 0, ET.tostring(roster))
        victim.close()
        attacker.close()

    def test_b10_ids_that_only_the_server_gives(self):
        victim, attacker = self.victim(), self.attacker()
        claims = "".join(f"<stanza-id xmlns='{SID}' by='{by}' id='forged'/>" for by in
                         (self.victim_user.bare, self.attacker_user.bare, world.DOMAIN, self.victim_user.bare, self.victim_user.bare.upper()))
        prefixed = f"<s:stanza-id xmlns:s='{SID}' s:x='1' by='{self.victim_user.bare}' id='forged'/>"
        for more in (claims, claims + SAVED, prefixed, SAVED + prefixed):
            with self.subTest(more):
                body = new_id()
                attacker.send(f"<message to='{self.victim_user.bare}' type='chat'><body>{body}</body>{more}</message>")
                message = victim.message(body)
                for claim in message.findall(f"{{{SID}}}stanza-id"):
                    by = claim.get("by").lower()
                    self.assertFalse(by == self.victim_user.bare and claim.get("id") == "forged", ET.tostring(message))
                own = [claim for claim in message.findall(f"{{{SID}}}stanza-id") if claim.get("by") == self.victim_user.bare]
                self.assertEqual(len(own), 1 if SAVED in more else 0, ET.tostring(message))
        victim.close()
        attacker.close()


class Spies(Hostile):
    def test_b11_strangers_do_not_see_who_is_there(self):
        victim, attacker = self.victim(), self.attacker()
        for to in (self.victim_user.bare, victim.full_jid):
            attacker.send(f"<presence type='probe' to='{to}'/><presence type='subscribed' to='{to}'/><presence type='unsubscribed' to='{to}'/>"
                          f"<presence type='unsubscribe' to='{to}'/>")
        for stream in (victim, attacker):
            roster = stream.iq("get", f"<query xmlns='{NS['roster']}'/>", to=None)
            self.assertEqual(len(roster.find(tag("roster:query"))), 0, ET.tostring(roster))
        heard = [element for element in self.until_fence(victim, attacker) if element.tag == tag("client:presence")]
        self.assertEqual([element.get("type") for element in heard if element.get("type") != "error"], [])
        # Coming and going is for those who were allowed to see it.
        victim.send("<presence type='unavailable'/><presence/>")
        heard = self.until_fence(victim, attacker)
        self.assertFalse([element for element in heard if element.tag == tag("client:presence")])
        victim.close()
        attacker.close()

    def test_b12_who_exists_is_not_told(self):
        attacker = self.attacker()
        absent, nobody = new_user("absent").bare, f"987654321-{world.APP_ID}@{world.DOMAIN}"
        present = self.victim()
        addresses = (absent, self.victim_user.bare, nobody)
        # Users of one app may ask whether another is there, as the SDKs do; one who never was looks like one who does not exist.
        for query in ("<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:last'/>"):
            shapes = [self.shape(attacker.iq("get", query, to=to)) for to in (absent, nobody)]
            self.assertEqual(len(set(shapes)), 1, f"{query}: {shapes}")
        for query in ("<query xmlns='jabber:iq:version'/>", "<query xmlns='jabber:iq:roster'/>",
                      "<query xmlns='http://jabber.org/protocol/disco#info'/>", "<query xmlns='http://jabber.org/protocol/disco#items'/>",
                      f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:avatar:metadata'/></pubsub>", f"<query xmlns='{MAM}'/>", "<vCard xmlns='vcard-temp'/>"):
            with self.subTest(query):
                shapes = [self.shape(attacker.iq("get", query, to=to)) for to in addresses]
                if "vcard-temp" in query:
                    # Cards are for everybody to read, and the API has a list of users: here one is told of those who have a card.
                    continue
                self.assertEqual(len(set(shapes)), 1, shapes)
        for to in addresses:
            attacker.send(f"<message to='{to}' type='chat'><body>hello?</body></message><message to='{to}' type='headline'><body>hello?</body></message>"
                          f"<presence to='{to}' type='subscribe'/><presence to='{to}' type='probe'/><presence to='{to}'/>")
        own = login(self.passer_by, available=True)
        heard = [element for element in self.until_fence(own, attacker) if element.tag != tag("client:iq")]
        self.assertEqual([self.shape(element) for element in heard], [], "somebody was told apart")
        own.close()
        attacker.close()
        present.close()


class LongLists(Hostile):
    """What one account can make the server keep has an end, and a user who has come to it can go on."""

    def pour_all(self, stream, requests, at_once=100):
        """Sends many iqs without waiting, and gives the conditions of those that were refused."""
        ids = [new_id() for _ in requests]
        refused, open_ids = [], set(ids)
        for at in range(0, len(requests), at_once):
            end = min(at + at_once, len(ids))
            stream.send("".join(f"<iq type='set' id='{id}'>{request}</iq>" for id, request in zip(ids[at:end], requests[at:end])))
            while len(open_ids) > len(ids) - end:
                element = stream.next("client:iq", timeout=PATIENCE_SECS)
                if element.get("id") in open_ids and element.get("type") in ("result", "error"):
                    open_ids.remove(element.get("id"))
                    if element.get("type") == "error":
                        refused.append(condition(element, "stanzas"))
        return refused

    def test_b13_h07_a_roster_of_thousands_that_comes_and_goes(self):
        keeper = new_user("keeper")
        stream = login(keeper)
        item = f"<query xmlns='{NS['roster']}'><item jid='{{}}-{world.APP_ID}@{world.DOMAIN}' name='{'n' * 100}'/></query>"
        refused = self.pour_all(stream, [item.format(1_000_000 + n) for n in range(3_050)])
        self.assertEqual((len(refused), set(refused)), (50, {"resource-constraint"}))
        long = f"<query xmlns='{NS['roster']}'><item jid='1-{world.APP_ID}@{world.DOMAIN}' name='{'n' * 5_000}'/></query>"
        self.assertEqual(stream.iq("set", long, to=None).get("type"), "error")
        stream.close()
        # Each time all of them would have to be told, if they were there.
        for _ in range(50):
            stream = login(keeper)
            stream.available()
            stream.send("<presence type='unavailable'/>")
            stream.close()
        self.memory_is_bounded()

    def test_b13_private_storage_and_blocked_users(self):
        stream = login(new_user("hoarder"))
        large = [f"<query xmlns='{PRIVATE}'><x{n} xmlns='urn:x'>{'p' * 64_000}</x{n}></query>" for n in range(200)]
        # An error repeats the request: at most so many fit into what may wait for a client.
        refused = self.pour_all(stream, large, at_once=10)
        self.assertGreater(len(refused), 190)
        self.assertLessEqual(set(refused), {"resource-constraint", "policy-violation", "not-allowed", "not-acceptable"})
        block = "".join(f"<item jid='{2_000_000 + n}-{world.APP_ID}@{world.DOMAIN}'/>" for n in range(3_000))
        self.assertEqual(stream.iq("set", f"<block xmlns='urn:xmpp:blocking'>{block}</block>", to=None, timeout=PATIENCE_SECS).get("type"), "result")
        more = "".join(f"<item jid='{3_000_000 + n}-{world.APP_ID}@{world.DOMAIN}'/>" for n in range(3_000))
        self.assertEqual(stream.iq("set", f"<block xmlns='urn:xmpp:blocking'>{more}</block>", to=None, timeout=PATIENCE_SECS).get("type"), "error")
        stream.ping()
        stream.close()

    def test_h06_a_privacy_list_of_ten_thousand_and_one_that_fits(self):
        victim_user = new_user("picky")
        victim, attacker = login(victim_user, available=True), self.attacker()

        def items(count):
            return "".join(f"<item type='jid' value='{n}-{world.APP_ID}@{world.DOMAIN}' action='deny' order='{n}'/>" for n in range(1_000_000, 1_000_000 + count))

        def change(payload):
            return victim.iq("set", f"<query xmlns='{PRIVACY}'>{payload}</query>", to=None, timeout=PATIENCE_SECS)

        # As one stanza it is beyond the limit of all stanzas: another stream pays for it.
        stream = login(victim_user)
        stream.pour(f"<iq type='set' id='huge'><query xmlns='{PRIVACY}'><list name='l'>{items(10_000)}</list></query></iq>")
        self.assertIn(b"policy-violation", stream.rest(20))
        self.assertEqual(change(f"<list name='l'>{items(2_500)}</list>").get("type"), "result")
        self.assertEqual(change("<active name='l'/>").get("type"), "result")
        # A thousand messages, each of which has to be compared with every item.
        attacker.send("".join(f"<message to='{victim_user.bare}' type='chat'><body>m{n}</body></message>" for n in range(1_000)))
        bodies = [element.findtext(tag("client:body")) for element in self.until_fence(attacker, victim)]
        self.assertEqual([body for body in bodies if body], [f"m{n}" for n in range(1_000)])
        # One that denies everything leaves its owner a way out, and the list in use cannot be pulled away from another session.
        self.assertEqual(change(f"<list name='shut'><item action='deny' order='1'/></list>").get("type"), "result")
        self.assertEqual(change("<active name='shut'/>").get("type"), "result")
        victim.ping()
        other = login(victim_user)
        refused = other.iq("set", f"<query xmlns='{PRIVACY}'><list name='shut'/></query>", to=None)
        self.assertEqual((refused.get("type"), condition(refused, "stanzas")), ("error", "conflict"))
        self.assertEqual(change("<active/>").get("type"), "result")
        self.assertEqual(other.iq("set", f"<query xmlns='{PRIVACY}'><list name='shut'/></query>", to=None).get("type"), "result")
        for stream in (victim, attacker, other):
            stream.close()


class Names(Hostile):
    """B16 and D01: names are names, whatever they hold."""

    def test_b16_d01_nodes_lists_and_private_things_keep_apart(self):
        stream = self.attacker()
        for n, name in enumerate(NAMES):
            publish = (f"<pubsub xmlns='{PUBSUB}'><publish node='{escaped(name)}'><item id='{escaped(name)}'><v xmlns='urn:x'>{n}</v></item></publish></pubsub>")
            self.assertEqual(stream.iq("set", publish, to=None).get("type"), "result", name)
            listed = f"<query xmlns='{PRIVACY}'><list name='{escaped(name)}'><item action='allow' order='{n}'/></list></query>"
            self.assertEqual(stream.iq("set", listed, to=None).get("type"), "result", name)
            kept = f"<query xmlns='{PRIVATE}'><a xmlns='{escaped(name)}'>{n}</a></query>"
            self.assertEqual(stream.iq("set", kept, to=None).get("type"), "result", name)
        for n, name in enumerate(NAMES):
            with self.subTest(name):
                answer = stream.iq("get", f"<pubsub xmlns='{PUBSUB}'><items node='{escaped(name)}'/></pubsub>", to=None)
                self.assertEqual([value.text for value in answer.iter("{urn:x}v")], [str(n)])
                answer = stream.iq("get", f"<query xmlns='{PRIVACY}'><list name='{escaped(name)}'/></query>", to=None)
                self.assertEqual([item.get("order") for item in answer.iter(f"{{{PRIVACY}}}item")], [str(n)])
                answer = stream.iq("get", f"<query xmlns='{PRIVATE}'><a xmlns='{escaped(name)}'/></query>", to=None)
                self.assertEqual([element.text for element in answer.iter() if element.tag.endswith("}a")], [str(n)])
        # Taking one away takes that one away.
        self.assertEqual(stream.iq("set", f"<pubsub xmlns='{PUBSUB}#owner'><delete node='a'/></pubsub>", to=None).get("type"), "result")
        self.assertEqual(stream.iq("set", f"<query xmlns='{PRIVACY}'><list name='a'/></query>", to=None).get("type"), "result")
        left = stream.iq("get", f"<query xmlns='{PRIVACY}'/>", to=None)
        self.assertEqual({item.get("name") for item in left.iter(f"{{{PRIVACY}}}list")}, set(NAMES) - {"a"})
        answer = stream.iq("get", f"<pubsub xmlns='{PUBSUB}'><items node='a/b'/></pubsub>", to=None)
        self.assertEqual([value.text for value in answer.iter("{urn:x}v")], ["1"])
        stream.close()

    def test_b16_groups_of_the_roster_and_resources(self):
        stream = self.attacker()
        groups = [name for name in NAMES if name.strip()]
        inside = "".join(f"<group>{escaped(name)}</group>" for name in groups)
        item = f"<query xmlns='{NS['roster']}'><item jid='{self.victim_user.bare}' name='{escaped(NAMES[2])}'>{inside}</item></query>"
        self.assertEqual(stream.iq("set", item, to=None).get("type"), "result")
        roster = stream.iq("get", f"<query xmlns='{NS['roster']}'/>", to=None)
        self.assertEqual({group.text for group in roster.iter(tag("roster:group"))}, set(groups))
        stream.close()
        for name in ("a/b", "a|b", "a:b", "\u00ff", "a", "ab"):
            with self.subTest(name):
                one = login(self.attacker_user, resource=escaped(name), available=True)
                self.assertEqual(one.full_jid, f"{self.attacker_user.bare}/{name}")
                one.send(f"<message to='{escaped(one.full_jid)}' type='chat'><body>me</body></message>")
                one.message("me")
                one.close()
        stream = login(self.attacker_user)
        stream.iq("set", f"<query xmlns='{NS['roster']}'><item jid='{self.victim_user.bare}' subscription='remove'/></query>", to=None)
        stream.close()


if __name__ == "__main__":
    unittest.main()
