"""`tidemill model list|show|reproduce|rollback|alias`: versions, where they came from, and rebuilding them."""

from __future__ import annotations

import sys

import click

from tidemill.time import to_rfc3339
from tidemill_app.cli import Context, command, table


@click.group("model")
def model() -> None:
    """Model versions."""


@model.command("list")
@click.argument("name", required=False)
@command
def list_(context: Context, name: str | None) -> None:
    """List models, or the versions of one."""
    from tidemill_app.models import versions

    with context.platform() as platform:
        rows = versions(platform, name)
    context.show(
        rows,
        table(
            ["model", "version", "aliases", "created", "ROC AUC", "count", "content digest"],
            [
                [
                    r["model"],
                    r["version"],
                    ", ".join(r["aliases"]),
                    to_rfc3339(r["created"]),
                    f"{r['metrics'].get('roc_auc', float('nan')):.4f}",
                    f"{r['metrics'].get('count', 0):.0f}",
                    r["content_digest"][:16],
                ]
                for r in rows
            ],
        )
        if rows
        else "No model versions yet.",
    )


@model.command("show")
@click.argument("version", metavar="NAME[@VERSION]")
@command
def show(context: Context, version: str) -> None:
    """The manifest of a version: metrics, digests, and the exact offsets it learned from."""
    import msgspec

    from tidemill_app.models import manifest_of

    with context.platform() as platform:
        manifest = manifest_of(platform, version)
    plain = msgspec.to_builtins(manifest)
    context.show(plain, msgspec.json.format(msgspec.json.encode(plain), indent=2).decode())


@model.command("reproduce")
@click.argument("version", metavar="NAME@VERSION")
@click.option("--log", "copy", default="", help="Bootstrap address of a copied log to read instead.")
@command
def reproduce(context: Context, version: str, copy: str) -> None:
    """Rebuild a version from the offsets it names and compare content digests. Exit code 1 where they differ."""
    from tidemill_app.models import reproduce as rebuild

    with context.platform() as platform:
        facts = rebuild(platform, version, copy)
    verdict = "equal" if facts["equal"] else "DIFFERENT"
    lines = [
        f"{facts['model']}@{facts['version']}: content digest {verdict}",
        f"  manifest  {facts['content_digest']}",
        f"  rebuilt   {facts['rebuilt_digest']}",
        f"  records   {facts['records']} read, hash {'equal' if facts['records_equal'] else 'DIFFERENT'}",
    ]
    context.show(facts, "\n".join(lines))
    if not facts["equal"]:
        sys.exit(1)


@model.command("rollback")
@click.argument("version", metavar="NAME@VERSION")
@command
def rollback(context: Context, version: str) -> None:
    """Point `champion` at an earlier version; serving follows at once, and stays there until the next alias."""
    _alias(context, version, "champion")


@model.command("alias")
@click.argument("version", metavar="NAME@VERSION")
@click.argument("alias")
@command
def alias(context: Context, version: str, alias: str) -> None:
    """Point an alias at a version."""
    _alias(context, version, alias)


def _alias(context: Context, version: str, alias: str) -> None:
    from tidemill_app.models import set_alias

    with context.platform() as platform:
        event = set_alias(platform, version, alias)
    facts = {"model": event.model, "alias": event.alias, "version": event.version}
    context.show(facts, f"{event.model}: {event.alias} is now version {event.version}")
