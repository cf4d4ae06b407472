// Elements by function. Text is only ever inserted as text: nothing that a label, an item or a name holds becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "css") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** An HTML element: `h("p", {class: "note", onclick: f}, "text", child)`. */
export const h = (tag, props, ...children) => build(document.createElement(tag), props, children);

/** An SVG element. */
export const s = (tag, props, ...children) => build(document.createElementNS(SVG, tag), props, children);

/** Put these children into `element` in place of what is there. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/** A key as it is shown. */
export const kbd = (key) => h("kbd", {"aria-hidden": "true"}, key);

/** Say something to those who do not see it. */
export function say(text) {
  const region = document.getElementById("said");
  if (region) region.textContent = text;
}

let shown = 0;

/** A notice that goes by itself, or stays where it is an error. */
export function notice(text, {kind = "info", action = null} = {}) {
  const place = document.getElementById("notices");
  const close = () => element.remove();
  const element = h("div", {class: `notice ${kind}`, role: kind === "error" ? "alert" : "status", id: `notice-${++shown}`},
    h("span", {}, text),
    action && h("button", {type: "button", class: "plain", onclick: () => { close(); action.run(); }}, action.label),
    h("button", {type: "button", class: "plain close", "aria-label": "Dismiss", onclick: close}, "×"));
  while (place.children.length > 3) place.firstChild.remove();
  place.append(element);
  if (kind !== "error") setTimeout(close, 6000);
  return close;
}

/** A modal dialog with a heading. `ask` is called with it, to be filled; Escape closes it, and focus goes back. */
export function dialog(title, ...children) {
  const before = document.activeElement;
  const element = h("dialog", {"aria-label": title, class: "dialog"}, h("h2", {}, title), children);
  element.addEventListener("close", () => { element.remove(); before?.focus?.(); });
  document.body.append(element);
  element.showModal();
  return element;
}

const COLOURS = ["#0b6e99", "#d9730d", "#2f855a", "#8a4fbf", "#c2334d", "#8a6d00", "#0f7c7c", "#a8518a", "#4a5fc1", "#5f6b76"];

/** The colour of a class: its own where it is one, else by its place. */
export function colourOf(schema, id) {
  const place = schema.classes.findIndex((c) => c.id === id);
  const own = place >= 0 ? schema.classes[place].color : "";
  return /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.test(own ?? "") ? own : COLOURS[Math.max(place, 0) % COLOURS.length];
}

/** The name of a class; what an old answer names may have been merged since. */
export function nameOf(schema, id) {
  return schema.classes.find((c) => c.id === id)?.name ?? String(id);
}

/** Classes that can still be given. */
export const inUse = (schema) => schema.classes.filter((c) => !c.into);

/** The schema of a project as the server tells it, with the key of each class: the server's rule is the only one. */
export const keyed = ({schema, hotkeys}) => ({...schema, hotkeys});

/** The key of each class in use, by its id; a class may have none. */
export const classKeys = (schema) => new Map(Object.entries(schema.hotkeys ?? {}).filter(([, key]) => key));
