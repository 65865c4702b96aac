// The examiner's desk: candidates on the left, looks at one of them on the right, then the decision.
// Names and scores stay hidden until they are asked for, and the candidates then come in no order.
import { api } from "./api.js";
import { decide, FEATURES } from "./decide.js";
import { $, attempt, h, number, percent, plural, problem, say, tabs } from "./dom.js";
import { flow, ranks, sideBySide, visibility, whatIf, whyNot } from "./views.js";

const LOOKS = [
  ["analyse", "Analyse"], ["side", "Side by side"], ["flow", "Flow"], ["why", "Why not another"],
  ["what", "What if"], ["ranks", "Ranks"], ["decide", "Decide"],
];
const TELLING = new Set(["flow", "why", "what", "ranks"]); // they cannot be shown without scores

const BANDS = { good: "good", fair: "spot", poor: "bad" };
const STATES = {
  identified: (score) => `The best reaches the threshold ${score}.`,
  unknown: (score) => `Nobody reaches the threshold ${score}.`,
  unsure: () => "Too little of the face can be seen for the threshold to mean anything.",
  ranked: () => "Ranked only: without a threshold nothing is decided.",
  empty: () => "Nobody is enrolled.",
};
const WARNINGS = {
  "no face": "No face was found; the whole photo was taken for one.",
  "unsure detection": "The detector is unsure that this is a face.",
  "too small": "The face is small, so details are missing.",
  "mostly covered": "Most of the face is covered; little is left to compare.",
  blurred: "The face is blurred.",
  "extreme pose": "The head is turned far away.",
};

export class Workspace {
  /**
   * @param {object} search the answer of a search
   * @param {{crops: () => object[], thumbnail: (face: number) => string, kept?: object, who: object, may: Function}} source
   */
  constructor(search, source) {
    this.search = search;
    this.source = source;
    this.grid = search.query.grid;
    this.threshold = search.threshold;
    this.candidates = search.candidates;
    this.named = false;
    this.seen = new Set(); // features that the examiner saw in the query before any candidate
    this.explained = new Map();
    this.panel = h("div", { id: "panel", role: "tabpanel", tabindex: "-1", class: "card" });
    this.rail = h("aside", { class: "card rail", "aria-label": "Candidates", hidden: true });
    this.body = h("div", { class: "work alone" }, this.rail, this.panel);
    this.tabs = tabs("Steps", LOOKS.map(([key, label]) => ({ key, label })), (key) => this.look(key));
    this.element = h("div", {}, this.tabs.bar, this.body);
    this.order = shuffled(this.candidates, search.id);
    this.candidate = this.order[0] ?? null; // the best one would be told by being chosen
    this.#rail();
    this.tabs.pick("analyse");
  }

  crops() { return this.source.crops(); }
  thumbnail(face) { return this.source.thumbnail(face); }
  find(person) { return this.candidates.find((one) => one.person.id === person); }
  label(one) {
    const name = one.person.name ?? `${one.person.id} (removed since)`;
    return this.named ? name : `Candidate ${letters(this.order.indexOf(one))}`;
  }

  /** Kept, and so never called off: who leaves a look comes back to it. */
  explanation(face) {
    if (!this.explained.has(face)) {
      const asked = api.explanation(this.search, face);
      this.explained.set(face, asked);
      asked.catch(() => this.explained.delete(face));
    }
    return this.explained.get(face);
  }

  comparison(a, b, signal) { return api.comparison(this.search, a, b, signal); }
  whatIf(hidden, signal) { return api.whatIf(this.search, hidden, signal); }
  fail = (error) => { if (error.name !== "AbortError") this.panel.prepend(problem(error)); };

  async look(key) {
    this.at = key;
    this.leaving?.abort();
    this.leaving = new AbortController();
    const { signal } = this.leaving;
    this.panel.setAttribute("aria-labelledby", `tab-${key}`);
    this.rail.hidden = key === "analyse" || !this.candidates.length;
    this.body.classList.toggle("alone", this.rail.hidden);
    if (key !== "analyse" && !this.candidates.length) {
      this.panel.replaceChildren(h("p", {}, "Nobody is enrolled in this gallery, so there are no candidates."));
      return;
    }
    if (TELLING.has(key) && !this.named) { this.panel.replaceChildren(this.#veil(key)); return; }
    this.panel.setAttribute("aria-busy", "true");
    try {
      const make = { analyse: () => this.#analyse(), side: () => sideBySide(this), flow: () => flow(this), why: () => whyNot(this, signal), what: () => whatIf(this, signal), ranks: () => ranks(this), decide: () => decide(this, signal) }[key];
      const made = await make();
      if (!signal.aborted) this.panel.replaceChildren(made);
    } catch (error) {
      if (!signal.aborted) this.panel.replaceChildren(problem(error));
    } finally {
      if (!signal.aborted) this.panel.removeAttribute("aria-busy");
    }
  }

  #veil(key) {
    return h("div", { class: "stack" },
      h("h2", {}, "This shows scores"),
      h("p", { class: "note" }, "Names and scores are hidden, so that you can look at the faces first. Once they have been shown, a decision says so."),
      h("button", { type: "button", class: "main", onclick: () => { this.#name(); this.look(key); this.panel.focus(); } }, "Show names and scores"));
  }

  #name() {
    this.named = true;
    say("Names and scores are shown, best first");
    this.#rail();
  }

  #rail() {
    const people = this.named ? this.candidates : this.order;
    const list = h("ul", { class: "people" });
    const rejected = new Map(this.search.rejected.map((one) => [one.person.id, one]));
    for (const one of people) {
      const button = h("button", {
        type: "button", "aria-current": String(one === this.candidate), onclick: () => {
          this.candidate = one;
          for (const other of list.querySelectorAll("[aria-current='true']")) other.setAttribute("aria-current", "false");
          button.setAttribute("aria-current", "true");
          this.look(this.at);
        },
      },
        h("img", { src: this.thumbnail(one.face_id), alt: "", loading: "lazy", width: 56, height: 56 }),
        h("span", { class: "text" }, h("span", { class: "who2 name" }, this.label(one)),
          this.named && h("span", { class: "sub number" }, `${one.rank} · ${number(one.score)}`),
          this.named && (one.marked_not_this_person || rejected.has(one.person.id)) && h("span", { class: "tag spot" }, "not this person")));
      list.append(h("li", {}, button));
    }
    this.rail.replaceChildren(
      h("div", { class: "over stack" }, h("h2", {}, plural(people.length, "candidate")),
        this.named
          ? h("p", { class: "note" }, STATES[this.search.status](number(this.threshold)))
          : [h("p", { class: "note" }, "In no order."), h("button", { type: "button", class: "small", id: "show-names", onclick: () => { this.#name(); this.look(this.at); } }, "Show names and scores")]),
      list);
  }

  #analyse() {
    const { query } = this.search;
    const face = query.faces[query.chosen];
    const { quality } = face;
    const [crop, original] = this.crops();
    const measures = h("div", { class: "measures" },
      quality.visible_share !== null && meter("Of the face is visible", quality.visible_share, percent(quality.visible_share), quality.visible_share < 0.5),
      meter("Width of the face", Math.min(1, quality.width / 160), `${Math.round(quality.width)} pixels`, quality.width < 60),
      quality.sharpness !== null && meter("Sharpness", Math.min(1, quality.sharpness / 600), number(quality.sharpness, 0), quality.sharpness < 60),
      meter("The detector's confidence", face.detection_score, percent(face.detection_score), face.detection_score < 0.8));
    const ticks = h("div", { class: "ticks" }, FEATURES.map((feature) => {
      const box = h("input", { type: "checkbox", checked: this.seen.has(feature), onchange: () => { if (box.checked) this.seen.add(feature); else this.seen.delete(feature); } });
      return h("label", { class: "tick" }, box, feature);
    }));
    return h("div", { class: "stack" },
      h("div", { class: "analyse" },
        h("figure", {}, h("h2", { class: "third" }, "The query"), h("div", { class: "face" }, h("img", { src: (original ?? crop).src, alt: "The face in the photo that was searched" })), h("figcaption", {}, `${plural(query.faces.length, "face")} in the photo of ${query.width}×${query.height} pixels.`)),
        h("figure", {}, h("h2", { class: "third" }, "Which regions show the face"), visibility(crop.src, this.grid, quality.cells, "The aligned face; bright cells show it, dark ones are covered"), h("figcaption", {}, quality.cells ? "As the network sees it. Dark cells count for little in the comparison." : "This network has no model of covers; judge for yourself.")),
        h("div", { class: "stack" }, h("div", { class: "row" }, h("h2", { class: "third" }, "Quality"), h("span", { class: `tag ${BANDS[quality.band]}` }, quality.band)), measures,
          h("ul", { class: "stack" }, [...new Set([...quality.flaws, ...quality.warnings.map((key) => WARNINGS[key] ?? key)])].map((words) => h("li", { class: "told" }, words))))),
      h("fieldset", { class: "sum" }, h("legend", {}, "What can you see, before you look at anybody?"),
        h("p", { class: "note" }, "It is kept with your decision."), ticks),
      h("div", { class: "row" }, h("button", { type: "button", class: "main", onclick: () => { this.tabs.pick("side"); this.panel.focus(); } }, "Look at the candidates"),
        h("span", { class: "note" }, "Names and scores stay hidden until you ask for them.")));
  }
}

function meter(label, share, value, low) {
  const fill = h("i");
  fill.style.width = `${(100 * share).toFixed(1)}%`;
  return h("div", { class: "measure" }, h("div", { class: "row spread" }, h("span", {}, label), h("span", { class: "number" }, value)), h("div", { class: `meter${low ? " low" : ""}` }, fill));
}

/** A, B, ..., Z, AA: names that say nothing about rank. */
function letters(place) {
  let text = "";
  for (let rest = place + 1; rest > 0; rest = Math.floor((rest - 1) / 26)) text = String.fromCharCode(65 + ((rest - 1) % 26)) + text;
  return text;
}

/** The same order every time for one search, and none that means anything. */
function shuffled(list, seed) {
  let state = [...seed].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 16777619) >>> 0, 2166136261);
  const random = () => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return state / 2 ** 32; };
  const mixed = [...list];
  for (let i = mixed.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
  }
  return mixed;
}
