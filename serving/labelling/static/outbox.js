// Answers on their way: kept in the browser until the server has them, sent in order, again where it was not reached.
// An answer's id is its lease's, so that one sent twice is one. Each is kept for itself, by person and project: several
// tabs, and people who share a browser, write over nothing of each other's.

import {get, post, project as at} from "./api.js";

const AGAIN = 3000;

export class Outbox {
  /** `taken(entry, answer)` and `refused(entry, error)` are told what became of each; `waiting(n)` how many wait
   * because the server was not reached (0: none). */
  constructor(project, person, {taken, refused, waiting}) {
    this.project = project;
    this.person = person;
    this.prefix = `tidemill.outbox/${encodeURIComponent(person)}/${encodeURIComponent(project)}/`;
    this.told = {taken, refused, waiting};
    this.running = null;
    window.addEventListener("online", () => this.flush());
  }

  put(entry) {
    localStorage.setItem(this.prefix + entry.lease, JSON.stringify({...entry, at: Date.now()}));
    return this.flush();
  }

  /** Whether an answer under this lease is on its way. */
  has(lease) { return localStorage.getItem(this.prefix + lease) !== null; }

  /** What waits now, the oldest first: read anew each time, since other tabs send and add. */
  #entries() {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix));
    return keys.map((key) => JSON.parse(localStorage.getItem(key))).filter(Boolean).sort((a, b) => a.at - b.at);
  }

  /** Send what there is; resolves once nothing is left or the server is not reached. */
  flush() {
    this.running ??= this.#run().finally(() => { this.running = null; });
    return this.running;
  }

  async #run() {
    clearTimeout(this.timer);
    for (let entries = this.#entries(); entries.length; entries = this.#entries()) {
      const [entry] = entries;
      const {lease, value, seconds} = entry;
      try {
        const answer = await post(`${at(this.project)}/answers`, {lease, value, seconds});
        this.#done(lease);
        this.told.taken(entry, answer);
      } catch (error) {
        if (error.status === 401) return;
        if (error.status === 0 || error.status === 429 || error.status >= 500) return this.#later(entries.length);
        // Another tab may have signed somebody else in: to them it is no lease of theirs, and it waits for its person.
        const who = await get("/api/me").catch((failed) => failed);
        if (who.status === 0 || who.status >= 500) return this.#later(entries.length);
        if (who.name !== this.person) return;
        this.#done(lease);
        this.told.refused(entry, error);
      }
    }
    this.told.waiting(0);
  }

  #later(waiting) {
    this.told.waiting(waiting);
    this.timer = setTimeout(() => this.flush(), AGAIN);
  }

  #done(lease) { localStorage.removeItem(this.prefix + lease); }
}
