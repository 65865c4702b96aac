// Galleries, keys, the scale of conclusions, limits.
import { api, call } from "./api.js";
import { ask, attempt, day, field, h, plural } from "./dom.js";
import { start } from "./shell.js";

const ROLES = {
  searcher: "searches and sees candidates", enroller: "adds and manages people", examiner: "searches, opens and decides cases",
  reviewer: "searches and decides cases a second time", auditor: "reads cases and the log", administrator: "everything",
};

start(async ({ page, who }) => {
  const wrong = h("div");
  const galleries = h("div");
  const keys = h("div");
  const scale = h("div");
  const limits = h("div");
  const secret = h("div", { "aria-live": "polite" });
  page.replaceChildren(wrong, ...[galleries, keys, scale, limits].map((part) => h("section", { class: "card stack" }, part)));

  const act = (label, work, look = "") => h("button", { type: "button", class: `small ${look}`, onclick: (event) => attempt(event.currentTarget, wrong, work) }, label);
  const table = (label, heads, rows) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => (head ? h("th", { scope: "col", class: head === "Made" ? "hide-small" : "" }, head) : h("td"))))), h("tbody", {}, rows)));

  const showGalleries = async () => {
    const rows = [];
    for await (const one of api.galleries()) rows.push(h("tr", {}, h("th", { scope: "row" }, one.name), h("td", {}, String(one.people)), h("td", {}, String(one.faces)), h("td", {}, one.network), h("td", {}, h("code", {}, one.digest.slice(0, 12)))));
    galleries.replaceChildren(h("div", { class: "row spread" }, h("h2", {}, "Galleries"), act("New gallery", async () => {
      const said = await ask("A new gallery", [field("Name", "name", { required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]{0,63}", title: "letters, digits, - and _" })], { action: "Make it", note: "It belongs to the default network; the API takes others." });
      if (said) { await call("POST", "/v1/galleries", { json: { name: said.name } }); await showGalleries(); }
    })), table("Galleries", ["Name", "People", "Faces", "Network", "Digest"], rows));
  };

  const showKeys = async () => {
    const all = (await api.keys()).items;
    keys.replaceChildren(h("div", { class: "row spread" }, h("h2", {}, "Keys"), act("New key", async () => {
      const said = await ask("A new key", [field("Whose it is", "name", { required: true, maxlength: 200 }),
        h("label", { class: "field" }, h("span", {}, "Role"), h("select", { name: "role" }, Object.entries(ROLES).map(([role, text]) => h("option", { value: role, selected: role === "examiner" }, `${role} – ${text}`)))),
        field("Galleries, separated by commas; empty: all", "galleries"), field("Ends after", "expires", { type: "date" })], { action: "Make it" });
      if (!said) return;
      const bound = said.galleries.split(",").map((name) => name.trim()).filter(Boolean);
      const made = await api.createKey({ name: said.name, role: said.role, galleries: bound.length ? bound : null, expires: said.expires ? `${said.expires}T23:59:59Z` : null });
      await showKeys();
      secret.replaceChildren(h("div", { class: "told stack" }, h("p", {}, h("strong", {}, `The key of ${made.key.name}. `), "It is shown this once; hand it over safely."), h("p", { class: "secret" }, made.text)));
    })), secret, table("Keys", ["Whose", "Role", "Galleries", "Made", "State", ""], all.map((one) => h("tr", {}, h("th", { scope: "row", class: "name" }, one.name), h("td", {}, one.role), h("td", {}, one.galleries?.join(", ") ?? "all"), h("td", { class: "hide-small" }, day(one.created)),
      h("td", {}, one.revoked ? h("span", { class: "tag bad" }, "revoked") : one.expires ? h("span", { class: "tag" }, `until ${new Date(one.expires).toLocaleDateString()}`) : h("span", { class: "tag good" }, "open")),
      h("td", {}, !one.revoked && one.id !== who.key && act("Revoke", async () => {
        if (await ask(`Revoke the key of ${one.name}?`, [], { action: "Revoke", bad: true, note: "It opens nothing from then on, and its sessions end." })) { await api.revokeKey(one.id); await showKeys(); }
      }, "bad"))))));
  };

  const showScale = async () => {
    const { conclusions } = await api.conclusions();
    const form = h("form", { class: "stack" }, h("h2", {}, "Scale of conclusions"), h("p", { class: "note" }, "From the same person to different people, with a step that says neither. Decisions keep the words they were made in."),
      h("div", { class: "words" }, conclusions.map((step, i) => [h("input", { type: "text", name: `text-${i}`, value: step.text, "aria-label": `Step ${i + 1}, ${step.direction}`, maxlength: 200, required: true }), h("span", { class: "note" }, step.direction)])),
      h("div", {}, h("button", { type: "submit", class: "small" }, "Save the words")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(form.querySelector("[type=submit]"), wrong, async () => {
        await api.setConclusions(conclusions.map((step, i) => ({ ...step, text: form.elements[`text-${i}`].value })));
        await showScale();
      });
    });
    scale.replaceChildren(form);
  };

  const showLimits = async () => {
    const settings = await api.settings();
    limits.replaceChildren(h("h2", {}, "Limits"), h("p", { class: "note after" }, `faceflow ${settings.version}. They are set where the service is started.`),
      h("dl", { class: "facts" }, Object.entries(settings.limits).map(([name, value]) => [h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, /bytes/.test(name) ? `${(value / 2 ** 20).toLocaleString()} MiB` : value.toLocaleString())])));
  };

  for (const part of [showGalleries, showKeys, showScale, showLimits]) {
    try { await part(); } catch (error) { if (error.status !== 404) throw error; }
  }
});
