// The manager's page.

import {get, project as at} from "./api.js";
import {fill, h, notice} from "./dom.js";
import {classes, items, members, newProject, settings} from "./manage_forms.js";
import {disputes, overview, quality} from "./manage_views.js";
import {start} from "./shell.js";

const VIEWS = {overview, quality, disputes, items, members, classes, settings};
const TABS = [["overview", "Overview"], ["quality", "Quality"], ["disputes", "Disputes"], ["items", "Items"], ["members", "Members"], ["classes", "Classes"], ["settings", "Settings"]];

const goTo = (project) => location.assign(`/manage?${new URLSearchParams({project})}`);

start({
  tabs: (roles) => (roles.includes("manager") ? TABS : []),
  home: (who) => who.maker && newProject(goTo),
  async run(main, {project, tab, who}) {
    let ended = false;
    let end = null;
    async function show() {
      end?.();
      end = null;
      const {project: info, hotkeys} = await get(`${at(project)}/settings`);
      const body = h("div", {class: "view-of", id: `view-${tab}`});
      fill(main, h("div", {class: "page"}, h("div", {class: "head"}, h("h1", {}, TABS.find(([id]) => id === tab)[1]),
        who.maker && tab === "settings" && h("details", {class: "another"}, h("summary", {}, "New project"), newProject(goTo))), body));
      const ending = await VIEWS[tab](body, {project, info, hotkeys}, show);
      if (ended) ending?.(); else end = ending ?? null;
    }
    try {
      await show();
    } catch (error) {
      if (error.status !== 401) notice(error.message, {kind: "error"});
    }
    return () => { ended = true; end?.(); };
  },
});
