"""The verbs of `tidemill labelling` but `serve`: projects, people, items, classes, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import click

from tidemill.errors import ConfigError, RequestError
from tidemill.label_events import Kind, Medium, Role
from tidemill_app.cli import TEXT, Output, command
from tidemill_app.tables import table

_ROLES = click.Choice(get_args(Role))
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group("project")
def project() -> None:
    """Labelling projects: create, list, show, close."""


@command("create")
@click.argument("name")
@click.option("--kind", type=click.Choice(get_args(Kind)), default="single", show_default=True, help="What is asked.")
@click.option("--medium", type=click.Choice(get_args(Medium)), default="image", show_default=True, help="Of what.")
@click.option("--class", "classes", type=TEXT, multiple=True, help="A class; ID or ID:NAME. Several times.")
@click.option("--file", type=_FILE, default=None, help="All of it as JSON, as POST /api/projects takes it.")
@click.option("--instructions", type=TEXT, default="", help="What annotators are told.")
@click.option(
    "--overlap", type=int, nargs=2, default=(3, 5), show_default=True, help="Least and most answers of an item."
)
@click.option("--sure", type=float, default=0.95, show_default=True, help="No more answers from this posterior on.")
@click.option("--cost", type=float, default=0.0, help="Price of an answer.")
@click.option("--budget", type=float, default=None, help="The most that is spent.")
@click.option("--lease", type=float, default=300.0, show_default=True, help="Seconds an annotator has for a task.")
@click.option("--rules", type=_FILE, default=None, help="Quality rules, a JSON list.")
def create(out: Output, name: str, file: Path | None, rules: Path | None, **given: Any) -> None:
    """Make a project for the stream NAME, which is declared where there is none."""
    import msgspec

    from serving.labelling.managing import Managing, NewProject
    from tidemill.label_events import LabelClass, LabelSchema
    from tidemill_app.labelling_service import OWNER, opened

    if file is not None:
        wish = msgspec.structs.replace(_json(file, NewProject), project=name, roles=())
    else:
        classes = [c.partition(":") for c in given.pop("classes")]
        asked = LabelSchema(
            kind=given.pop("kind"),
            medium=given.pop("medium"),
            classes=tuple(LabelClass(id, name or id) for id, _, name in classes),
            instructions=given.pop("instructions"),
        )
        found = (
            []
            if rules is None
            else _json(rules, list[dict[str, Any]], 'a list of rules, as [{"collector": "skips", ...}]')
        )
        wish = NewProject(project=name, schema=asked, rules=found, roles=(), **given)
    with opened(out) as service, _of_file(rules or file):
        made = Managing(service).create(wish, OWNER)
    out.answer(made, f"project {name} made; next: tidemill labelling members {name} --add NAME --role manager")


@command("list")
def list_projects(out: Output) -> None:
    """The projects there are, and how far each is."""
    from serving.labelling import figures as of
    from tidemill_app.labelling_service import opened

    with opened(out) as service, service.book.all() as projects:
        rows = [{"project": p.name, "kind": p.now.schema.kind, **of.progress(p)} for p in projects]
    shown = ["project", "kind", "items", "settled", "answers", "spent", "closed"]
    out.answer(rows, table(shown, [[row[name] for name in shown] for row in rows]) if rows else "no project yet")


@command("show")
@click.argument("name")
def show(out: Output, name: str) -> None:
    """A project: its schema, its settings, how far it is."""
    from serving.labelling import figures as of
    from tidemill_app.labelling_service import opened

    with opened(out) as service, service.book.reading(name) as state:
        done = of.progress(state)
        answer = {"project": state.now, "members": list(state.members.values()), "progress": done}
    out.answer(answer, table(["", ""], list(done.items())))


@command("close")
@click.argument("name")
@click.option("--open", "again", is_flag=True, help="Open it again.")
def close(out: Output, name: str, again: bool) -> None:
    """End a project: nothing more is leased, no answer is taken. What there is stays."""
    from serving.labelling.managing import Managing
    from tidemill_app.labelling_service import OWNER, opened

    with opened(out) as service:
        Managing(service).close(name, OWNER, closed=not again)
    out.answer({"project": name, "closed": not again}, f"{name} is {'open' if again else 'closed'}")


for _command in (create, list_projects, show, close):
    project.add_command(_command)


@command("invite")
@click.argument("name")
@click.option("--maker", is_flag=True, help="They may make projects.")
@click.option("--days", type=click.FloatRange(0.01, 90), default=7.0, show_default=True, help="How long it is good.")
def invite(out: Output, name: str, maker: bool, days: float) -> None:
    """Print a code by which NAME makes an account, this once: only its digest is kept."""
    from serving.labelling.accounts import Accounts
    from tidemill_app import config
    from tidemill_app.home import Home

    home = Home(config.load(out.home).home)
    home.create()
    code = Accounts(home.keys).invite(name, maker=maker, seconds=days * 86_400)
    out.answer({"name": name, "code": code}, code)


@command("token")
@click.argument("name")
@click.argument("label")
def token(out: Output, name: str, label: str) -> None:
    """Print a token, called LABEL, by which a program acts as NAME; told this once."""
    from serving.labelling.accounts import Accounts
    from tidemill_app import config
    from tidemill_app.home import Home

    text = Accounts(Home(config.load(out.home).home).keys).token(name, label)
    out.answer({"name": name, "label": label, "token": text}, text)


@command("revoke")
@click.argument("what")
@click.option("--account", is_flag=True, help="WHAT is an account, or one that was invited, not a token's label.")
def revoke(out: Output, what: str, account: bool) -> None:
    """End a token, or an account with all that opens it; running servers heed it at once."""
    from serving.labelling.accounts import Accounts
    from tidemill_app import config
    from tidemill_app.home import Home

    accounts = Accounts(Home(config.load(out.home).home).keys)
    accounts.remove(what) if account else accounts.revoke(what)
    out.answer({"revoked": what}, f"{what} is not let in any more.")


@command("members")
@click.argument("name", metavar="PROJECT")
@click.option("--add", default=None, metavar="NAME", help="Have somebody in the project; prints their code.")
@click.option("--remove", default=None, metavar="NAME", help="Have somebody in it no more.")
@click.option("--role", "roles", type=_ROLES, multiple=True, help="Of whom is added. [default: annotator]")
@click.option("--skill", "skills", type=TEXT, multiple=True, help="Of whom is added; a word that items can ask for.")
def members(
    out: Output, name: str, add: str | None, remove: str | None, roles: tuple[Role, ...], skills: tuple[str, ...]
) -> None:
    """Who is in a project."""
    from serving.labelling.managing import Managing, MemberSettings, NewMember
    from tidemill_app.labelling_service import OWNER, opened

    with opened(out) as service:
        managing = Managing(service)
        if add is not None:
            invited = managing.invite(name, NewMember(add, list(roles) or ["annotator"], list(skills)), OWNER)
            there = (
                f"{add} was invited before: in {name} once they join (another code: tidemill labelling invite {add})"
            )
            there = f"{add} has an account, and is in {name} now" if invited.state == "joined" else there
            out.answer(invited, invited.code or there)
            return
        if remove is not None:
            changed = managing.change_member(name, remove, MemberSettings(removed=True), OWNER)
            out.answer(changed, f"{remove} is in {name} no more")
            return
        with service.book.reading(name) as state:
            found = [m for _, m in sorted(state.members.items())]
    rows = [[m.member, ", ".join(m.roles), m.state, ", ".join(m.skills), m.restricted] for m in found]
    out.answer(found, table(["name", "roles", "state", "skills", "restricted"], rows) if rows else "nobody yet")


@command("restrict")
@click.argument("name", metavar="PROJECT")
@click.argument("member")
@click.argument("reason", type=TEXT, default="")
@click.option("--lift", is_flag=True, help="Lease to them again; what they were restricted for is forgiven.")
def restrict(out: Output, name: str, member: str, reason: str, lift: bool) -> None:
    """Lease nothing more to a member, for a REASON."""
    from serving.labelling.managing import Managing, MemberSettings
    from tidemill_app.labelling_service import OWNER, opened

    why = "" if lift else reason or "by the owner"
    with opened(out) as service:
        made = Managing(service).change_member(name, member, MemberSettings(restricted=why), OWNER)
    out.answer(made, f"{member}: {why or 'restricted no more'}")


@command("items")
@click.argument("name", metavar="PROJECT")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--events", is_flag=True, help="Events that are in the stream already, in place of FILES.")
@click.option("--where", multiple=True, type=TEXT, help="FIELD OP VALUE, for --events; given again, all must hold.")
@click.option("--group", type=TEXT, default="", help="Group of all of them: a scene, a patient. [default: the folder]")
@click.option("--prefix", type=TEXT, default="", help="Before every id, for files of the same names.")
@click.option("--priority", type=float, default=0.0, help="The highest is asked first.")
@click.option("--assign", "annotators", type=TEXT, multiple=True, metavar="NAME", help="For NAME alone; repeatable.")
@click.option("--reason", type=TEXT, default="import", show_default=True, help="Why they are asked for.")
def items(
    out: Output,
    name: str,
    files: tuple[Path, ...],
    events: bool,
    where: tuple[str, ...],
    group: str,
    prefix: str,
    priority: float,
    annotators: tuple[str, ...],
    reason: str,
) -> None:
    """Have the items of FILES (and folders) labelled: images, sounds, texts, or rows of CSV and JSON Lines; or, with
    --events, what is in the stream already: imported, or published by others.

    A file's name is its item's id, of a folder's its path in the folder: to send it again changes nothing, and an id
    that another item has is refused. `--where "@label = null"` asks about events that have no label.
    """
    import msgspec

    from serving.labelling.uploads import NewItems, Uploads
    from tidemill.errors import IncompatibleError, TooLargeError
    from tidemill_app.labelling_files import batches, items_of, refused, those_there
    from tidemill_app.labelling_service import CatalogueStreams, labelling
    from tidemill_app.wiring import connected

    if events == bool(files) or (where and not events) or (events and (group or prefix)):
        raise ConfigError("what is to be labelled?", wanted="FILES, or --events with any number of --where")
    added: list[str] = []
    known = 0
    with connected(out) as platform, labelling(platform) as service, out.progress("reading") as tell:
        uploads = Uploads(service)
        with service.book.reading(name) as state:
            medium = state.now.schema.medium
        source: Iterator[tuple[list[Any], Any]]
        if events:
            source = those_there(CatalogueStreams(platform).matching(name, where), priority)
        else:
            source = ((batch, None) for batch in batches(items_of(files, medium, group, priority, prefix)))
        for batch, found in source:
            batch = [msgspec.structs.replace(item, annotators=list(annotators)) for item in batch]
            try:
                told = uploads.add(name, NewItems(batch, reason), found)
            except (RequestError, IncompatibleError, TooLargeError) as error:
                raise refused(error, batch) from None
            added += told["added"]
            known += len(told["known"])
            tell(f"{len(added)} items added")
    out.answer({"added": added, "known": known}, f"{len(added)} items added, {known} known already")


@command("assign")
@click.argument("name", metavar="PROJECT")
@click.argument("ids", metavar="ITEM...", nargs=-1, required=True, type=TEXT)
@click.option("--to", "annotators", type=TEXT, multiple=True, metavar="NAME", help="Repeatable. [default: whoever]")
@click.option("--overlap", type=int, nargs=2, default=None, help="Least and most answers. [default: the project's]")
def assign(
    out: Output, name: str, ids: tuple[str, ...], annotators: tuple[str, ...], overlap: tuple[int, int] | None
) -> None:
    """Have only these annotators label items that are there; without --to, whoever."""
    from serving.labelling.assigning import Assignment
    from serving.labelling.assigning import assign as assigned
    from tidemill_app.labelling_service import opened

    with opened(out) as service:
        made = assigned(service, name, Assignment(list(ids), list(annotators), overlap))
    out.answer({"assigned": made}, f"{len(made)} items for {', '.join(annotators) or 'whoever'}")


@command("schema")
@click.argument("name", metavar="PROJECT")
@click.option("--add", "add", type=TEXT, multiple=True, metavar="ID[:NAME]", help="A new class.")
@click.option("--rename", type=TEXT, multiple=True, metavar="ID=NAME", help="Another name; the id stays.")
@click.option("--merge", type=TEXT, multiple=True, metavar="ID=INTO", help="Count a class as another from now on.")
def schema(out: Output, name: str, add: tuple[str, ...], rename: tuple[str, ...], merge: tuple[str, ...]) -> None:
    """Show the classes of a project, or change them: each change is a version, and earlier ones stay as they are."""
    from serving.labelling.managing import Managing
    from serving.labelling.schema import Change, hotkeys
    from tidemill_app.labelling_service import OWNER, opened

    changes = [Change("add", id, name=text) for id, _, text in (a.partition(":") for a in add)]
    changes += [Change("rename", id, name=text) for id, _, text in (r.partition("=") for r in rename)]
    changes += [Change("merge", id, into=text) for id, _, text in (m.partition("=") for m in merge)]
    with opened(out) as service:
        if changes:
            found = Managing(service).change_schema(name, changes, OWNER)
        else:
            with service.book.reading(name) as state:
                found = state.now.schema
    keys = hotkeys(found)
    rows = [[c.id, c.name, keys.get(c.id, ""), c.into] for c in found.classes]
    out.answer(found, f"version {found.version}\n" + table(["class", "name", "key", "merged into"], rows))


@command("settings")
@click.argument("name", metavar="PROJECT")
@click.argument("file", type=_FILE)
def settings(out: Output, name: str, file: Path) -> None:
    """Change settings: FILE is JSON with any of instructions, overlap, sure, cost, budget, lease, rules."""
    from serving.labelling.managing import Managing, Settings
    from tidemill_app.labelling_service import OWNER, opened

    wish = _json(file, Settings, 'an object with what changes, as {"sure": 0.99, "rules": [{...}]}')
    with opened(out) as service, _of_file(file):
        made = Managing(service).settle(name, wish, OWNER)
    out.answer(made, f"settings of {name} changed")


@command("figures")
@click.argument("name", metavar="PROJECT")
@click.argument("what", type=click.Choice(["progress", "annotators", "agreement", "disputes", "costs"]))
def figures(out: Output, name: str, what: str) -> None:
    """How a project does: progress, its annotators, their agreement, disputed items, money."""
    import msgspec

    from serving.labelling import figures as of
    from tidemill_app.labelling_service import opened

    looks: dict[str, Callable[[Any], Any]] = {
        "progress": of.progress,
        "annotators": lambda state: [of.annotator(state, member) for member in sorted(state.members)],
        "agreement": lambda state: of.agreement(state)(),
        "disputes": of.disputed,
        "costs": of.costs,
    }
    with opened(out) as service, service.book.reading(name) as state:
        found = looks[what](state)
    if what == "annotators":
        head = ["name", "answers", "agreement", "gold", "prelabels", "seconds", "money", "restricted"]
        text = table(head, [[row[key] for key in head] for row in found])
    elif what == "disputes":
        text = "\n".join(found)
    else:
        text = table(["", ""], [[k, v if not isinstance(v, float) else f"{v:g}"] for k, v in found.items()])
    out.answer(msgspec.to_builtins(found), text)


@command("export")
@click.argument("name", metavar="PROJECT")
def export(out: Output, name: str) -> None:
    """Print every item with its answers and what it is taken for, one JSON line each. `tidemill dataset` makes
    versions to train on."""
    from serving.labelling import figures as of
    from tidemill_app.labelling_service import opened

    with opened(out) as service, service.book.reading(name) as state:
        lines = [{**of.shown(state, about), "gold": item.asked.gold} for about, item in state.items.items()]
    import msgspec

    for line in lines:
        click.echo(msgspec.json.encode(line).decode())


@contextmanager
def _of_file(file: Path | None) -> Iterator[None]:
    """What is wrong with a request is wrong with the file that it was read from."""
    try:
        yield
    except RequestError as error:
        if file is None:
            raise
        where = f"{file}, {error.where or error.field}".rstrip(", ")
        raise ConfigError(error.message, where=where, wanted=error.wanted, got=error.got, fix=error.fix) from None


def _json(file: Path, kind: Any, wanted: str = "") -> Any:
    """What a file holds, which is to be `wanted`. Raises `ConfigError`."""
    import msgspec

    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"unreadable: {error}", where=str(file), wanted=wanted) from None
