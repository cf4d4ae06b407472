// Drafts: what is not sent yet, kept in the browser at once and with the server soon after, so that a reload, or another
// device, goes on where one was.

import {post, project as at} from "./api.js";

const PREFIX = "tidemill.draft.";
const SOON = 600;

export class Drafts {
  constructor(project, saved) {
    this.project = project;
    this.saved = saved;
    // What was left of leases long over.
    for (const key of Object.keys(localStorage).filter((k) => k.startsWith(PREFIX))) {
      if (!(JSON.parse(localStorage.getItem(key)).until > Date.now())) localStorage.removeItem(key);
    }
  }

  /** What was begun of a task, here or elsewhere; undefined where nothing was. */
  of(task) {
    const here = localStorage.getItem(PREFIX + task.lease);
    if (here !== null) return JSON.parse(here).value;
    return task.draft ?? undefined;
  }

  keep(task, value) {
    localStorage.setItem(PREFIX + task.lease, JSON.stringify({value, until: Date.now() + 86_400_000}));
    clearTimeout(this.timer);
    this.saved("Saving…");
    this.timer = setTimeout(async () => {
      try {
        await post(`${at(this.project)}/drafts`, {lease: task.lease, value});
        this.saved("Draft saved");
      } catch (error) {
        this.saved(error.status === 0 ? "Draft kept in this browser" : "");
      }
    }, SOON);
  }

  drop(task) {
    clearTimeout(this.timer);
    localStorage.removeItem(PREFIX + task.lease);
  }
}
