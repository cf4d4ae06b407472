// What a manager looks at: how far it is, how well annotators agree, what is disputed, what it costs.

import {get, project as at} from "./api.js";
import {chip, shown} from "./choice.js";
import {fill, h, nameOf} from "./dom.js";
import {thumbnail} from "./media.js";
import {bars, figure, heat, lines, shares, table} from "./plots.js";

const percent = (x) => (x === null || x === undefined ? "–" : `${Math.round(x * 100)} %`);
const kappa = (x) => (x === null || x === undefined ? "–" : x.toFixed(2));
export const money = (x) => (x === null || x === undefined ? "–" : x.toLocaleString("en-GB", {minimumFractionDigits: 2, maximumFractionDigits: 2}));
const count = (x) => x.toLocaleString("en-GB");

const LIVE = 4000;
const MOST = 900;

/** Progress and money, looked at again while the page is open. Gives what ends it. */
export async function overview(place, {project, info}) {
  const seen = [];
  let timer;
  let ended = false;
  async function look() {
    const [progress, costs] = await Promise.all([get(`${at(project)}/progress`), get(`${at(project)}/costs`)]);
    if (ended) return;
    if (seen.length > MOST) seen.shift();
    seen.push([Date.now(), progress.answers, progress.settled]);
    show(progress, costs);
    timer = setTimeout(() => look().catch(() => {}), LIVE);
  }
  function show(p, c) {
    const under = Math.max(0, p.items - p.settled - p.unanswered);
    const beside = [p.outside && `${count(p.outside)} answered elsewhere`, p.gold && `and ${count(p.gold)} gold questions`];
    fill(place, h("div", {class: "figures"},
      figure("Items", count(p.items), beside.filter(Boolean).join(", ")), figure("Settled", percent(p.items ? p.settled / p.items : 0), `${count(p.settled)} of ${count(p.items)}`),
      figure("Answers", count(p.answers), `${count(p.leased)} in hand now`), figure("Disputed", count(p.disputed), [p.doubted && `${count(p.doubted)} doubted`, p.reviewed && `${count(p.reviewed)} reviewed`].filter(Boolean).join(", ")),
      figure("Spent", money(c.spent), c.budget === null ? "no bound" : `of ${money(c.budget)}`)),
    p.waiting > 0 && !p.closed && h("p", {class: "hint", role: "status"}, `${count(p.waiting)} ${p.waiting === 1 ? "item waits" : "items wait"} for the consensus; where it does not come within five minutes, more answers are asked for.`),
    p.closed && h("p", {class: "banner", role: "status"}, "The project is closed: nothing is leased."),
    h("div", {class: "columns"}, h("section", {class: "card"}, h("h2", {}, "Items"), shares([
      {name: "Settled", value: p.settled, shade: "var(--accent)"}, {name: "Under way", value: under, shade: "#8fb9cc"},
      {name: "Unanswered", value: p.unanswered, shade: "var(--well)"}], "Items"), rate()), spending(c)),
    Object.keys(p.classes).length > 0 && h("section", {class: "card"}, h("h2", {}, "Settled items by class"),
      bars(Object.entries(p.classes).map(([id, n]) => ({name: chip({...info.schema, kind: "single"}, id), value: n, text: count(n)})), {label: "Settled items by class"})));
  }
  function rate() {
    if (seen.length < 3) return null;
    const from = seen[0][0];
    const minutes = ([t]) => (t - from) / 60_000;
    return h("figure", {}, lines({label: "Answers and settled items since this page was opened", xText: (x) => `${Math.round(x * 10) / 10} min`,
      series: [{name: "answers", points: seen.map((one) => [minutes(one), one[1]])}, {name: "settled", points: seen.map((one) => [minutes(one), one[2]])}]}),
    h("figcaption", {class: "hint"}, "Since this page was opened"));
  }
  await look();
  return () => { ended = true; clearTimeout(timer); };
}

function spending(c) {
  const by = Object.entries(c.by).sort((p, q) => q[1] - p[1]);
  return h("section", {class: "card"}, h("h2", {}, "Money"),
    c.budget !== null && shares([{name: "Spent", value: c.spent, shade: "var(--accent)"}, {name: "In hand", value: c.leased, shade: "#8fb9cc"},
      {name: "Left", value: Math.max(0, Number((c.left - c.leased).toFixed(6))), shade: "var(--well)"}], "Budget"),
    h("p", {class: "hint"}, `${money(c.cost)} an answer`, c.per_settled !== null && `, ${money(c.per_settled)} a settled item`),
    by.length > 0 && h("div", {}, h("h3", {}, "By annotator"), bars(by.map(([name, value]) => ({name, value, text: money(value)})), {label: "Money by annotator"})));
}

export async function quality(place, {project, info}) {
  const [{annotators}, agreement] = await Promise.all([get(`${at(project)}/annotators`), get(`${at(project)}/agreement`)]);
  const active = annotators.filter((a) => a.answers || a.roles.includes("annotator"));
  const name = (id) => nameOf(info.schema, id);
  const detail = h("div", {class: "matrices"});
  const classes = Object.entries(agreement.classes).filter(([, value]) => value !== null);
  fill(place, h("div", {class: "figures"},
    figure("Krippendorff's alpha", kappa(agreement.alpha), `${count(agreement.items)} items with two answers or more`),
    agreement.fleiss !== null && figure("Fleiss' kappa", kappa(agreement.fleiss), "1 is perfect, 0 is chance")),
  h("section", {class: "card"}, h("h2", {}, "Annotators"), table(["Name", "Answers", "With consensus", "On gold", "Median time", "Skips", "Money", "State"], active.map((a) => [h("strong", {}, a.name),
    count(a.answers), percent(a.agreement), percent(a.gold), a.seconds === null ? "–" : `${a.seconds.toFixed(1)} s`, count(a.skips), money(a.money),
    a.restricted ? h("span", {class: "bad"}, `restricted: ${a.restricted}`) : a.review ? h("span", {class: "bad"}, `to be reviewed: ${a.review}`) : a.state]),
  {caption: "Annotators", numeric: [1, 2, 3, 4, 5, 6]})),
  h("div", {class: "columns"},
    classes.length > 0 && h("section", {class: "card"}, h("h2", {}, "Agreement by class"), h("p", {class: "hint"}, "Krippendorff's alpha of each class against the rest"),
      bars(classes.sort((p, q) => q[1] - p[1]).map(([id, value]) => ({name: chip({...info.schema, kind: "single"}, id), value: Math.max(0, value), text: kappa(value)})), {label: "Agreement by class", top: 1})),
    agreement.pairs.length > 0 && h("section", {class: "card"}, h("h2", {}, "Agreement of pairs"), h("p", {class: "hint"}, "Cohen's kappa"),
      table(["", "", "Items", "Kappa"], agreement.pairs.map((p) => [...p.annotators, count(p.items), kappa(p.cohen)]), {caption: "Agreement of pairs", numeric: [2, 3]}))),
  detail);
  fill(detail, confusions("What annotators mistake for what", "what the consensus says", active, "confusion", name),
    confusions("What annotators mistake gold for", "the known answer of gold questions", active, "gold_confusion", name));
}

const MOST_MATRICES = 12;
const right = (m) => m.reduce((sum, row, i) => sum + row[i], 0);
const all = (m) => m.flat().reduce((sum, n) => sum + n, 0);

/** Matrices of each annotator under a heading; of several classes one for each that somebody was wrong on, the worst first. */
function confusions(title, truth, active, which, name) {
  const cards = active.flatMap((a) => {
    const found = a[which];
    if (!found) return [];
    if (Array.isArray(found)) return all(found) ? [heat(found, a.classes.map((id) => (id === "" ? "no box" : name(id))), {caption: a.name})] : [];
    const wrong = Object.entries(found).filter(([, m]) => all(m) > right(m)).sort(([, p], [, q]) => all(q) - right(q) - all(p) + right(p));
    return wrong.slice(0, MOST_MATRICES).map(([id, m]) => heat(m, ["no", "yes"], {caption: `${a.name}: ${name(id)}`}));
  });
  if (!cards.length) return null;
  return [h("h2", {}, title), h("p", {class: "hint"}, `Rows: ${truth}. Columns: what the annotator answered. Darker: more of the row.`),
    h("div", {class: "grid-of"}, cards.map((card) => h("section", {class: "card"}, card)))];
}

export async function disputes(place, {project, info}) {
  const {items} = await get(`${at(project)}/disputes`);
  if (!items.length) {
    fill(place, h("section", {class: "empty"}, h("h1", {}, "Nothing is disputed"), h("p", {}, "Items come here when all answers are in and they do not settle it.")));
    return;
  }
  fill(place, h("p", {class: "hint"}, `${count(items.length)} items, the least sure first. Reviewers decide them on the other page.`),
    h("div", {class: "grid-of"}, items.map((item) => h("article", {class: "card dispute"}, thumbnail(item), h("div", {}, h("p", {class: "hint"}, item.item,
      item.estimate && ` · ${percent(item.estimate.confidence)} sure: ${shown(info.schema, item.estimate.value)}`),
    h("ul", {class: "said"}, item.answers.map((a) => h("li", {}, h("strong", {}, a.by), " ", chip(info.schema, a.value)))))))));
}
