// (7) The decision, with its reasons. A search that nobody kept yet becomes a case with it.
import { api } from "./api.js";
import { attempt, day, field, h, plural, problem } from "./dom.js";

export const FEATURES = [
  "forehead", "hairline", "eyebrows", "eyes", "nose", "cheeks", "mouth", "chin", "left ear", "right ear",
  "face shape", "scars, moles, marks",
];

export async function decide(work) {
  const kept = work.source.kept;
  if (!work.may("open case") && !work.may("review case")) return h("p", {}, "Your role looks at searches; it opens and decides no cases.");
  if (!kept && !work.may("open case")) return h("p", {}, "Your role reviews cases that others have opened. You find them under Cases.");
  if (kept && !kept.may_decide) return decisions(kept);
  const { conclusions } = await api.conclusions();
  const wrong = h("div", { role: "alert" });
  const about = h("select", { name: "person" },
    h("option", { value: "" }, "all that are shown"),
    work.candidates.map((one) => h("option", { value: one.person.id, selected: one === work.candidate }, work.label(one))));
  const button = h("button", { class: "main", type: "submit" }, kept ? "Record the decision" : "Keep the case with this decision");
  const form = h("form", { class: "stack" },
    h("h2", {}, kept ? (kept.status === "open" ? "Decide" : "Review") : "Decide"),
    h("p", { class: "note" }, kept && kept.status !== "open"
      ? "Somebody has decided before you. You see what they decided once the case is settled, and they do not see yours before."
      : "What you record cannot be changed, only added to. A second person decides without seeing it; where you differ, a third."),
    h("div", { class: "decide" },
      h("div", { class: "stack" },
        h("label", { class: "field" }, h("span", {}, "About"), about),
        h("fieldset", {}, h("legend", {}, "Conclusion"), h("div", { class: "scale" }, conclusions.map((step) =>
          h("label", { class: "tick" }, h("input", { type: "radio", name: "conclusion", value: step.key, required: true }), step.text))))),
      h("div", { class: "stack" },
        !kept && field("Title of the case", "title", { required: true, maxlength: 200, autocomplete: "off" }),
        h("label", { class: "field" }, h("span", {}, "Reasons"), h("textarea", { name: "note", maxlength: 20000, rows: 6 })),
        h("fieldset", {}, h("legend", {}, "Features you looked at"), h("div", { class: "ticks" }, FEATURES.map((feature) =>
          h("label", { class: "tick" }, h("input", { type: "checkbox", name: "features", value: feature, checked: work.seen.has(feature) }), feature)))))),
    h("div", { class: "row" }, button, h("span", { class: "note" }, work.named ? "Names and scores have been shown; the decision says so." : "Names and scores have not been shown.")),
    wrong);
  let id = kept?.id;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(button, wrong, async () => {
      const values = new FormData(form);
      // Should only the second step fail, the case that exists already is decided, not a new one.
      id ??= (await api.openCase(work.search, values.get("title"))).id;
      const person = values.get("person") || null;
      await api.decide(id, {
        conclusion: values.get("conclusion"), person, face_id: person ? work.find(person).face_id : null,
        note: values.get("note"), features: values.getAll("features"), names_shown: work.named,
      });
      location.assign(`/cases/${id}`);
    });
  });
  if (!kept?.decisions.length) return form;
  // Whoever decided first may think again until somebody reviews.
  return h("div", { class: "stack" }, decisions(kept), h("details", {}, h("summary", {}, "Add another decision in place of yours"), form));
}

const DIRECTIONS = { same: "the same person", different: "different people", neither: "inconclusive" };

/** What has been decided, as far as this reader may see it. */
export function decisions(kept) {
  const names = new Map(kept.search.candidates.map((one) => [one.person.id, one.person.name ?? one.person.id]));
  const outcome = kept.outcome;
  return h("div", { class: "stack" },
    outcome && h("div", { class: "told" }, h("h2", {}, `Settled: ${DIRECTIONS[outcome.direction]}`, outcome.person && [", ", h("span", { class: "name" }, names.get(outcome.person))]),
      h("p", { class: "note" }, outcome.agreed.length ? `Decisions ${outcome.agreed.join(" and ")} agree.` : "All three differ, so it stays inconclusive.")),
    !outcome && h("div", { class: "told" }, h("h2", {}, kept.status === "open" ? "Nobody has decided yet" : "Waiting for another person's decision"),
      kept.hidden && h("p", { class: "note" }, "There are decisions that you see once the case is settled.")),
    kept.decisions.map((one) => h("article", { class: "decision stack" },
      h("div", { class: "row" }, h("h3", {}, one.conclusion.text), one.person && h("span", { class: "name" }, names.get(one.person) ?? one.person), h("span", { class: "tag" }, `${one.number} · round ${one.round}`)),
      one.note && h("p", {}, one.note),
      one.features.length > 0 && h("p", { class: "note" }, `Looked at: ${one.features.join(", ")}.`),
      h("p", { class: "note" }, h("span", { class: "name" }, one.name), ` · ${day(one.time)} · names and scores ${one.names_shown ? "had been shown" : "had not been shown"} · sha256 ${one.sha256.slice(0, 12)}…`))),
    !kept.decisions.length && !kept.hidden && h("p", { class: "note" }, plural(0, "decision")));
}
