"""`tidemill model list|show|reproduce|rollback|alias`: versions, where they came from, and rebuilding them."""

from __future__ import annotations

import sys
from typing import Any

import click

from tidemill.time import to_rfc3339
from tidemill_app.cli import Output, command
from tidemill_app.tables import table
from tidemill_app.wiring import connected


@click.group("model")
def model() -> None:
    """Model versions."""


@command("list")
@click.argument("name", required=False)
def list_(out: Output, name: str | None) -> None:
    """List models, or the versions of one."""
    from tidemill_app.models import versions

    with connected(out) as platform:
        rows = versions(platform, name)
    out.answer(
        rows,
        table(
            ["model", "version", "aliases", "created", "ROC AUC", "labels", "content digest"],
            [
                [
                    r["model"],
                    r["version"],
                    ", ".join(r["aliases"]),
                    to_rfc3339(r["created"]),
                    _figure(r["metrics"], "roc_auc", ".4f"),
                    _figure(r["metrics"], "count", ".0f"),
                    f"refused: {r['refused']}" if r["refused"] else r["content_digest"][:16],
                ]
                for r in rows
            ],
        )
        if rows
        else "No model versions yet.",
    )


def _figure(metrics: dict[str, float], name: str, form: str) -> str:
    return format(metrics[name], form) if name in metrics else ""


@command("show")
@click.argument("version", metavar="NAME[@VERSION]")
def show(out: Output, version: str) -> None:
    """The manifest of a version: metrics, digests, and the exact offsets it learned from; and under `served`, how good
    its answers were, by each job that measures them."""
    import msgspec

    from tidemill_app.measuring import served_figures
    from tidemill_app.models import manifest_of

    with connected(out) as platform:
        manifest = manifest_of(platform, version)
        served = served_figures(platform, manifest.model, manifest.version)
    plain = msgspec.to_builtins(manifest) | ({"served": served} if served else {})
    out.answer(plain, msgspec.json.format(msgspec.json.encode(plain), indent=2).decode())


@command("reproduce")
@click.argument("version", metavar="NAME@VERSION")
@click.option("--log", "copy", default="", help="Bootstrap address of a copied log to read instead.")
def reproduce(out: Output, version: str, copy: str) -> None:
    """Rebuild a version from the offsets it names and compare content digests. Exit code 1 where they differ."""
    from tidemill_app.models import reproduce as rebuild

    with connected(out) as platform:
        facts = rebuild(platform, version, copy)
    out.answer(facts, said(facts))
    if not facts["equal"]:
        sys.exit(1)


def said(facts: dict[str, Any]) -> str:
    """What became of a rebuild, line by line."""
    verdict = "equal" if facts["equal"] else "DIFFERENT"
    lines = [
        f"{facts['model']}@{facts['version']}: content digest {verdict}",
        f"  manifest  {facts['content_digest']}",
        f"  rebuilt   {facts['rebuilt_digest']}",
        f"  records   {facts['records']} read, hash {'equal' if facts['records_equal'] else 'DIFFERENT'}",
    ]
    if facts["erased"]:
        lines.append(f"  erased    {facts['erased']} events on request, which the rebuild takes as absent")
    return "\n".join(lines)


@command("rollback")
@click.argument("version", metavar="NAME@VERSION")
def rollback(out: Output, version: str) -> None:
    """Point `champion` at an earlier version; serving follows at once, and stays there until you point it elsewhere:
    `tidemill model alias NAME@latest champion` lets it follow the newest again."""
    _alias(out, version, "champion")


@command("alias")
@click.argument("version", metavar="NAME@VERSION")
@click.argument("alias")
def alias(out: Output, version: str, alias: str) -> None:
    """Point an alias at a version; NAME@latest is the newest from now on."""
    _alias(out, version, alias)


def _alias(out: Output, version: str, alias: str) -> None:
    from tidemill_app.models import set_alias

    with connected(out) as platform:
        event = set_alias(platform, version, alias)
    facts = {"model": event.model, "alias": event.alias, "version": event.version}
    out.answer(facts, f"{event.model}: {event.alias} is now version {event.version}")


for _command in (list_, show, reproduce, rollback, alias):
    model.add_command(_command)
