"""What was published: the committed events of topic `models`, which say what NAME@VERSION is."""

from __future__ import annotations

from tidemill import events
from tidemill.errors import BadEvent
from tidemill.events import ModelAliased, ModelPublished
from tidemill.log import Log, Partition
from tidemill_app.reading import read_spans

TOPIC = "models"


class Published:
    """Every version in topic `models`, oldest first, and where each (model, alias) points; `refresh` reads on."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._at = 0
        self.versions: dict[tuple[str, str], ModelPublished] = {}
        self.aliases: dict[tuple[str, str], str] = {}

    def refresh(self) -> Published:
        """Read to the topic's end; itself."""
        if TOPIC not in self._log.topics():
            return self
        partition = Partition(TOPIC, 0)
        first, end = max(self._at, self._log.begin(partition)), self._log.end(partition)
        for record in read_spans(self._log, {partition: (first, end)}):
            try:
                event = events.decode(record.value or b"")
            except BadEvent:
                continue
            if isinstance(event, ModelPublished):
                self.versions[event.model, event.version] = event
            elif isinstance(event, ModelAliased):
                self.aliases[event.model, event.alias] = event.version
        self._at = end
        return self
