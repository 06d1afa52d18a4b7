"""The REST API of sessions and users, and the HTTP under it, with Python's own HTTP client and raw sockets.

What is right is in `quickblox-server.md` §7 and §8 and `quickblox-wire.md` §2 to §4. Run: python3 -m unittest -v rest
"""

import re
import time
import unittest

import world
from world import Answer, flattened, form, fresh, multipart, new_user, raw_http, rest, session, session_fields

ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
EXPIRES = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (UTC|\+0000)$")
NO_SESSION = {"errors": {"base": ["Required session does not exist"]}}
NO_TOKEN = {"errors": {"base": ["Token is required"]}}
NEED_USER = {"errors": {"base": ["Forbidden. Need user."]}}
UNAUTHORIZED = {"errors": ["Unauthorized"]}
NO_PERMISSION = {"errors": ["You don't have appropriate permissions to perform this operation"]}
NO_USER = {"code": None, "message": "Couldn't find user"}


class Suite(unittest.TestCase):
    maxDiff = None

    def answered(self, answer: Answer, status, body=None):
        """The status, the header that repeats it, and (if given) the body to the letter."""
        self.assertEqual(answer.status, status, answer)
        if body is not None:
            self.assertEqual(answer.json, body)
            self.assertIn("application/json", answer.headers["Content-Type"])
        return answer

    def empty(self, answer: Answer):
        """200 without a body: some clients parse JSON by content type and choke on an empty one."""
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.body.strip(), b"")
        self.assertNotIn("json", answer.headers.get("Content-Type") or "")


class Sessions(Suite):
    def test_an_application_session_has_every_field(self):
        fields = session_fields()
        answer = self.answered(rest("POST", "/session.json", body=fields), 201)
        got = answer.json["session"]
        self.assertRegex(got["_id"], r"^[0-9a-f]{24}$")
        self.assertRegex(got["token"], r"^[0-9a-f]{40}$")
        self.assertRegex(got["created_at"], ISO)
        self.assertRegex(got["updated_at"], ISO)
        self.assertIsInstance(got["id"], int)
        for key, value in {"application_id": world.APP_ID, "device_id": 0, "user_id": 0,
                           "nonce": fields["nonce"], "ts": fields["timestamp"]}.items():
            self.assertEqual(got[key], value, key)

    def test_a_user_session_names_its_user(self):
        user = new_user("session", email=f"{fresh('mail')}@example.com")
        mail = rest("GET", f"/users/{user.id}.json", token=session()).json["user"]["email"]
        for credentials in ({"login": user.login, "password": user.password}, {"email": mail, "password": user.password}):
            answer = self.answered(rest("POST", "/session.json", body=session_fields(credentials)), 201)
            self.assertEqual(answer.json["session"]["user_id"], user.id)

    def test_both_hashes_sign(self):
        for algorithm in ("sha1", "sha256"):
            with self.subTest(algorithm):
                self.answered(rest("POST", "/session.json", body=session_fields(algorithm=algorithm)), 201)

    def test_the_signature_is_over_raw_text(self):
        user = new_user("raw")
        password = "Sp ace&am=p%25é1"
        token = user.session()
        changed = {"user": {"password": password, "old_password": user.password}}
        self.answered(rest("PUT", f"/users/{user.id}.json", token=token, body=changed), 200)
        fields = session_fields({"login": user.login, "password": password})
        self.answered(rest("POST", "/session.json", data=form(list(flattened(fields))),
                           content_type="application/x-www-form-urlencoded"), 201)

    def test_negative_nonces_of_android_are_accepted(self):
        self.answered(rest("POST", "/session.json", body=session_fields(nonce=-1234567 - int(time.time()))), 201)

    def test_json_form_multipart_and_query_say_the_same(self):
        user = new_user("bodies")
        credentials = {"login": user.login, "password": user.password}
        urlencoded = "application/x-www-form-urlencoded"
        pairs = lambda: list(flattened(session_fields(credentials)))  # noqa: E731: a nonce is good for once
        kind, data = multipart(pairs())
        raw_brackets = "&".join(f"{key}={value}" for key, value in pairs()).encode()
        for name, send in {
            "json": dict(body=session_fields(credentials)),
            "form, %5B%5D": dict(data=form(pairs()), content_type=urlencoded + "; charset=UTF-8"),
            "form, raw brackets": dict(data=raw_brackets, content_type=urlencoded),
            "multipart": dict(data=data, content_type=kind),
            "query": dict(query=pairs()),
        }.items():
            with self.subTest(name):
                answer = self.answered(rest("POST", "/session.json", **send), 201)
                self.assertEqual(answer.json["session"]["user_id"], user.id)

    def test_the_suffix_json_is_optional(self):
        answer = self.answered(rest("POST", "/session", body=session_fields()), 201)
        token = answer.json["session"]["token"]
        self.answered(rest("GET", "/session", token=token), 200)

    def test_a_wrong_signature(self):
        for signature in ("0" * 40, "0" * 64, "not hex", ""):
            with self.subTest(signature):
                answer = rest("POST", "/session.json", body={**session_fields(), "signature": signature})
                self.answered(answer, 422, {"errors": {"base": ["Unexpected signature"]}})

    def test_a_field_changed_after_signing(self):
        fields = session_fields({"login": "a", "password": "b"})
        fields["user"]["login"] = "c"
        self.answered(rest("POST", "/session.json", body=fields), 422, {"errors": {"base": ["Unexpected signature"]}})

    def test_a_timestamp_more_than_an_hour_off(self):
        for offset in (-3700, 3700):
            with self.subTest(offset):
                answer = rest("POST", "/session.json", body=session_fields(timestamp=int(time.time()) + offset))
                self.answered(answer, 422, {"errors": {"base": ["Bad timestamp"]}})
        self.answered(rest("POST", "/session.json", body=session_fields(timestamp=int(time.time()) - 3000)), 201)

    def test_a_nonce_is_good_for_once(self):
        fields = session_fields()
        self.answered(rest("POST", "/session.json", body=fields), 201)
        self.answered(rest("POST", "/session.json", body=fields), 422, {"errors": {"base": ["Bad timestamp"]}})

    def test_an_unknown_application_or_key(self):
        for app in ((world.APP_ID + 987654, world.AUTH_KEY, world.AUTH_SECRET), (world.APP_ID, "no-such-key", world.AUTH_SECRET)):
            with self.subTest(app[:2]):
                answer = rest("POST", "/session.json", body=session_fields(app=app))
                self.answered(answer, 422, {"errors": {"base": ["No Application Found"]}})

    def test_a_wrong_login_or_password_is_unauthorized_alike(self):
        user = new_user("wrong")
        for login, password in ((user.login, "not-the-password"), (fresh("nobody"), "not-the-password")):
            with self.subTest(login):
                answer = rest("POST", "/session.json", body=session_fields({"login": login, "password": password}))
                self.answered(answer, 401, UNAUTHORIZED)
                self.assertEqual(answer.headers["Status"], "401 Unauthorized")

    def test_get_and_delete_session(self):
        token = session()
        self.assertEqual(self.answered(rest("GET", "/session.json", token=token), 200).json["session"]["token"], token)
        self.empty(rest("DELETE", "/session.json", token=token))
        self.answered(rest("GET", "/session.json", token=token), 401, NO_SESSION)
        self.answered(rest("DELETE", "/session.json", token=token), 401, NO_SESSION)

    def test_missing_and_broken_tokens(self):
        self.answered(rest("GET", "/users.json"), 401, NO_TOKEN)
        for token in ("0" * 40, "0" * 39, "x", "f" * 3000, "%00"):
            with self.subTest(token[:50]):
                self.answered(rest("GET", "/users.json", token=token), 401, NO_SESSION)

    def test_the_token_may_come_as_a_parameter(self):
        self.answered(rest("GET", "/session.json", query=[("token", session())]), 200)

    def test_every_answer_with_a_token_says_when_it_ends(self):
        token = session()
        for method, path, status in (("GET", "/users.json", 200), ("GET", "/users/0.json", 404), ("GET", "/session.json", 200)):
            with self.subTest(path):
                answer = self.answered(rest(method, path, token=token), status)
                ends = answer.headers["QB-Token-ExpirationDate"]
                self.assertRegex(ends or "", EXPIRES)
                seconds = time.mktime(time.strptime(ends[:19], "%Y-%m-%d %H:%M:%S")) - time.mktime(time.gmtime())
                self.assertAlmostEqual(seconds, 7200, delta=60)

    def test_the_status_is_repeated_as_a_header(self):
        answer = rest("GET", "/users.json", token="0" * 40)
        self.assertEqual(answer.headers["Status"], "401 Unauthorized")
        self.assertEqual(answer.reason, "Unauthorized")
        self.assertNotIn("WWW-Authenticate", answer.headers)

    @world.needs_two_apps
    def test_applications_do_not_see_each_other(self):
        here, there = new_user("tenant"), new_user("tenant", app=world.APP2)
        token = session(app=world.APP2)
        self.answered(rest("GET", f"/users/{here.id}.json", token=token), 404, NO_USER)
        self.answered(rest("GET", "/users/by_login.json", token=token, query=[("login", here.login)]), 404, NO_USER)
        answer = rest("POST", "/session.json", body=session_fields({"login": here.login, "password": here.password}, app=world.APP2))
        self.answered(answer, 401, UNAUTHORIZED)
        page = self.answered(rest("GET", "/users.json", token=token, query=[("per_page", 100)]), 200).json
        self.assertIn(there.login, [item["user"]["login"] for item in page["items"]])
        self.assertNotIn(here.login, [item["user"]["login"] for item in page["items"]])

    @world.needs_two_apps
    def test_the_same_login_may_exist_in_two_applications(self):
        login = fresh("twice")
        for token in (session(), session(app=world.APP2)):
            self.answered(rest("POST", "/users.json", token=token, body={"user": {"login": login, "password": "Correct1horse"}}), 201)


class Login(Suite):
    def setUp(self):
        self.user = new_user("login")
        self.token = session()

    def test_login_is_202_and_keeps_the_token(self):
        credentials = {"login": self.user.login, "password": self.user.password}
        answer = self.answered(rest("POST", "/login.json", token=self.token, body=credentials), 202)
        self.assertEqual(answer.json["user"]["id"], self.user.id)
        self.assertEqual(rest("GET", "/session.json", token=self.token).json["session"]["user_id"], self.user.id)

    def test_login_inside_user_and_as_a_form(self):
        credentials = {"login": self.user.login, "password": self.user.password}
        self.answered(rest("POST", "/login.json", token=self.token, body={"user": credentials}), 202)
        data = form(list(credentials.items()))
        self.answered(rest("POST", "/login.json", token=self.token, data=data, content_type="application/x-www-form-urlencoded"), 202)

    def test_a_whole_user_record_logs_in_too(self):
        # The React UI kit sends one (server spec §15.1): only login and password count.
        record = [("id", "0"), ("user_tags", "null"), ("custom_data", "null"), ("created_at", ""),
                  ("login", self.user.login), ("password", self.user.password)]
        self.answered(rest("POST", "/login.json", token=self.token, data=form(record), content_type="application/x-www-form-urlencoded"), 202)

    def test_wrong_credentials(self):
        for body in ({"login": self.user.login, "password": "nope"}, {"login": fresh("x"), "password": "nope"}, {"login": self.user.login}):
            with self.subTest(body):
                self.answered(rest("POST", "/login.json", token=self.token, body=body), 401, UNAUTHORIZED)

    def test_logout_leaves_an_application_session(self):
        credentials = {"login": self.user.login, "password": self.user.password}
        rest("POST", "/login.json", token=self.token, body=credentials)
        self.empty(rest("DELETE", "/login.json", token=self.token))
        self.assertEqual(rest("GET", "/session.json", token=self.token).json["session"]["user_id"], 0)
        update = rest("PUT", f"/users/{self.user.id}.json", token=self.token, body={"user": {"full_name": "x"}})
        self.answered(update, 422, NEED_USER)


class Users(Suite):
    def setUp(self):
        self.app = session()

    def sign_up(self, **fields):
        body = {"user": {"login": fresh("user"), "password": "Correct1horse", **fields}}
        return rest("POST", "/users.json", token=self.app, body=body)

    def test_a_new_user_has_every_field(self):
        login, mail = fresh("full"), f"{fresh('mail')}@example.com"
        external = int(time.time() * 1000) % 2**31
        answer = self.answered(self.sign_up(
            login=login, email=mail, full_name="Füll Name 🐦", phone="+4912345678901", website="http://example.com",
            tag_list="chat,dev", custom_data='{"a":[1,"ü🐦"]}', external_user_id=external), 201)
        user = answer.json["user"]
        for key, value in {"login": login, "email": mail, "full_name": "Füll Name 🐦", "phone": "+4912345678901",
                           "website": "http://example.com", "user_tags": "chat,dev", "custom_data": '{"a":[1,"ü🐦"]}',
                           "external_user_id": external, "facebook_id": None, "twitter_id": None,
                           "blob_id": None}.items():
            self.assertEqual(user[key], value, key)
        self.assertIsInstance(user["id"], int)
        self.assertRegex(user["created_at"], ISO)
        self.assertRegex(user["updated_at"], ISO)
        self.assertIn("last_request_at", user)
        self.assertNotIn("password", user)
        self.assertEqual(self.answered(rest("GET", f"/users/{user['id']}.json", token=self.app), 200).json["user"]["login"], login)

    def test_sign_up_as_a_form_and_as_multipart(self):
        for encode in (lambda pairs: ("application/x-www-form-urlencoded", form(pairs)), multipart):
            login = fresh("form")
            kind, data = encode([("user[login]", login), ("user[password]", "Correct1horse"), ("user[full_name]", "A + B & C=D")])
            answer = self.answered(rest("POST", "/users.json", token=self.app, data=data, content_type=kind), 201)
            self.assertEqual(answer.json["user"]["login"], login)
            self.assertEqual(answer.json["user"]["full_name"], "A + B & C=D")

    def test_login_and_email_are_unique_in_an_application(self):
        login, mail = fresh("taken"), f"{fresh('taken')}@example.com"
        self.answered(self.sign_up(login=login, email=mail), 201)
        self.answered(self.sign_up(login=login), 422, {"errors": {"login": ["has already been taken"]}})
        self.answered(self.sign_up(email=mail), 422, {"errors": {"email": ["has already been taken"]}})

    def test_what_is_refused_names_the_field(self):
        for field, value in {"password": "short", "login": "ab", "email": "not-an-address"}.items():
            with self.subTest(field):
                errors = self.answered(self.sign_up(**{field: value}), 422).json["errors"]
                self.assertIsInstance(errors[field], list)
        self.assertIn("is too short (minimum is 8 characters)", self.sign_up(password="short").json["errors"]["password"])

    def test_sign_up_without_a_password_or_a_name(self):
        for user in ({"login": fresh("nopass")}, {"password": "Correct1horse"}, {}):
            with self.subTest(user):
                answer = rest("POST", "/users.json", token=self.app, body={"user": user})
                self.assertEqual(answer.status, 422, answer)
                self.assertIn("errors", answer.json)

    def test_an_unknown_user(self):
        for path in ("/users/987654321.json", "/users/external/987654321.json", f"/users/by_login.json?login={fresh('x')}",
                     "/users/by_email.json?email=nobody%40example.com", f"/users/by_full_name.json?full_name={fresh('x')}",
                     f"/users/by_tags.json?tags={fresh('x')}"):
            with self.subTest(path):
                self.answered(rest("GET", path, token=self.app), 404, NO_USER)

    def test_one_user_is_found_by_login_email_and_external_id(self):
        external = 10**9 + int(time.time() * 1000) % 10**9
        mail = f"{fresh('find')}@example.com"
        user = self.sign_up(email=mail, external_user_id=external).json["user"]
        for path, query in {"/users/by_login.json": [("login", user["login"])], "/users/by_email.json": [("email", mail)],
                            f"/users/external/{external}.json": None}.items():
            with self.subTest(path):
                answer = self.answered(rest("GET", path, token=self.app, query=query), 200)
                self.assertEqual(answer.json["user"]["id"], user["id"])

    def test_users_are_found_by_a_part_of_the_name_whatever_its_case(self):
        word = fresh("Quux")
        user = self.sign_up(full_name=f"Doctor {word} Smith").json["user"]
        for text in (word, word.upper(), word[2:]):
            with self.subTest(text):
                page = self.answered(rest("GET", "/users/by_full_name.json", token=self.app, query=[("full_name", text)]), 200).json
                self.assertEqual([item["user"]["id"] for item in page["items"]], [user["id"]])
                self.assertEqual((page["current_page"], page["per_page"], page["total_entries"]), (1, 10, 1))

    def test_users_are_found_by_any_of_several_tags(self):
        one, two = fresh("tagone"), fresh("tagtwo")
        ids = {self.sign_up(tag_list=tag).json["user"]["id"] for tag in (one, two)}
        page = self.answered(rest("GET", "/users/by_tags.json", token=self.app, query=[("tags", f"{one},{two}")]), 200).json
        self.assertEqual({item["user"]["id"] for item in page["items"]}, ids)

    def test_lists_are_paged_filtered_and_ordered(self):
        ids = [self.sign_up().json["user"]["id"] for _ in range(5)]
        wanted = ",".join(map(str, ids))

        def listed(*query):
            page = self.answered(rest("GET", "/users.json", token=self.app, query=list(query)), 200).json
            return page, [item["user"]["id"] for item in page["items"]]

        only = ("filter[]", f"number id in {wanted}")
        page, got = listed(only, ("order", "desc string id"), ("per_page", 2), ("page", 2))
        self.assertEqual(got, sorted(ids, reverse=True)[2:4])
        self.assertEqual((page["current_page"], page["per_page"], page["total_entries"]), (2, 2, 5))
        # Three ways of saying "and": repeated, in one value with a comma, and as a JSON list in a body of a GET.
        self.assertEqual(listed(only, ("filter[]", f"number id gt {ids[2]}"), ("order", "asc number id"))[1], ids[3:])
        self.assertEqual(listed(("filter[]", f"number id in {wanted},number id gt {ids[2]}"), ("order", "asc number id"))[1], ids[3:])
        answer = rest("GET", "/users.json", token=self.app, body={"filter": [f"number id in {wanted}", f"number id le {ids[0]}"]})
        self.assertEqual([item["user"]["id"] for item in self.answered(answer, 200).json["items"]], ids[:1])
        for operator, expected in {"lt": ids[:2], "le": ids[:3], "eq": ids[2:3], "ge": ids[2:], "ne": ids[:2] + ids[3:]}.items():
            with self.subTest(operator):
                self.assertEqual(listed(only, ("filter[]", f"number id {operator} {ids[2]}"), ("order", "asc number id"))[1], expected)
        self.assertEqual(listed(only, ("filter[]", f"number id between {ids[1]},{ids[3]}"), ("order", "asc number id"))[1], ids[1:4])
        self.assertEqual(listed(only, ("page", 0))[0]["current_page"], 1)
        self.assertGreaterEqual(listed(("filter[]", "string full_name in "))[0]["total_entries"], 5)

    def test_pages_stay_bounded_whatever_is_asked(self):
        for query in ([("per_page", "100000")], [("per_page", "-1")], [("per_page", "1e18"), ("page", "9" * 30)], [("page", "abc")],
                      [("order", "asc string password")], [("filter[]", "number id between 1")], [("filter[]", "rubbish")],
                      [("filter[]", "string login in " + ",".join(["x"] * 2000))]):
            with self.subTest(str(query)[:60]):
                answer = rest("GET", "/users.json", token=self.app, query=query)
                self.assertIn(answer.status, (200, 400, 422), answer)
                if answer.status == 200:
                    self.assertLessEqual(answer.json["per_page"], 100)
                    self.assertLessEqual(len(answer.json["items"]), 100)

    def test_one_updates_and_deletes_oneself_only(self):
        user, other = new_user("self"), new_user("other")
        token = user.session()
        answer = rest("PUT", f"/users/{user.id}.json", token=token, body={"user": {"full_name": "New Name", "tag_list": "x,y"}})
        got = self.answered(answer, 200).json["user"]
        self.assertEqual((got["full_name"], got["user_tags"]), ("New Name", "x,y"))
        self.answered(rest("PUT", f"/users/{other.id}.json", token=token, body={"user": {"full_name": "Mallory"}}), 403, NO_PERMISSION)
        self.answered(rest("DELETE", f"/users/{other.id}.json", token=token), 403, NO_PERMISSION)
        self.answered(rest("PUT", f"/users/{user.id}.json", token=self.app, body={"user": {"full_name": "x"}}), 422, NEED_USER)
        self.answered(rest("DELETE", f"/users/{user.id}.json", token=self.app), 422, NEED_USER)
        self.empty(rest("DELETE", f"/users/{user.id}.json", token=token))
        self.answered(rest("GET", f"/users/{user.id}.json", token=self.app), 404, NO_USER)
        self.answered(rest("GET", "/users.json", token=token), 401, NO_SESSION)

    def test_delete_by_external_id(self):
        external = 2 * 10**9 + int(time.time() * 1000) % 10**8
        user = new_user("external", external_user_id=external)
        self.empty(rest("DELETE", f"/users/external/{external}.json", token=user.session()))
        self.answered(rest("GET", f"/users/{user.id}.json", token=self.app), 404, NO_USER)

    def test_a_password_changes_only_with_the_old_one(self):
        user = new_user("password")
        token = user.session()
        for body in ({"password": "Another1horse"}, {"password": "Another1horse", "old_password": "wrong"}):
            self.assertEqual(rest("PUT", f"/users/{user.id}.json", token=token, body={"user": body}).status, 422)
        body = {"user": {"password": "Another1horse", "old_password": user.password}}
        self.answered(rest("PUT", f"/users/{user.id}.json", token=token, body=body), 200)
        login = {"login": user.login, "password": "Another1horse"}
        self.answered(rest("POST", "/session.json", body=session_fields(login)), 201)
        login["password"] = user.password
        self.answered(rest("POST", "/session.json", body=session_fields(login)), 401, UNAUTHORIZED)

    def test_a_name_given_up_is_free_again(self):
        user = new_user("rename")
        self.answered(rest("PUT", f"/users/{user.id}.json", token=user.session(), body={"user": {"login": fresh("renamed")}}), 200)
        self.answered(self.sign_up(login=user.login), 201)

    def test_password_reset_under_both_paths(self):
        mail = f"{fresh('reset')}@example.com"
        self.sign_up(email=mail)
        for path in ("/users/password/reset.json", "/password/reset.json"):
            with self.subTest(path):
                self.empty(rest("GET", path, token=self.app, query=[("email", mail)]))
                answer = rest("GET", path, token=self.app, query=[("email", f"{fresh('no')}@example.com")])
                self.assertEqual(answer.status, 404, answer)

    def test_the_same_login_twice_at_once_makes_one_user(self):
        from concurrent.futures import ThreadPoolExecutor
        login = fresh("race")
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: self.sign_up(login=login).status, range(8)))
        self.assertEqual(sorted(statuses), [201] + [422] * 7)


class AccountSettings(Suite):
    def test_it_names_the_endpoints(self):
        answer = self.answered(rest("GET", "/account_settings.json", headers={"QB-Account-Key": world.ACCOUNT_KEY}), 200)
        self.assertTrue(answer.json["api_endpoint"].startswith("https://"), answer)
        self.assertEqual(answer.json["chat_endpoint"], world.DOMAIN)

    def test_an_unknown_key_is_refused(self):
        # Neither does the key that signs sessions open it.
        for key in ("unknown", world.AUTH_KEY, ""):
            with self.subTest(key):
                answer = rest("GET", "/account_settings.json", headers={"QB-Account-Key": key})
                self.assertIn(answer.status, (401, 422), answer)
                self.assertIn("base", answer.json["errors"])


class Http(Suite):
    """HTTP/1.1 itself."""

    def head(self, *lines):
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def test_browsers_may_ask_first(self):
        for path in ("/session.json", "/users/1.json", "/no/such/path"):
            with self.subTest(path):
                answer = rest("OPTIONS", path, headers={
                    "Origin": "https://app.example", "Access-Control-Request-Method": "DELETE",
                    "Access-Control-Request-Headers": "qb-token,qb-sdk,qb-os,content-type"})
                self.assertIn(answer.status, (200, 204), answer)
                self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")
                methods = answer.headers["Access-Control-Allow-Methods"]
                for method in ("GET", "POST", "PUT", "DELETE"):
                    self.assertIn(method, methods)
                allowed = answer.headers["Access-Control-Allow-Headers"].lower()
                for header in ("qb-token", "qb-sdk", "qb-os", "content-type"):
                    self.assertIn(header, allowed)

    def test_answers_and_errors_are_readable_from_other_origins(self):
        for token in (session(), "0" * 40):
            answer = rest("GET", "/users.json", token=token, headers={"Origin": "https://app.example"})
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")
            self.assertIn("QB-Token-ExpirationDate".lower(), answer.headers["Access-Control-Expose-Headers"].lower())

    def test_head_is_get_without_the_body(self):
        token = session()
        get, head = rest("GET", "/session.json", token=token), rest("HEAD", "/session.json", token=token)
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["Content-Length"], get.headers["Content-Length"])

    def test_a_connection_serves_many_requests(self):
        conn = world.connection()
        token = session()
        for _ in range(20):
            self.answered(rest("GET", "/session.json", token=token, over=conn), 200)
        self.answered(rest("GET", "/users/0.json", token=token, over=conn), 404)
        self.answered(rest("GET", "/session.json", token=token, over=conn), 200)
        conn.close()

    def test_pipelined_requests_are_answered_in_order(self):
        token = session()
        requests = b"".join(self.head(f"GET {path} HTTP/1.1", f"Host: {world.DOMAIN}", f"QB-Token: {token}")
                            for path in ("/session.json", "/users/0.json", "/session.json"))
        requests += self.head("GET /nowhere HTTP/1.1", f"Host: {world.DOMAIN}", "Connection: close")
        got = raw_http(requests)
        self.assertEqual(re.findall(rb"HTTP/1\.1 (\d{3})", got)[:3], [b"200", b"404", b"200"], got)
        self.assertEqual(got.count(b"HTTP/1.1 "), 4)

    def test_expect_100_continue(self):
        body = form(list(flattened(session_fields())))
        head = self.head("POST /session.json HTTP/1.1", f"Host: {world.DOMAIN}", "Connection: close", "Expect: 100-continue",
                         "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}")
        sock = world.socket.create_connection((world.HOST, world.HTTPS_PORT), 10)
        with world.tls_context().wrap_socket(sock, server_hostname=world.DOMAIN) as tls:
            tls.sendall(head)
            self.assertTrue(tls.recv(4096).startswith(b"HTTP/1.1 100"))
            tls.sendall(body)
            got = b""
            while part := tls.recv(4096):
                got += part
        self.assertTrue(got.startswith(b"HTTP/1.1 201"), got)

    def test_chunked_bodies_in_pieces_of_any_size(self):
        body = form(list(flattened(session_fields())))
        chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in (body[:1], body[1:40], body[40:])) + b"0\r\nTrailer: x\r\n\r\n"
        head = self.head("POST /session.json HTTP/1.1", f"Host: {world.DOMAIN}", "Connection: close",
                         "Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked")
        got = raw_http(head + chunks)
        self.assertTrue(got.startswith(b"HTTP/1.1 201"), got)

    def test_a_request_one_byte_at_a_time(self):
        sock = world.socket.create_connection((world.HOST, world.HTTPS_PORT), 10)
        with world.tls_context().wrap_socket(sock, server_hostname=world.DOMAIN) as tls:
            for byte in self.head("GET /users.json HTTP/1.1", f"Host: {world.DOMAIN}", "Connection: close"):
                tls.sendall(bytes([byte]))
            self.assertTrue(tls.recv(4096).startswith(b"HTTP/1.1 401"))

    def test_malformed_requests(self):
        host = f"Host: {world.DOMAIN}"
        kind = "Content-Type: application/json"
        cases = {
            "garbage": (b"\x00\x01\x02\x03garbage\r\n\r\n", {b"400"}),
            "no such version": (self.head("GET / HTTP/9.9", host), {b"400", b"505"}),
            "space in a header name": (self.head("GET /users.json HTTP/1.1", host, "Bad Name: x"), {b"400"}),
            "NUL in a header": (b"GET /users.json HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", {b"400"}),
            "two lengths": (self.head("POST /session.json HTTP/1.1", host, kind, "Content-Length: 2", "Content-Length: 3") + b"{}x", {b"400"}),
            "negative length": (self.head("POST /session.json HTTP/1.1", host, kind, "Content-Length: -1"), {b"400"}),
            # Smuggling: who believes the one and who the other see different requests.
            "length and chunked": (self.head("POST /session.json HTTP/1.1", host, kind, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", {b"400"}),
            "bad chunk size": (self.head("POST /session.json HTTP/1.1", host, kind, "Transfer-Encoding: chunked") + b"xyz\r\n", {b"400"}),
            "huge chunk size": (self.head("POST /session.json HTTP/1.1", host, kind, "Transfer-Encoding: chunked") + b"ffffffffffffffff0\r\n", {b"400", b"413"}),
            "unknown coding": (self.head("POST /session.json HTTP/1.1", host, kind, "Transfer-Encoding: gzip"), {b"400", b"501"}),
            "a long target": (self.head("GET /" + "a" * 100_000 + " HTTP/1.1", host), {b"414", b"431", b"400"}),
            "a huge header": (self.head("GET /users.json HTTP/1.1", host, "X: " + "a" * 200_000), {b"431"}),
            "10,000 headers": (self.head("GET /users.json HTTP/1.1", host, *["X: y"] * 10_000), {b"431"}),
            "a huge body": (self.head("POST /session.json HTTP/1.1", host, kind, f"Content-Length: {10**10}"), {b"413"}),
        }
        for name, (data, statuses) in cases.items():
            with self.subTest(name):
                got = raw_http(data, timeout=15, until=lambda got: b"\r\n\r\n" in got)
                self.assertIn(got[9:12], statuses, got[:300])
                self.assertTrue(got.startswith(b"HTTP/1.1 "), got[:300])

    def test_a_body_that_breaks_off(self):
        head = self.head("POST /session.json HTTP/1.1", f"Host: {world.DOMAIN}", "Content-Type: application/json", "Content-Length: 100")
        # In the clear, where one direction can end alone.
        got = raw_http(head + b'{"application_id":', plain=True, shut=True)
        self.assertIn(got[9:12], (b"400", b"408", b""), got[:300])

    def test_broken_bodies_say_what_is_wrong(self):
        token = session()
        for name, data in {"open": b'{"a":', "deep": b'{"a":' * 100_000, "deep list": b"[" * 100_000, "nan": b'{"a":NaN}', "text": b"abc",
                           "not utf-8": b'{"a":"\xff"}', "two values": b"{} {}", "lone surrogate": b'{"user":{"login":"\\ud800"}}'}.items():
            with self.subTest(name):
                answer = rest("POST", "/users.json", token=token, data=data, content_type="application/json")
                self.assertIn(answer.status, (400, 422), answer)
                self.assertIn("errors", answer.json)

    def test_deep_brackets_in_forms(self):
        data = b"user" + b"[a]" * 50_000 + b"=1"
        answer = rest("POST", "/users.json", token=session(), data=data, content_type="application/x-www-form-urlencoded")
        self.assertIn(answer.status, (400, 413, 422), answer)

    def test_no_parameters_in_the_ways_of_old_sdks(self):
        token = session()
        kind, data = multipart([("0", " ")])
        for send in (dict(data=b'" "', content_type="application/json"), dict(body={}), dict(data=b" ", content_type="application/x-www-form-urlencoded"),
                     dict(data=data, content_type=kind), dict(data=b"", content_type="application/json")):
            with self.subTest(str(send)):
                self.answered(rest("GET", "/session.json", token=token, **send), 200)

    def test_an_unknown_content_type_is_415(self):
        answer = rest("POST", "/users.json", token=session(), data=b"<user/>", content_type="application/xml")
        self.assertEqual(answer.status, 415, answer)

    def test_a_wrong_method_is_405_and_says_which_are_right(self):
        answer = rest("PUT", "/session.json", token=session(), body={})
        self.assertEqual(answer.status, 405, answer)
        self.assertIn("POST", answer.headers["Allow"])

    def test_an_unknown_path_is_404_in_json(self):
        for path in ("/", "/nowhere.json", "/chat/../../etc/passwd", "/users/..%2f..%2fetc/passwd.json", "/users/%00.json", "//session.json"):
            with self.subTest(path):
                answer = rest("GET", path, token=session())
                self.assertIn(answer.status, (400, 404), answer)

    @unittest.skipIf(not world.HTTP_PORT, "ROOKERY_HTTP_PORT: no plain HTTP here")
    def test_the_plain_port_on_loopback_serves_the_same(self):
        conn = world.connection(plain=True)
        answer = rest("POST", "/session.json", body=session_fields(), over=conn)
        self.answered(answer, 201)
        for path, ready in (("/healthz", True), ("/readyz", True), ("/metrics", False)):
            answer = rest("GET", path, over=conn)
            self.assertEqual(answer.status, 200, answer)
        self.assertIn(b"# TYPE", answer.body)
        conn.close()


if __name__ == "__main__":
    unittest.main()
