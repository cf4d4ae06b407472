// The reviewer's work: what is to be decided, all answers side by side, one decision; what was decided, to correct it or
// to take it back; and any item by its id.

import {get, post, project as at} from "./api.js";
import {BoxEditor, drawBoxes} from "./boxes.js";
import {chip, editor as choiceEditor, shown} from "./choice.js";
import {fill, h, kbd, keyed, notice} from "./dom.js";
import {bind} from "./keys.js";
import {preload, thumbnail, view} from "./media.js";

export class Review {
  constructor(place, name, info) {
    Object.assign(this, {place, name, schema: keyed(info), items: [], at: 0, unbind: () => {}, views: []});
  }

  /** Look at what is to be decided (`review`), or was (`decided`). */
  async begin(list = "review") {
    this.#leave();
    fill(this.place, h("p", {class: "empty", role: "status"}, "Loading…"));
    const {items} = await get(`${at(this.name)}/${list}`);
    Object.assign(this, {list, items, at: 0});
    this.show();
  }

  /** Look at one item, whatever stands of it. */
  async find(id) {
    try {
      const {items} = await get(`${at(this.name)}/review?${new URLSearchParams({item: id})}`);
      Object.assign(this, {list: "found", items, at: 0});
      this.show();
    } catch (error) {
      notice(error.status === 404 ? `There is no item ${id}.` : error.message, {kind: "error"});
    }
  }

  end() { this.#leave(); }

  #leave() {
    this.unbind();
    this.editor?.close();
    for (const each of this.views) each.close();
    this.views = [];
    this.editor = null;
  }

  get item() { return this.items[this.at]; }

  show() {
    this.#leave();
    if (!this.items.length) {
      const done = this.list === "decided";
      fill(this.place, h("section", {class: "empty", role: "status"}, h("h1", {}, done ? "Nothing was decided yet" : "Nothing to decide"),
        !done && h("p", {}, "Items come here when annotators do not agree, or a label is doubted."),
        h("button", {type: "button", onclick: () => this.begin(this.list)}, "Look again"), this.#ways()));
      return;
    }
    const item = this.item;
    const main = view(item, this.schema, preload(item));
    this.views.push(main);
    this.editor = this.schema.kind === "boxes" && main.stage ? new BoxEditor(this.schema, main.stage, () => {}) : choiceEditor(this.schema, () => {});
    const likeliest = item.label ?? item.estimate?.value ?? item.prelabel?.value;
    if (likeliest !== undefined && likeliest !== null) this.editor.set(likeliest);
    this.note = h("input", {type: "text", id: "note", maxlength: "500", autocomplete: "off", value: item.review?.note ?? ""});
    fill(this.place, h("div", {class: `work review kind-${this.schema.kind} medium-${this.schema.medium}`},
      this.#list(),
      h("section", {class: "show", "aria-label": "Item"}, main.element, main.controls),
      h("aside", {class: "panel", "aria-label": "Decision"},
        this.#stands(item), this.#posterior(item), this.editor.element,
        h("div", {class: "field"}, h("label", {for: "note"}, "Note"), this.note),
        h("div", {class: "actions"}, h("button", {type: "button", class: "primary", id: "decide", onclick: () => this.decide()}, item.review && !item.doubt ? "Correct " : "Decide ", kbd("Enter")),
          item.review && h("button", {type: "button", class: "danger", id: "take-back", onclick: () => this.#send(null, "Taken back.")}, "Take back"),
          h("button", {type: "button", id: "pass", onclick: () => this.pass()}, "Later ", kbd("S")))),
      this.#answers(item)));
    this.unbind = bind([...this.editor.keys, ...main.keys, {key: "Enter", also: ["Ctrl+Enter"], label: "Decide", run: () => this.decide()},
      {key: "s", label: "Later", run: () => this.pass()},
      ...item.answers.slice(0, 9).map((answer, i) => ({key: `Ctrl+${i + 1}`, label: `Take the answer of ${answer.by}`, run: () => this.take(answer)}))]);
    this.place.focus({preventScroll: true});
  }

  #list() {
    const title = {review: `${this.items.length} to decide`, decided: `${this.items.length} decided`, found: this.item.item}[this.list];
    return h("nav", {class: "queue", "aria-label": "Items"}, this.#ways(), h("h2", {}, title),
      h("ol", {}, this.items.map((item, i) => h("li", {}, h("button", {type: "button", class: "plain", "aria-current": i === this.at ? "true" : null,
        onclick: () => { this.at = i; this.show(); }}, thumbnail(item))))));
  }

  /** From one list to the other, and to any item. */
  #ways() {
    const id = h("input", {type: "search", name: "item", id: "find-item", required: true, "aria-label": "Id of an item", placeholder: "Id of an item", autocomplete: "off", spellcheck: "false"});
    const find = h("form", {class: "find"}, id, h("button", {}, "Look up"));
    find.addEventListener("submit", (event) => { event.preventDefault(); this.find(id.value.trim()); });
    return h("div", {class: "ways"}, [["review", "To decide"], ["decided", "Decided"]].map(([list, label]) => h("button", {type: "button", class: "plain", id: `list-${list}`,
      "aria-pressed": String(this.list === list), onclick: () => this.begin(list)}, label)), find);
  }

  /** The label that stands, who decided it, and who doubts it. */
  #stands(item) {
    if (item.label === null && !item.doubt) return null;
    const {doubt, review} = item;
    const model = doubt && [doubt.model, doubt.confidence != null && `${Math.round(doubt.confidence * 100)} % sure`].filter(Boolean).join(" · ");
    return h("section", {class: "stands", "aria-label": "Label"}, h("h2", {}, "Label"), h("p", {}, chip(this.schema, item.label)),
      review && h("p", {class: "hint"}, `decided by ${review.by}`, review.note && `: ${review.note}`),
      doubt && h("p", {class: "bad"}, "Doubted: a model takes it for ", chip(this.schema, doubt.value)), doubt && h("p", {class: "hint"}, model));
  }

  #posterior(item) {
    const sure = Object.entries(item.estimate?.posterior ?? {}).sort((p, q) => q[1] - p[1]).slice(0, 6);
    if (!sure.length) return null;
    return h("section", {class: "posterior", "aria-label": "Consensus so far"}, h("h2", {}, "Consensus so far"),
      sure.map(([value, p]) => h("div", {class: "bar-row"}, h("span", {}, shown(this.schema, this.schema.kind === "rating" ? Number(value) : value)),
        h("meter", {min: 0, max: 1, value: p, "aria-label": `${value}: ${Math.round(p * 100)} %`}), h("span", {class: "number"}, `${Math.round(p * 100)} %`))));
  }

  #answers(item) {
    return h("section", {class: "answers", "aria-label": "Answers"}, h("h2", {}, `${item.answers.length} answers`),
      h("div", {class: "cards"}, item.answers.map((answer, i) => {
        return h("article", {class: "answer"}, h("header", {}, h("strong", {}, answer.by), h("span", {class: "hint"}, answer.seconds != null && `${answer.seconds.toFixed(1)} s`)),
          this.#small(item, answer), h("p", {}, chip(this.schema, answer.value)),
          h("button", {type: "button", class: "take", onclick: () => this.take(answer)}, "Take this ", kbd(`Ctrl ${i + 1}`)));
      })));
  }

  /** For boxes, the image once more with this annotator's own. */
  #small(item, answer) {
    if (this.schema.kind !== "boxes" || !item.media) return null;
    const own = view(item, this.schema, preload(item));
    if (!own.stage) return null;
    own.stage.element.classList.add("small");
    own.stage.element.setAttribute("aria-label", `Boxes of ${answer.by}`);
    drawBoxes(own.stage, this.schema, answer.value ?? []);
    this.views.push(own);
    return own.stage.element;
  }

  take(answer) {
    this.editor.set(answer.value);
    notice(`The answer of ${answer.by} is filled in.`);
    // So that Enter decides, and does not take it once more.
    this.place.focus({preventScroll: true});
  }

  pass() {
    this.at = (this.at + 1) % this.items.length;
    this.show();
  }

  async decide() {
    const wrong = this.editor.missing();
    if (wrong) { notice(wrong); return; }
    await this.#send(this.editor.value, "Decided.");
  }

  async #send(value, told) {
    const {item} = this.item;
    try {
      await post(`${at(this.name)}/reviews`, {item, value, note: this.note.value});
    } catch (error) {
      notice(`It was not taken: ${error.message}`, {kind: "error"});
      return;
    }
    notice(told);
    if (this.list === "found") return this.find(item);
    if (this.list === "decided") return this.begin("decided");
    this.items.splice(this.at, 1);
    this.at = Math.min(this.at, Math.max(0, this.items.length - 1));
    if (this.items.length) this.show(); else await this.begin();
  }
}
