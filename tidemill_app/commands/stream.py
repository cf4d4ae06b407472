"""`tidemill stream create|list|show|update|erase`: the user's own streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tidemill.errors import ConfigError, NotFoundError
from tidemill_app.cli import TEXT, Output, command
from tidemill_app.tables import table

if TYPE_CHECKING:
    from tidemill.block import Place
    from tidemill.stream import StreamSpec
    from tidemill_app.wiring import Platform


@click.group("stream")
def stream() -> None:
    """Streams of your own: declare, list, show, change, erase records."""


def _options(function: Any) -> Any:
    """What `create` and `update` settle beside the fields."""
    for option in (
        click.option("--schema", metavar="FILE", help="A JSON file: a declaration, or a JSON Schema document."),
        click.option(
            "--infer", "sample", metavar="FILE", help="Judge the fields by a CSV, JSON Lines or Parquet file."
        ),
        click.option("--key", metavar="FIELD", help="The field that events are keyed and kept in order by."),
        click.option("--time", metavar="FIELD", help="The field that holds event time; @record for the broker's."),
        click.option("--time-unit", type=click.Choice(["rfc3339", "us", "ms", "s"]), help="What numbers in it count."),
        click.option("--id", metavar="FIELD", help="The field that holds the event's id."),
        click.option("--label", metavar="FIELD", help="The field to be predicted, where the events hold it."),
        click.option("--retention", metavar="TIME", help="How long Kafka keeps events: 30d, 12h or forever (default)."),
    ):
        function = option(function)
    return function


@command("create")
@click.argument("name")
@_options
@click.option("--from-topic", metavar="TOPIC", help="Take a topic of JSON messages that is there already, as it is.")
@click.option("--partitions", type=click.IntRange(1), help="Partitions of the topic (default: 1).")
@click.option("--labels/--no-labels", default=True, help="Also declare labels.NAME (default: yes).")
@click.option("--dry-run", is_flag=True, help="Only say what would be declared.")
def create(out: Output, name: str, labels: bool, dry_run: bool, from_topic: str | None, **given: Any) -> None:
    """Declare a stream: its fields and types, key, event time and id.

    Give one of --schema, --infer and --from-topic.
    """
    from tidemill_app.wiring import connected

    with connected(out) as platform:
        spec, notes = _made(platform, name, from_topic, given)
        if not dry_run:
            catalogue = platform.catalogue()
            spec = catalogue.declare(spec)
            if labels and not name.startswith("labels."):
                catalogue.declare_labels(name)
    head = f"{'Would declare' if dry_run else 'Declared'} {spec.name} version {spec.version}, topic {spec.topic}"
    out.answer(_facts(spec, notes), lambda: head + "\n" + _show(spec, notes))


@command("update")
@click.argument("name")
@_options
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
def update(out: Output, name: str, dry_run: bool, **given: Any) -> None:
    """Declare a new version of a stream. What cannot read the events of every earlier one is refused."""
    import msgspec

    from tidemill.stream import check_compatible
    from tidemill_app.catalogue import difference
    from tidemill_app.wiring import connected

    with connected(out) as platform:
        catalogue = platform.catalogue()
        old = catalogue.get(name)
        new, notes = _changed(platform, old, given)
        new = msgspec.structs.replace(new, version=old.version, tag=old.tag)
        what = "" if new == old else difference(old, new)
        if what:
            new = msgspec.structs.replace(new, version=old.version + 1)
            check_compatible(catalogue.versions()[name], new)
        if what and not dry_run:
            new = catalogue.declare(new, update=True)
            if new.retention_ms != old.retention_ms:
                _set_retention(platform, new)
    head = f"{'Would be' if dry_run else 'Now'} version {new.version}: {what}" if what else "Nothing to change"
    out.answer(_facts(new, notes) | {"changed": what}, lambda: head + "\n" + _show(new, notes))


@command("list")
def list_(out: Output) -> None:
    """List the declared streams."""
    from tidemill_app.durations import show_millis
    from tidemill_app.wiring import connected

    with connected(out) as platform:
        specs = list(platform.catalogue().newest().values())
        topics = platform.log.topics()
        counts = {s.name: _records(platform, s.topic) if s.topic in topics else 0 for s in specs}
    rows = [
        [s.name, s.version, s.topic, s.partitions, s.key, s.time, s.id, show_millis(s.retention_ms), counts[s.name]]
        for s in specs
    ]
    head = ["stream", "version", "topic", "partitions", "key", "time", "id", "retention", "records"]
    out.answer(
        [_facts(s) | {"records": counts[s.name]} for s in specs],
        table(head, rows) if rows else "No streams yet: tidemill stream create NAME --infer FILE declares one.",
    )


@command("show")
@click.argument("name")
@click.option("--version", type=int, help="An earlier version (default: the newest).")
def show(out: Output, name: str, version: int | None) -> None:
    """A stream's declaration. With --json it is what --schema takes."""
    from tidemill_app.wiring import connected

    with connected(out) as platform:
        spec = platform.catalogue().get(name, version)
    out.answer(spec, lambda: f"{spec.name} version {spec.version}, topic {spec.topic}\n" + _show(spec, ()))


@command("erase")
@click.argument("name")
@click.option("--id", "id_", type=TEXT, metavar="ID", help="The event with this id, and the labels about it.")
@click.option("--at", "places", multiple=True, metavar="TOPIC/PARTITION/OFFSET[/ROW]", help="The record at this place.")
@click.option("--reason", type=TEXT, required=True, help="Why; it is recorded.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(out: Output, name: str, id_: str | None, places: tuple[str, ...], reason: str, yes: bool) -> None:
    """Erase events on a person's request: readers take them as absent, archives are rewritten without them.

    The broker keeps the bytes until the topic's retention removes them, and models keep what they learned; the
    versions that can no longer be rebuilt exactly are named.
    """
    from tidemill_app import erasing
    from tidemill_app.wiring import connected

    if bool(id_) == bool(places):
        raise ConfigError("what is to be erased?", wanted="--id or --at", got="both" if id_ else "neither")
    with connected(out) as platform:
        found = _places(platform, name, id_, places)
        if not yes:
            out.confirm(f"Erase {len(found)} record{'s' if len(found) > 1 else ''} for good?")
        done = erasing.erase(
            platform.log,
            found,
            reason=reason,
            clock=platform.clock,
            segments=platform.segments(),
            store=platform.artefacts,
        )
    lines = [f"{len(done.places)} erased" + (f", {done.before} before" if done.before else "")]
    lines += [f"{done.segments} archived segments rewritten"] if done.segments else []
    lines += [f"can no longer be rebuilt exactly: {', '.join(done.versions)}"] if done.versions else []
    out.answer(done, "\n".join(lines))


def _places(platform: Platform, name: str, id: str | None, given: tuple[str, ...]) -> list[Place]:
    """The places to erase: those given, or where the event `id` stands. Raises for one of another stream."""
    from tidemill_app import erasing

    declared = platform.catalogue().newest()
    spec = platform.catalogue().get(name)
    mine = [spec, *([declared[f"labels.{name}"]] if f"labels.{name}" in declared else [])]
    topics = [s.topic for s in mine]
    if given:
        found = [erasing.parse_place(place) for place in given]
        if strange := [p.topic for p in found if p.topic not in topics]:
            raise ConfigError("not of this stream", where=f"stream {name}", wanted=" or ".join(topics), got=strange[0])
        return found
    found = erasing.places_of(platform.log, mine, id or "")
    if not found:
        raise NotFoundError(f"stream {name!r} holds no event {id!r}")
    return found


def _set_retention(platform: Platform, spec: StreamSpec) -> None:
    with platform.admin() as admin:
        admin.set_configs(spec.topic, {"retention.ms": str(spec.retention_ms)})


def _made(
    platform: Platform, name: str, topic: str | None, given: dict[str, Any]
) -> tuple[StreamSpec, tuple[str, ...]]:
    from tidemill_app import declaring
    from tidemill_app.durations import parse_millis

    sources = {"--schema": given["schema"], "--infer": given["sample"], "--from-topic": topic}
    named = [option for option, value in sources.items() if value]
    if len(named) != 1:
        raise ConfigError(
            "where do the fields come from?", wanted=f"one of {', '.join(sources)}", got=", ".join(named) or "none"
        )
    settings: dict[str, Any] = {
        n: given[n] for n in ("key", "time", "id", "label", "time_unit", "partitions", "topic") if n in given
    }
    settings["retention_ms"] = parse_millis(given["retention"]) if given["retention"] else None
    if given["schema"]:
        return declaring.from_file(name, given["schema"], settings)
    if topic:
        with platform.admin() as admin:
            configs = admin.configs(topic) if topic in platform.log.topics() else {}
        made = declaring.from_topic(name, platform.log, topic, settings, configs)
    else:
        made = declaring.from_sample(name, given["sample"], settings)
    return made.spec, (f"judged by {made.rows} rows", *made.notes)


def _changed(platform: Platform, old: StreamSpec, given: dict[str, Any]) -> tuple[StreamSpec, tuple[str, ...]]:
    """`old` with what `update` was given."""
    import msgspec

    from tidemill_app.declaring import widened
    from tidemill_app.durations import parse_millis

    roles = {n: v for n, v in given.items() if v is not None and n in ("key", "time", "id", "label", "time_unit")}
    if given["retention"]:
        roles["retention_ms"] = parse_millis(given["retention"])
    if not given["schema"] and not given["sample"]:
        return msgspec.structs.replace(old, **roles), ()
    kept = {n: getattr(old, n) for n in ("key", "time", "id", "label", "time_unit", "partitions", "topic")}
    made, notes = _made(platform, old.name, None, {**given, **kept, **roles})
    made = widened(old, made) if given["sample"] else made
    return msgspec.structs.replace(made, **({"retention_ms": old.retention_ms} | roles)), notes


def _records(platform: Platform, topic: str) -> int:
    log = platform.log
    return sum(log.end(p) - log.begin(p) for p in log.partitions(topic))


def _facts(spec: StreamSpec, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(spec)
    return plain | ({"notes": list(notes)} if notes else {})


def _show(spec: StreamSpec, notes: tuple[str, ...]) -> str:
    from tidemill_app.catalogue import describe
    from tidemill_app.durations import show_millis

    roles = {
        n: [r for r in ("key", "time", "id", "label") if getattr(spec, r) == n] for n in (f.name for f in spec.fields)
    }
    rows = [["", f.name, describe(f), ", ".join(roles[f.name])] for f in spec.fields]
    text = table(["", "", "", ""], rows)
    count = f"{spec.partitions} partition{'s' if spec.partitions > 1 else ''}"
    facts = f"  {count}, kept {show_millis(spec.retention_ms)}, time in {spec.time_unit}"
    return "\n".join([text, facts, *(f"  {note}" for note in notes)])


for _command in (create, update, list_, show, erase):
    stream.add_command(_command)
