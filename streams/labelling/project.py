"""All that the consensus job knows of a project: its schema, the answers that stand, what is believed and published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from streams.labelling import telling
from streams.labelling.answers import Answers, Stamp
from streams.labelling.calibration import calibration
from streams.labelling.classes import Change, Classes
from streams.labelling.merged import Merging
from streams.labelling.reading import named_in, read_name, read_schema
from streams.labelling.settling import SLACK
from streams.labelling.telling import Item, Mode, Page, Rule, tell
from tidemill.errors import UnknownTagError, WrongTypeError
from tidemill.label_events import LabelSchema
from tidemill.label_values import Meaning, read_answer, read_overlap, read_sure, read_version
from tidemill.project_standing import Standing, revision_of
from tidemill.time import MIN_TIME


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Of the recipe `consensus`, which tells what they mean."""

    name: str = ""
    method: str = "dawid-skene"
    smoothing: float = 1.0
    every: int = 100
    growth: float = 0.1
    quiet: int = 60_000_000


def believing(schema: LabelSchema, settings: Settings) -> Classes | Merging:
    """What holds the beliefs of a project of this kind, without any answers."""
    kind = Classes if schema.kind in ("single", "multi") else Merging
    return kind(schema, settings.method, settings.smoothing)


class Project:
    """The state of the job. Events are taken up by `take`, in the job's order; `flush` publishes what they brought.

    Answers, withdrawals and reviews take effect by (time, id), the latest standing, whatever order they come in (a
    withdrawal that names its answer whatever the times); questions and changes of the project in the order of the log
    (`tidemill.label_events`, `tidemill.project_standing`). What is believed after `estimate` is a function of what
    stands.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.schema: LabelSchema | None = None
        self.revision = 0
        self.overlap, self.sure = (3, 5), 0.95
        self.since: dict[str, int] = {}
        self.answers = Answers()
        self.reviews: dict[int, tuple[Any, Stamp]] = {}
        self.asked: dict[int, tuple[Any, Any]] = {}
        """Of items that have one: an overlap of their own, and the known answer of a gold question."""
        self.items: list[Item] = []
        self.clock = MIN_TIME
        self.fresh = 0
        """Changes of what stands since the last estimation."""
        self.estimations = 0
        self.beliefs: Classes | Merging | None = None
        self._named: dict[int, Meaning] = {}
        self._pending: list[tuple[Change, int, str, bool]] = []

    @property
    def deadline(self) -> int | None:
        """When the project will have been quiet for long enough to be estimated exactly."""
        return self.clock + self.settings.quiet if self.fresh else None

    def take(self, data: Mapping[str, Any], id: str, time: int, page: Page) -> None:
        """Take up one event of the stream `answers.<project>`. Raises `BadEvent` where it cannot be used."""
        kind = data["type"]
        if kind == "answer.given.v1":
            schema = self._schema()
            version = read_version(schema.version, data["schema"])
            about, by = read_name("about", data["about"]), read_name("by", data["by"])
            value = read_answer(schema, data["value"], self._names(version))
            self._answer(about, by, value, (time, id))
        elif kind == "answer.withdrawn.v1":
            self._schema()
            about, by = read_name("about", data["about"]), read_name("by", data["by"])
            self._answer(about, by, None, (time, id), data.get("answer") or "")
        elif kind == "label.reviewed.v1":
            self._review(read_name("about", data["about"]), data["value"], (time, id))
        elif kind == "label.asked.v1":
            self._ask(read_name("about", data["about"]), data, time)
        elif kind == "estimation.asked.v1":
            self._tick(time)
            self.estimate(page, "exact", "estimation")
            return
        elif kind == "project.changed.v1":
            self._change(data, time, page)
            return
        else:
            raise UnknownTagError("unknown event type", wanted="an answer, a review or a change", got=repr(kind)[:80])
        if self.fresh >= max(self.settings.every, self.settings.growth * self.answers.standing):
            self.estimate(page, "damped", "estimation")

    def serve(self, time: int, page: Page) -> None:
        """Estimate exactly, if the project has been quiet until `time`."""
        if not self.fresh:
            return
        due = self.clock + self.settings.quiet
        if due <= time:
            self.flush(page)
            self._tick(due)
            self.estimate(page, "exact", "quiet")

    def flush(self, page: Page) -> None:
        """Publish what the changes taken up since the last call brought, one after another."""
        if not self._pending or self.beliefs is None:
            return
        pending, self._pending = self._pending, []
        found = self.beliefs.apply([change for change, *_ in pending])
        rules = self._rules()
        for (change, time, reason, reviewed), one in zip(pending, found, strict=True):
            id, rule = self.answers.items[change.item], rules(change.item)
            tell(page, self._item(change.item), id, one, rule, time, "answered", reason, reviewed)

    def estimate(self, page: Page, mode: Mode, reason: str) -> None:
        """Estimate everything anew from what stands, and publish what is news."""
        self.flush(page)
        self.fresh = 0
        if self.beliefs is None:
            return
        self.estimations += 1
        order = self.answers.order()
        self.beliefs.estimate(order)
        items, rules = order.items, self._rules()
        if mode == "damped":
            self._item(len(items) - 1)
            told, sure = [item.value for item in self.items], [item.confidence for item in self.items]
            limits = (self.sure, self.sure - SLACK)
            items = items[self.beliefs.moved(told, sure, telling.TOLERANCE, limits)[items]]
        numbers: list[int] = items.tolist()
        for item, one in zip(numbers, self.beliefs.found(numbers), strict=True):
            id, reviewed = self.answers.items[item], self._reviewed(item)
            tell(page, self._item(item), id, one, rules(item), self.clock, mode, reason, reviewed)
        self._measure(page, self.beliefs)

    def _measure(self, page: Page, beliefs: Classes | Merging) -> None:
        """Publish figures of the whole, and how far its posteriors can be believed."""
        known = sorted((i for i in {*self.reviews, *self.asked} if self._known(i) is not None), key=self._name)
        told = [
            (one, beliefs.value_of(self._known(item))) for item, one in zip(known, beliefs.without(known), strict=True)
        ]
        told = [(one, truth) for one, truth in told if one.value is not None]
        right = [telling.near(one.value, truth) for one, truth in told]
        rows, error = calibration([one.confidence for one, _ in told], right)
        settled = [item.confidence for item in self.items if item.settled is not None]
        values = {
            "answers": float(self.answers.standing),
            "items": float(sum(item.answers > 0 for item in self.items)),
            "annotators": float(np.isfinite(beliefs.skills()).sum()),
            "settled": float(len(settled)),
            "known": float(len(told)),
        }
        values |= {"confidence": sum(settled) / len(settled)} if settled else {}
        values |= {} if error is None else {"calibration_error": error, "accuracy": sum(right) / len(right)}
        name = self.settings.name
        page.add(
            telling.METRICS, f"{name}/{self.estimations}", self.clock, name, "", self.answers.standing, values, rows
        )

    def _schema(self) -> LabelSchema:
        if self.schema is None:
            raise WrongTypeError("the project has no schema yet", wanted="a project.changed.v1 before", field="schema")
        return self.schema

    def _names(self, version: int) -> Meaning:
        """What an answer under this version of the schema can name."""
        found = self._named.get(version)
        if found is None:
            found = self._named[version] = named_in(self.since, version)
        return found

    def _answer(self, about: str, by: str, value: Any, stamp: Stamp, gone: str = "") -> None:
        """`by`'s answer about item `about` is `value` (None: withdrawn) as of `stamp`; or the answer `gone` is none."""
        self._tick(stamp[0])
        item = self.answers.item_of(about)
        row = self.answers.withdraw(item, by, gone) if gone else self.answers.put(item, by, value, stamp)
        if row is not None:
            reason = "withdrawal" if value is None else "answer"
            self._note(Change(row, item, self.answers.who[row], self.answers.value[row]), reason)

    def _review(self, about: str, value: Any, stamp: Stamp) -> None:
        """A reviewer decided that item `about` is `value` (None: the decision is taken back) as of `stamp`."""
        schema = self._schema()
        if value is not None:
            value = read_answer(schema, value, self._names(schema.version))
        self._tick(stamp[0])
        item = self.answers.item_of(about)
        before = self.reviews.get(item)
        if before is None or before[1] < stamp:
            self.reviews[item] = (value, stamp)
            if before is None or not telling.same(before[0], value):
                self._note(Change(-1, item, -1, self._known(item)), "review")

    def _ask(self, about: str, data: Mapping[str, Any], time: int) -> None:
        """An item is asked for: by an overlap of its own perhaps, and as a gold question perhaps. What it is silent on
        stays as it was."""
        overlap, gold = data["overlap"], data["gold"]
        if gold is not None:
            schema = self._schema()
            gold = read_answer(schema, gold, self._names(schema.version))
        overlap = None if overlap is None else read_overlap(overlap)
        self._tick(time)
        item = self.answers.item_of(about)
        before = self.asked.get(item, (None, None))
        known = self._known(item)
        self.asked[item] = (before[0] if overlap is None else overlap, before[1] if gold is None else gold)
        if before[0] != self.asked[item][0] or not telling.same(self._known(item), known):
            self._note(Change(-1, item, -1, self._known(item)), "asked")

    def _known(self, item: int) -> Any:
        """What is certain of an item: a reviewer's decision, or else the answer of a gold question."""
        value = self.reviews.get(item, (None,))[0]
        return self.asked[item][1] if value is None and item in self.asked else value

    def _name(self, item: int) -> str:
        return self.answers.items[item]

    def _note(self, change: Change, reason: str) -> None:
        self.fresh += 1
        self._pending.append((change, self.clock, reason, bool(self.reviews) and self._reviewed(change.item)))

    def _change(self, data: Mapping[str, Any], time: int, page: Page) -> None:
        """The project's schema or rules are others from here on."""
        schema = read_schema(data["schema"])
        overlap, sure = (
            read_overlap(data["overlap"] or [3, 5]),
            read_sure(0.95 if data["sure"] is None else data["sure"]),
        )
        if self.schema is not None and schema.kind != self.schema.kind:
            raise WrongTypeError(
                "a project stays of its kind", wanted=self.schema.kind, got=schema.kind, field="schema"
            )
        self.flush(page)
        self._tick(time)
        standing = None if self.schema is None else Standing(self.revision, self.schema)
        revision = revision_of(standing, int(data.get("revision") or 0), schema)
        if revision is None:
            return
        self.revision, before = revision, self.schema
        self.schema, self.overlap, self.sure = schema, overlap, sure
        for one in schema.classes:
            self.since.setdefault(one.id, schema.version)
        self._named.clear()
        if before is None or before.classes != schema.classes:
            self._renew()
        self.estimate(page, "exact", "schema")

    def _renew(self) -> None:
        """What is believed, made anew under the schema that stands now."""
        schema, settings, table = self._schema(), self.settings, self.answers
        self.beliefs = believing(schema, settings)
        rows = zip(table.item, table.who, table.value, strict=True)
        changes = [Change(row, item, who, value) for row, (item, who, value) in enumerate(rows)]
        changes += [Change(-1, item, -1, self._known(item)) for item in sorted({*self.reviews, *self.asked})]
        self.beliefs.apply(changes)

    def _reviewed(self, item: int) -> bool:
        return self.reviews.get(item, (None,))[0] is not None

    def _item(self, number: int) -> Item:
        while len(self.items) <= number:
            self.items.append(Item())
        return self.items[number]

    def _tick(self, time: int) -> None:
        if time > self.clock:
            self.clock = time

    def _rules(self) -> Callable[[int], Rule]:
        """By which rule an item is settled: the project's, or by an overlap of its own."""
        plain, own = Rule(self.overlap, self.sure, self.settings.method), self.asked

        def of(item: int) -> Rule:
            overlap = own[item][0] if item in own else None
            return plain if overlap is None else Rule(overlap, plain.sure, plain.method)

        return of

    def params(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self.settings)

    def state(self) -> dict[str, Any]:
        reviews = sorted(self.reviews.items())
        return {
            "schema": None if self.schema is None else msgspec.to_builtins(self.schema),
            "revision": self.revision,
            "overlap": list(self.overlap),
            "sure": self.sure,
            "since": self.since,
            "answers": self.answers.state(),
            "reviews": [[item, value, time, id] for item, (value, (time, id)) in reviews],
            "asked": [[item, overlap, gold] for item, (overlap, gold) in sorted(self.asked.items())],
            "items": telling.save(self.items),
            "clock": self.clock,
            "fresh": self.fresh,
            "estimations": self.estimations,
            "beliefs": None if self.beliefs is None else self.beliefs.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`."""
        self.schema = None if state["schema"] is None else msgspec.convert(state["schema"], LabelSchema)
        self.revision, (least, most), self.sure = state["revision"], state["overlap"], state["sure"]
        self.overlap, self.since, self._named = (least, most), dict(state["since"]), {}
        self.answers = Answers()
        self.answers.load_state(state["answers"])
        self.reviews = {item: (value, (time, id)) for item, value, time, id in state["reviews"]}
        self.asked = {item: (overlap and (overlap[0], overlap[1]), gold) for item, overlap, gold, *_ in state["asked"]}
        self.items = telling.restore(state["items"])
        self.clock, self.fresh, self.estimations = state["clock"], state["fresh"], state["estimations"]
        self.beliefs = None
        if state["beliefs"] is not None:
            self.beliefs = believing(self._schema(), self.settings)
            self.beliefs.load_state(state["beliefs"])
