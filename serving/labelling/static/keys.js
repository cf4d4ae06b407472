// Keyboard shortcuts: bound in layers, shown in one dialog, off while somebody writes text.

import {dialog, h, kbd} from "./dom.js";

const layers = [];
let single = localStorage.getItem("tidemill.keys") !== "off";

/** Bind keys until the returned function is called. A binding is `{key, label, run, also, shown, hidden}`; `key` is a
 * character, a name such as "Enter", or either after "Ctrl+". */
export function bind(bindings) {
  const layer = bindings.filter(Boolean);
  layers.push(layer);
  return () => { const at = layers.indexOf(layer); if (at >= 0) layers.splice(at, 1); };
}

const named = (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + key;
};

const writing = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || target.matches("textarea, select, input:not([type=radio]):not([type=checkbox]):not([type=range])"));

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || event.altKey || document.querySelector("dialog[open]")) return;
  const pressed = named(event);
  const plain = !pressed.startsWith("Ctrl+");
  if (writing(event.target)) {
    if (pressed === "Escape") { event.target.blur(); event.preventDefault(); return; }
    if (plain) return;
  }
  if (plain && !single && pressed.length === 1 && pressed !== "?") return;
  // What a focused control does itself stays its own.
  if ((pressed === "Enter" || pressed === " ") && event.target.closest?.("button, a, summary")) return;
  if (event.target.matches?.("input") && (pressed === " " || pressed.startsWith("Arrow"))) return;
  for (const layer of [...layers].reverse()) {
    const found = layer.find((b) => b.key === pressed || b.also?.includes(pressed));
    if (found) {
      event.preventDefault();
      found.run(event);
      return;
    }
  }
});

/** The dialog of all keys that mean something now. */
export function showKeys() {
  const rows = layers.flat().filter((b) => !b.hidden);
  const box = h("input", {type: "checkbox", id: "single-keys"});
  box.checked = single;
  box.addEventListener("change", () => {
    single = box.checked;
    localStorage.setItem("tidemill.keys", single ? "on" : "off");
  });
  const shown = dialog("Keys",
    h("dl", {class: "keys"}, rows.map((b) => h("div", {}, h("dt", {}, kbd(b.shown ?? pretty(b.key))), h("dd", {}, b.label)))),
    h("p", {}, h("label", {class: "check"}, box, " Single-key shortcuts")),
    h("form", {method: "dialog"}, h("button", {class: "primary"}, "Close")));
  return shown;
}

const PRETTY = {" ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Delete: "Del", Escape: "Esc"};
export const pretty = (key) => {
  const bare = key.replace("Ctrl+", "");
  return (key.startsWith("Ctrl+") ? "Ctrl " : "") + (PRETTY[bare] ?? (bare.length === 1 ? bare.toUpperCase() : bare));
};
