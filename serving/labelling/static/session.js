// Signing in, and joining by an invitation.

import {get, post} from "./api.js";
import {fill, h} from "./dom.js";

/** Who is signed in, `{name, projects}`, or null. */
export async function me() {
  try {
    return await get("/api/me");
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

/** The code of an invitation in the address. It stands behind #, so that no server's log has it. */
function invited() {
  return new URLSearchParams(location.hash.slice(1)).get("join") ?? "";
}

const field = (id, label, props, hint = null) => h("div", {class: "field"}, h("label", {for: id}, label),
  h("input", {id, name: id, required: true, "aria-describedby": hint && `${id}-hint`, ...props}), hint && h("p", {class: "hint", id: `${id}-hint`}, hint));

/** Show the page that lets in, and wait until somebody is. */
export function letIn(place) {
  return new Promise((done) => {
    const show = (joining) => fill(place, joining ? card("join", "Join", "You were invited. Choose a password; your name is in the invitation.",
      [field("code", "Invitation code", {value: invited(), autocomplete: "one-time-code", spellcheck: "false"}),
        field("password", "New password", {type: "password", minlength: "10", autocomplete: "new-password"}, "10 characters or more.")],
      "Join", async (form) => { await post("/api/join", form); history.replaceState(null, "", location.pathname + location.search); },
      "I have a password already", () => show(false))
      : card("login", "Sign in", "", [field("name", "Name", {autocomplete: "username", spellcheck: "false", autocapitalize: "none"}),
        field("password", "Password", {type: "password", autocomplete: "current-password"})],
      "Sign in", (form) => post("/api/login", form), "I was invited", () => show(true)));

    function card(id, title, lead, fields, verb, run, other, instead) {
      const wrong = h("p", {class: "wrong", role: "alert", id: `${id}-wrong`});
      const send = h("button", {class: "primary wide"}, verb);
      const form = h("form", {class: "card narrow", id, "aria-labelledby": `${id}-title`}, h("p", {class: "brand"}, "Tidemill"),
        h("h1", {id: `${id}-title`}, title), lead && h("p", {class: "lead"}, lead), fields, wrong, send,
        h("button", {type: "button", class: "plain wide", onclick: instead}, other));
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        send.disabled = true;
        wrong.textContent = "";
        try {
          await run(Object.fromEntries(new FormData(form)));
          done();
        } catch (error) {
          wrong.textContent = error.message;
          send.disabled = false;
          form.querySelector("input[type=password]").focus();
        }
      });
      queueMicrotask(() => [...form.querySelectorAll("input")].find((input) => !input.value)?.focus());
      return form;
    }
    show(Boolean(invited()));
  });
}
