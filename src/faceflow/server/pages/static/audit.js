// The log, newest first, and whether its chain holds.
import { api } from "./api.js";
import { $, attempt, day, h, plural, table } from "./dom.js";
import { start } from "./shell.js";

const SOME = 6; // subjects shown at once; a search names all its candidates

/** @param {string[]} subjects */
function named(subjects) {
  const code = (/** @type {string} */ one) => [h("code", {}, one), " "];
  if (subjects.length <= SOME + 2) return subjects.map(code);
  return [subjects.slice(0, SOME).map(code).flat(),
    h("details", {}, h("summary", {}, `and ${subjects.length - SOME} more`), subjects.slice(SOME).map(code))].flat();
}

start(async ({ page }) => {
  const told = h("div", { "aria-live": "polite" });
  const rows = h("tbody");
  /** @type {string | null | undefined} */
  let cursor;
  const more = h("button", { type: "button", onclick: () => attempt(more, told, load) }, "Earlier entries");
  const load = async () => {
    const found = await api.audit(cursor);
    cursor = found.next;
    more.hidden = !cursor;
    rows.append(...found.items.map((one) => h("tr", {},
      h("td", { class: "number" }, String(one.number)), h("td", { class: "time" }, day(one.time)),
      h("th", { scope: "row" }, one.action, h("code", { class: "note only-small" }, one.actor)),
      h("td", { class: "hide-small" }, h("code", {}, one.actor)),
      h("td", { class: "hide-small" }, one.gallery), h("td", { class: "hide-small name" }, named(one.subjects)),
      h("td", { class: "hide-small" }, h("code", { title: one.hash }, one.hash.slice(0, 10))))));
  };
  const check = h("button", { type: "button", class: "main", onclick: () => attempt(check, told, async () => {
    const head = await api.verifyAudit();
    told.replaceChildren(h("div", { class: "told stack good" },
      h("p", {}, h("strong", {}, `The chain holds over all ${plural(head.number, "entry", "entries")}. `),
        "Note the last hash elsewhere to find out later whether the end was cut off."),
      h("p", { class: "secret" }, head.hash)));
  }) }, "Verify the chain");
  await load();
  $("#actions").append(check);
  const heads = ["No.", "Time", "Action", "Key", "Gallery", "Subjects", "Hash"];
  page.replaceChildren(h("div", { class: "stack" }, told, h("div", { class: "card" },
    table("Entries", heads.map((head, i) => h("th", { scope: "col", class: i > 2 ? "hide-small" : i ? "" : "number" }, head)), rows)),
  h("div", {}, more)));
});
