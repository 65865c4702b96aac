// The log, oldest first, and whether its chain holds.
import { api } from "./api.js";
import { attempt, day, h } from "./dom.js";
import { start } from "./shell.js";

start(async ({ page }) => {
  const told = h("div", { "aria-live": "polite" });
  const rows = h("tbody");
  let cursor;
  const more = h("button", { type: "button", onclick: () => attempt(more, told, load) }, "More");
  const load = async () => {
    const found = await api.audit(cursor);
    cursor = found.next;
    more.hidden = !cursor;
    rows.append(...found.items.map((one) => h("tr", {}, h("td", { class: "number" }, String(one.number)), h("td", { class: "number" }, day(one.time)), h("td", {}, h("code", {}, one.actor)), h("th", { scope: "row" }, one.action),
      h("td", { class: "hide-small" }, one.gallery), h("td", { class: "hide-small name" }, one.subjects.map((subject) => [h("code", {}, subject), " "])), h("td", { class: "hide-small" }, h("code", { title: one.hash }, one.hash.slice(0, 10))))));
  };
  const check = h("button", { type: "button", class: "main", onclick: () => attempt(check, told, async () => {
    const head = await api.verifyAudit();
    told.replaceChildren(h("div", { class: "told stack" }, h("p", {}, h("strong", {}, `The chain holds over all ${head.number} entries. `), "Note the last hash elsewhere to find out later whether the end was cut off."), h("p", { class: "secret" }, head.hash)));
  }) }, "Verify the chain");
  await load();
  page.replaceChildren(h("div", { class: "stack" }, h("div", { class: "row" }, check), told,
    h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Entries" }, h("table", {}, h("thead", {}, h("tr", {}, ["No.", "Time", "Key", "Action", "Gallery", "Subjects", "Hash"].map((head, i) => h("th", { scope: "col", class: i > 3 ? "hide-small" : "" }, head)))), rows)),
    h("div", {}, more)));
});
