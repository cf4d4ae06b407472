// The REST interface of the labelling service. Every call says what went wrong as an `ApiError`.

export class ApiError extends Error {
  constructor(status, message, field = "") {
    super(message);
    this.status = status; // 0: the server was not reached
    this.field = field;
  }
}

/** Milliseconds that the server's clock is ahead of this one's, so that a lease ends when the server says. */
let ahead = 0;
export const serverNow = () => Date.now() + ahead;

async function request(method, path, body) {
  const headers = {"X-Tidemill": "1"};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {method, headers, credentials: "same-origin",
      body: body === undefined ? undefined : body instanceof Blob ? body : JSON.stringify(body)});
  } catch {
    throw new ApiError(0, "The server was not reached.");
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  // A Date header names a whole second; half of one is the fairest guess of the rest.
  if (!Number.isNaN(date) && Math.abs(date + 500 - Date.now()) > 1500) ahead = date + 500 - Date.now();
  const text = await answer.text();
  let value = {};
  try { value = text ? JSON.parse(text) : {}; } catch { /* Said below by the status. */ }
  if (!answer.ok) {
    if (answer.status === 401) document.dispatchEvent(new CustomEvent("signed-out"));
    throw new ApiError(answer.status, value.error ?? `The server answered ${answer.status}.`, value.field ?? "");
  }
  return value;
}

export const get = (path) => request("GET", path);
export const post = (path, body = {}) => request("POST", path, body);
export const project = (name) => `/api/projects/${encodeURIComponent(name)}`;
