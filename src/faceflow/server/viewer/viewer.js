// Shows /v1/openapi.json: operations by tag, each with what it takes and gives. Builds text nodes only.

/** @param {string} name @param {Record<string, string>} [attributes] @param {...(Node|string)} inside */
function make(name, attributes = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...inside);
  return element;
}

/** A schema in a word or two. */
function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `[${kind(schema.items) || (schema.prefixItems ?? []).map(kind).join(", ")}]`;
  return schema.format ?? schema.type ?? "any";
}

function row(name, type, need, text) {
  return make("tr", {}, make("th", { scope: "row" }, make("code", {}, name)), make("td", {}, type),
    make("td", {}, need ? "needed" : ""), make("td", {}, text ?? ""));
}

function fields(schema, all) {
  const known = schema?.$ref ? all[schema.$ref.split("/").pop()] : schema;
  const table = make("table");
  for (const [name, one] of Object.entries(known?.properties ?? {})) {
    table.append(row(name, kind(one), known.required?.includes(name), one.description));
  }
  return table;
}

function operation(path, method, what, schemas) {
  const box = make("details", {}, make("summary", {}, make("span", { class: "method" }, method.toUpperCase()),
    make("code", {}, path), make("span", { class: "what" }, what.summary ?? "")));
  box.append(make("p", {}, what.description ?? ""));
  if (what.parameters?.length) {
    const table = make("table");
    for (const one of what.parameters) {
      table.append(row(one.name, `${kind(one.schema)} in ${one.in}`, one.required, one.description));
    }
    box.append(make("h3", {}, "Parameters"), table);
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

const place = document.getElementById("operations");
try {
  const described = await (await fetch("/v1/openapi.json")).json();
  const groups = new Map();
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, what] of Object.entries(methods)) {
      const tag = what.tags?.[0] ?? "service";
      if (!groups.has(tag)) groups.set(tag, make("section", {}, make("h2", {}, tag)));
      groups.get(tag).append(operation(path, method, what, described.components?.schemas ?? {}));
    }
  }
  place.replaceChildren(...groups.values());
} catch (error) {
  place.replaceChildren(make("p", {}, `The description cannot be read: ${error}`));
}
