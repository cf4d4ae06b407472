"""Join, log in, log out over the wire."""

from serving.labelling.session_desk import FAILURES
from tests.serving.labelling.project import PASSWORD, desk, served


def test_a_sessions_cookie_is_for_this_server_alone(tmp_path):
    with desk(tmp_path) as made:
        made.account("ann")
        for secure in (False, True):
            with served(made, secure=secure) as caller:
                answer = caller().http.post("/api/login", json={"name": "ann", "password": PASSWORD})
                words = answer.headers["set-cookie"].split("; ")
                assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(words)
                assert ("Secure" in words) == secure
                assert words[0].startswith("tidemill-labelling=tms_")


def test_log_out_ends_the_session_wherever_it_was_copied(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        made.account("ann")
        ann, copy = caller(), caller()
        ann.post("/api/login", {"name": "ann", "password": PASSWORD})
        copy.http.cookies.update(ann.http.cookies)
        assert copy.get("/api/me")["name"] == "ann"
        ann.post("/api/logout", {})
        copy.get("/api/me", 401)
        ann.get("/api/me", 401)


def test_a_name_that_is_not_there_is_answered_as_a_wrong_password(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        made.account("ann")
        told = {
            caller().http.post("/api/login", json={"name": name, "password": "wrong horse"}).text
            for name in ("ann", "nobody", "", "../ann", "\u0000")
        }
        assert len(told) == 1


def test_wrong_passwords_and_codes_close_the_door_for_a_minute(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        made.account("ann")
        one = caller()
        for _ in range(FAILURES):
            one.post("/api/login", {"name": "ann", "password": "wrong horse"}, 401)
        one.post("/api/login", {"name": "ann", "password": PASSWORD}, 429)
        one.post("/api/join", {"code": made.accounts.invite("bob"), "password": PASSWORD}, 429)


def test_codes_cannot_be_guessed_either(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        for _ in range(FAILURES):
            caller().post("/api/join", {"code": "tmi_x", "password": PASSWORD}, 400)
        caller().post("/api/join", {"code": made.accounts.invite("bob"), "password": PASSWORD}, 429)


def test_who_joins_is_in_every_project_that_invited_them(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        from serving.labelling.managing import NewMember

        made.project("one")
        made.project("two")
        code = made.managing.invite("one", NewMember("ann", ["annotator"]), "boss").code
        told = made.managing.invite("two", NewMember("ann", ["reviewer"], ["dogs"]), "boss")
        assert (told.state, told.code) == ("invited", None)
        ann = caller()
        ann.post("/api/join", {"code": code, "password": PASSWORD})
        assert [(p["project"], p["roles"]) for p in ann.get("/api/me")["projects"]] == [
            ("one", ["annotator"]),
            ("two", ["reviewer"]),
        ]
        with made.service.book.reading("two") as state:
            assert (state.members["ann"].state, state.members["ann"].skills) == ("joined", ["dogs"])
