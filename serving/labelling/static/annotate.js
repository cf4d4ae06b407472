// The page of annotators and reviewers.

import {Review} from "./review.js";
import {start} from "./shell.js";
import {Work} from "./work.js";

start({
  tabs: (roles) => [roles.includes("annotator") && ["label", "Label"], roles.includes("reviewer") && ["review", "Review"]].filter(Boolean),
  async run(main, {name, project, info, tab}) {
    const view = tab === "review" ? new Review(main, project, info) : new Work(main, project, info, name);
    await view.begin();
    return () => view.end();
  },
});
