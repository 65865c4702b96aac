// The list of cases.
import { api } from "./api.js";
import { day, h } from "./dom.js";
import { start } from "./shell.js";

const TAGS = { open: "tag", "awaiting review": "tag spot", settled: "tag good" };

start(async ({ page }) => {
  const rows = h("tbody");
  for await (const one of api.cases()) {
    rows.append(h("tr", {},
      h("th", { scope: "row" }, h("a", { href: `/cases/${one.id}`, class: "name" }, one.title)),
      h("td", {}, h("span", { class: TAGS[one.status] ?? "tag" }, one.status), one.may_decide && h("span", { class: "note hide-small" }, " your turn")),
      h("td", { class: "hide-small" }, one.gallery), h("td", { class: "name" }, one.name), h("td", { class: "hide-small" }, day(one.created))));
  }
  page.replaceChildren(rows.children.length
    ? h("div", { class: "card scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Case"), h("th", { scope: "col" }, "State"), h("th", { scope: "col", class: "hide-small" }, "Gallery"), h("th", { scope: "col" }, "Opened by"), h("th", { scope: "col", class: "hide-small" }, "When"))), rows))
    : h("div", { class: "card" }, h("p", {}, "No cases yet. A search becomes one with its first decision.")));
});
