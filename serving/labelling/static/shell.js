// What the pages share: who is signed in, which project, and the bar at the top.

import {get, post} from "./api.js";
import {fill, h, kbd, notice} from "./dom.js";
import {bind, showKeys} from "./keys.js";
import {letIn, me} from "./session.js";

window.addEventListener("unhandledrejection", (event) => notice(event.reason?.message ?? String(event.reason), {kind: "error"}));

/** Let somebody in, choose the project, and call `run(main, {name, project, roles, info})`, which gives a function that
 * ends what it began. `tabs(roles)` are `[id, label]`; the chosen one is handed in as `tab`. */
export async function start({tabs, run, home}) {
  const main = document.getElementById("main");
  const top = document.getElementById("top");
  let end = () => {};
  let who = await me();
  document.addEventListener("signed-out", () => { if (who) { who = null; end(); open(); } });

  async function open() {
    fill(top);
    while (!who) {
      await letIn(main);
      who = await me();
    }
    await go();
  }

  async function go() {
    end();
    end = () => {};
    const wanted = new URLSearchParams(location.search);
    const projects = who.projects.filter((p) => tabs(p.roles).length);
    const found = projects.find((p) => p.project === wanted.get("project")) ?? projects[0];
    if (!found) {
      bar(null, [], "");
      const text = who.projects.length ? "Your roles open nothing here." : "You are in no project yet. Ask whoever runs it for an invitation.";
      fill(main, h("section", {class: "empty"}, h("h1", {}, "No project"), h("p", {}, text), home?.(who)));
      return;
    }
    const shown = tabs(found.roles);
    const tab = shown.some(([id]) => id === wanted.get("tab")) ? wanted.get("tab") : shown[0][0];
    bar(found, shown, tab);
    const info = await get(`/api/projects/${encodeURIComponent(found.project)}`);
    end = (await run(main, {name: who.name, project: found.project, roles: found.roles, info, tab, who})) ?? (() => {});
  }

  function address(project, tab) {
    history.replaceState(null, "", `${location.pathname}?${new URLSearchParams({project, tab})}`);
    return go();
  }

  function bar(found, shown, tab) {
    const projects = who.projects.filter((p) => tabs(p.roles).length);
    const choose = h("select", {"aria-label": "Project", id: "project", onchange: (e) => address(e.target.value, tab)},
      projects.map((p) => h("option", {value: p.project}, p.project)));
    if (found) choose.value = found.project;
    const here = location.pathname;
    const manages = who.projects.some((p) => p.roles.includes("manager"));
    const other = here === "/manage" ? h("a", {href: "/"}, "Label") : manages && h("a", {href: `/manage${location.search}`}, "Manage");
    fill(top, h("a", {class: "brand", href: here}, "Tidemill"), projects.length > 1 ? choose : h("span", {class: "only"}, found?.project ?? ""),
      h("nav", {"aria-label": "Views"}, shown.length > 1 && shown.map(([id, label]) => h("button", {type: "button", class: "tab", id: `tab-${id}`,
        "aria-current": id === tab ? "page" : null, onclick: () => address(found.project, id)}, label))),
      h("span", {class: "grow"}), other, h("button", {type: "button", class: "plain for-keys", onclick: showKeys}, "Keys ", kbd("?")),
      h("span", {class: "who"}, who.name),
      h("button", {type: "button", class: "plain", id: "logout", onclick: async () => { await post("/api/logout"); who = null; end(); end = () => {}; open(); }}, "Sign out"));
  }

  bind([{key: "?", label: "Show the keys", run: showKeys}]);
  await open();
}
