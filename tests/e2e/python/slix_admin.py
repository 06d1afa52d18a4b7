"""Commands for those who administer an app (XEP-0050, XEP-0133), given with slixmpp's own plugins.

The server's configuration names the first user of the first app. Run: python3 -m unittest -v slix_admin
"""

import asyncio
import datetime

from slixmpp.exceptions import IqError

import slix
import world
from world import DOMAIN, new_user, needs_two_apps

NODE = "http://jabber.org/protocol/admin#"
ADMIN = None


def setUpModule():
    # Nobody has signed up before: this is the user whom the configuration names.
    global ADMIN
    ADMIN = new_user("admin")
    assert ADMIN.id == 1, ADMIN.id


class Commands(slix.Suite):
    async def admin(self, **options):
        client = await self.client(ADMIN, **options)
        for plugin in ("xep_0050", "xep_0133"):
            client.register_plugin(plugin)
        return client

    async def step(self, begin):
        """What the next step of a command brings: the stanza and slixmpp's session."""
        come = asyncio.get_running_loop().create_future()
        set_once = lambda iq, session: come.done() or come.set_result((iq, session))
        begin({"next": set_once, "error": set_once})
        return await asyncio.wait_for(come, 8)

    async def begin(self, client, name):
        iq, session = await self.step(lambda session: getattr(client["xep_0133"], name.replace("-", "_"))(session=session))
        self.assertEqual((iq["type"], iq["command"]["status"]), ("result", "executing"), iq)
        self.assertEqual(iq["command"]["form"]["type"], "form")
        return iq, session

    async def go_on(self, client, session, direction, **fields):
        """Fills in the form and goes on; the fields are as the form has them, and these."""
        form = client["xep_0004"].make_form(ftype="submit")
        form.add_field(var="FORM_TYPE", ftype="hidden", value=NODE.rstrip("#"))
        for var, value in fields.items():
            field = form.add_field(var=var.replace("__", "-"))
            field["value"] = value
        session["payload"] = [form]

        def act(handlers):
            session.update(handlers)
            if direction == "complete":
                client["xep_0050"].complete_command(session)
            else:
                client["xep_0050"].continue_command(session, direction)

        return await self.step(act)

    async def command(self, client, name, **fields):
        _, session = await self.begin(client, name)
        iq, _ = await self.go_on(client, session, "complete", **fields)
        self.assertEqual((iq["type"], iq["command"]["status"]), ("result", "completed"), iq)
        return iq["command"]

    async def number(self, client, name):
        iq, _ = await self.step(lambda session: getattr(client["xep_0133"], name.replace("-", "_"))(session=session))
        self.assertEqual(iq["command"]["status"], "completed", iq)
        values = iq["command"]["form"].get_values()
        return int(next(value for var, value in values.items() if var.endswith("num")))

    def lines(self, value):
        return value if isinstance(value, list) else value.split("\n")

    async def test_an_administrator_finds_them_and_nobody_else(self):
        admin, user = await self.admin(), await self.client(new_user("user"))
        user.register_plugin("xep_0050")
        items = await admin["xep_0133"].get_commands()
        nodes = {item[1] for item in items["disco_items"]["items"]}
        self.assertIn(NODE + "add-user", nodes)
        info = await admin["xep_0030"].get_info(DOMAIN, node=NODE + "add-user")
        self.assertIn(("automation", "command-node", None, "Add User"), info["disco_info"]["identities"])
        for node in nodes:
            with self.assertRaises(IqError) as refused:
                await user["xep_0050"].send_command(DOMAIN, node)
            self.assertEqual(refused.exception.condition, "forbidden", node)
        seen = await user["xep_0050"].get_commands(DOMAIN)
        self.assertEqual(seen["disco_items"]["items"], set())

    async def test_a_user_comes_gets_another_password_and_goes(self):
        admin = await self.admin()
        login, password = world.fresh("romeo")[:40], "wherefore-art"
        before = await self.number(admin, "get-registered-users-num")
        made = await self.command(admin, "add-user", accountjid=f"{login}@{DOMAIN}", password=password, password__verify=password,
                                  email=f"{login}@montague.example", given_name="Romeo", surname="Montague")
        jid = made["form"].get_values()["accountjid"]
        self.assertEqual(await self.number(admin, "get-registered-users-num"), before + 1)
        user = world.User(jid.split("-")[0], password, login)
        self.assertEqual(user.bare, jid)
        romeo = await self.client(user)
        # The same user over REST.
        found = world.rest("GET", f"/users/{user.id}.json", token=user.session())
        self.assertEqual(found.json["user"]["full_name"], "Romeo Montague")

        _, session = await self.begin(admin, "add-user")
        iq, _ = await self.go_on(admin, session, "complete", accountjid=login, password=password, password__verify=password)
        self.assertEqual(iq["error"]["condition"], "conflict", iq)
        _, session = await self.begin(admin, "add-user")
        iq, session = await self.go_on(admin, session, "complete", accountjid="mercutio", password="short", password__verify="short")
        self.assertIn("bad-payload", str(iq))

        about = await self.command(admin, "user-stats", accountjid=jid)
        self.assertEqual(self.lines(about["form"].get_values()["onlineresources"]), [romeo.boundjid.resource])
        last = await self.command(admin, "get-user-lastlogin", accountjids=[jid])
        at = datetime.datetime.fromisoformat(self.lines(last["form"].get_values()["lastlogin"])[0].replace("Z", "+00:00"))
        self.assertLess(abs(datetime.datetime.now(datetime.timezone.utc) - at), datetime.timedelta(minutes=5))

        ended = await self.command(admin, "end-user-session", accountjids=[jid])
        self.assertEqual(self.lines(ended["form"].get_values()["accountjids"]), [jid])
        error = await romeo.until("stream_error")
        self.assertEqual(error["condition"], "policy-violation")
        romeo = await self.client(user)

        await self.command(admin, "change-user-password", accountjid=jid, password="another password")
        await romeo.until("stream_error", "disconnected")
        self.assertEqual(world.rest("POST", "/session.json", body=world.session_fields({"login": login, "password": password})).status, 401)
        user.password = "another password"
        romeo = await self.client(user)

        await self.command(admin, "delete-user", accountjids=[jid, "999999-1@" + DOMAIN])
        await romeo.until("stream_error", "disconnected")
        self.assertEqual(world.rest("POST", "/session.json", body=world.session_fields({"login": login, "password": user.password})).status, 401)

    async def test_lists_have_pages(self):
        admin = await self.admin()
        users = [new_user("page") for _ in range(5)]
        _, session = await self.begin(admin, "get-registered-users-list")
        iq, session = await self.go_on(admin, session, "next", max_items="25")
        seen = []
        while True:
            values = iq["command"]["form"].get_values()
            seen += self.lines(values["registereduserjids"])
            if iq["command"]["status"] == "completed" or "next" not in iq["command"]["actions"]:
                break
            hidden = {var: values[var] for var in ("max_items", "first", "last")}
            iq, session = await self.go_on(admin, session, "next", **hidden)
        self.assertEqual(len(seen), len(set(seen)))
        self.assertLessEqual({ADMIN.bare, *(user.bare for user in users)}, set(seen))

        _, session = await self.begin(admin, "get-registered-users-list")
        iq, session = await self.go_on(admin, session, "next", max_items="2")
        first = self.lines(iq["command"]["form"].get_values()["registereduserjids"])
        values = iq["command"]["form"].get_values()
        iq, session = await self.go_on(admin, session, "next", **{var: values[var] for var in ("max_items", "first", "last")})
        self.assertEqual(set(iq["command"]["actions"]), {"prev", "next", "complete"})
        values = iq["command"]["form"].get_values()
        iq, session = await self.go_on(admin, session, "prev", **{var: values[var] for var in ("max_items", "first", "last")})
        self.assertEqual(self.lines(iq["command"]["form"].get_values()["registereduserjids"]), first)

    @needs_two_apps
    async def test_an_announcement_is_for_those_of_the_app(self):
        admin, juliet = await self.admin(), await self.client(new_user("juliet"))
        stranger = await self.client(new_user("tybalt", app=world.APP2))
        self.assertGreaterEqual(await self.number(admin, "get-online-users-num"), 2)
        online = await self.command(admin, "get-online-users-list")
        online = self.lines(online["form"].get_values()["onlineuserjids"])
        self.assertIn(juliet.boundjid.bare, online)
        self.assertNotIn(stranger.boundjid.bare, online)
        await self.command(admin, "announce", announcement=["The gates close.", "At midnight."])
        heard = await juliet.message("The gates close.\nAt midnight.")
        self.assertEqual((heard["type"], heard["from"]), ("headline", DOMAIN))
        await stranger.never("message")
        roster = await self.command(admin, "get-user-roster", accountjids=[stranger.boundjid.bare])
        self.assertIn("There is no user", str(roster))
