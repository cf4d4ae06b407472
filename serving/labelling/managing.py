"""What a manager does with a project: make it, change its classes and settings, close it, and look after members."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from serving.labelling import rules
from serving.labelling.schema import Change, changed, checked
from serving.labelling.service import Labelling
from tidemill.errors import BadEvent, IncompatibleError, NotFoundError, RequestError
from tidemill.label_events import EstimationAsked, LabelSchema, MemberChanged, ProjectChanged, Role
from tidemill.label_values import read_overlap, read_sure
from tidemill.stream import check_name

MAX_WORDS = 50


class NewProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A project to be made; see `tidemill.label_events.ProjectChanged`. `roles` are the maker's own."""

    project: str
    schema: LabelSchema
    overlap: tuple[int, int] = (3, 5)
    sure: float = 0.95
    cost: float = 0.0
    budget: float | None = None
    lease: float = 300.0
    rules: list[dict[str, Any]] = []
    roles: tuple[Role, ...] = ("manager",)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to stand from now on; what is left out stays. `revision` is that of what was looked at: it is refused
    where something else stands by now."""

    revision: int | msgspec.UnsetType = msgspec.UNSET
    instructions: str | msgspec.UnsetType = msgspec.UNSET
    overlap: tuple[int, int] | msgspec.UnsetType = msgspec.UNSET
    sure: float | msgspec.UnsetType = msgspec.UNSET
    cost: float | msgspec.UnsetType = msgspec.UNSET
    budget: float | msgspec.UnsetType | None = msgspec.UNSET
    lease: float | msgspec.UnsetType = msgspec.UNSET
    rules: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class NewMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody to be in the project."""

    name: str
    roles: list[Role]
    skills: list[str] = []


class MemberSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to stand of a member; what is left out stays. `restricted` says why nothing more is leased to them
    (empty: it is, and what they were restricted for is forgiven)."""

    roles: list[Role] | msgspec.UnsetType = msgspec.UNSET
    skills: list[str] | msgspec.UnsetType = msgspec.UNSET
    restricted: str | msgspec.UnsetType = msgspec.UNSET
    removed: bool = False


class Invited(msgspec.Struct, frozen=True):
    """A member, and the code that makes their account, told this once (null: they have one, or, where they are only
    `invited`, were invited elsewhere and join with that code)."""

    name: str
    state: str
    code: str | None


class Managing:
    """The changes that managers make."""

    def __init__(self, service: Labelling) -> None:
        self._service = service
        self._book = service.book

    def create(self, wish: NewProject, by: str) -> ProjectChanged:
        """Make a project, with its stream, and its maker as a member. Raises `IncompatibleError` where it exists."""
        check_name(wish.project, "project")
        if wish.project.startswith(("labels.", "answers.", "predictions.")):
            raise RequestError("a project is named as the stream whose items it labels", field="project")
        made = ProjectChanged(
            id=uuid.uuid4().hex,
            time=self._service.clock.now(),
            project=wish.project,
            schema=checked(wish.schema),
            overlap=wish.overlap,
            sure=wish.sure,
            cost=wish.cost,
            budget=wish.budget,
            lease=wish.lease,
            rules=wish.rules,
            by=by,
            revision=1,
        )
        _usable(made)
        with self._book.all() as projects:
            if any(p.name == wish.project for p in projects):
                raise _exists(wish.project)
        self._service.streams.declare(wish.project)
        self._book.open(made)
        with self._book.reading(wish.project) as state:
            if made.id not in state.stood:
                raise _exists(wish.project)  # made elsewhere at this moment, or not named in the index until now
        if wish.roles:
            member = MemberChanged(
                id="", time=0, project=wish.project, member=by, roles=_roles(wish.roles), state="joined", by=by
            )
            self._service.record(wish.project, member)
        return made

    def change_schema(self, project: str, changes: list[Change], by: str) -> LabelSchema:
        """The next version of the classes. What the answers say is estimated anew where classes were merged."""
        with self._book.reading(project) as state:
            stands = state.now
        schema = changed(stands.schema, changes)
        self._stand(project, msgspec.structs.replace(stands, schema=schema, by=by))
        if any(change.op == "merge" for change in changes):
            self._service.record(project, EstimationAsked(id="", time=0, by=by, reason="classes were merged"))
        return schema

    def settle(self, project: str, wish: Settings, by: str) -> ProjectChanged:
        """Change settings."""
        with self._book.reading(project) as state:
            stands = state.now
        given = {name: v for name, v in msgspec.structs.asdict(wish).items() if v is not msgspec.UNSET}
        if given.pop("revision", stands.revision) != stands.revision:
            raise IncompatibleError("somebody else changed the project since", fix="Look, and try again.")
        if "instructions" in given:
            version = stands.schema.version + 1
            schema = msgspec.structs.replace(stands.schema, instructions=given.pop("instructions"), version=version)
            # Of the classes nothing is new; one of before may have a key that is refused today.
            live = (msgspec.structs.replace(c, hotkey="") for c in schema.classes if not c.into)
            checked(msgspec.structs.replace(schema, classes=tuple(live)))
            given["schema"] = schema
        made = msgspec.structs.replace(stands, by=by, **given)
        _usable(made)
        return self._stand(project, made)

    def close(self, project: str, by: str, *, closed: bool = True) -> None:
        """End the project, or open it again: while it is closed nothing is leased, and no answer is taken."""
        with self._book.reading(project) as state:
            stands = state.now
        if stands.closed != closed:
            self._stand(project, msgspec.structs.replace(stands, closed=closed, by=by))

    def _stand(self, project: str, made: ProjectChanged) -> ProjectChanged:
        """Write what is to stand, made of what stood. Raises `IncompatibleError` where somebody else changed the
        project meanwhile: what they changed would be gone."""
        # Later than what it was made of, by whichever clock: so it is for those who read by time.
        now = max(self._service.clock.now(), made.time + 1)
        made = msgspec.structs.replace(made, id=uuid.uuid4().hex, time=now, revision=made.revision + 1)
        self._book.append(project, [made])
        with self._book.reading(project) as state:
            if made.id not in state.stood:
                raise IncompatibleError("somebody else changed the project at this moment", fix="Look, and try again.")
        return made

    def invite(self, project: str, wish: NewMember, by: str) -> Invited:
        """Have somebody in the project. Raises `IncompatibleError` where they are, or were revoked."""
        check_name(wish.name, "annotator")
        accounts = self._service.accounts
        roles, skills = _roles(wish.roles), _skills(wish.skills)
        with self._book.reading(project) as state:
            before = state.members.get(wish.name)
        if before is not None and before.state == "joined":
            raise IncompatibleError("is a member already", got=wish.name)
        with self._book.all() as projects:
            # A code opens all that the name is in: this project's manager has none for what is others' too.
            elsewhere = any(
                p.name != project and (m := p.members.get(wish.name)) is not None and m.state != "removed"
                for p in projects
            )
        code = None if elsewhere else accounts.invite_into(project, wish.name)
        known = wish.name in accounts.names()
        member = MemberChanged(
            id="",
            time=0,
            project=project,
            member=wish.name,
            roles=roles,
            state="joined" if known else "invited",
            skills=skills,
            by=by,
        )
        self._service.record(project, member)
        return Invited(wish.name, member.state, code)

    def change_member(self, project: str, name: str, wish: MemberSettings, by: str) -> MemberChanged:
        """Change what a member is. Raises `NotFoundError`."""
        with self._book.reading(project) as state:
            member = state.members.get(name)
        if member is None or member.state == "removed":
            raise NotFoundError("no such member", got=repr(name)[:80])
        made = member
        if wish.roles is not msgspec.UNSET:
            made = msgspec.structs.replace(made, roles=_roles(wish.roles))
        if wish.skills is not msgspec.UNSET:
            made = msgspec.structs.replace(made, skills=_skills(wish.skills))
        if wish.restricted is not msgspec.UNSET:
            made = msgspec.structs.replace(made, restricted=wish.restricted[:500])
        if wish.removed:
            made = msgspec.structs.replace(made, state="removed")
        made = msgspec.structs.replace(made, by=by)
        self._service.record(project, made)
        return made


def _exists(project: str) -> IncompatibleError:
    return IncompatibleError(
        "the project exists, and nothing of it was changed",
        got=project,
        fix="Change its settings and classes, invite members, or choose another name.",
    )


def _usable(made: ProjectChanged) -> None:
    """Raises `RequestError` for settings that mean nothing."""
    try:
        read_overlap(made.overlap)
        read_sure(made.sure)
    except BadEvent as error:
        raise RequestError(error.message, wanted=error.wanted, got=error.got, field=error.field) from None
    if not 0.0 <= made.cost <= 1e6:
        raise RequestError("not usable", wanted="0 to 1000000", field="cost")
    if made.budget is not None and not 0.0 <= made.budget <= 1e12:
        raise RequestError("not usable", wanted="0 or more, or null", field="budget")
    if not 1.0 <= made.lease <= 86_400.0:
        raise RequestError("not usable", wanted="1 to 86400 seconds", field="lease")
    if len(made.rules) > MAX_WORDS:
        raise RequestError("too many rules", wanted=f"at most {MAX_WORDS}", field="rules")
    rules.parsed(made.rules)


def _roles(roles: Sequence[Role]) -> list[Role]:
    if not roles:
        raise RequestError("a member needs a role", wanted="annotator, reviewer, manager", field="roles")
    return sorted(set(roles))


def _skills(skills: list[str]) -> list[str]:
    if len(skills) > MAX_WORDS or any(not s or len(s) > 50 or not s.isprintable() for s in skills):
        raise RequestError("not usable", wanted="words of at most 50 characters", field="skills")
    return sorted(set(skills))
