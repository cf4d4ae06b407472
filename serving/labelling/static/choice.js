// Answers that are chosen: one class, several classes, a rating; and a text that is written.

import {classKeys, colourOf, fill, h, inUse, kbd} from "./dom.js";
import {pretty} from "./keys.js";

/** The editor of an answer of `schema`'s kind, but boxes: `{element, value, set, missing, keys, focus, close}`; where a
 * suggestion is looked at before it is sent, also `take`.
 * `missing` says what the answer lacks (empty: nothing); `changed(chosen)` is called on every change by the person,
 * with whether it was a whole choice at once. */
export function editor(schema, changed) {
  if (schema.kind === "multi") return multi(schema, changed);
  if (schema.kind === "transcription") return transcription(changed);
  if (schema.kind === "rating") return rating(schema, changed);
  return single(schema, changed);
}

function option(kind, group, schema, c, key, run) {
  const input = h("input", {type: kind, name: group, value: c.id, onchange: () => run(c.id)});
  const swatch = h("span", {class: "swatch", css: {"--swatch": colourOf(schema, c.id)}, "aria-hidden": "true"});
  const element = h("label", {class: "option"}, input, swatch, h("span", {class: "name"}, c.name), key && kbd(pretty(key)));
  if (key) input.setAttribute("aria-keyshortcuts", key);
  return {element, input};
}

function single(schema, changed) {
  const keys = classKeys(schema);
  let value = null;
  const options = new Map();
  const choose = (id, byPerson = true) => {
    value = id;
    for (const [name, {input}] of options) input.checked = name === id;
    if (byPerson) changed(true);
  };
  for (const c of inUse(schema)) options.set(c.id, option("radio", "class", schema, c, keys.get(c.id), choose));
  return {
    element: h("fieldset", {class: "options"}, h("legend", {}, "Which class is it?"), [...options.values()].map((o) => o.element)),
    get value() { return value; },
    set: (next) => choose(options.has(next) ? next : null, false),
    missing: () => (value === null ? "Choose a class first." : ""),
    keys: inUse(schema).filter((c) => keys.has(c.id)).map((c) => ({key: keys.get(c.id), label: c.name, run: () => choose(c.id)})),
    focus() {},
    close() {},
  };
}

function multi(schema, changed) {
  const keys = classKeys(schema);
  const chosen = new Set();
  const options = new Map();
  const flip = (id) => {
    if (!chosen.delete(id)) chosen.add(id);
    show();
    changed(false);
  };
  const show = () => { for (const [name, {input}] of options) input.checked = chosen.has(name); };
  for (const c of inUse(schema)) options.set(c.id, option("checkbox", "class", schema, c, keys.get(c.id), flip));
  return {
    element: h("fieldset", {class: "options"}, h("legend", {}, "Which classes hold? None is an answer, too."),
      [...options.values()].map((o) => o.element)),
    get value() { return inUse(schema).map((c) => c.id).filter((id) => chosen.has(id)); },
    set(next) {
      chosen.clear();
      for (const id of Array.isArray(next) ? next : []) if (options.has(id)) chosen.add(id);
      show();
    },
    missing: () => "",
    keys: inUse(schema).filter((c) => keys.has(c.id)).map((c) => ({key: keys.get(c.id), label: c.name, run: () => flip(c.id)})),
    focus() {},
    close() {},
  };
}

function transcription(changed) {
  const field = h("textarea", {id: "transcription", rows: "5", spellcheck: "false", autocomplete: "off", oninput: () => changed(false)});
  return {
    element: h("div", {class: "field"}, h("label", {for: "transcription"}, "What is written or said?"), field,
      h("p", {class: "hint"}, kbd("Ctrl Enter"), " sends, ", kbd("Esc"), " leaves the field.")),
    get value() { return field.value; },
    set: (next) => { field.value = typeof next === "string" ? next : ""; },
    /** Puts a model's text in the place of what is written, to be corrected; the browser's own undo takes it back. */
    take(text) {
      field.focus();
      field.select();
      // Deprecated, and the one way that leaves the field its history.
      if (!document.execCommand("insertText", false, text)) { field.value = text; changed(false); }
    },
    missing: () => (field.value.trim() ? "" : "Write what it says first, or skip it."),
    keys: [{key: "t", label: "Write in the field", run: () => field.focus()}],
    focus: () => field.focus(),
    close() {},
  };
}

function rating(schema, changed) {
  const [low, high] = schema.rating;
  const numbers = Array.from({length: high - low + 1}, (_, i) => low + i);
  let value = null;
  const inputs = new Map();
  const choose = (n, byPerson = true) => {
    value = n;
    for (const [m, input] of inputs) input.checked = m === n;
    if (byPerson) changed(true);
  };
  const all = numbers.map((n) => {
    const input = h("input", {type: "radio", name: "rating", value: n, onchange: () => choose(n)});
    inputs.set(n, input);
    return h("label", {class: "option rate"}, input, h("span", {class: "name"}, n));
  });
  const step = (by) => choose(Math.min(high, Math.max(low, value === null ? (by > 0 ? low : high) : value + by)));
  return {
    element: h("fieldset", {class: "options rates"}, h("legend", {}, `Rating, ${low} to ${high}`), all),
    get value() { return value; },
    set: (next) => choose(numbers.includes(next) ? next : null, false),
    missing: () => (value === null ? "Choose a rating first." : ""),
    keys: [...numbers.filter((n) => n >= 0 && n <= 9).map((n) => ({key: String(n), label: `Rating ${n}`, run: () => choose(n)})),
      {key: ",", label: "One less", run: () => step(-1)}, {key: ".", label: "One more", run: () => step(1)}],
    focus() {},
    close() {},
  };
}

/** A value in words, by the schema it was given under. */
export function shown(schema, value) {
  const name = (id) => schema.classes.find((c) => c.id === id)?.name ?? String(id);
  if (value === null || value === undefined) return "—";
  if (schema.kind === "single") return name(value);
  if (schema.kind === "multi") return Array.isArray(value) ? value.map(name).join(", ") || "none" : String(value);
  if (schema.kind === "boxes") return Array.isArray(value) ? `${value.length} ${value.length === 1 ? "box" : "boxes"}` : String(value);
  return String(value);
}

/** The element of a value in a list: a swatch before a class. */
export function chip(schema, value) {
  const element = h("span", {class: "chip"});
  if (schema.kind === "single" && value !== null && value !== undefined) {
    return fill(element, h("span", {class: "swatch", css: {"--swatch": colourOf(schema, value)}, "aria-hidden": "true"}), shown(schema, value));
  }
  return fill(element, shown(schema, value));
}
