// Small plots, drawn here: lines, bars, shares, and tables of counts in shades. Each is an image with words for those
// who do not see it.

import {h, s} from "./dom.js";

const SHADES = ["var(--accent)", "#d9730d", "#2f855a", "#8a4fbf", "#c2334d", "#8a6d00"];

const plain = (x) => (Number.isInteger(x) ? String(x) : Number(x.toPrecision(3)).toString());

/** About four round numbers from 0 to at least `top`. */
export function ticks(top) {
  if (!(top > 0)) return [0, 1];
  const raw = top / 4;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * size).find((m) => m >= raw);
  return Array.from({length: Math.ceil(top / step - 1e-9) + 1}, (_, i) => i * step);
}

/** Lines: `series` are `{name, points: [[x, y]]}`, x and y from 0; `xText` says an x in words. */
export function lines({series, label, xText = plain, yText = plain, bound = null}) {
  const [W, H, left, right, low] = [640, 220, 48, 110, 26];
  const points = series.flatMap((one) => one.points);
  const x0 = Math.min(...points.map((p) => p[0])), x1 = Math.max(...points.map((p) => p[0]), x0 + 1);
  const ys = ticks(Math.max(...points.map((p) => p[1]), bound ?? 0));
  const top = ys.at(-1);
  const X = (x) => left + (x - x0) / (x1 - x0) * (W - left - right), Y = (y) => H - low - y / top * (H - low - 10);
  const svg = s("svg", {viewBox: `0 0 ${W} ${H}`, class: "plot", role: "img", "aria-label": label});
  for (const y of ys) {
    svg.append(s("line", {x1: left, x2: W - right, y1: Y(y), y2: Y(y), class: "grid"}),
      s("text", {x: left - 8, y: Y(y) + 4, "text-anchor": "end"}, yText(y)));
  }
  if (bound !== null) {
    svg.append(s("line", {x1: left, x2: W - right, y1: Y(bound), y2: Y(bound), class: "bound"}),
      s("text", {x: W - right + 6, y: Y(bound) + 4}, "budget"));
  }
  for (const [x, anchor] of [[x0, "start"], [x1, "end"]]) svg.append(s("text", {x: X(x), y: H - 6, "text-anchor": anchor}, xText(x)));
  series.forEach((one, i) => {
    const path = one.points.map(([x, y], n) => `${n ? "L" : "M"}${X(x).toFixed(1)} ${Y(y).toFixed(1)}`).join("");
    const last = one.points.at(-1);
    if (!last) return;
    svg.append(s("path", {d: path, class: "line", stroke: SHADES[i % SHADES.length]}),
      s("circle", {cx: X(last[0]), cy: Y(last[1]), r: 3, fill: SHADES[i % SHADES.length]}),
      s("text", {x: X(last[0]) + 8, y: Y(last[1]) + 4, fill: SHADES[i % SHADES.length], class: "name"}, one.name));
  });
  return svg;
}

/** Horizontal bars: `rows` are `{name, value, text}`; `top` the longest there can be. */
export function bars(rows, {label, top = Math.max(...rows.map((r) => r.value), 1e-9)}) {
  return h("div", {class: "bars", role: "list", "aria-label": label}, rows.map((row) =>
    h("div", {role: "listitem"}, h("span", {class: "bar-name"}, row.name),
      h("span", {class: "bar-track"}, h("span", {class: "bar-fill", css: {width: `${Math.max(0, Math.min(100, 100 * row.value / top))}%`}})),
      h("span", {class: "number"}, row.text ?? plain(row.value)))));
}

/** One bar in parts, with a key beneath: `parts` are `{name, value, shade}`. */
export function shares(parts, label) {
  const all = parts.reduce((sum, part) => sum + part.value, 0) || 1;
  return h("div", {class: "shares"}, h("div", {class: "whole", role: "img", "aria-label": `${label}: ${parts.map((p) => `${p.name} ${p.value}`).join(", ")}`},
    parts.filter((p) => p.value > 0).map((p) => h("span", {class: "share", css: {"flex-grow": p.value, background: p.shade}}))),
  h("ul", {class: "key"}, parts.map((p) => h("li", {}, h("span", {class: "swatch", css: {"--swatch": p.shade}, "aria-hidden": "true"}), p.name,
    h("strong", {}, p.value), h("span", {class: "hint"}, `${Math.round(100 * p.value / all)} %`)))));
}

/** A table of counts or shares, darker where there is more of the row: `rows[i][j]` of truth i answered j. */
export function heat(rows, names, {caption, columns = names, text = plain}) {
  const cell = (value, row) => {
    const sum = row.reduce((a, b) => a + b, 0);
    const part = sum ? value / sum : 0;
    return h("td", {class: part > 0.55 ? "cell dark" : "cell", css: {"--part": `${Math.round(part * 100)}%`}, title: `${Math.round(part * 100)} % of the row`}, value ? text(value) : "");
  };
  return h("div", {class: "scroller", tabindex: "0", role: "region", "aria-label": caption}, h("table", {class: "heat"}, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, h("th", {scope: "col"}, h("span", {class: "hint"}, "is ↓ answered →")), columns.map((name) => h("th", {scope: "col"}, h("span", {}, name))))),
    h("tbody", {}, rows.map((row, i) => h("tr", {}, h("th", {scope: "row"}, names[i]), row.map((value) => cell(value, row)))))));
}

/** A figure that is one number with a word. */
export const figure = (name, value, note = "") => h("div", {class: "figure"}, h("p", {class: "hint"}, name), h("p", {class: "big"}, value), note && h("p", {class: "hint"}, note));

/** A plain table: `head` the column names, `rows` cells (text or elements); cells of numeric columns stand right. */
export function table(head, rows, {caption, numeric = []} = {}) {
  return h("div", {class: "scroller", tabindex: "0", role: "region", "aria-label": caption}, h("table", {class: "list"}, caption && h("caption", {class: "unseen"}, caption),
    h("thead", {}, h("tr", {}, head.map((name, i) => h("th", {scope: "col", class: numeric.includes(i) ? "number" : ""}, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, i) => h("td", {class: numeric.includes(i) ? "number" : ""}, cell)))))));
}
