// Boxes on an image: drawn, moved, resized, named and removed, by pointer, by touch and by keyboard.

import {classKeys, colourOf, fill, h, inUse, kbd, nameOf, s, say} from "./dom.js";
import {pretty} from "./keys.js";

const round = (x) => Math.round(x * 10) / 10;
const CORNERS = [[0, 0], [1, 0], [1, 1], [0, 1]];

/** Draw boxes that nobody edits. `dashed` tells a model's from a person's. */
export function drawBoxes(stage, schema, boxes, {dashed = false, colour = null} = {}) {
  const layer = s("g", {class: dashed ? "boxes dashed" : "boxes"});
  const draw = () => {
    layer.replaceChildren();
    for (const [id, x, y, width, height] of boxes) {
      const shade = colour ?? colourOf(schema, id);
      layer.append(s("g", {}, s("rect", {x, y, width, height, fill: shade, "fill-opacity": "0.08", stroke: shade, class: "edge"}),
        s("text", {x, y: y - 4 / stage.scale, "font-size": 12 / stage.scale, fill: shade}, nameOf(schema, id))));
    }
  };
  stage.overlay.append(layer);
  const before = stage.onscale;
  stage.onscale = (scale) => { before(scale); draw(); };
  draw();
  return layer;
}

/** The editor of boxes on `stage`; the same shape as `choice.editor`, and `undo(back)` besides. */
export class BoxEditor {
  constructor(schema, stage, changed) {
    this.schema = schema;
    this.stage = stage;
    this.changed = changed;
    this.boxes = []; // {id, x, y, w, h}
    this.past = [];
    this.future = [];
    this.selected = null;
    this.current = inUse(schema)[0]?.id;
    this.mode = "draw";
    this.layer = s("g", {class: "boxes", role: "group", "aria-label": "Boxes"});
    stage.overlay.append(this.layer);
    stage.tool = this;
    stage.onscale = () => this.draw();
    stage.onload = () => this.draw();
    this.hotkeys = classKeys(schema);
    this.list = h("ol", {class: "box-list", "aria-label": "Boxes"});
    this.radios = new Map();
    this.element = h("div", {class: "box-panel"}, this.#classes(), this.#tools(), this.list);
    this.draw();
  }

  #classes() {
    const options = inUse(this.schema).map((c) => {
      const input = h("input", {type: "radio", name: "box-class", value: c.id, onchange: () => this.setClass(c.id)});
      this.radios.set(c.id, input);
      const key = this.hotkeys.get(c.id);
      return h("label", {class: "option"}, input, h("span", {class: "swatch", css: {"--swatch": colourOf(this.schema, c.id)}, "aria-hidden": "true"}),
        h("span", {class: "name"}, c.name), key && kbd(pretty(key)));
    });
    return h("fieldset", {class: "options"}, h("legend", {}, "Class of the box"), options);
  }

  #tools() {
    const button = (mode, text, key) => h("button", {type: "button", class: "tool", "aria-pressed": String(this.mode === mode),
      onclick: () => this.setMode(mode)}, text, " ", kbd(key));
    this.drawButton = button("draw", "Draw", "H");
    this.moveButton = button("move", "Move picture", "H");
    return h("div", {class: "tools"}, this.drawButton, this.moveButton,
      h("button", {type: "button", class: "tool", onclick: () => this.add()}, "New box ", kbd("N")));
  }

  setMode(mode) {
    this.mode = mode;
    this.drawButton.setAttribute("aria-pressed", String(mode === "draw"));
    this.moveButton.setAttribute("aria-pressed", String(mode === "move"));
    this.stage.element.classList.toggle("drawing", mode === "draw");
  }

  get value() { return this.boxes.map((b) => [b.id, round(b.x), round(b.y), Math.max(0.1, round(b.w)), Math.max(0.1, round(b.h))]); }

  set(value) {
    const whole = (Array.isArray(value) ? value : []).filter((b) => Array.isArray(b) && b.length === 5 && b.slice(1).every(Number.isFinite));
    this.boxes = whole.map(([id, x, y, w, t]) => ({id, x, y, w, h: t}));
    this.past = [];
    this.future = [];
    this.select(null);
  }

  /** Have a model's boxes in the place of what there is; one step for undo. */
  take(value) {
    const before = JSON.stringify(this.boxes);
    this.set(value);
    this.past = [before];
    this.changed(false);
  }

  missing() { return ""; }
  focus() { this.stage.element.focus({preventScroll: true}); }
  close() { this.stage.tool = null; this.layer.remove(); }

  // Changes. Each is one step for undo.

  #keep() {
    this.past.push(JSON.stringify(this.boxes));
    if (this.past.length > 200) this.past.shift();
    this.future = [];
  }

  #done() { this.draw(); this.changed(false); }

  /** Undo (or with `back` false redo) one step; false where there is none. */
  undo(back = true) {
    const [from, to] = back ? [this.past, this.future] : [this.future, this.past];
    if (!from.length) return false;
    to.push(JSON.stringify(this.boxes));
    this.boxes = JSON.parse(from.pop());
    this.selected = this.boxes[this.selected] ? this.selected : null;
    this.#done();
    return true;
  }

  add() {
    const view = this.stage.view();
    const w = Math.max(1, (view.right - view.x) / 3), t = Math.max(1, (view.bottom - view.y) / 3);
    this.#keep();
    this.boxes.push(this.#inside({id: this.current, x: (view.x + view.right - w) / 2, y: (view.y + view.bottom - t) / 2, w, h: t}));
    this.select(this.boxes.length - 1, true);
    this.#done();
    say(`New box, ${nameOf(this.schema, this.current)}. Arrows move it, Ctrl and arrows change its size.`);
  }

  setClass(id) {
    this.current = id;
    const box = this.boxes[this.selected];
    if (box && box.id !== id) {
      this.#keep();
      box.id = id;
      this.#done();
    } else this.draw();
  }

  remove(index = this.selected) {
    if (index === null || !this.boxes[index]) return;
    this.#keep();
    this.boxes.splice(index, 1);
    const next = this.boxes.length ? Math.min(index, this.boxes.length - 1) : null;
    this.select(next, next !== null);
    if (next === null) this.focus();
    this.#done();
    say("Box removed.");
  }

  nudge(dx, dy, event) {
    const box = this.boxes[this.selected];
    if (!box) return this.stage.pan(-48 * dx, -48 * dy);
    const step = event.shiftKey ? 10 : 1;
    if (!event.repeat) this.#keep();
    if (event.ctrlKey || event.metaKey) {
      box.w = Math.min(this.stage.width - box.x, Math.max(1, box.w + dx * step));
      box.h = Math.min(this.stage.height - box.y, Math.max(1, box.h + dy * step));
    } else Object.assign(box, this.#inside({...box, x: box.x + dx * step, y: box.y + dy * step}));
    this.#done();
    say(this.#words(this.selected));
  }

  #inside(box) {
    const w = Math.min(box.w, this.stage.width), t = Math.min(box.h, this.stage.height);
    return {...box, w, h: t, x: Math.min(this.stage.width - w, Math.max(0, box.x)), y: Math.min(this.stage.height - t, Math.max(0, box.y))};
  }

  select(index, focus = false) {
    this.selected = index;
    if (index !== null) this.current = this.boxes[index].id;
    this.draw();
    if (focus) this.layer.querySelector(`[data-box="${index}"]`)?.focus({preventScroll: true});
  }

  step(by) {
    if (!this.boxes.length) return;
    const from = this.selected ?? (by > 0 ? -1 : 0);
    this.select((from + by + this.boxes.length) % this.boxes.length, true);
  }

  // Pointers, in pixels of the image.

  down(point, event) {
    // A finger is wider than a mouse.
    const reach = (event.pointerType === "mouse" ? 8 : 22) / this.stage.scale;
    const box = this.boxes[this.selected];
    if (box) {
      const corner = CORNERS.findIndex(([cx, cy]) => Math.hypot(box.x + cx * box.w - point.x, box.y + cy * box.h - point.y) < reach);
      if (corner >= 0) return this.#begin({kind: "resize", corner, box, from: {...box}, point});
    }
    const slack = reach / 2;
    const hit = this.boxes.map((b, i) => ({b, i})).filter(({b}) => point.x > b.x - slack && point.x < b.x + b.w + slack
      && point.y > b.y - slack && point.y < b.y + b.h + slack).sort((p, q) => p.b.w * p.b.h - q.b.w * q.b.h)[0];
    // On a crowded picture a box is drawn from within another one by holding Shift.
    if (hit && !event.shiftKey) {
      this.select(hit.i, true);
      return this.#begin({kind: "move", box: hit.b, from: {...hit.b}, point});
    }
    this.select(null);
    if (this.mode === "move") return false;
    return this.#begin({kind: "draw", point, box: null});
  }

  #begin(drag) { this.drag = {...drag, before: JSON.stringify(this.boxes)}; return true; }

  move(point) {
    const {kind, box, from, corner, point: start} = this.drag;
    const x = Math.min(this.stage.width, Math.max(0, point.x)), y = Math.min(this.stage.height, Math.max(0, point.y));
    if (kind === "move") Object.assign(box, this.#inside({...from, x: from.x + point.x - start.x, y: from.y + point.y - start.y}));
    else {
      const [ax, ay] = kind === "draw" ? [Math.min(this.stage.width, Math.max(0, start.x)), Math.min(this.stage.height, Math.max(0, start.y))]
        : [from.x + (1 - CORNERS[corner][0]) * from.w, from.y + (1 - CORNERS[corner][1]) * from.h];
      const frame = {x: Math.min(ax, x), y: Math.min(ay, y), w: Math.abs(x - ax), h: Math.abs(y - ay)};
      if (box) Object.assign(box, frame);
      else if (Math.max(frame.w, frame.h) * this.stage.scale > 4) {
        this.drag.box = {id: this.current, ...frame};
        this.boxes.push(this.drag.box);
        this.selected = this.boxes.length - 1;
      }
    }
    this.draw();
  }

  up() {
    const {before, kind, box} = this.drag;
    this.drag = null;
    // A line, or a dot, was a slip.
    if (kind === "draw" && box && Math.min(box.w, box.h) * this.stage.scale < 4) return this.#back(before);
    if (JSON.stringify(this.boxes) === before) return;
    this.past.push(before);
    this.future = [];
    this.#done();
    if (box) this.layer.querySelector(`[data-box="${this.boxes.indexOf(box)}"]`)?.focus({preventScroll: true});
  }

  cancel() { if (this.drag) { this.#back(this.drag.before); this.drag = null; } }

  #back(before) { this.boxes = JSON.parse(before); this.selected = null; this.draw(); }

  // What is shown.

  #words(i) {
    const b = this.boxes[i];
    return `Box ${i + 1} of ${this.boxes.length}: ${nameOf(this.schema, b.id)}, at ${round(b.x)}, ${round(b.y)}, ${round(b.w)} wide, ${round(b.h)} high`;
  }

  draw() {
    const focused = document.activeElement?.dataset?.box;
    const px = 1 / this.stage.scale;
    const shapes = this.boxes.map((b, i) => this.#shape(b, i, px));
    fill(this.layer, shapes);
    for (const [id, input] of this.radios) input.checked = id === this.current;
    fill(this.list, this.boxes.map((b, i) => h("li", {class: i === this.selected ? "selected" : ""},
      h("button", {type: "button", class: "plain", "aria-pressed": String(i === this.selected), onclick: () => this.select(i, true)},
        h("span", {class: "swatch", css: {"--swatch": colourOf(this.schema, b.id)}, "aria-hidden": "true"}), nameOf(this.schema, b.id),
        h("span", {class: "size"}, `${Math.round(b.w)} × ${Math.round(b.h)}`)),
      h("button", {type: "button", class: "plain", "aria-label": `Remove box ${i + 1}`, onclick: () => this.remove(i)}, "×"))));
    // A box that was let go would choose itself again by its focus.
    if (focused !== undefined && this.selected === null) this.focus();
    else if (focused !== undefined) this.layer.querySelector(`[data-box="${focused}"]`)?.focus({preventScroll: true});
  }

  #shape(b, i, px) {
    const shade = colourOf(this.schema, b.id);
    const chosen = i === this.selected;
    const group = s("g", {class: chosen ? "box selected" : "box", tabindex: "0", role: "button", "data-box": i, "aria-pressed": String(chosen),
      "aria-label": this.#words(i)});
    group.addEventListener("focus", () => { if (this.selected !== i && !this.drag) this.select(i, true); });
    group.append(s("rect", {x: b.x, y: b.y, width: b.w, height: b.h, fill: shade, "fill-opacity": chosen ? "0.18" : "0.08", stroke: shade, class: "edge"}),
      s("text", {x: b.x, y: b.y - 4 * px, "font-size": 12 * px, fill: shade}, nameOf(this.schema, b.id)));
    if (chosen) for (const [cx, cy] of CORNERS) {
      group.append(s("circle", {cx: b.x + cx * b.w, cy: b.y + cy * b.h, r: 5 * px, stroke: shade, class: "corner"}));
    }
    return group;
  }

  get keys() {
    const arrows = [["ArrowLeft", -1, 0], ["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]];
    return [
      ...inUse(this.schema).filter((c) => this.hotkeys.has(c.id)).map((c) => ({key: this.hotkeys.get(c.id), label: c.name, run: () => this.setClass(c.id)})),
      {key: "n", label: "New box in the middle", run: () => this.add()},
      {key: ".", label: "Next box", run: () => this.step(1)},
      {key: ",", label: "Previous box", run: () => this.step(-1)},
      ...arrows.map(([key, dx, dy], i) => ({key, shown: "Arrows", also: [`Ctrl+${key}`], hidden: i > 0, run: (e) => this.nudge(dx, dy, e),
        label: "Move the chosen box; with Ctrl change its size; with Shift by ten"})),
      {key: "Delete", also: ["Backspace"], label: "Remove the box", run: () => this.remove()},
      {key: "Escape", label: "Let the box go", run: () => { this.select(null); this.focus(); }},
      {key: "h", label: "Draw, or move the picture", run: () => this.setMode(this.mode === "draw" ? "move" : "draw")},
      {key: "Ctrl+z", label: "Undo in the picture; with Shift, redo", run: (e) => this.undo(!e.shiftKey)},
    ];
  }
}
