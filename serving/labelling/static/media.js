// What is shown of an item: an image, a text, a sound, a row of a table.

import {fill, h} from "./dom.js";
import {Stage} from "./stage.js";

/** Begin to load what a task needs, before it is shown. */
export function preload(task) {
  const {url, type = ""} = task.media ?? {};
  if (!url || !own(url)) return null;
  if (type.startsWith("image/")) {
    const image = new Image();
    image.src = url;
    return image;
  }
  if (type.startsWith("audio/")) {
    const sound = new Audio();
    sound.preload = "auto";
    sound.src = url;
    return sound;
  }
  return null;
}

// Bytes come from this server alone, whatever an item says.
const own = (url) => new URL(url, location.href).origin === location.origin;

/** The view of a task: `{element, keys, stage, controls, close}`. `loaded` is what `preload` gave for it. */
export function view(task, schema, loaded = preload(task)) {
  const type = task.media?.type ?? "";
  if (loaded instanceof HTMLImageElement) return image(task, loaded);
  if (loaded instanceof HTMLAudioElement) return audio(task, loaded);
  if (type.startsWith("text/") && task.media?.url && own(task.media.url)) return text(task, fetchText(task.media.url));
  if (schema.medium === "text") return text(task, Promise.resolve(textOf(task.payload)));
  return row(task);
}

/** A small still view for lists: an image, or the first words. */
export function thumbnail(task) {
  if (task.media?.url && (task.media.type ?? "").startsWith("image/") && own(task.media.url)) {
    return h("img", {class: "thumb", src: task.media.url, alt: `Item ${task.item}`, loading: "lazy"});
  }
  const words = textOf(task.payload) || Object.entries(task.payload ?? {}).map(([k, v]) => `${k}: ${plain(v)}`).join(", ");
  return h("span", {class: "words"}, words.slice(0, 120) || task.item);
}

function image(task, loaded) {
  const stage = new Stage(loaded, `Item ${task.item}`);
  const element = h("div", {class: "view image"}, stage.element);
  loaded.addEventListener("error", () => {
    fill(element, h("p", {class: "broken", role: "alert"}, "The picture could not be shown. Skip it, and say so."));
  });
  const {width, height, ...told} = task.payload ?? {};
  if (!Object.keys(told).length) return {element, stage, keys: stage.keys(), controls: stage.controls(), close: () => stage.close()};
  return {element: h("div", {class: "view with-fields"}, element, fields(told)), stage, keys: stage.keys(),
    controls: stage.controls(), close: () => stage.close()};
}

async function fetchText(url) {
  const answer = await fetch(url, {credentials: "same-origin"});
  return answer.ok ? answer.text() : "The text could not be loaded.";
}

function text(task, coming) {
  const article = h("article", {class: "text", tabindex: "0", "aria-label": `Item ${task.item}`}, "…");
  coming.then((words) => { article.textContent = words; }, () => { article.textContent = "The text could not be loaded."; });
  return {element: h("div", {class: "view"}, article), keys: [], close() {}};
}

const textOf = (payload) => {
  const own = payload?.text ?? Object.values(payload ?? {}).find((value) => typeof value === "string");
  return own === undefined ? "" : String(own);
};

const plain = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "—"));

function fields(payload) {
  return h("dl", {class: "fields"}, Object.entries(payload).map(([name, value]) =>
    h("div", {}, h("dt", {}, name), h("dd", {class: typeof value === "number" ? "number" : ""}, plain(value)))));
}

function row(task) {
  const names = Object.keys(task.payload ?? {});
  const body = names.map((name) => {
    const value = task.payload[name];
    return h("tr", {}, h("th", {scope: "row"}, name), h("td", {class: typeof value === "number" ? "number" : ""}, plain(value)));
  });
  const table = h("table", {class: "row", "aria-label": `Item ${task.item}`}, h("tbody", {}, body));
  return {element: h("div", {class: "view scroll", tabindex: "0", role: "region", "aria-label": "Item"}, table), keys: [], close() {}};
}

const clock = (seconds) => {
  if (!Number.isFinite(seconds)) return "–:––";
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
};

function audio(task, sound) {
  const at = h("input", {type: "range", min: "0", max: "1", step: "any", value: "0", "aria-label": "Place in the sound", class: "seek"});
  const play = h("button", {type: "button", class: "play", "aria-label": "Play"}, "▶");
  const time = h("span", {class: "time"}, "0:00");
  const speed = h("select", {"aria-label": "Speed"}, [0.5, 0.75, 1, 1.25, 1.5, 2].map((x) => h("option", {value: x}, `${x}×`)));
  speed.value = "1";
  const toggle = () => (sound.paused ? sound.play().catch(() => {}) : sound.pause());
  const jump = (seconds) => { sound.currentTime = Math.max(0, Math.min(sound.duration || 0, sound.currentTime + seconds)); };
  const show = () => {
    play.textContent = sound.paused ? "▶" : "❚❚";
    play.setAttribute("aria-label", sound.paused ? "Play" : "Pause");
    time.textContent = `${clock(sound.currentTime)} / ${clock(sound.duration)}`;
    if (sound.duration) at.value = String(sound.currentTime / sound.duration);
    at.setAttribute("aria-valuetext", `${clock(sound.currentTime)} of ${clock(sound.duration)}`);
  };
  for (const name of ["play", "pause", "timeupdate", "loadedmetadata", "ended", "seeked"]) sound.addEventListener(name, show);
  play.addEventListener("click", toggle);
  at.addEventListener("input", () => { sound.currentTime = Number(at.value) * (sound.duration || 0); });
  speed.addEventListener("change", () => { sound.playbackRate = Number(speed.value); });
  const broken = h("p", {class: "broken", role: "alert", hidden: true}, "The sound cannot be played. Skip it, and say so.");
  sound.addEventListener("error", () => { broken.hidden = false; });
  show();
  const player = h("div", {class: "player", role: "group", "aria-label": `Sound of item ${task.item}`}, play, at, time, speed);
  return {
    element: h("div", {class: "view"}, h("div", {class: "sound"}, player, broken, Object.keys(task.payload ?? {}).length > 0 && fields(task.payload))),
    keys: [
      {key: " ", also: ["Ctrl+ "], label: "Play or pause (while writing: Ctrl Space)", run: toggle},
      {key: "ArrowLeft", label: "Two seconds back", run: () => jump(-2)},
      {key: "ArrowRight", label: "Two seconds on", run: () => jump(2)},
      {key: "r", also: ["Ctrl+ArrowLeft"], label: "Play from the start", run: () => { sound.currentTime = 0; sound.play().catch(() => {}); }},
    ],
    close() { sound.pause(); },
  };
}
