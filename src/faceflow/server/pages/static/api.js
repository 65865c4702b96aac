// The only place that knows the service's addresses. Everything goes to /v1 of this same host, with
// the session's cookie. What comes back is typed by the service's own description (OpenAPI).

/** @typedef {import("faceflow-api").components["schemas"]} Schemas */
/** @typedef {Schemas["Search"]} Search */
/** @typedef {{json?: unknown, form?: FormData, signal?: AbortSignal}} Sent */
/** @typedef {{items: any[], next?: string | null}} Listed */

/** An error, as the service tells it. */
export class Problem extends Error {
  /** @param {number} status @param {Record<string, any>} body */
  constructor(status, body) {
    super(body.detail || "The service gave no reason");
    this.name = "Problem";
    this.status = status;
    /** @type {string} */ this.type = body.type ?? "";
    /** @type {string | undefined} */ this.why = body.why;
    /** @type {string | undefined} */ this.todo = body.todo;
    /** @type {string | undefined} */ this.request = body.request_id;
  }
}

const part = encodeURIComponent;

/** @param {Record<string, string | number | null | undefined>} values */
function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return kept.length ? `?${new URLSearchParams(kept.map(([name, value]) => [name, String(value)]))}` : "";
}

/** Signs in again where the session has ended; false: somebody goes. @type {() => Promise<boolean>} */
let renew = async () => {
  location.assign(`/sign-in?ended&next=${part(location.pathname)}`);
  return false;
};

/** @param {() => Promise<boolean>} ask what to do when the session has ended in the middle of work */
export function onEnd(ask) {
  /** @type {Promise<boolean> | null} */
  let asked = null; // however many requests fail at once, one question
  renew = () => {
    asked ??= ask().finally(() => { asked = null; });
    return asked;
  };
}

/**
 * @param {string} method @param {string} path @param {Sent} [sent]
 * @returns {Promise<any>} what the answer's JSON holds, or null
 */
export async function call(method, path, sent = {}) {
  const { json, form, signal } = sent;
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  if (method === "POST") headers["Idempotency-Key"] = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  const ask = () => fetch(path, {
    method, headers, signal, credentials: "same-origin", cache: "no-store", redirect: "error",
    body: json !== undefined ? JSON.stringify(json) : form,
  });
  let answer;
  try {
    answer = await ask();
    if (answer.status === 401 && path !== "/session" && await renew()) answer = await ask();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service does not answer", todo: "check that it runs, then try again" });
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const body = await answer.json().catch(() => ({}));
  const wait = Number(answer.headers.get("Retry-After"));
  if (wait) body.todo = `wait ${wait === 1 ? "a second" : `${wait} seconds`}, then try again`; // nobody here sees headers
  throw new Problem(answer.status, body);
}

/** @param {string} path @param {Sent} [sent] */
const get = (path, sent) => call("GET", path, sent);
/** @param {string} path @param {unknown} [json] */
const post = (path, json) => call("POST", path, { json });

/**
 * Every entry of a list that comes in pages.
 * @param {string} path @param {Record<string, string | number | undefined>} [values]
 */
async function* all(path, values = {}) {
  /** @type {string | null | undefined} */
  let cursor;
  do {
    /** @type {Listed} */
    const page = await get(path + query({ limit: 200, ...values, cursor }));
    yield* page.items;
    cursor = page.next;
  } while (cursor);
}

/** @param {string} name */
const gallery = (name) => `/v1/galleries/${part(name)}`;
/** @param {{gallery: string, id: string}} it */
const search = (it) => `${gallery(it.gallery)}/searches/${part(it.id)}`;

export const api = {
  /** @param {string} key @returns {Promise<Schemas["Who"]>} */
  signIn: (key) => call("POST", "/session", { json: { key } }),
  signOut: () => call("DELETE", "/session"),
  /** @returns {Promise<Schemas["Who"]>} */
  whoami: () => get("/v1/whoami"),

  /** @returns {AsyncGenerator<Schemas["Gallery"]>} */
  galleries: () => all("/v1/galleries"),
  /** @param {string} name @returns {Promise<Schemas["Gallery"]>} */
  makeGallery: (name) => post("/v1/galleries", { name }),

  /** @param {string} name @param {FormData} form @returns {Promise<Search>} */
  search: (name, form) => call("POST", `${gallery(name)}/searches`, { form }),
  /** @param {Search} it @param {number} face @returns {Promise<Schemas["Explanation"]>} */
  explanation: (it, face) => get(`${search(it)}/explanation${query({ face_id: face })}`),
  /** @param {Search} it @param {number} a @param {number} b @param {AbortSignal} signal @returns {Promise<Schemas["Comparison"]>} */
  comparison: (it, a, b, signal) => get(`${search(it)}/comparison${query({ a, b })}`, { signal }),
  /** @param {Search} it @param {number[]} hidden @param {AbortSignal} signal @returns {Promise<Schemas["WhatIf"]>} */
  whatIf: (it, hidden, signal) => call("POST", `${search(it)}/what-if`, { json: { hidden }, signal }),
  /** @param {Search} it @param {"aligned" | "original"} kind */
  crop: (it, kind) => `${search(it)}/pictures/${kind}`,
  /** @param {string} name @param {number} face */
  thumbnail: (name, face) => `${gallery(name)}/faces/${face}/thumbnail`,
  /** @param {Search} it @param {string} person @param {string} note @returns {Promise<Schemas["Mark"]>} */
  mark: (it, person, note) => post(`${gallery(it.gallery)}/marks`, { search: it.id, person, note }),
  /** @param {Search} it @param {string} mark */
  unmark: (it, mark) => call("DELETE", `${gallery(it.gallery)}/marks/${part(mark)}`),

  /** @param {string} name @returns {AsyncGenerator<Schemas["Person"]>} */
  people: (name) => all(`${gallery(name)}/people`),
  /** @param {string} name @param {string} person @param {number} [limit] @returns {AsyncGenerator<Schemas["Face"]>} */
  faces: (name, person, limit) => all(`${gallery(name)}/faces`, { person, limit }),
  /** @param {string} name @param {string} person @param {Partial<Schemas["PersonChange"]>} change @returns {Promise<Schemas["Person"]>} */
  changePerson: (name, person, change) => call("PATCH", `${gallery(name)}/people/${part(person)}`, { json: change }),
  /** @param {string} name @param {string} person @param {string} into @returns {Promise<Schemas["Merge"]>} */
  merge: (name, person, into) => post(`${gallery(name)}/people/${part(person)}/merge`, { into }),
  /** @param {string} name @param {string} person @param {number[]} faces @param {string} to @returns {Promise<Schemas["Person"]>} */
  split: (name, person, faces, to) => post(`${gallery(name)}/people/${part(person)}/split`, { faces, name: to }),
  /** @param {string} name @returns {AsyncGenerator<Schemas["Merge"]>} */
  merges: (name) => all(`${gallery(name)}/merges`),
  /** @param {string} name @param {string} merge @returns {Promise<Schemas["Merge"]>} */
  unmerge: (name, merge) => post(`${gallery(name)}/merges/${part(merge)}/split`),
  /** @param {string} name @param {string} person @returns {Promise<Schemas["Certificate"]>} */
  removePerson: (name, person) => call("DELETE", `${gallery(name)}/people/${part(person)}`),

  /** @param {string} name @param {FormData} form @returns {Promise<Schemas["Job"]>} */
  startJob: (name, form) => call("POST", `${gallery(name)}/jobs`, { form }),
  /** @param {string} name @param {string} id @returns {Promise<Schemas["Job"]>} */
  job: (name, id) => get(`${gallery(name)}/jobs/${part(id)}`),
  /** @param {string} name @param {string} id @returns {AsyncGenerator<Schemas["JobPhoto"]>} */
  jobPhotos: (name, id) => all(`${gallery(name)}/jobs/${part(id)}/photos`),
  /** @param {string} name @param {string} id */
  jobEvents: (name, id) => `${gallery(name)}/jobs/${part(id)}/events`,
  /** @param {string} name @param {string} id */
  cancelJob: (name, id) => call("DELETE", `${gallery(name)}/jobs/${part(id)}`),

  /** @returns {AsyncGenerator<Schemas["CaseSummary"]>} */
  cases: () => all("/v1/cases"),
  /** @param {string} id @returns {Promise<Schemas["ShownCase"]>} */
  case: (id) => get(`/v1/cases/${part(id)}`),
  /** @param {Search} it @param {string} title @returns {Promise<Schemas["ShownCase"]>} */
  openCase: (it, title) => post("/v1/cases", { search: it.id, gallery: it.gallery, title }),
  /** @param {string} id @param {Schemas["DecisionCreate"]} decision @returns {Promise<Schemas["ShownCase"]>} */
  decide: (id, decision) => post(`/v1/cases/${part(id)}/decisions`, decision),
  /** @param {string} id @param {string} name */
  casePicture: (id, name) => `/v1/cases/${part(id)}/pictures/${part(name)}`,
  /** @param {string} id */
  caseFile: (id) => `/v1/cases/${part(id)}/file`,
  /** @returns {Promise<Schemas["Scale"]>} */
  conclusions: () => get("/v1/conclusions"),
  /** @param {Schemas["Step"][]} conclusions @returns {Promise<Schemas["Scale"]>} */
  setConclusions: (conclusions) => call("PUT", "/v1/conclusions", { json: { conclusions } }),

  /** @returns {AsyncGenerator<Schemas["Key"]>} */
  keys: () => all("/v1/keys"),
  /** @param {Schemas["KeyCreate"]} key @returns {Promise<Schemas["NewKey"]>} */
  createKey: (key) => post("/v1/keys", key),
  /** @param {string} id */
  revokeKey: (id) => call("DELETE", `/v1/keys/${part(id)}`),
  /** @returns {Promise<Schemas["Settings"]>} */
  settings: () => get("/v1/settings"),
  /** @param {string | null | undefined} cursor @returns {Promise<Schemas["AuditPage"]>} */
  audit: (cursor) => get(`/v1/audit${query({ limit: 100, order: "newest", cursor })}`),
  /** @returns {Promise<Schemas["AuditHead"]>} */
  verifyAudit: () => get("/v1/audit/verify"),
};
