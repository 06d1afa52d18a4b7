"""slixmpp's stream management (XEP-0198): cut off, back again, and nothing is missing on either side.

Run: python3 -m unittest -v slix_resume
"""

import asyncio

import slix
import world
from world import new_user


class Resumption(slix.Suite):
    async def resumable(self, user, **options):
        client = slix.Client(user, **options)
        client.register_plugin("xep_0198")
        for event in ("sm_enabled", "session_resumed", "sm_failed"):
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
        """As the network does it: no end of the stream, no last word."""
        # What slixmpp still had to write it would write to the next connection at once, before its login.
        while not client.waiting_queue.empty():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        client.transport.abort()
        await client.until("disconnected")

    async def test_what_was_said_meanwhile_comes_when_the_client_is_back(self):
        romeo, juliet = await self.resumable(new_user("romeo")), await self.client(new_user("juliet"))
        full = romeo.boundjid.full
        await self.cut(romeo)
        for number in range(20):
            juliet.send_message(romeo.boundjid.bare, f"while you were away {number}", mtype="chat")
        await juliet.barrier()
        await self.reaches(romeo, "session_resumed")
        self.assertEqual(romeo.boundjid.full, full)
        for number in range(20):
            message = await romeo.message(f"while you were away {number}")
            self.assertFalse(message.xml.findall("{urn:xmpp:delay}delay"), "it has not waited for a new session")
        # And on it goes, both ways.
        romeo.send_message(juliet.boundjid.bare, "back again", mtype="chat")
        await juliet.message("back again")
        juliet.send_message(full, "good", mtype="chat")
        await romeo.message("good")
        await romeo.never("message")

    async def test_again_and_again_while_people_talk(self):
        romeo, juliet = await self.resumable(new_user("romeo")), await self.client(new_user("juliet"))
        for number in range(60):
            juliet.send_message(romeo.boundjid.bare, f"to {number}", mtype="chat")
            romeo.send_message(juliet.boundjid.bare, f"from {number}", mtype="chat")
            if number % 10 == 9:
                await self.cut(romeo)
                await self.reaches(romeo, "session_resumed")
        for number in range(60):
            await romeo.message(f"to {number}")
            await juliet.message(f"from {number}")
        # Each of them once.
        await romeo.never("message")
        await juliet.never("message")

    async def test_a_session_of_somebody_else_is_not_found(self):
        romeo, tybalt = await self.resumable(new_user("romeo")), await self.resumable(new_user("tybalt"))
        await self.cut(tybalt)
        tybalt.plugin["xep_0198"].sm_id = romeo.plugin["xep_0198"].sm_id
        await self.reaches(tybalt, "sm_failed")
        await tybalt.until("session_start")
        self.assertEqual(tybalt.boundjid.bare, tybalt.user.bare)
        await romeo.barrier()
