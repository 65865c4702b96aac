// Shows /v1/openapi.json: operations by tag, each with what it takes and gives. Builds text nodes only.
export {};

/** @typedef {Record<string, any>} Schema a JSON schema, or a part of the description */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} name @param {Record<string, string>} [attributes] @param {...(Node|string)} inside
 */
function make(name, attributes = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...inside);
  return element;
}

/** The name behind a reference. @param {string} ref */
const named = (ref) => ref.slice(ref.lastIndexOf("/") + 1);

/** A schema in a word or two. @param {Schema | undefined} schema @returns {string} */
function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return named(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.map((/** @type {unknown} */ one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `[${kind(schema.items) || (schema.prefixItems ?? []).map(kind).join(", ")}]`;
  return schema.format ?? schema.type ?? "any";
}

/** @param {string} name @param {string} type @param {boolean} need @param {string} [text] */
function row(name, type, need, text) {
  return make("tr", {}, make("th", { scope: "row" }, make("code", {}, name)), make("td", {}, type),
    make("td", {}, need ? "needed" : ""), make("td", {}, text ?? ""));
}

/** @param {Node[]} rows */
const table = (rows) => make("div", { class: "scroll" }, make("table", {}, make("tbody", {}, ...rows)));

/** @param {Schema | undefined} schema @param {Record<string, Schema>} all */
function fields(schema, all) {
  const known = (schema?.$ref ? all[named(schema.$ref)] : schema) ?? {};
  return table(Object.entries(known.properties ?? {}).map(([name, one]) => row(name, kind(one), Boolean(known.required?.includes(name)), one.description)));
}

/** Up to the first full stop. @param {string} text */
const first = (text) => text.split(/\.(?:\s|$)/)[0];

/** @param {string} path @param {string} method @param {Schema} what @param {Record<string, Schema>} schemas */
function operation(path, method, what, schemas) {
  const box = make("details", {}, make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()),
    make("code", {}, path), make("span", { class: "what" }, first(what.description ?? what.summary ?? ""))));
  box.append(make("p", {}, what.description ?? ""));
  if (what.parameters?.length) {
    box.append(make("h3", {}, "Parameters"), table(what.parameters.map((/** @type {Schema} */ one) => row(one.name, `${kind(one.schema)} in ${one.in}`, Boolean(one.required), one.description))));
  }
  for (const [media, body] of Object.entries(what.requestBody?.content ?? {})) {
    box.append(make("h3", {}, `Body, ${media}`), fields(body.schema, schemas));
  }
  for (const [status, answer] of Object.entries(what.responses ?? {})) {
    if (Number(status) >= 400) continue;
    for (const [media, body] of Object.entries(answer.content ?? {})) {
      box.append(make("h3", {}, `Answer ${status}, ${media} ${kind(body.schema)}`), fields(body.schema, schemas));
    }
  }
  const errors = Object.keys(what.responses ?? {}).filter((status) => Number(status) >= 400);
  if (errors.length) box.append(make("p", { class: "note" }, `Problems: ${errors.join(", ")}`));
  return box;
}

const place = /** @type {HTMLElement} */ (document.getElementById("operations"));
try {
  const described = await (await fetch("/v1/openapi.json")).json();
  /** @type {Map<string, HTMLElement>} */
  const groups = new Map();
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, what] of Object.entries(methods)) {
      const tag = what.tags?.[0] ?? "service";
      const group = groups.get(tag) ?? make("section", {}, make("h2", {}, tag));
      groups.set(tag, group);
      group.append(operation(path, method, what, described.components?.schemas ?? {}));
    }
  }
  place.replaceChildren(...groups.values());
} catch (error) {
  place.replaceChildren(make("p", {}, `The description cannot be read: ${error}`));
}
