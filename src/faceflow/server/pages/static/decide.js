// (7) The decision, with its reasons. A search that nobody kept yet becomes a case with it.
import { api } from "./api.js";
import { attempt, day, field, h, number, picture, plural, tick } from "./dom.js";

/** @typedef {import("./workspace.js").Workspace} Workspace */
/** @typedef {import("./api.js").Schemas} Schemas */

export const FEATURES = [
  "forehead", "hairline", "eyebrows", "eyes", "nose", "cheeks", "mouth", "chin", "left ear", "right ear",
  "face shape", "scars, moles, marks",
];

/** @param {Workspace} work @returns {Promise<HTMLElement>} */
export async function decide(work) {
  const { kept } = work;
  if (kept && !kept.may_decide) return decisions(work, kept);
  if (!work.may("open case") && !work.may("review case")) return only("Your role looks at searches", "It opens and decides no cases.");
  if (!kept && !work.may("open case")) return only("Your role reviews cases", "Others open them, and you find them under Cases.");
  if (!work.candidates.length) return only("There are no candidates", "A case is about a search that found somebody.");
  const { conclusions } = await api.conclusions();
  const form = ballot(work, conclusions);
  if (!kept?.decisions.length) return form;
  // Whoever decided first may think again until somebody reviews.
  return h("div", { class: "stack" }, decisions(work, kept), h("details", { class: "again" }, h("summary", {}, "Add another decision in place of yours"), form));
}

/** @param {string} title @param {string} text */
const only = (title, text) => h("div", { class: "stack" }, h("h2", {}, title), h("p", { class: "note" }, text));

/** @param {Workspace} work @param {Schemas["Step"][]} conclusions */
function ballot(work, conclusions) {
  const { kept } = work;
  const review = kept && kept.status !== "open" && !kept.decisions.length;
  const wrong = h("div");
  const about = h("select", { name: "person" },
    h("option", { value: "" }, "all that are shown"),
    work.nearby().map((one) => h("option", { value: one.person.id, selected: one === work.candidate }, work.label(one))));
  const button = h("button", { class: "main", type: "submit" }, kept ? "Record the decision" : "Keep the case with this decision");
  const form = h("form", { class: "stack" },
    h("h2", {}, review ? "Review" : "Decide"),
    h("p", { class: "note" }, review
      ? "Somebody has decided before you. You see what they decided once the case is settled, and they do not see yours before."
      : "What you record cannot be changed, only added to. A second person decides without seeing it; where you differ, a third."),
    h("div", { class: "decide" },
      h("div", { class: "stack" },
        !kept && field("Title of the case", "title", { required: true, maxlength: 200, autocomplete: "off" }),
        h("label", { class: "field" }, h("span", {}, "About"), about),
        h("fieldset", {}, h("legend", {}, "Conclusion"), h("div", { class: "scale" }, conclusions.map((step) =>
          h("label", { class: "tick" }, h("input", { type: "radio", name: "conclusion", value: step.key, required: true }), h("span", {}, step.text)))))),
      h("div", { class: "stack" },
        h("label", { class: "field" }, h("span", {}, "Reasons"), h("textarea", { name: "note", maxlength: 20000, rows: 7 })),
        h("fieldset", {}, h("legend", {}, "Features you looked at"), h("div", { class: "ticks" }, FEATURES.map((feature) =>
          tick(feature, { name: "features", value: feature, checked: work.seen.has(feature) })))))),
    h("div", { class: "row" }, button, h("span", { class: "note" }, work.named ? "Names and scores have been shown; the decision says so." : "Names and scores have not been shown.")),
    wrong);
  let id = kept?.id;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(button, wrong, async () => {
      const values = new FormData(form);
      const text = (/** @type {string} */ name) => String(values.get(name) ?? "");
      // Should only the second step fail, the case that exists already is decided, not a new one.
      id ??= (await api.openCase(work.search, text("title"))).id;
      const person = text("person");
      await api.decide(id, {
        conclusion: text("conclusion"), person: person || null, face_id: work.find(person)?.face_id ?? null,
        note: text("note"), features: values.getAll("features").map(String), names_shown: work.named,
      });
      location.assign(`/cases/${id}`);
    });
  });
  return form;
}

/** @type {Record<string, string>} */
const UNSETTLED = { open: "Nobody has decided yet", erased: "Nobody can decide this case any more" };
/** @type {Record<string, string>} */
const DIRECTIONS = { same: "the same person", different: "different people", neither: "inconclusive" };

/**
 * What has been decided, as far as this reader may see it.
 * @param {Workspace} work @param {Schemas["ShownCase"]} kept
 */
function decisions(work, kept) {
  const names = new Map(kept.search.candidates.map((one) => [one.person.id, one.person.name ?? one.person.id]));
  return h("div", { class: "stack" }, state(work, kept, names),
    kept.decisions.map((one) => h("article", { class: "decision" },
      h("div", { class: "row" }, h("h3", {}, one.conclusion.text), one.person && h("span", { class: "name" }, names.get(one.person) ?? `${one.person} (erased)`)),
      one.note && h("p", { class: "words" }, one.note),
      one.erased && h("p", { class: "note" }, "The words were erased with the person they were about."),
      one.features.length > 0 && h("p", { class: "note" }, `Looked at: ${one.features.join(", ")}.`),
      h("p", { class: "note" }, h("span", { class: "name" }, one.name), ` · decision ${one.number}, round ${one.round} · ${day(one.time)} · names and scores ${one.names_shown ? "had been shown" : "had not been shown"} · `, h("code", { title: one.sha256 }, `sha256 ${one.sha256.slice(0, 12)}…`)))),
    kept.erasures.map((one) => h("article", { class: "decision gone" },
      h("h3", {}, one.people.length ? `${one.people.join(", ")} erased` : `${plural(one.faces.length, "face")} erased`),
      h("p", { class: "note" }, `On ${day(one.time)}, certificate ${one.certificate}. Of ${one.query ? "them, the query" : "them"} and words about them, ids and hashes are left.`))));
}

/** @param {Workspace} work @param {Schemas["ShownCase"]} kept @param {Map<string, string>} names */
function state(work, kept, names) {
  const { outcome } = kept;
  if (!outcome) {
    return h("div", { class: "told" }, h("h2", {}, UNSETTLED[kept.status] ?? "Waiting for another person's decision"),
      kept.hidden && h("p", { class: "note" }, "There are decisions that you see once the case is settled."),
      kept.status === "erased" && h("p", { class: "note" }, "The query went with a person whom it was said to show."));
  }
  const shown = outcome.person ? work.find(outcome.person) : undefined;
  const person = outcome.person && (names.get(outcome.person) ?? `${outcome.person} (erased)`);
  return h("div", { class: "told good outcome" },
    h("div", {}, h("h2", {}, `Settled: ${DIRECTIONS[outcome.direction]}`, person && [", ", h("span", { class: "name" }, person)]),
      h("p", { class: "note" }, outcome.agreed.length ? `Decisions ${outcome.agreed.join(" and ")} agree.` : "All three differ, so it stays inconclusive."),
      shown && h("p", { class: "note" }, `Rank ${shown.rank} of ${work.candidates.length}, score ${number(shown.score)}.`)),
    shown && work.crops.length > 0 && h("div", { class: "strip" },
      h("figure", {}, h("img", { class: "thumb", src: work.crops[0].src, alt: "The query" }), h("figcaption", {}, "Query")),
      h("figure", {}, picture(work.thumbnail(shown.face_id), { class: "thumb", alt: "The enrolled face" }), h("figcaption", { class: "name" }, person))));
}
