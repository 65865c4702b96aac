// The only place that knows the service's addresses. Everything goes to /v1 of this same host, with
// the session's cookie.

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || "The service gave no reason");
    this.name = "Problem";
    Object.assign(this, { status, type: body.type, why: body.why, todo: body.todo, request: body.request_id });
  }
}

const part = encodeURIComponent;
const query = (values) => {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
};

export async function call(method, path, { json, form, signal, as = "json" } = {}) {
  const headers = { Accept: "application/json" };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  if (method === "POST") headers["Idempotency-Key"] = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, signal, credentials: "same-origin", cache: "no-store", redirect: "error",
      body: json !== undefined ? JSON.stringify(json) : form,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service does not answer", todo: "check that it runs, then try again" });
  }
  if (answer.ok) return answer.status === 204 ? null : as === "blob" ? answer.blob() : answer.json();
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/session") {
    location.assign(`/sign-in?next=${part(location.pathname)}`);
  }
  throw new Problem(answer.status, body);
}

const get = (path, options) => call("GET", path, options);
const post = (path, json) => call("POST", path, { json });

/** Every entry of a list that comes in pages. */
export async function* all(path, values = {}) {
  let cursor;
  do {
    const page = await get(path + query({ limit: 200, ...values, cursor }));
    yield* page.items;
    cursor = page.next;
  } while (cursor);
}

const gallery = (name) => `/v1/galleries/${part(name)}`;
const search = (it) => `${gallery(it.gallery)}/searches/${part(it.id)}`;

export const api = {
  signIn: (key) => call("POST", "/session", { json: { key } }),
  signOut: () => call("DELETE", "/session"),
  whoami: () => get("/v1/whoami"),

  galleries: () => all("/v1/galleries"),
  gallery: (name) => get(gallery(name)),

  search: (name, form) => call("POST", `${gallery(name)}/searches`, { form }),
  explanation: (it, face) => get(`${search(it)}/explanation${query({ face_id: face })}`),
  comparison: (it, a, b, signal) => get(`${search(it)}/comparison${query({ a, b })}`, { signal }),
  whatIf: (it, hidden, signal) => call("POST", `${search(it)}/what-if`, { json: { hidden }, signal }),
  crop: (it, kind) => `${search(it)}/pictures/${kind}`,
  thumbnail: (name, face) => `${gallery(name)}/faces/${face}/thumbnail`,
  mark: (it, person, note) => post(`${gallery(it.gallery)}/marks`, { search: it.id, person, note }),

  people: (name) => all(`${gallery(name)}/people`),
  faces: (name, person) => all(`${gallery(name)}/faces`, { person }),
  changePerson: (name, person, change) => call("PATCH", `${gallery(name)}/people/${part(person)}`, { json: change }),
  merge: (name, person, into) => post(`${gallery(name)}/people/${part(person)}/merge`, { into }),
  split: (name, person, faces, to) => post(`${gallery(name)}/people/${part(person)}/split`, { faces, name: to }),
  merges: (name) => all(`${gallery(name)}/merges`),
  unmerge: (name, merge) => post(`${gallery(name)}/merges/${part(merge)}/split`),
  removePerson: (name, person) => call("DELETE", `${gallery(name)}/people/${part(person)}`),

  startJob: (name, form) => call("POST", `${gallery(name)}/jobs`, { form }),
  job: (name, id) => get(`${gallery(name)}/jobs/${part(id)}`),
  jobPhotos: (name, id) => all(`${gallery(name)}/jobs/${part(id)}/photos`),
  jobEvents: (name, id) => `${gallery(name)}/jobs/${part(id)}/events`,
  cancelJob: (name, id) => call("DELETE", `${gallery(name)}/jobs/${part(id)}`),

  cases: () => all("/v1/cases"),
  case: (id) => get(`/v1/cases/${part(id)}`),
  openCase: (it, title) => post("/v1/cases", { search: it.id, gallery: it.gallery, title }),
  decide: (id, decision) => post(`/v1/cases/${part(id)}/decisions`, decision),
  casePicture: (id, name) => `/v1/cases/${part(id)}/pictures/${part(name)}`,
  caseFile: (id) => `/v1/cases/${part(id)}/file`,
  conclusions: () => get("/v1/conclusions"),
  setConclusions: (conclusions) => call("PUT", "/v1/conclusions", { json: { conclusions } }),

  keys: () => get("/v1/keys"),
  createKey: (key) => post("/v1/keys", key),
  revokeKey: (id) => call("DELETE", `/v1/keys/${part(id)}`),
  settings: () => get("/v1/settings"),
  audit: (cursor) => get(`/v1/audit${query({ limit: 100, cursor })}`),
  verifyAudit: () => get("/v1/audit/verify"),
};
