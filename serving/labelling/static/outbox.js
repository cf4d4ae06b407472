// Answers on their way: kept in the browser until the server has them, sent in order, again where it was not reached.
// An answer's id is its lease's, so that one sent twice is one.

import {post, project as at} from "./api.js";

const AGAIN = 3000;

export class Outbox {
  /** `taken(entry, answer)` and `refused(entry, error)` are told what became of each; `waiting(n)` how many wait
   * because the server was not reached (0: none). */
  constructor(project, {taken, refused, waiting}) {
    this.project = project;
    this.key = `tidemill.outbox.${project}`;
    this.told = {taken, refused, waiting};
    this.entries = JSON.parse(localStorage.getItem(this.key) ?? "[]");
    this.running = null;
    window.addEventListener("online", () => this.flush());
  }

  put(entry) {
    this.entries.push(entry);
    this.#keep();
    return this.flush();
  }

  /** Whether an answer under this lease is on its way. */
  has(lease) { return this.entries.some((entry) => entry.lease === lease); }

  /** Send what there is; resolves once nothing is left or the server is not reached. */
  flush() {
    this.running ??= this.#run().finally(() => { this.running = null; });
    return this.running;
  }

  async #run() {
    clearTimeout(this.timer);
    while (this.entries.length) {
      const entry = this.entries[0];
      const {lease, value, seconds} = entry;
      try {
        const answer = await post(`${at(this.project)}/answers`, {lease, value, seconds});
        this.#first();
        this.told.taken(entry, answer);
      } catch (error) {
        if (error.status === 401) return;
        if (error.status === 0 || error.status === 429 || error.status >= 500) {
          this.told.waiting(this.entries.length);
          this.timer = setTimeout(() => this.flush(), AGAIN);
          return;
        }
        this.#first();
        this.told.refused(entry, error);
      }
    }
    this.told.waiting(0);
  }

  #first() { this.entries.shift(); this.#keep(); }
  #keep() { localStorage.setItem(this.key, JSON.stringify(this.entries)); }
}
