"""Which changes of a labelling project stand, of all `project.changed.v1` in its log.

A change is whole, so one that was made of what stands no more would take back what another changed meanwhile. Every
reader takes the changes in the order of the log and asks `revision_of`: the first of two at one moment stands, in the
labelling service, in the consensus job and in data sets alike.
"""

from __future__ import annotations

from typing import NamedTuple

from tidemill.label_events import LabelSchema, ProjectChanged


class Standing(NamedTuple):
    """What stands of a project, as far as the next change depends on it."""

    revision: int
    schema: LabelSchema


def revision_of(stands: Standing | None, revision: int, schema: LabelSchema) -> int | None:
    """The number of a change that says to be `revision` (0: whoever made it did not look) and brings `schema`, by what
    `stands` before it; None where it is passed over.

    It is taken where it is the next, or, without a number, where its schema is the one that stands or a later version.
    """
    following = 1 if stands is None else stands.revision + 1
    if revision not in (0, following):
        return None
    if stands is not None and not revision and schema != stands.schema and schema.version <= stands.schema.version:
        return None
    return following


def after(stands: Standing | None, change: ProjectChanged) -> Standing | None:
    """What stands after one more change."""
    revision = revision_of(stands, change.revision, change.schema)
    return stands if revision is None else Standing(revision, change.schema)
