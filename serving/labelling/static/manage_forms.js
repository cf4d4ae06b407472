// What a manager changes: members, items, classes, settings; and a new project.

import {get, post, project as at} from "./api.js";
import {colourOf, dialog, fill, h, inUse, nameOf, notice} from "./dom.js";
import {itemsOf} from "./files.js";
import {table} from "./plots.js";

const ROLES = ["annotator", "reviewer", "manager"];
const words = (text) => text.split(",").map((w) => w.trim()).filter(Boolean);

/** A form: `fields` are elements, `run(data, form)` does it; what goes wrong is said in it. */
function form(id, title, fields, verb, run) {
  const wrong = h("p", {class: "wrong", role: "alert"});
  const send = h("button", {class: "primary"}, verb);
  const element = h("form", {class: "card form", id, "aria-label": title}, h("h2", {}, title), fields, wrong, h("div", {class: "actions"}, send));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    wrong.textContent = "";
    try {
      await run(new FormData(element), element);
    } catch (error) {
      wrong.textContent = error.message;
    }
    send.disabled = false;
  });
  return element;
}

const field = (name, label, props = {}, hint = "") => {
  const id = `f-${name}`;
  const made = props.options ? h("select", {id, name, ...props, options: null}, props.options.map((o) => h("option", {value: o[0], selected: o[0] === props.value}, o[1])))
    : props.rows ? h("textarea", {id, name, ...props}) : h("input", {id, name, ...props});
  return h("div", {class: "field"}, h("label", {for: id}, label), made, hint && h("p", {class: "hint"}, hint));
};

const roleBoxes = (chosen) => h("fieldset", {}, h("legend", {}, "Roles"), h("div", {class: "inline"}, ROLES.map((role) =>
  h("label", {class: "check"}, h("input", {type: "checkbox", name: "roles", value: role, checked: chosen.includes(role)}), role))));

// Members.

export async function members(place, {project}, again) {
  const found = (await get(`${at(project)}/members`)).members.filter((m) => m.state !== "removed");
  const invite = form("invite", "Invite somebody", [
    field("name", "Name", {required: true, pattern: "[a-z0-9][a-z0-9_.\\-]*", autocomplete: "off", autocapitalize: "none", spellcheck: "false"}, "Lower-case letters, digits, - and _."),
    roleBoxes(["annotator"]), field("skills", "Skills", {placeholder: "french, radiology"}, "Words that items can ask for, parted by commas.")],
  "Invite", async (data) => {
    const answer = await post(`${at(project)}/members`, {name: data.get("name"), roles: data.getAll("roles"), skills: words(data.get("skills"))});
    if (answer.code) showCode(data.get("name"), answer.code);
    else if (answer.state === "joined") notice(`${data.get("name")} has an account, and is a member now.`);
    else notice(`${data.get("name")} was invited before, and is a member once they join; another code is the owner's to make.`);
    await again();
  });
  fill(place, h("div", {class: "columns"}, h("section", {class: "card"},
    table(["Name", "Roles", "State", "Skills", ""], found.map((m) => [h("strong", {}, m.member), m.roles.join(", "),
      m.restricted ? h("span", {class: "bad"}, `restricted: ${m.restricted}`) : m.state, (m.skills ?? []).join(", "),
      h("button", {type: "button", onclick: () => change(m)}, "Change")]), {caption: "Members"})), invite));

  function change(m) {
    const name = m.member;
    const send = async (body) => {
      try {
        await post(`${at(project)}/members/${encodeURIComponent(name)}`, body);
        box.close();
        await again();
      } catch (error) { notice(error.message, {kind: "error"}); }
    };
    const body = h("form", {}, roleBoxes(m.roles), field("skills", "Skills", {value: (m.skills ?? []).join(", ")}),
      field("restricted", "Restricted, because", {value: m.restricted ?? "", placeholder: "not restricted"}, "Nothing is leased to who is restricted. Empty it to let them go on."),
      h("div", {class: "actions"}, h("button", {class: "primary"}, "Save"),
        h("button", {type: "button", class: "danger", onclick: () => { if (confirm(`Remove ${name} from the project?`)) send({removed: true}); }}, "Remove"),
        h("button", {type: "button", onclick: () => box.close()}, "Cancel")));
    body.addEventListener("submit", (event) => {
      event.preventDefault();
      const data = new FormData(body);
      send({roles: data.getAll("roles"), skills: words(data.get("skills")), restricted: data.get("restricted").trim()});
    });
    const box = dialog(name, body);
  }
}

function showCode(name, code) {
  const link = `${location.origin}/#join=${encodeURIComponent(code)}`;
  const shown = h("input", {readonly: true, value: link, "aria-label": "Link of the invitation", id: "invitation"});
  dialog(`Invitation for ${name}`, h("p", {}, "Give this link to them and to nobody else. It is shown this once, and makes one account."), h("div", {class: "field"}, shown),
    h("p", {class: "hint"}, "Code: ", h("code", {id: "code"}, code)),
    h("form", {method: "dialog"}, h("div", {class: "actions"}, h("button", {type: "button", onclick: () => { shown.select(); navigator.clipboard?.writeText(link); }}, "Copy"), h("button", {class: "primary"}, "Done"))));
}

// Items.

const BATCH = 20;

export function items(place, {project, info}) {
  const {medium} = info.schema;
  const told = h("div", {class: "upload", role: "status"});
  const accept = {image: "image/png,image/jpeg", audio: "audio/*,.wav", text: ".txt,.csv,.tsv,.jsonl,.ndjson,text/plain", row: ".csv,.tsv,.jsonl,.ndjson"}[medium];
  const hint = {image: "Images, each an item; its name is the item's id.", audio: "Sounds, each an item; its name is the item's id.",
    text: "A text, an item by its name; or CSV with a header, or JSON lines: each row is an item, its field text is the text.",
    row: "CSV with a header, or JSON lines: each row is an item."}[medium];
  const add = form("upload", "Add items", [field("files", "Files", {type: "file", multiple: true, accept}, hint),
    field("folder", "Or a folder", {type: "file", webkitdirectory: true}, "Each file of it by its path in the folder; the folder it lies in is its group, unless one is named."),
    field("prefix", "Before each id", {maxlength: "100"}, "For a second source with the same names: an id that another item has is refused."),
    field("assigned", "Assigned to", {placeholder: "ann, bob"}, "Names of annotators who alone have these items, parted by commas; empty: whoever."),
    field("group", "Group", {}, "Scene, patient, camera: what belongs together stays in one split."), field("skills", "Skills asked for", {}),
    field("priority", "Priority", {type: "number", step: "any", value: "0"}, "The highest are leased first.")],
  "Add", async (data, element) => {
    const files = ["files", "folder"].flatMap((name) => [...element.elements[name].files]);
    if (!files.length) throw new Error("No file is chosen.");
    const shared = {skills: words(data.get("skills")), priority: Number(data.get("priority")) || 0, annotators: words(data.get("assigned"))};
    const made = await itemsOf(files, medium, {prefix: data.get("prefix").trim(), group: data.get("group").trim()});
    let done = 0, known = 0;
    for (let i = 0; i < made.length; i += BATCH) {
      const batch = await Promise.all(made.slice(i, i + BATCH).map(async (make) => ({...await make(), ...shared})));
      const answer = await post(`${at(project)}/items`, {items: batch, reason: "import"});
      done += answer.added.length;
      known += answer.known.length;
      fill(told, h("p", {}, `${done} of ${made.length} added${known ? `, ${known} were known` : ""}`),
        h("progress", {max: made.length, value: done + known, "aria-label": "Upload"}));
    }
    element.reset();
  });
  const assign = form("assign", "Assign items", [
    field("ids", "Ids", {rows: "3", required: true}, "One a line, of items that are there."),
    field("to", "To", {placeholder: "ann, bob"}, "Who alone has them from now on; empty: whoever. What others have answered stays.")],
  "Assign", async (data, element) => {
    const ids = data.get("ids").split("\n").map((line) => line.trim()).filter(Boolean);
    const {assigned} = await post(`${at(project)}/assignments`, {ids, annotators: words(data.get("to"))});
    notice(`${assigned.length} ${assigned.length === 1 ? "item is" : "items are"} assigned.`);
    element.reset();
  });
  fill(place, h("div", {class: "columns"}, add, h("div", {class: "view-of"}, h("section", {class: "card"}, h("h2", {}, "Upload"), told,
    h("p", {class: "hint"}, "What was added already is known again by its id, so that an upload which broke off can simply be repeated.")), assign)));
}

// Classes.

export function classes(place, {project, info, hotkeys}, again) {
  const {schema} = info;
  const change = async (changes) => { await post(`${at(project)}/schema`, {changes}); notice("Changed; answers under earlier versions keep their meaning."); await again(); };
  const live = inUse(schema);
  const shown = h("section", {class: "card"}, h("h2", {}, `Classes, version ${schema.version}`), table(["Class", "Id", "Key", ""], schema.classes.map((c) => [
    h("span", {class: "chip"}, h("span", {class: "swatch", css: {"--swatch": colourOf(schema, c.id)}, "aria-hidden": "true"}), c.name), h("code", {}, c.id), hotkeys[c.id] ?? "",
    c.into ? `merged into ${nameOf(schema, c.into)}` : h("span", {class: "actions"}, h("button", {type: "button", onclick: () => rename(c)}, "Rename"),
      live.length > 1 && h("button", {type: "button", onclick: () => merge(c)}, "Merge"))]), {caption: "Classes"}));
  const add = form("add-class", "Add a class", [field("id", "Id", {required: true, maxlength: "100"}, "Never changes; answers name it."), field("name", "Name", {maxlength: "100"}),
    field("hotkey", "Key", {maxlength: "1", pattern: "[A-Za-z0-9]"}, "A digit, or a letter but a, f, h, n, r, s and u, which mean something else."), field("color", "Colour", {type: "color", value: "#0b6e99"})],
  "Add", (data) => change([{op: "add", id: data.get("id").trim(), name: data.get("name").trim(), hotkey: data.get("hotkey"), color: data.get("color")}]));
  const categorical = ["single", "multi", "boxes"].includes(schema.kind);
  fill(place, categorical ? h("div", {class: "columns"}, shown, add) : h("section", {class: "card"}, h("h2", {}, "No classes"), h("p", {}, `A project of kind ${schema.kind} has none.`)));

  function asking(title, body, changes) {
    const wrong = h("p", {class: "wrong", role: "alert"});
    const asked = h("form", {}, body, wrong, h("div", {class: "actions"}, h("button", {class: "primary"}, "Change"), h("button", {type: "button", onclick: () => box.close()}, "Cancel")));
    asked.addEventListener("submit", async (event) => {
      event.preventDefault();
      try { await change(changes(new FormData(asked))); box.close(); } catch (error) { wrong.textContent = error.message; }
    });
    const box = dialog(title, asked);
    asked.querySelector("input")?.select();
  }

  function rename(c) {
    asking(`Rename ${c.name}`, field("name", "New name", {value: c.name, required: true, maxlength: "100"}), (data) => [{op: "rename", id: c.id, name: data.get("name").trim()}]);
  }

  function merge(c) {
    asking(`Merge ${c.name} into another class`, [h("p", {}, "Every answer that names it counts as the other one from now on. This cannot be undone."),
      field("into", "Into", {options: live.filter((other) => other.id !== c.id).map((other) => [other.id, other.name])})], (data) => [{op: "merge", id: c.id, into: data.get("into")}]);
  }
}

// Settings.

export function settings(place, {project, info}, again) {
  const number = (name, label, value, hint, props = {}) => field(name, label, {type: "number", step: "any", value, ...props}, hint);
  const set = form("settings", "Rules of the project", [
    field("instructions", "Instructions for annotators", {rows: "6", value: info.schema.instructions}),
    h("div", {class: "pair"}, number("least", "Answers an item, at least", info.overlap[0], "", {min: 1, step: 1}), number("most", "at most", info.overlap[1], "", {min: 1, step: 1})),
    number("sure", "Sure enough at", info.sure, "An item is asked no more once its label is at least this probable.", {min: 0, max: 1}),
    h("div", {class: "pair"}, number("cost", "Price of an answer", info.cost, "", {min: 0}), number("budget", "Budget", info.budget ?? "", "Empty: no bound.", {min: 0})),
    number("lease", "Seconds for an item", info.lease, "", {min: 1}),
    field("rules", "Quality rules (JSON)", {rows: "8", value: JSON.stringify(info.rules ?? [], null, 1), spellcheck: "false"},
      'For example {"collector": "gold", "rate": 0.1, "below": 0.6, "least": 5, "action": "restrict"}')],
  "Save", async (data) => {
    let rules;
    try { rules = JSON.parse(data.get("rules") || "[]"); } catch { throw new Error("The rules are no JSON."); }
    await post(`${at(project)}/settings`, {instructions: data.get("instructions"), overlap: [Number(data.get("least")), Number(data.get("most"))], sure: Number(data.get("sure")),
      cost: Number(data.get("cost")), budget: data.get("budget") === "" ? null : Number(data.get("budget")), lease: Number(data.get("lease")), rules});
    notice("Saved.");
    await again();
  });
  const close = h("section", {class: "card form"}, h("h2", {}, info.closed ? "The project is closed" : "Close the project"),
    h("p", {class: "hint"}, "While it is closed nothing is leased, and no answer is taken. It can be opened again."),
    h("div", {class: "actions"}, h("button", {type: "button", class: info.closed ? "" : "danger", id: "close", onclick: async () => {
      await post(`${at(project)}/close`, {closed: !info.closed});
      await again();
    }}, info.closed ? "Open it again" : "Close it")));
  fill(place, h("div", {class: "columns"}, set, close));
}

/** The form of a new project; `made(name)` is called once it is there. */
export function newProject(made) {
  return form("new-project", "New project", [
    field("project", "Name", {required: true, pattern: "[a-z0-9][a-z0-9_.\\-]*", autocomplete: "off"}, "The stream whose items are labelled: its events are data.<name>."),
    h("div", {class: "pair"}, field("kind", "Kind", {options: [["single", "One class"], ["multi", "Several classes"], ["boxes", "Boxes"], ["transcription", "Transcription"], ["rating", "Rating"]]}),
      field("medium", "Of", {options: [["image", "Images"], ["text", "Texts"], ["audio", "Sounds"], ["row", "Rows"]]})),
    field("classes", "Classes", {rows: "4"}, "One a line; empty for transcription and rating."),
    field("instructions", "Instructions", {rows: "3"}),
    h("div", {class: "pair"}, field("cost", "Price of an answer", {type: "number", step: "any", min: 0, value: "0"}), field("budget", "Budget", {type: "number", step: "any", min: 0}, "Empty: no bound."))],
  "Make it", async (data) => {
    const names = data.get("classes").split("\n").map((line) => line.trim()).filter(Boolean);
    const project = data.get("project").trim();
    await post("/api/projects", {project, schema: {kind: data.get("kind"), medium: data.get("medium"), instructions: data.get("instructions"),
      classes: names.map((name) => ({id: name.toLowerCase(), name}))}, cost: Number(data.get("cost")) || 0, budget: data.get("budget") === "" ? null : Number(data.get("budget"))});
    await made(project);
  });
}
