// Galleries, keys, the scale of conclusions, limits.
import { api } from "./api.js";
import { ask, attempt, date, day, field, h, say, table } from "./dom.js";
import { start } from "./shell.js";

/** @typedef {import("./api.js").Schemas} Schemas */

/** @type {Record<Schemas["Role"], string>} */
const ROLES = {
  searcher: "searches and sees candidates", enroller: "adds and manages people", examiner: "searches, opens and decides cases",
  reviewer: "searches and decides cases a second time", auditor: "reads cases and the log", administrator: "everything",
};
/** @type {Record<Schemas["Direction"], string>} */
const DIRECTIONS = { same: "For the same person", neither: "Neither", different: "For different people" };
const MIB = 2 ** 20;
/** What a limit is called, and its unit. @type {Record<string, [string, string]>} */
const LIMITS = {
  photo_bytes: ["A photo", "MiB"], decoded_bytes: ["A photo's pixels", "MiB"], photos: ["Photos in a request", ""],
  request_bytes: ["A whole request", "MiB"], seconds: ["Time for a photo, or a search", "s"], upload_seconds: ["Time for a request to arrive", "s"],
  searches: ["Photos worked on at once", ""], queue: ["Photos that may wait", ""], requests: ["Requests at once", ""],
  per_minute: ["Requests of a key in a minute", ""], candidates: ["Faces compared patch by patch, at most", ""], search_hours: ["A search is kept", "h"],
};

start(async ({ page, who }) => {
  const wrong = h("div", { class: "notice" });
  const secret = h("div", { class: "notice", "aria-live": "polite" });
  const parts = [showGalleries, showKeys, showScale, showLimits].map((show) => ({ show, place: h("section", { class: "card stack" }) }));
  page.replaceChildren(wrong, secret, ...parts.map(({ place }) => place));
  for (const { show, place } of parts) await show(place);

  /** @param {string} label @param {() => Promise<void>} work @param {string} [look] */
  function act(label, work, look = "small") {
    const button = h("button", { type: "button", class: look, onclick: () => attempt(button, wrong, work) }, label);
    return button;
  }

  /** @param {string} title @param {HTMLElement} [button] */
  function head(title, button) { return h("div", { class: "row spread" }, h("h2", {}, title), button); }

  /** @param {[string, string?][]} names */
  function heads(names) { return names.map(([name, look]) => (name ? h("th", { scope: "col", class: look }, name) : h("td"))); }

  /** @param {HTMLElement} place */
  async function showGalleries(place) {
    const rows = [];
    for await (const one of api.galleries()) {
      rows.push(h("tr", {}, h("th", { scope: "row" }, one.name), h("td", { class: "number" }, one.people.toLocaleString()), h("td", { class: "number" }, one.faces.toLocaleString()),
        h("td", {}, one.network), h("td", { class: "hide-small" }, h("code", { title: one.digest }, one.digest.slice(0, 12)))));
    }
    place.replaceChildren(head("Galleries", act("New gallery", async () => {
      const said = await ask("A new gallery", [field("Name", "name", { required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]{0,63}", title: "letters, digits, - and _" })], { action: "Make it", note: "It belongs to the default network; the API takes others." });
      if (said) { await api.makeGallery(said.name); await showGalleries(place); say("The gallery was made"); }
    })), rows.length ? table("Galleries", heads([["Name"], ["People", "number"], ["Faces", "number"], ["Network"], ["Digest", "hide-small"]]), rows) : h("p", { class: "note" }, "There is none yet."));
  }

  /** @param {HTMLElement} place */
  async function showKeys(place) {
    const rows = [];
    for await (const one of api.keys()) {
      const own = one.id === who.key;
      rows.push(h("tr", {}, h("th", { scope: "row", class: "name" }, one.name, h("code", { class: "note hide-small" }, ` ${one.id}`)), h("td", {}, one.role),
        h("td", { class: "hide-small" }, one.galleries?.join(", ") ?? "all"), h("td", { class: "hide-small number" }, date(one.created)), h("td", {}, stateOf(one)),
        h("td", { class: "number" }, own ? h("span", { class: "note" }, "yours") : !one.revoked && act("Revoke", async () => {
          if (!await ask(`Revoke the key of ${one.name}?`, [], { action: "Revoke", bad: true, note: "It opens nothing from then on, and its sessions end." })) return;
          await api.revokeKey(one.id);
          await showKeys(place);
          say("The key was revoked");
        }, "small plain bad"))));
    }
    place.replaceChildren(head("Keys", act("New key", () => newKey(place))), table("Keys", heads([["Whose"], ["Role"], ["Galleries", "hide-small"], ["Made", "hide-small number"], ["State"], [""]]), rows));
  }

  /** @param {Schemas["Key"]} one */
  function stateOf(one) {
    if (one.revoked) return h("span", { class: "tag bad", title: day(one.revoked) }, "revoked");
    if (one.expires && new Date(one.expires) < new Date()) return h("span", { class: "tag bad" }, "ended");
    return one.expires ? h("span", { class: "tag" }, `until ${date(one.expires)}`) : h("span", { class: "tag good" }, "open");
  }

  /** @param {HTMLElement} place */
  async function newKey(place) {
    const said = await ask("A new key", [field("Whose it is", "name", { required: true, maxlength: 200, autocomplete: "off" }),
      h("label", { class: "field" }, h("span", {}, "Role"), h("select", { name: "role" }, Object.entries(ROLES).map(([role, text]) => h("option", { value: role, selected: role === "examiner" }, `${role} – ${text}`)))),
      field("Galleries, separated by commas; empty: all", "galleries"), field("Ends after", "expires", { type: "date" })], { action: "Make it" });
    if (!said) return;
    const bound = said.galleries.split(",").map((name) => name.trim()).filter(Boolean);
    const made = await api.createKey({
      name: said.name, role: /** @type {Schemas["Role"]} */ (said.role), galleries: bound.length ? bound : null, expires: said.expires ? `${said.expires}T23:59:59Z` : null,
    });
    await showKeys(place);
    const text = h("p", { class: "secret" }, made.text);
    const copy = h("button", { type: "button", class: "small", onclick: async () => { await navigator.clipboard.writeText(made.text); say("Copied"); copy.textContent = "Copied"; } }, "Copy");
    secret.replaceChildren(h("div", { class: "told stack good" },
      h("p", {}, h("strong", {}, `The key of ${made.key.name}. `), "It is shown this once; hand it over safely."), text,
      h("div", { class: "row" }, navigator.clipboard && copy, h("button", { type: "button", class: "small", onclick: () => secret.replaceChildren() }, "Hide it"))));
    secret.scrollIntoView({ block: "center" });
  }

  /** @param {HTMLElement} place */
  async function showScale(place) {
    const { conclusions } = await api.conclusions();
    const button = h("button", { type: "submit", class: "small" }, "Save the words");
    const inputs = conclusions.map((step, i) => h("input", { type: "text", value: step.text, "aria-label": `Step ${i + 1}, ${DIRECTIONS[step.direction].toLowerCase()}`, maxlength: 200, required: true }));
    const groups = Object.entries(DIRECTIONS).map(([direction, title]) => h("div", { class: "words" }, h("p", { class: "label" }, title), inputs.filter((_, i) => conclusions[i].direction === direction)));
    const form = h("form", { class: "stack" }, h("h2", {}, "Scale of conclusions"),
      h("p", { class: "note" }, "From the same person to different people, with a step that says neither. Decisions keep the words they were made in."), groups, h("div", { class: "row" }, button));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(button, wrong, async () => {
        await api.setConclusions(conclusions.map((step, i) => ({ ...step, text: inputs[i].value })));
        await showScale(place);
        place.querySelector(".row:last-child")?.append(h("span", { class: "note", role: "status" }, "Saved. Decisions from now on use these words."));
      });
    });
    place.replaceChildren(form);
  }

  /** @param {HTMLElement} place */
  async function showLimits(place) {
    const settings = await api.settings();
    place.replaceChildren(h("h2", {}, "Limits"), h("p", { class: "note" }, `faceflow ${settings.version}. They are set where the service is started.`),
      h("dl", { class: "facts" }, Object.entries(settings.limits).map(([name, value]) => {
        const [label, unit] = LIMITS[name] ?? [name.replaceAll("_", " "), ""];
        return [h("dt", {}, label), h("dd", {}, `${(unit === "MiB" ? value / MIB : value).toLocaleString()} ${unit}`)];
      })));
  }
});
