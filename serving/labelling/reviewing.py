"""What a reviewer works on: what is to be decided, and what was decided, most recent first."""

from __future__ import annotations

from serving.labelling.doubts import doubts
from serving.labelling.figures import MAX_SHOWN, disputed
from serving.labelling.state import Project


def undecided(state: Project, most: int = MAX_SHOWN) -> list[str]:
    """Items to be decided: first those whose label is doubted, reviewed ones too, then what annotators do not agree
    on. At most `most`."""
    doubtful = doubts(state)[:most]
    seen = set(doubtful)
    rest = [about for about in disputed(state, most) if about not in seen]
    return (doubtful + rest)[:most]


def decided(state: Project, most: int = MAX_SHOWN) -> list[str]:
    """Items whose decision stands, the latest first; at most `most`."""
    found = [
        (item.reviewed, about)
        for about, item in state.items.items()
        if item.review is not None and not item.gold and not item.dropped
    ]
    return [about for _, about in sorted(found, reverse=True)[:most]]
