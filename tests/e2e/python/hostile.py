"""What a chat server has to survive: streams, SASL, stanzas and frames, by socket. The codes are those of `tests/hostile.md`.

Run: python3 -m unittest -v hostile
"""

import base64
import hashlib
import hmac
import os
import re
import socket
import threading
import time
import unittest
import xml.etree.ElementTree as ET

import world
from bystanders import MIB, Hostile
from wire import HEADER, NS, Closed, Stream, WebSocket, condition, login, new_id, tag
from world import new_user


class BeforeAuthentication(Hostile):
    def raw(self, data, tls_first=False):
        stream = Stream(tls_first)
        stream.pour(data)
        return stream

    def test_x01_entities_are_not_expanded(self):
        levels = "".join(f'<!ENTITY l{n} "{("&l%d;" % (n - 1)) * 10}">' for n in range(1, 10))
        bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{levels}]>' + HEADER.split("?>", 1)[1].replace("version='1.0'", "id='&l9;' version='1.0'")
        self.ended_with(self.raw(bomb), "restricted-xml")

    def test_x02_no_external_entities(self):
        xxe = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + HEADER.split("?>", 1)[1]
        self.ended_with(self.raw(xxe), "restricted-xml")

    def test_x03_comments(self):
        self.ended_with(self.raw(HEADER + "<!-- hello -->"), "restricted-xml")

    def test_x04_processing_instructions(self):
        self.ended_with(self.raw(HEADER + "<?php system('id') ?>"), "restricted-xml")

    def test_x05_unknown_entities(self):
        self.ended_with(self.raw(HEADER + "<iq type='get' id='&nbsp;'/>"), "restricted-xml", "not-well-formed")

    def test_x06_mismatched_tags(self):
        self.ended_with(self.raw(HEADER + "<iq type='get'><query></iq></query>"), "not-well-formed")

    def test_x07_a_header_without_end(self):
        stream = Stream()
        stream.send(HEADER[:-1] + " x='")
        for _ in range(16):
            if not stream.pour(b"A" * MIB):
                break
            self.memory_is_bounded()
        got = stream.rest(20)
        self.assertIn(b"policy-violation", got + b"policy-violation" * (not got), "either reset at once or told why")

    def test_x08_an_auth_without_end(self):
        stream = Stream(tls_first=True)
        stream.secure()
        stream.pour(f"<auth xmlns='{NS['sasl']}' mechanism='PLAIN'>".encode() + b"A" * 16 * MIB)
        stream.rest(20)

    def test_x09_200_000_nested_elements(self):
        stream = self.raw(HEADER + "<a>" * 200_000)
        stream.rest(20)

    def test_x10_30_000_attributes(self):
        attributes = " ".join(f"a{n}='1'" for n in range(30_000))
        self.ended_with(self.raw(HEADER + f"<iq {attributes}/>"), "policy-violation", "not-well-formed")

    def test_x11_duplicate_attributes(self):
        self.ended_with(self.raw(HEADER + "<iq type='get' id='1' id='2'/>"), "not-well-formed")
        self.ended_with(self.raw(HEADER + "<iq xmlns:a='u' xmlns:b='u' a:id='1' b:id='2'/>"), "not-well-formed")

    def test_x12_namespace_declarations(self):
        many = " ".join(f"xmlns:p{n}='u{n}'" for n in range(20_000))
        self.raw(HEADER + f"<iq {many}/>").rest(20)
        prefix = "p" * 200_000
        self.raw(HEADER + f"<{prefix}:iq xmlns:{prefix}='u'/>").rest(20)
        self.ended_with(self.raw(HEADER + "<nobody:iq/>"), "not-well-formed", "bad-namespace-prefix")

    def test_x14_other_encodings(self):
        declared = HEADER.replace("<?xml version='1.0'?>", "<?xml version='1.0' encoding='ISO-8859-1'?>")
        self.ended_with(self.raw(declared), "unsupported-encoding")
        self.ended_with(self.raw(HEADER.encode("utf-16")), "unsupported-encoding", "not-well-formed", "bad-format")

    def test_x16_wrong_headers(self):
        cases = {
            ("xmlns='jabber:client'", "xmlns='jabber:server'"): ("invalid-namespace",),
            ("xmlns='jabber:client'", "xmlns='urn:example:x'"): ("invalid-namespace",),
            (NS["stream"], "http://etherx.jabber.org/wrong"): ("invalid-namespace",),
            (f"to='{world.DOMAIN}'", "to='nowhere.example'"): ("host-unknown",),
            ("<stream:stream", "<stream:steam"): ("bad-format", "invalid-namespace", "not-well-formed", "invalid-xml"),
        }
        for (old, new), conditions in cases.items():
            with self.subTest(new):
                self.ended_with(self.raw(HEADER.replace(old, new)), *conditions)

    def test_x17_a_message_or_presence_ends_the_stream(self):
        for stanza in (f"<message to='{self.victim_user.bare}'><body>x</body></message>", "<presence/>"):
            for tls_first in (False, True):
                with self.subTest(stanza, tls_first=tls_first):
                    stream = self.raw(HEADER + stanza, tls_first)
                    self.ended_with(stream, "not-authorized")

    def test_x17_an_iq_is_not_authorized_and_the_stream_stays(self):
        # SDK 2.3 to 2.10 in Node asks for carbons here, with from='' (wire spec §13.2), and then goes on to log in.
        stream = Stream()
        stream.secure()
        stream.send("<iq type='set' from='' id='x:enableCarbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        answer = stream.next("client:iq")
        self.assertEqual((answer.get("type"), answer.get("id"), condition(answer, "stanzas")), ("error", "x:enableCarbons", "not-authorized"))
        self.assertEqual(stream.plain(self.attacker_user).tag, tag("sasl:success"))
        stream.restart()
        stream.bind().close()

    def test_x17_but_not_for_ever(self):
        stream = Stream(tls_first=True)
        stream.secure()
        stream.pour("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>" * 10_000)
        stream.rest(20)

    def test_x19_garbage_http_and_tls_on_the_plain_port(self):
        for data in (os.urandom(5000), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes.fromhex("160301020001000001fc0303") + os.urandom(508)):
            with self.subTest(data[:20]):
                got = self.raw(data).rest(20)
                self.assertNotIn(b"HTTP/1", got)

    def test_x20_no_compression(self):
        stream = Stream()
        for features in (stream.secure(), ):
            self.assertFalse([child for child in features if "compress" in child.tag], ET.tostring(features))
        stream.send("<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>")
        try:
            answer = stream.next()
            self.assertNotIn("compressed", answer.tag)
        except Closed as closed:
            self.assertRegex(str(closed), "unsupported|not-authorized|policy")

    def test_x21_a_storm_of_connections_that_never_log_in(self):
        held = []
        for n in range(2_000):
            sock = socket.create_connection((world.HOST, world.XMPP_PORT), 10)
            sock.sendall(HEADER[:60].encode() if n % 2 else HEADER.encode())
            if n % 4 == 1:
                sock.close()
            else:
                held.append(sock)
        self.bystander.ping()
        login(self.passer_by).close()
        self.memory_is_bounded()
        for sock in held:
            sock.close()

    def test_plain_is_only_offered_under_tls(self):
        stream = Stream()
        features = stream.restart()
        self.assertIsNotNone(features.find(f"{tag('tls:starttls')}/{tag('tls:required')}"), ET.tostring(features))
        self.assertIsNone(features.find(tag("sasl:mechanisms")))
        stream.send(f"<auth xmlns='{NS['sasl']}' mechanism='PLAIN'>AGEAYg==</auth>")
        try:
            answer = stream.next()
            self.assertEqual(answer.tag, tag("sasl:failure"))
        except Closed:
            pass

    def test_s01_what_is_pipelined_behind_starttls_is_dropped(self):
        stream = Stream()
        stream.restart()
        secret = base64.b64encode(f"\0{self.attacker_user.node}\0{self.attacker_user.password}".encode()).decode()
        stream.send(f"<starttls xmlns='{NS['tls']}'/>" + HEADER + f"<auth xmlns='{NS['sasl']}' mechanism='PLAIN'>{secret}</auth>")
        try:
            stream.next("tls:proceed")
            stream.start_tls_now()
            features = stream.restart()
        except (Closed, OSError, ET.ParseError):
            return  # To hang up on such a client, or to answer in the clear alone, is as good.
        self.assertIsNotNone(features.find(tag("sasl:mechanisms")), "the injected login took effect")
        self.assertNotIn(b"success", stream.received)

    def test_s02_starttls_inside_tls(self):
        stream = Stream()
        features = stream.secure()
        self.assertIsNone(features.find(tag("tls:starttls")))
        stream.send(f"<starttls xmlns='{NS['tls']}'/>")
        try:
            self.assertEqual(stream.next().tag, tag("tls:failure"))
        except Closed:
            pass


class Sasl(Hostile):
    def opened(self):
        stream = Stream(tls_first=True)
        stream.secure()
        return stream

    def failed(self, answer, *conditions):
        self.assertEqual(answer.tag, tag("sasl:failure"))
        self.assertIn(condition(answer, "sasl"), conditions, ET.tostring(answer))

    def test_s03_plain_cannot_act_for_somebody_else(self):
        for authzid in (self.victim_user.bare, f"admin@{world.DOMAIN}", world.DOMAIN, f"{self.attacker_user.node}@elsewhere.example"):
            with self.subTest(authzid):
                stream = self.opened()
                self.failed(stream.plain(self.attacker_user, authzid=authzid), "invalid-authzid", "not-authorized")
                stream.close()
        for authzid in ("", self.attacker_user.bare):
            self.assertEqual(self.opened().plain(self.attacker_user, authzid=authzid).tag, tag("sasl:success"))

    def test_s04_malformed_payloads(self):
        node = self.attacker_user.node
        b64 = lambda data: base64.b64encode(data).decode()  # noqa: E731
        cases = [
            ("PLAIN", "!!! not base64 !!!", ("incorrect-encoding", "malformed-request")),
            ("PLAIN", "=", ("incorrect-encoding", "malformed-request", "not-authorized")),
            ("PLAIN", "QUJ", ("incorrect-encoding", "malformed-request", "not-authorized")),
            ("PLAIN", b64(b"no separators"), ("malformed-request", "not-authorized")),
            ("PLAIN", b64(b"\0\0\0\0\0\0"), ("malformed-request", "not-authorized")),
            ("PLAIN", b64(b"\0" + node.encode() + b"\0"), ("malformed-request", "not-authorized")),
            ("PLAIN", b64(b"\0\xff\xfe\0secret"), ("malformed-request", "not-authorized")),
            ("PLAIN", b64(b"\0" + b"a" * 20_000 + b"\0b"), ("malformed-request", "not-authorized")),
            ("SCRAM-SHA-256", b64(b"rubbish"), ("malformed-request", "not-authorized")),
            ("SCRAM-SHA-256", b64(b"n,,n=" + node.encode()), ("malformed-request", "not-authorized")),
            ("SCRAM-SHA-256", b64(b"n,,n=a=zz,r=abc"), ("malformed-request", "not-authorized")),
            ("SCRAM-SHA-256", b64(b"p=tls-unique,,n=" + node.encode() + b",r=abc"), ("malformed-request", "not-authorized")),
            ("NO-SUCH-MECHANISM", b64(b"x"), ("invalid-mechanism",)),
            ("", b64(b"x"), ("invalid-mechanism", "malformed-request")),
        ]
        for mechanism, payload, conditions in cases:
            with self.subTest(mechanism=mechanism, payload=payload[:40]):
                stream = self.opened()
                stream.send(f"<auth xmlns='{NS['sasl']}' mechanism='{mechanism}'>{payload}</auth>")
                try:
                    answer = stream.next("sasl:success", "sasl:failure", "sasl:challenge")
                except Closed as closed:
                    self.assertGreater(len(payload), 10_000, "only what is too long ends the stream")
                    self.assertIn("policy-violation", str(closed))
                    continue
                self.failed(answer, *conditions)
                stream.close()

    def test_s05_out_of_order(self):
        stream = self.opened()
        stream.send(f"<response xmlns='{NS['sasl']}'>QQ==</response>")
        try:
            self.failed(stream.next(), "malformed-request", "not-authorized", "aborted")
        except Closed:
            pass
        stream = self.opened()
        first = base64.b64encode(f"n,,n={self.attacker_user.node},r=fyko".encode()).decode()
        stream.send(f"<auth xmlns='{NS['sasl']}' mechanism='SCRAM-SHA-256'>{first}</auth>")
        self.assertEqual(stream.next().tag, tag("sasl:challenge"))
        stream.send(f"<abort xmlns='{NS['sasl']}'/>")
        self.failed(stream.next(), "aborted")
        # The stream goes on, and a right password is accepted after the abort.
        self.assertEqual(stream.plain(self.attacker_user).tag, tag("sasl:success"))
        stream.restart()
        stream.bind()
        stream.send(f"<auth xmlns='{NS['sasl']}' mechanism='PLAIN'>AGEAYg==</auth>")
        try:
            answer = stream.next()
            self.assertNotEqual(answer.tag, tag("sasl:success"))
        except Closed:
            pass

    def test_s06_unknown_user_and_wrong_password_look_the_same(self):
        nobody = world.User(987654321, "not-the-password")

        def shape(user):
            stream = self.opened()
            answer = ET.tostring(stream.plain(user, "not-the-password"))
            stream.close()
            return answer

        self.assertEqual(shape(self.victim_user), shape(nobody))

        def challenge(user):
            stream = self.opened()
            first = base64.b64encode(f"n,,n={user.node},r=fyko".encode()).decode()
            stream.send(f"<auth xmlns='{NS['sasl']}' mechanism='SCRAM-SHA-256'>{first}</auth>")
            answer = stream.next()
            self.assertEqual(answer.tag, tag("sasl:challenge"), "an unknown user is told apart by the first answer")
            fields = dict(part.split("=", 1) for part in base64.b64decode(answer.text).decode().split(","))
            stream.close()
            return fields

        known, unknown, again = challenge(self.victim_user), challenge(nobody), challenge(nobody)
        self.assertEqual((known["i"], len(known["s"])), (unknown["i"], len(unknown["s"])))
        self.assertEqual(unknown["s"], again["s"], "a salt that changes each time gives the unknown user away")

    @unittest.skipIf(world.XMPP_ONLY, "servers differ")
    def test_s07_guessing_is_limited(self):
        target = new_user("guessed")
        stream = self.opened()
        tries = 0
        try:
            for tries in range(1, 31):
                stream.plain(target, f"guess {tries}")
        except (Closed, OSError):
            pass
        self.assertLess(tries, 30, "thirty guesses on one connection")
        for n in range(30):
            guess = Stream(tls_first=True)
            try:
                guess.secure()
                answer = guess.plain(target, f"guess again {n}")
                self.assertEqual(answer.tag, tag("sasl:failure"))
            except (Closed, OSError):
                pass
            guess.close()

    def scram(self, stream, user, mechanism, gs2, binding, nonce="fyko+d2lbbFgONRv9qkxdawL", alter=lambda final: final):
        """A whole SCRAM exchange by hand; the last answer and the server's signature check."""
        algorithm = "sha1" if "SHA-1" in mechanism.replace("SHA-256", "") else "sha256"
        bare = f"n={user.node},r={nonce}"
        stream.send(f"<auth xmlns='{NS['sasl']}' mechanism='{mechanism}'>{base64.b64encode((gs2 + bare).encode()).decode()}</auth>")
        answer = stream.next("sasl:challenge", "sasl:failure")
        if answer.tag == tag("sasl:failure"):
            return answer, None
        challenge = base64.b64decode(answer.text).decode()
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        self.assertTrue(fields["r"].startswith(nonce) and len(fields["r"]) > len(nonce))
        self.assertGreaterEqual(int(fields["i"]), 4096)
        salted = hashlib.pbkdf2_hmac(algorithm, user.password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        key = hmac.new(salted, b"Client Key", algorithm).digest()
        final = f"c={base64.b64encode(gs2.encode() + binding).decode()},r={fields['r']}"
        final = alter(final)
        signed = f"{bare},{challenge},{final}".encode()
        proof = bytes(a ^ b for a, b in zip(key, hmac.new(hashlib.new(algorithm, key).digest(), signed, algorithm).digest()))
        message = f"{final},p={base64.b64encode(proof).decode()}"
        stream.send(f"<response xmlns='{NS['sasl']}'>{base64.b64encode(message.encode()).decode()}</response>")
        answer = stream.next("sasl:success", "sasl:failure", "sasl:challenge")
        server_key = hmac.new(salted, b"Server Key", algorithm).digest()
        expected = "v=" + base64.b64encode(hmac.new(server_key, signed, algorithm).digest()).decode()
        return answer, expected

    def test_h03_scram_by_hand_and_what_must_fail_in_it(self):
        for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
            with self.subTest(mechanism):
                answer, expected = self.scram(self.opened(), self.attacker_user, mechanism, "n,,", b"")
                self.assertEqual(answer.tag, tag("sasl:success"), ET.tostring(answer))
                self.assertEqual(base64.b64decode(answer.text).decode(), expected)
        for name, options in {
            "nonce replaced": dict(alter=lambda final: re.sub("r=.*", "r=another", final)),
            "nonce shortened": dict(alter=lambda final: final[:-1]),
            "another gs2 header": dict(alter=lambda final: re.sub("c=[^,]*", "c=eSws", final)),
        }.items():
            with self.subTest(name):
                answer, _ = self.scram(self.opened(), self.attacker_user, "SCRAM-SHA-256", "n,,", b"", **options)
                self.failed(answer, "not-authorized", "malformed-request")

    def test_h03_a_last_message_is_good_for_once(self):
        used = []
        answer, _ = self.scram(self.opened(), self.attacker_user, "SCRAM-SHA-256", "n,,", b"", alter=lambda final: used.append(final) or final)
        self.assertEqual(answer.tag, tag("sasl:success"))
        # The same again, proof and all, to a server that has drawn another nonce since; and with that nonce in the old one's place.
        for alter in (lambda final: used[0], lambda final: used[0].split(",r=")[0] + ",r=" + final.split(",r=")[1] + "x"):
            answer, _ = self.scram(self.opened(), self.attacker_user, "SCRAM-SHA-256", "n,,", b"", alter=alter)
            self.failed(answer, "not-authorized", "malformed-request")

    @unittest.skipIf(world.XMPP_ONLY, "servers differ")
    def test_h03_channel_binding_to_the_certificate(self):
        stream = self.opened()
        binding = hashlib.sha256(stream.sock.getpeercert(binary_form=True)).digest()
        answer, expected = self.scram(stream, self.attacker_user, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", binding)
        self.assertEqual(answer.tag, tag("sasl:success"), ET.tostring(answer))
        self.assertEqual(base64.b64decode(answer.text).decode(), expected)
        answer, _ = self.scram(self.opened(), self.attacker_user, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", b"x" * 32)
        self.failed(answer, "not-authorized", "malformed-request")
        # "y" says: I could bind, but you do not offer it. It was offered, so somebody in between took it away.
        answer, _ = self.scram(self.opened(), self.attacker_user, "SCRAM-SHA-256", "y,,", b"")
        self.failed(answer, "not-authorized", "malformed-request")


class Bound(Hostile):
    def test_x13_forbidden_characters_reach_nobody(self):
        victim = self.victim()
        for bad in (b"\x00", b"\x01", b"\x0b", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbf\xbf", b"&#0;", b"&#x1f;", b"&#xD800;", b"&#x110000;", b"\xe2\x82", b"\xf8\x88\x80\x80\x80"):
            with self.subTest(bad):
                attacker = self.attacker()
                attacker.send(f"<message to='{self.victim_user.bare}' type='chat'><body>smuggled ".encode() + bad + b"</body></message>")
                self.ended_with(attacker, "not-well-formed", "bad-format", "unsupported-encoding", "restricted-xml", "invalid-xml")
        victim.ping()
        self.assertNotIn(b"smuggled", victim.received)
        victim.close()

    def test_x15_one_byte_at_a_time(self):
        victim, attacker = self.victim(), self.attacker()
        body = "é🐦\u05d0 one byte at a time"
        for byte in f"<message to='{self.victim_user.bare}' type='chat' id='x15'><body>{body}</body></message>".encode():
            attacker.send(bytes([byte]))
        self.assertEqual(victim.message(body).get("id"), "x15")
        victim.close()
        attacker.close()

    def test_x18_cdata_is_text(self):
        victim, attacker = self.victim(), self.attacker()
        attacker.send(f"<message to='{self.victim_user.bare}' type='chat'><body><![CDATA[<b>&amp;</b> ]]>]]&gt;</body></message>")
        victim.message("<b>&amp;</b> ]]>")
        victim.close()
        attacker.close()

    def test_b01_resources(self):
        for resource, accepted in (("r" * 70_000, False), ("a\u0080b", False), ("&#x7;", False), ("", True), ("späße ☕", True), ("a/b@c", True)):
            with self.subTest(resource[:10]):
                stream = Stream(tls_first=True)
                stream.secure()
                stream.plain(self.attacker_user)
                stream.restart()
                try:
                    answer = stream.iq("set", f"<bind xmlns='{NS['bind']}'><resource>{resource}</resource></bind>", to=None)
                    if accepted:
                        self.assertEqual(answer.get("type"), "result", ET.tostring(answer))
                    elif answer.get("type") == "error":
                        self.assertIn(condition(answer, "stanzas"), ("bad-request", "not-acceptable", "jid-malformed", "policy-violation"))
                except Closed:
                    self.assertFalse(accepted)
                stream.close()

    def test_b01_bind_twice(self):
        stream = login(self.attacker_user)
        answer = stream.iq("set", f"<bind xmlns='{NS['bind']}'><resource>second</resource></bind>", to=None)
        self.assertEqual(answer.get("type"), "error", ET.tostring(answer))
        stream.ping()
        stream.close()

    def test_b02_stanzas_before_bind(self):
        victim = self.victim()
        stream = Stream(tls_first=True)
        stream.secure()
        stream.plain(self.attacker_user)
        stream.restart()
        stream.send(f"<message to='{self.victim_user.bare}' type='chat'><body>unbound</body></message><presence/>")
        try:
            while True:
                element = stream.next(timeout=1)
                self.assertEqual(element.get("type"), "error", ET.tostring(element))
        except (Closed, TimeoutError):
            pass
        victim.ping()
        self.assertNotIn(b"unbound", victim.received)
        victim.close()

    def test_b03_a_forged_from(self):
        victim = self.victim()
        for forged in (self.passer_by.bare, f"{self.attacker_user.bare}/other", world.DOMAIN, self.attacker_user.bare, self.victim_user.bare, "not a jid @@", ""):
            with self.subTest(forged):
                attacker = self.attacker()
                body = f"forged {new_id()}"
                attacker.send(f"<message from='{forged}' to='{self.victim_user.bare}' type='chat'><body>{body}</body></message>")
                try:
                    attacker.ping()
                except Closed as closed:
                    self.assertIn("invalid-from", str(closed))
                    continue
                self.assertEqual(victim.message(body).get("from"), attacker.full_jid)
                attacker.close()
        victim.close()

    def test_b04_broken_stanzas_are_answered_or_ignored(self):
        attacker = self.attacker()
        answered = {
            "<iq type='get' id='{id}'/>": "bad-request",
            "<iq type='set' id='{id}'><a xmlns='u'/><b xmlns='u'/></iq>": "bad-request",
            "<iq type='bogus' id='{id}'><a xmlns='u'/></iq>": "bad-request",
            "<iq id='{id}'><a xmlns='u'/></iq>": "bad-request",
            "<iq type='get' id='{id}'><unknown xmlns='urn:example:unknown'/></iq>": "service-unavailable",
            "<iq type='get' to='@bad@@jid' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>": "jid-malformed",
            "<message to='@bad@@jid' id='{id}' type='chat'><body>x</body></message>": "jid-malformed",
        }
        for stanza, expected in answered.items():
            with self.subTest(stanza):
                id = new_id()
                attacker.send(stanza.replace("{id}", id))
                while (answer := attacker.next("client:iq", "client:message")).get("id") != id:
                    pass
                self.assertEqual((answer.get("type"), condition(answer, "stanzas")), ("error", expected), ET.tostring(answer))
        for stanza in ("<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>", "<iq type='result' id='x'/>", "<iq type='error' id='x'/>",
                       "<message/>", "<message type='bogus'/>", "<message to=''/>", "<presence type='bogus'/>", "<presence to='a@b@c'/>",
                       f"<presence type='subscribe' to='{self.attacker_user.bare}'/>", "<presence><priority>99999999999</priority></presence>",
                       "<presence><priority>x</priority></presence>", f"<message to='{world.DOMAIN}'/>", "<presence type='probe'/>"):
            with self.subTest(stanza):
                attacker.send(stanza)
                attacker.ping()
        attacker.send("<unknown/>")
        self.ended_with(attacker, "unsupported-stanza-type")

    def test_b05_a_stanza_of_16_mib(self):
        victim, attacker = self.victim(), self.attacker()
        attacker.pour(f"<message to='{self.victim_user.bare}' type='chat'><body>".encode() + b"A" * 16 * MIB + b"</body></message>")
        got = attacker.rest(20)
        self.assertTrue(b"policy-violation" in got or not got.endswith(b"</stream:stream>"), got[-300:])
        victim.ping()
        self.assertNotIn(b"AAAAAAAAAA", victim.received)
        victim.close()

    def test_b05_what_calls_need_gets_through(self):
        # Signalling with session descriptions comes to tens of KiB (server spec §3.9).
        victim, attacker = self.victim(), self.attacker()
        body = "v=0&#13;&#10;" * 5_000
        attacker.send(f"<message to='{self.victim_user.bare}' type='chat' id='big'><body>{body}</body></message>")
        self.assertEqual(victim.message("v=0\r\n" * 5_000).get("id"), "big")
        victim.close()
        attacker.close()

    def test_b06_deep_and_wide(self):
        for payload in ("<a>" * 10_000 + "</a>" * 10_000, "<a/>" * 50_000):
            with self.subTest(payload[:9]):
                attacker = self.attacker()
                attacker.pour(f"<message to='{self.victim_user.bare}' type='chat'><body>x</body>{payload}</message>")
                try:
                    attacker.ping(timeout=20)
                except (Closed, OSError) as closed:
                    self.assertRegex(str(closed), "policy-violation|reset|closed|Broken pipe|EOF")
                attacker.close()

    def test_b07_a_flood_does_not_starve_others(self):
        victim, attacker = self.victim(), self.attacker()
        drained = []

        def drain():
            try:
                while data := victim.sock.recv(65536):
                    drained.append(len(data))
            except OSError:
                pass

        victim.sock.settimeout(20)
        reader = threading.Thread(target=drain, daemon=True)
        reader.start()
        one = f"<message to='{self.victim_user.bare}' type='chat'><body>flood</body></message>".encode()
        self.assertTrue(attacker.pour(one * 20_000, patience=60))
        attacker.ping(timeout=60)
        # A thread that is still at a socket must end before that is closed: the next one to be opened may get its number.
        deadline = time.monotonic() + 60
        while sum(drained) < 20_000 * len("flood") and time.monotonic() < deadline:
            time.sleep(0.02)
        victim.sock.shutdown(socket.SHUT_RDWR)
        reader.join(10)
        self.assertFalse(reader.is_alive())
        self.assertGreater(sum(drained), 20_000 * len("flood"))
        attacker.close()
        victim.close()

    def test_b08_a_reader_that_never_reads(self):
        # Somebody of its own: what it does not read waits for it, and would come to whoever logs in with its name.
        victim_user = new_user("deaf")
        victim = login(victim_user, available=True)  # …and from here on reads nothing.
        attacker = self.attacker()
        one = f"<message to='{victim_user.bare}' type='chat'><body>{'B' * 30_000}</body></message>".encode()
        deadline = time.monotonic() + 30
        sent = 0
        while sent < 256 * MIB and time.monotonic() < deadline:
            if not attacker.pour(one, patience=3):
                break
            sent += len(one)
            if sent % MIB < len(one):
                self.memory_is_bounded()
        attacker.close()
        self.memory_is_bounded()
        victim.close()

    def test_b14_an_offline_flood(self):
        absent = new_user("absent")
        attacker = self.attacker()
        for n in range(2_000):
            attacker.send(f"<message to='{absent.bare}' type='chat' id='off{n}'><body>offline {n}</body></message>")
        attacker.ping(timeout=60)
        stream = login(absent)
        stream.send("<presence/>")
        got = []
        try:
            while True:
                got.append(stream.next("client:message", timeout=2))
        except TimeoutError:
            pass
        bodies = [element.findtext(tag("client:body")) for element in got]
        self.assertEqual(len(bodies), len(set(bodies)), "something came twice")
        numbers = [int(body.split()[1]) for body in bodies]
        self.assertEqual(numbers, sorted(numbers), "out of order")
        # Who was turned away was told so: kept messages and errors together account for all.
        refused = re.findall(rb"<message[^>]*type=['\"]error", attacker.received)
        self.assertTrue(len(bodies) == 2_000 or refused, f"{len(bodies)} of 2000 kept, and nobody was told")
        stream.close()
        attacker.close()

    @unittest.skipIf(world.XMPP_ONLY, "what other servers archive is theirs to decide")
    def test_b15_absurd_questions_to_archives(self):
        attacker = self.attacker()
        saved = "<extraParams xmlns='jabber:client'><save_to_history>1</save_to_history></extraParams>"
        for n in range(120):
            attacker.send(f"<message to='{self.victim_user.bare}' type='chat'><body>{n} {'x' * 2_000}</body>{saved}</message>")
        attacker.ping(timeout=30)
        own, mam, rsm = self.attacker_user.bare, "urn:xmpp:mam:2", "http://jabber.org/protocol/rsm"

        def page(inside):
            return f"<set xmlns='{rsm}'>{inside}</set>"

        def form(var, *values):
            fields = f"<field var='{var}'>{''.join(f'<value>{value}</value>' for value in values)}</field>"
            return f"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{mam}</value></field>{fields}</x>"

        refused = [
            page("<max>-1</max>"), page("<max>1e9</max>"), page("<max/>"), page("<max>1</max><max>2</max>"), page("") * 2,
            page("<after>x</after>"), page("<before>' OR 1=1</before>"), page("<after>000000000000000000000000</after>"),
            page(f"<after>{'f' * 100_000}</after>"), page("<index>4294967296</index>"),
            form("start", "never"), form("end", "2026-02-31T00:00:00Z"), form("with", "@@"), form("with", "x" * 5_000),
            form("ids", *["54789d5e6df5e6f921b7acda"] * 5_000), form("order by", "1"), form("start", "a", "b"),
            form("start", "2020-01-01T00:00:00Z").replace("submit", "result"), form("with", "a@x") * 2,
        ]
        for inside in refused:
            answer = attacker.iq("set", f"<query xmlns='{mam}'>{inside}</query>", to=own)
            self.assertEqual(answer.get("type"), "error", inside[:200])
        self.assertEqual(attacker.iq("set", f"<query xmlns='{mam}' queryid='{'q' * 10_000}'/>", to=own).get("type"), "error")
        for inside in (page(f"<max>{10 ** 40}</max>"), page("<max>100000</max><before/>"), form("start", "0001-01-01T00:00:00Z"),
                       form("end", "9999-12-31T23:59:59Z"), page("<max>0</max>")):
            answer = attacker.iq("set", f"<query xmlns='{mam}'>{inside}</query>", to=own, timeout=20)
            self.assertEqual(answer.get("type"), "result", inside)
        # Every answer is a hundred times the question, and nobody reads them.
        for n in range(2_000):
            if not attacker.pour(f"<iq type='set' id='f{n}'><query xmlns='{mam}'>{page('<max>100</max>')}</query></iq>".encode(), patience=2):
                break
        self.memory_is_bounded()
        attacker.close()

    def test_half_closed_by_the_client(self):
        attacker = self.attacker()
        attacker.send("</stream:stream>")
        self.assertIn(b"</stream:stream>", attacker.rest(10))

    def test_cut_without_a_word(self):
        for cut in range(20):
            attacker = self.attacker()
            attacker.send(f"<message to='{self.victim_user.bare}' type='chat'><body>cut {'x' * cut}"[:60 + cut])
            attacker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            attacker.close()

    @unittest.skipIf(world.XMPP_ONLY, "servers differ")
    def test_registration_is_refused(self):
        attacker = self.attacker()
        answer = attacker.iq("set", "<query xmlns='jabber:iq:register'><username>a</username><password>b</password></query>")
        self.assertEqual(condition(answer, "stanzas"), "not-allowed")
        attacker.close()

    def test_h05_no_server_dialect(self):
        stream = Stream()
        stream.send(HEADER.replace("jabber:client", "jabber:server").replace(" to=", " xmlns:db='jabber:server:dialback' to="))
        self.ended_with(stream, "invalid-namespace")

    @world.needs_rest
    @world.needs_two_apps
    def test_q01_the_wall_between_applications(self):
        outsider_user = new_user("outsider", app=world.APP2)
        outsider, victim = login(outsider_user, available=True), self.victim()
        outsider.send(f"<message to='{self.victim_user.bare}' type='chat' id='wall'><body>over the wall</body></message>")
        outsider.send(f"<presence to='{self.victim_user.bare}'/><presence to='{self.victim_user.bare}' type='subscribe'/>")
        outsider.ping()
        for query in ("jabber:iq:last", "jabber:iq:version", "http://jabber.org/protocol/disco#info"):
            shapes = []
            for to in (self.victim_user.bare, victim.full_jid, f"987654321-{world.APP_ID}@{world.DOMAIN}"):
                answer = outsider.iq("get", f"<query xmlns='{query}'/>", to=to)
                shapes.append((answer.get("type"), condition(answer, "stanzas")))
            self.assertEqual(len(set(shapes)), 1, f"{query}: {shapes}")
            self.assertEqual(shapes[0][0], "error")
        victim.ping()
        self.assertNotIn(outsider_user.bare.encode(), victim.received)
        self.assertNotIn(b"over the wall", victim.received)
        outsider.close()
        victim.close()


class WebSockets(Hostile):
    def test_w01_the_subprotocol_is_required(self):
        socket_ = WebSocket(protocol=None)
        self.assertNotEqual(socket_.status, 101, socket_.head)
        socket_ = WebSocket(protocol="chat, xmpp, mqtt")
        self.assertEqual(socket_.status, 101, socket_.head)
        self.assertRegex(socket_.head, "(?i)sec-websocket-protocol: xmpp\r?\n?")

    def test_w01_a_foreign_origin_gets_no_more_than_anybody(self):
        # Logging in takes a password, no cookie: a page of another site can do nothing in somebody's name.
        socket_ = WebSocket(headers=["Origin: https://evil.example", "Cookie: session=1"])
        if socket_.status == 101:
            features = socket_.open()
            self.assertIsNotNone(features.find(tag("sasl:mechanisms")))

    def test_w02_broken_frames(self):
        frame = WebSocket.frame
        cases = {
            "unmasked": frame("<presence xmlns='jabber:client'/>", masked=False),
            "reserved bits": frame("<presence xmlns='jabber:client'/>", reserved=7),
            "unknown opcode": frame("x", opcode=3),
            "unknown control": frame("x", opcode=11),
            "binary": frame("<presence xmlns='jabber:client'/>", opcode=2),
            "2^62 bytes": frame("x", length=1 << 62),
            "2^63 bytes": frame("x", length=(1 << 64) - 1),
            "a ping of 200 bytes": frame("x" * 200, opcode=9),
            "a fragmented ping": frame("x", opcode=9, fin=False),
            "orphan continuation": frame("x", opcode=0),
            "text inside a text": frame("<a", fin=False) + frame("/>"),
            "not UTF-8": frame(b"<a>\xff\xfe</a>"),
            "no element": frame("hello"),
            "two elements": frame("<presence xmlns='jabber:client'/><presence xmlns='jabber:client'/>"),
            "half an element": frame("<presence xmlns='jabber:client'>"),
            "a stream header": frame(HEADER),
        }
        for name, data in cases.items():
            with self.subTest(name):
                socket_ = WebSocket().login(self.attacker_user)
                try:
                    socket_.sock.sendall(data)
                except OSError:
                    pass
                self.assertTrue(socket_.ended(), f"{name}: the connection lives on")

    def test_w03_fragments_and_pings(self):
        victim = self.victim()
        socket_ = WebSocket().login(self.attacker_user)
        text = f"<message xmlns='jabber:client' to='{self.victim_user.bare}' type='chat'><body>{'f' * 20_000}</body></message>"
        pieces = [WebSocket.frame(char, opcode=0, fin=False) for char in text]
        pieces[0] = WebSocket.frame(text[0], fin=False)
        pieces[-1] = WebSocket.frame(text[-1], opcode=0)
        socket_.sock.sendall(b"".join(pieces))
        victim.message("f" * 20_000)
        # One thread for both ways: two may not use one TLS connection at once.
        for _ in range(20):
            socket_.sock.sendall(WebSocket.frame("p", opcode=9) * 500)
            pongs = 0
            while pongs < 500:
                opcode, payload = socket_.receive()
                self.assertNotEqual(opcode, 8, "closed")
                pongs += opcode == 10 and payload == b"p"
        socket_.sock.close()
        victim.close()

    def test_a_message_of_16_mib(self):
        socket_ = WebSocket().login(self.attacker_user)
        try:
            for n in range(16):
                socket_.send(b"A" * MIB, opcode=1 if n == 0 else 0, fin=False)
                self.memory_is_bounded()
        except OSError:
            pass
        self.assertTrue(socket_.ended())


if __name__ == "__main__":
    unittest.main()
