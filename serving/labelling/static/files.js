// Items from files that a person chose: images and sounds as they are, texts, and rows. The command line takes files in
// the same way (`tidemill_app/labelling_files.py`), so that an upload may begin in one and go on in the other.

const ROWS = /\.(csv|tsv|jsonl|ndjson)$/i;
const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;
const DIGITS = 15;

/** The name by which a file is known: of a folder's, its path in the folder. */
const nameOf = (file) => (file.webkitRelativePath ? file.webkitRelativePath.split("/").slice(1).join("/") : file.name);

/** The folder that a file lies in, where the browser tells it. */
const folderOf = (file) => (file.webkitRelativePath ? file.webkitRelativePath.split("/").at(-2) : "");

/** Functions that each make one item, in the order of the files' names; `prefix` goes before every id. */
export async function itemsOf(files, medium, {prefix = "", group = ""} = {}) {
  const chosen = files.filter((file) => file.name && !file.name.startsWith(".")).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const made = [];
  for (const file of chosen) {
    const name = nameOf(file);
    if (medium === "image" || medium === "audio") {
      made.push(async () => ({id: prefix + name, media: await base64(file), group: group || folderOf(file)}));
    } else if (ROWS.test(name)) {
      const found = rows(await text(file), name, medium);
      made.push(...found.map(({id, ...item}, i) => async () => ({id: prefix + (id || `${name}:${i + 1}`), ...item, group})));
    } else if (medium === "text") {
      const words = await text(file);
      made.push(async () => ({id: prefix + name, text: words, group}));
    } else throw new Error(`${name}: not a file of rows; wanted .csv, .tsv, .jsonl, .ndjson.`);
  }
  return made;
}

function base64(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => failed(new Error(`${nameOf(file)} could not be read.`)));
    reader.readAsDataURL(file);
  });
}

async function text(file) {
  try {
    return new TextDecoder("utf-8", {fatal: true}).decode(await file.arrayBuffer());
  } catch {
    throw new Error(`${nameOf(file)}: not a text; wanted UTF-8.`);
  }
}

/** The rows of a text: an id where it says one, the text where that is asked about, the other fields. */
export function rows(content, name, medium) {
  const typed = /\.[ct]sv$/i.test(name);
  const found = typed ? table(content, name) : lines(content, name);
  return found.map(({line, data}) => {
    const {id = "", ...rest} = data;
    let words = "";
    if (medium === "text") {
      words = String(rest.text ?? "");
      delete rest.text;
      if (!words) throw new Error(`${name}, line ${line}: a row has no text; wanted a field text.`);
    }
    const payload = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, typed ? cell(value) : value]));
    return {id: String(id), ...(medium === "text" ? {text: words} : {}), payload};
  });
}

function lines(content, name) {
  const found = [];
  for (const [i, line] of content.split("\n").entries()) {
    if (!line.trim()) continue;
    let data = null;
    try { data = JSON.parse(line); } catch { /* Said below. */ }
    if (data === null || typeof data !== "object" || Array.isArray(data)) throw new Error(`${name}, line ${i + 1}: not a row; wanted a JSON object.`);
    found.push({line: i + 1, data});
  }
  return found;
}

function table(content, name) {
  const [head, ...body] = csv(content, /\.tsv$/i.test(name) ? "\t" : ",", name);
  if (!head) throw new Error(`${name}: the file is empty; wanted a first line that names the columns.`);
  const names = head.cells;
  if (new Set(names).size !== names.length || names.some((one) => !one)) throw new Error(`${name}: the first line must name every column, each once; got ${names.join(", ")}.`);
  return body.map(({line, cells}) => {
    if (cells.length !== names.length) throw new Error(`${name}, line ${line}: ${cells.length} cells, where the first line names ${names.length}.`);
    return {line, data: Object.fromEntries(names.map((one, n) => [one, cells[n]]))};
  });
}

/** What a cell stands for: a number where it is one of JSON's of no more than 15 digits, which is finite, else the text
 * itself. `007` and `1,5` stay texts. */
export function cell(value) {
  const digits = value.split(/[eE]/)[0].replace(/[^0-9]/g, "").length;
  return NUMBER.test(value) && digits <= DIGITS && Number.isFinite(Number(value)) ? Number(value) : value;
}

/** Rows of a CSV text (RFC 4180), each with the line it ends in. */
export function csv(content, delimiter = ",", name = "") {
  const found = [];
  let row = [], value = "", state = "begin", line = 1;
  const end = () => {
    if (row.length || value || state === "closed") found.push({line, cells: [...row, value]});
    row = [];
    value = "";
    state = "begin";
  };
  for (let i = 0; i < content.length; i++) {
    const c = content[i];
    if (state === "quoted") {
      if (c === "\n") line++;
      if (c !== '"') value += c;
      else if (content[i + 1] === '"') { value += c; i++; } else state = "closed";
    } else if (c === delimiter) { row.push(value); value = ""; state = "begin"; }
    else if (c === "\n" || c === "\r") {
      if (c === "\r" && content[i + 1] === "\n") i++;
      end();
      line++;
    } else if (state === "closed") throw new Error(`${name}:${line}: not a CSV; ${delimiter === "\t" ? "a tab" : `'${delimiter}'`} expected after '"'.`);
    else if (c === '"' && state === "begin") state = "quoted";
    else { value += c; state = "plain"; }
  }
  if (state === "quoted") throw new Error(`${name}:${line}: not a CSV; a quote is not closed.`);
  end();
  return found;
}
