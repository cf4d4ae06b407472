// The annotator's work: one item after the other, the next ones loaded beforehand.

import {ApiError, get, post, project as at, serverNow} from "./api.js";
import {BoxEditor, drawBoxes} from "./boxes.js";
import {editor as choiceEditor, shown} from "./choice.js";
import {dialog, fill, h, kbd, keyed, notice, say} from "./dom.js";
import {Drafts} from "./drafts.js";
import {bind} from "./keys.js";
import {preload, view} from "./media.js";
import {Outbox} from "./outbox.js";

const AHEAD = 3;
const AGAIN = 4000;
const FRESH = 10_000;
/** Milliseconds that an item must have left to be begun. */
const ENOUGH = 15_000;
const REASONS = ["I cannot tell", "No class fits", "It cannot be seen, read or heard", "It shows something private or unlawful"];

const clock = (ms) => `${Math.floor(ms / 60_000)}:${String(Math.floor((ms % 60_000) / 1000)).padStart(2, "0")}`;

export class Work {
  constructor(place, name, info, person) {
    Object.assign(this, {place, name, schema: keyed(info), queue: [], given: [], sent: new Set(), count: 0, task: null, looked: Date.now(), restricted: "", unbind: () => {}});
    this.drafts = new Drafts(name, (text) => { if (this.saved) this.saved.textContent = text; });
    this.outbox = new Outbox(name, person, {
      taken: (entry, answer) => { this.given.push({...entry, answer: answer.answer}); this.#counted(1); },
      refused: (entry, error) => notice(`Your answer to item ${entry.item} was not taken: ${error.message}`, {kind: "error"}),
      waiting: (n) => this.#waiting(n),
    });
    this.tick = setInterval(() => this.#time(), 500);
    this.seen = () => { if (this.task) this.#clockOf(!document.hidden); };
    document.addEventListener("visibilitychange", this.seen);
  }

  async begin() {
    fill(this.place, h("p", {class: "empty", role: "status"}, "Loading…"));
    await this.outbox.flush();
    await this.advance();
  }

  end() {
    this.ended = true;
    clearInterval(this.tick);
    clearTimeout(this.again);
    document.removeEventListener("visibilitychange", this.seen);
    this.#leave();
  }

  // Which item.

  async #refill() {
    if (Date.now() - this.looked > FRESH) await this.#look();
    const {tasks, restricted} = await post(`${at(this.name)}/next`, {count: AHEAD + 1});
    this.restricted = restricted;
    const known = new Set([this.task?.lease, ...this.queue.map((t) => t.lease)]);
    for (const task of tasks) {
      // The server may have been asked before an answer that was under way reached it.
      if (known.has(task.lease) || this.sent.has(task.lease) || this.outbox.has(task.lease)) continue;
      this.queue.push({...task, loaded: preload(task)});
    }
  }

  /** Classes may be added, renamed and merged at any time. */
  async #look() {
    this.schema = keyed(await get(at(this.name)));
    this.looked = Date.now();
  }

  /** Go on to the next item. */
  async advance() {
    this.#leave();
    this.task = null;
    clearTimeout(this.again);
    const alive = (task) => task.expires / 1000 - serverNow() > ENOUGH;
    this.queue = this.queue.filter(alive);
    try {
      if (!this.queue.length) {
        await this.outbox.flush();
        await this.#refill();
      }
    } catch (error) {
      return this.#stopped(error);
    }
    if (this.ended) return;
    this.queue = this.queue.filter((task) => task.expires / 1000 > serverNow());
    if (!this.queue.length) return this.#nothing();
    this.show(this.queue.shift());
    if (this.queue.length < AHEAD) this.#refill().catch(() => {});
  }

  #nothing() {
    const why = this.restricted ? ["You get no more items for now", `The project's rules say: ${this.restricted}. Ask its manager.`]
      : ["Nothing to label for now", "New items come here by themselves."];
    fill(this.place, h("section", {class: "empty", role: "status"}, h("h1", {}, why[0]),
      h("p", {}, this.count ? `${this.count} answered. Thank you. ` : "", why[1]),
      this.given.length > 0 && h("button", {type: "button", onclick: () => this.undo()}, "Take the last answer back ", kbd("U"))));
    this.unbind = bind([{key: "u", label: "Take the last answer back", run: () => this.undo()}]);
    this.again = setTimeout(() => this.advance(), AGAIN);
  }

  #stopped(error) {
    if (error instanceof ApiError && error.status === 401) return;
    fill(this.place, h("section", {class: "empty", role: "alert"}, h("h1", {}, "No item"), h("p", {}, error.message),
      h("button", {type: "button", class: "primary", onclick: () => this.advance()}, "Try again")));
  }

  #leave() {
    this.unbind();
    this.editor?.close();
    this.view?.close();
    this.editor = this.view = null;
  }

  // One item.

  show(task) {
    this.task = task;
    this.spent = 0;
    this.since = Date.now();
    this.over = false;
    this.warned = false;
    this.view = view(task, this.schema, task.loaded);
    const changed = (whole) => this.#changed(whole);
    const boxes = this.schema.kind === "boxes" && this.view.stage;
    this.editor = boxes ? new BoxEditor(this.schema, this.view.stage, changed) : choiceEditor(this.schema, changed);
    if (boxes) this.editor.setMode("draw");
    const begun = this.drafts.of(task);
    if (begun !== undefined && begun !== null) this.editor.set(begun);
    fill(this.place, this.#layout(task));
    if (boxes && task.prelabel) this.ghost = drawBoxes(this.view.stage, this.schema, task.prelabel.value, {dashed: true});
    this.unbind = bind([...this.editor.keys, ...this.view.keys, ...this.#keys()]);
    this.#time();
    // A text is written at once; else the keys are free for shortcuts.
    if (this.schema.kind === "transcription" && matchMedia("(pointer: fine)").matches) this.editor.focus();
    else this.place.focus({preventScroll: true});
    say(`Item ${task.item}.${task.prelabel ? ` A model takes it for ${shown(this.schema, task.prelabel.value)}.` : ""}`);
  }

  #layout(task) {
    this.saved = h("span", {class: "saved", role: "status"}, this.drafts.of(task) === undefined ? "" : "Draft found");
    this.timer = h("span", {class: "left", role: "timer", "aria-label": "Time left for this item"});
    this.bar = h("span", {class: "bar"});
    this.send = h("button", {type: "button", class: "primary", id: "send", onclick: () => this.submit()}, "Send ", kbd("Enter"));
    this.tally = h("span", {class: "tally"}, `${this.count} answered`);
    const atOnce = this.schema.kind === "single" || this.schema.kind === "rating";
    return h("div", {class: `work kind-${this.schema.kind} medium-${this.schema.medium}`},
      h("section", {class: "show", "aria-label": "Item"}, this.view.element, this.view.controls),
      h("aside", {class: "panel", "aria-label": "Answer"},
        h("div", {class: "lease"}, h("div", {class: "status"}, this.tally, this.saved, this.timer), h("div", {class: "track", "aria-hidden": "true"}, this.bar)),
        this.#instructions(), task.prelabel && this.#prelabel(task.prelabel), this.editor.element,
        atOnce && this.#once(),
        h("div", {class: "actions"}, this.send,
          h("button", {type: "button", id: "skip", onclick: () => this.skip()}, "Skip ", kbd("S")),
          h("button", {type: "button", id: "undo", onclick: () => this.undo()}, "Undo ", kbd("U")))));
  }

  #instructions() {
    if (!this.schema.instructions) return null;
    const key = `tidemill.read.${this.name}`;
    const text = this.schema.instructions;
    const details = h("details", {class: "instructions"}, h("summary", {}, "Instructions"), h("p", {}, text));
    details.open = localStorage.getItem(key) !== text;
    details.addEventListener("toggle", () => (details.open ? localStorage.removeItem(key) : localStorage.setItem(key, text)));
    return details;
  }

  #prelabel({value, confidence, model}) {
    const sure = Number.isFinite(confidence) ? `${Math.round(confidence * 100)} % sure` : "";
    return h("section", {class: "prelabel", "aria-label": "Suggestion of a model"},
      h("div", {}, h("p", {class: "guess"}, shown(this.schema, value)), h("p", {class: "hint"}, [model, sure].filter(Boolean).join(" · ")),
        Number.isFinite(confidence) && h("meter", {min: 0, max: 1, value: confidence, "aria-label": "Confidence"})),
      h("button", {type: "button", id: "accept", onclick: () => this.accept()}, this.editor.take ? "Take over " : "Accept ", kbd("A")));
  }

  #once() {
    const box = h("input", {type: "checkbox"});
    box.checked = localStorage.getItem("tidemill.once") === "on";
    box.addEventListener("change", () => localStorage.setItem("tidemill.once", box.checked ? "on" : "off"));
    this.once = box;
    return h("label", {class: "check"}, box, " Send as soon as I choose");
  }

  #keys() {
    return [
      {key: "Enter", also: ["Ctrl+Enter"], label: "Send", run: () => this.submit()},
      {key: "a", label: "Take the model's suggestion", run: () => this.accept()},
      {key: "s", label: "Skip, with a reason", run: () => this.skip()},
      {key: "u", label: "Take the last answer back", run: () => this.undo()},
    ].filter((b) => b.key !== "a" || this.task.prelabel);
  }

  #changed(whole) {
    if (this.over) return;
    this.drafts.keep(this.task, this.editor.value);
    if (whole && this.once?.checked) this.submit();
  }

  #clockOf(running) {
    if (running) this.since = Date.now();
    else this.spent += Date.now() - this.since;
  }

  #time() {
    if (!this.task || !this.timer) return;
    const left = this.task.expires / 1000 - serverNow();
    this.whole ??= new Map();
    if (!this.whole.has(this.task.lease)) this.whole.set(this.task.lease, Math.max(left, 1));
    this.timer.textContent = left > 0 ? `${clock(left)} left` : "Time is up";
    this.bar.style.width = `${Math.max(0, Math.min(100, 100 * left / this.whole.get(this.task.lease)))}%`;
    this.bar.classList.toggle("soon", left < 30_000);
    if (left < 30_000 && left > 0 && !this.warned) { this.warned = true; say("Half a minute is left for this item."); }
    if (left <= 0 && !this.over) this.#expire();
  }

  /** The lease is over: somebody else may have the item by now. It says so, and takes no answer. */
  #expire() {
    this.over = true;
    this.unbind();
    const go = () => this.advance();
    this.unbind = bind([{key: "Enter", label: "Next item", run: go}, {key: "u", hidden: true, run: () => this.undo()}]);
    const next = h("button", {type: "button", class: "primary", onclick: go}, "Next item ", kbd("Enter"));
    const panel = this.place.querySelector(".panel");
    panel.querySelectorAll("fieldset, textarea, .actions button, .prelabel button").forEach((e) => { e.disabled = true; });
    panel.prepend(h("section", {class: "expired", role: "alert"}, h("h2", {}, "Time is up"),
      h("p", {}, "The lease of this item is over, and it may have gone to somebody else. Nothing was sent."), next));
    this.place.querySelector(".work").classList.add("over");
    next.focus();
  }

  // What an annotator does.

  submit() {
    if (!this.task || this.over) return;
    const wrong = this.editor.missing();
    if (wrong) { notice(wrong); return; }
    const {lease, item} = this.task;
    const seconds = Math.round((this.spent + (document.hidden ? 0 : Date.now() - this.since)) / 100) / 10;
    const value = this.editor.value;
    const task = this.task;
    this.drafts.drop(task);
    this.sent.add(lease);
    this.outbox.put({lease, item, value, seconds});
    say("Sent.");
    return this.advance();
  }

  accept() {
    if (!this.task?.prelabel || this.over) return;
    // Boxes and texts are looked at before they are sent: a model is seldom right about all of them.
    if (this.editor.take) { this.editor.take(this.task.prelabel.value); this.ghost?.remove(); return; }
    this.editor.set(this.task.prelabel.value);
    this.#changed(false);
    this.submit();
  }

  skip() {
    if (!this.task || this.over) return;
    const {lease} = this.task;
    const task = this.task;
    const other = h("input", {type: "text", name: "other", maxlength: "200", "aria-label": "Another reason", placeholder: "Another reason"});
    const form = h("form", {method: "dialog"},
      h("fieldset", {class: "options"}, h("legend", {}, "Why?"), REASONS.map((reason, i) => h("label", {class: "option"},
        h("input", {type: "radio", name: "reason", value: reason, checked: i === 0}), h("span", {class: "name"}, reason)))),
      other, h("div", {class: "actions"}, h("button", {value: "skip", class: "primary"}, "Skip it"), h("button", {value: ""}, "Keep it")));
    const box = dialog("Skip this item", form);
    box.addEventListener("close", async () => {
      if (box.returnValue !== "skip") return;
      const reason = other.value.trim() || new FormData(form).get("reason");
      this.drafts.drop(task);
      this.sent.add(lease);
      try {
        await post(`${at(this.name)}/skip`, {lease, reason});
      } catch (error) {
        notice(`It could not be skipped: ${error.message}`, {kind: "error"});
        this.sent.delete(lease);
        if (error.status === 0) return;
      }
      if (this.task === task) await this.advance();
    });
  }

  /** Take the last answer back, and show its item again. */
  async undo() {
    await this.outbox.flush();
    const last = this.given.pop();
    if (!last) { notice("There is no answer of yours to take back."); return; }
    try {
      const {task} = await post(`${at(this.name)}/withdraw`, {answer: last.answer});
      this.#counted(-1);
      const waiting = this.task && !this.over ? [this.task] : [];
      this.#leave();
      this.task = null;
      this.queue.unshift(...waiting);
      notice("Taken back.");
      if (!task) return this.advance();
      this.show({...task, draft: task.draft ?? last.value, loaded: preload(task)});
    } catch (error) {
      if (error.status === 0) this.given.push(last);
      notice(`It could not be taken back: ${error.message}`, {kind: "error"});
    }
  }

  #counted(by) {
    this.count += by;
    if (this.tally) this.tally.textContent = `${this.count} answered`;
  }

  #waiting(n) {
    if (n === this.waits) return;
    this.waits = n;
    this.gone?.();
    this.gone = n ? notice(`The server was not reached. ${n === 1 ? "One answer waits" : `${n} answers wait`} here and will be sent.`, {kind: "error"}) : null;
  }
}
