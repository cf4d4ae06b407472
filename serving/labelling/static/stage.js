// An image that can be zoomed and moved, with a drawing over it in the image's own pixels.

import {h, s} from "./dom.js";

const MOST = 40;

export class Stage {
  /** `image` is a loaded or loading <img>. `tool`, where given, takes pointers first: its `down(point, event)` says
   * whether it wants one, and then gets `move` and `up`. */
  constructor(image, label) {
    this.image = image;
    image.alt = label;
    image.draggable = false;
    this.overlay = s("svg", {class: "overlay", "aria-hidden": "false"});
    this.canvas = h("div", {class: "canvas"}, image, this.overlay);
    this.element = h("div", {class: "stage", tabindex: "0", role: "group", "aria-label": label}, this.canvas);
    this.tool = null;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.fitted = true;
    this.pointers = new Map();
    this.onscale = () => {};
    this.element.addEventListener("pointerdown", (e) => this.#down(e));
    this.element.addEventListener("pointermove", (e) => this.#move(e));
    for (const name of ["pointerup", "pointercancel"]) this.element.addEventListener(name, (e) => this.#up(e));
    this.element.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.zoom(Math.exp(-e.deltaY * (e.ctrlKey ? 0.01 : 0.0016)), e);
    }, {passive: false});
    this.watch = new ResizeObserver(() => { if (this.fitted) this.fit(); });
    this.watch.observe(this.element);
    if (image.complete && image.naturalWidth) queueMicrotask(() => this.#loaded());
    else image.addEventListener("load", () => this.#loaded(), {once: true});
  }

  get width() { return this.image.naturalWidth || 1; }
  get height() { return this.image.naturalHeight || 1; }

  #loaded() {
    this.overlay.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.fit();
    this.onload?.();
  }

  /** Close it: nothing is watched any more. */
  close() { this.watch.disconnect(); }

  fit() {
    const {clientWidth: w, clientHeight: t} = this.element;
    if (!w || !t) return;
    this.scale = Math.min(MOST, (w - 16) / this.width, (t - 16) / this.height);
    this.x = (w - this.width * this.scale) / 2;
    this.y = (t - this.height * this.scale) / 2;
    this.fitted = true;
    this.#place();
  }

  /** Zoom by a factor about the pointer of `event`, or the middle. */
  zoom(factor, event = null) {
    const box = this.element.getBoundingClientRect();
    const cx = event ? event.clientX - box.left : box.width / 2;
    const cy = event ? event.clientY - box.top : box.height / 2;
    const least = Math.min(1, (box.width - 16) / this.width, (box.height - 16) / this.height) / 2;
    const scale = Math.min(MOST, Math.max(least, this.scale * factor));
    this.x = cx - (cx - this.x) * scale / this.scale;
    this.y = cy - (cy - this.y) * scale / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.#place();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.#place();
  }

  #place() {
    const box = this.element;
    // Some of the image always stays in sight.
    const keep = 40;
    this.x = Math.min(box.clientWidth - keep, Math.max(keep - this.width * this.scale, this.x));
    this.y = Math.min(box.clientHeight - keep, Math.max(keep - this.height * this.scale, this.y));
    this.canvas.style.transform = `translate(${this.x}px, ${this.y}px)`;
    this.canvas.style.width = `${this.width * this.scale}px`;
    this.canvas.style.height = `${this.height * this.scale}px`;
    this.canvas.classList.toggle("blocky", this.scale > 3);
    this.onscale(this.scale);
  }

  /** Where a pointer is, in pixels of the image. */
  point(event) {
    const box = this.element.getBoundingClientRect();
    return {x: (event.clientX - box.left - this.x) / this.scale, y: (event.clientY - box.top - this.y) / this.scale};
  }

  /** The part of the image that is in sight, in its pixels. */
  view() {
    const x = Math.max(0, -this.x / this.scale), y = Math.max(0, -this.y / this.scale);
    return {x, y, right: Math.min(this.width, (this.element.clientWidth - this.x) / this.scale),
      bottom: Math.min(this.height, (this.element.clientHeight - this.y) / this.scale)};
  }

  #down(event) {
    if (event.button > 1) return;
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, {x: event.clientX, y: event.clientY});
    if (this.pointers.size === 2) {
      this.tool?.cancel?.();
      this.working = false;
      return;
    }
    this.working = event.button === 0 && Boolean(this.tool?.down(this.point(event), event));
    if (!this.working) this.element.classList.add("moving");
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const here = {x: event.clientX, y: event.clientY};
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const was = Math.hypot(before.x - other.x, before.y - other.y);
      const is = Math.hypot(here.x - other.x, here.y - other.y);
      this.pan((here.x - before.x) / 2, (here.y - before.y) / 2);
      if (was > 4) this.zoom(is / was, {clientX: (here.x + other.x) / 2, clientY: (here.y + other.y) / 2});
    } else if (this.working) this.tool.move(this.point(event), event);
    else this.pan(here.x - before.x, here.y - before.y);
    this.pointers.set(event.pointerId, here);
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    this.element.classList.remove("moving");
    if (this.working && this.pointers.size === 0) {
      this.working = false;
      this.tool.up(this.point(event), event);
    }
  }

  /** The buttons for those who have no wheel. */
  controls() {
    const button = (label, text, run) =>
      h("button", {type: "button", class: "tool", "aria-label": label, title: label, onclick: run}, text);
    return h("div", {class: "zoom", role: "group", "aria-label": "Zoom"},
      button("Zoom out (−)", "−", () => this.zoom(1 / 1.4)),
      button("Fit (F)", "Fit", () => this.fit()),
      button("Zoom in (+)", "+", () => this.zoom(1.4)));
  }

  keys() {
    const step = 48;
    return [
      {key: "+", also: ["="], label: "Zoom in", run: () => this.zoom(1.4)},
      {key: "-", label: "Zoom out", run: () => this.zoom(1 / 1.4)},
      {key: "f", label: "Fit to the window", run: () => this.fit()},
      {key: "ArrowLeft", shown: "Arrows", label: "Move the picture", run: () => this.pan(step, 0)},
      {key: "ArrowRight", hidden: true, run: () => this.pan(-step, 0)},
      {key: "ArrowUp", hidden: true, run: () => this.pan(0, step)},
      {key: "ArrowDown", hidden: true, run: () => this.pan(0, -step)},
    ];
  }
}
