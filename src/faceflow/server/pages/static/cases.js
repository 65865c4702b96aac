// The list of cases.
import { api } from "./api.js";
import { date, day, h, table } from "./dom.js";
import { start } from "./shell.js";

/** @type {Record<string, string>} */
const TAGS = { "awaiting review": "spot", settled: "good" };

start(async ({ page, who, may }) => {
  const rows = h("tbody");
  for await (const one of api.cases()) {
    rows.append(h("tr", {},
      h("th", { scope: "row" }, h("a", { href: `/cases/${one.id}`, class: "name" }, one.title),
        h("span", { class: "note only-small" }, `${one.name}, ${date(one.created)}`)),
      h("td", {}, h("span", { class: "tags" },
        h("span", { class: `tag ${TAGS[one.status] ?? ""}` }, one.status),
        // Whoever decided first may think again, but it is another's turn.
        one.may_decide && (one.status === "open" || one.key !== who.key) && h("span", { class: "tag on" }, "your turn"))),
      h("td", { class: "hide-small" }, one.gallery),
      h("td", { class: "hide-small name" }, one.name),
      h("td", { class: "hide-small time" }, day(one.created))));
  }
  const heads = [["Case"], ["State"], ["Gallery", "hide-small"], ["Opened by", "hide-small"], ["When", "hide-small"]];
  page.replaceChildren(rows.children.length
    ? h("div", { class: "card" }, table("Cases", heads.map(([text, look]) => h("th", { scope: "col", class: look }, text)), rows))
    : h("div", { class: "card empty" }, h("h2", {}, "No cases yet"),
      h("p", { class: "note" }, "A search becomes a case with its first decision."),
      may("open case") && h("a", { class: "button main", href: "/" }, "Examine a photo")));
});
