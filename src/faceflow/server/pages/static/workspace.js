// The examiner's desk: candidates on the left, looks at one of them on the right, then the decision.
// Names and scores stay hidden until they are asked for, and the candidates then come in no order.
import { analyse } from "./analyse.js";
import { api } from "./api.js";
import { decide } from "./decide.js";
import { h, number, picture, plural, problem, roving, say, tabs } from "./dom.js";
import { flow, ranks, sideBySide, whatIf, whyNot } from "./views.js";

/** @typedef {import("./api.js").Schemas} Schemas */
/** @typedef {Schemas["Candidate"]} Candidate */
/** @typedef {{label: string, src: string, caption: string}} Crop */
/**
 * Where a desk's pictures come from, and what may be done at it.
 * @typedef {object} Source
 * @property {Crop[]} crops the query as the network sees it, and as it was photographed; none: erased
 * @property {(face: number) => string} thumbnail
 * @property {Schemas["ShownCase"]} [kept] the case, where the search is one
 * @property {(permission: string) => boolean} may
 */

const LOOKS = [
  ["analyse", "Analyse"], ["side", "Side by side"], ["flow", "Flow"], ["why", "Why not another"],
  ["what", "What if"], ["ranks", "Ranks"], ["decide", "Decide"],
];
const TELLING = new Set(["flow", "why", "what", "ranks"]); // they cannot be shown without scores
const NEARBY = 50;
const NEED_QUERY = new Set(["analyse", "side", "flow", "why", "what"]);

/** @type {Record<string, (score: string) => string>} */
const STATES = {
  identified: (score) => `The best reaches the threshold ${score}.`,
  unknown: (score) => `Nobody reaches the threshold ${score}.`,
  unsure: () => "Too little of the face can be seen for the threshold to mean anything.",
  ranked: () => "Ranked only: without a threshold nothing is decided.",
  empty: () => "Nobody is enrolled.",
};

export class Workspace {
  /** @param {Schemas["Search"]} search the answer @param {Source} source */
  constructor(search, source) {
    this.search = search;
    this.kept = source.kept;
    this.crops = source.crops;
    this.may = source.may;
    this.thumbnail = source.thumbnail;
    this.grid = search.query.grid;
    this.threshold = search.threshold;
    this.candidates = search.candidates;
    // Whoever has nothing more to decide in this case cannot be led by names.
    this.named = Boolean(this.kept && !this.kept.may_decide);
    /** Features that the examiner saw in the query before any candidate. @type {Set<string>} */
    this.seen = new Set();
    /** Marks made at this desk, by person. @type {Map<string, string>} */
    this.marks = new Map();
    /** @type {Map<number, Promise<Schemas["Explanation"]>>} */
    this.explained = new Map();
    this.panel = h("div", { id: "panel", role: "tabpanel", tabindex: "-1", class: "card" });
    this.rail = h("aside", { class: "card rail", "aria-label": "Candidates", hidden: true });
    this.body = h("div", { class: "work alone" }, this.rail, this.panel);
    this.tabs = tabs("Steps", LOOKS.map(([key, label]) => ({ key, label })), (key) => this.look(key));
    this.element = h("div", {}, this.tabs.bar, this.body);
    this.order = shuffled(this.candidates, search.id);
    // Not the best one: it would be told by being chosen.
    this.candidate = (this.named ? this.candidates : this.order)[0];
    this.leaving = new AbortController();
    this.at = "analyse";
    this.#rail();
    this.tabs.pick("analyse");
  }

  /**
   * Candidates to choose from in a list of a bearable length: the first ones and the chosen one's
   * neighbours, in the order of the rail, which tells no ranks as long as names are hidden.
   */
  nearby() {
    const all = this.named ? this.candidates : this.order;
    const at = all.indexOf(this.candidate);
    return all.filter((_, i) => i < NEARBY || Math.abs(i - at) <= 2);
  }

  /** Goes to a step. @param {string} key */
  go(key) { this.tabs.pick(key); }

  /** @param {string} person */
  find(person) { return this.candidates.find((one) => one.person.id === person); }

  /** What a candidate is called as long as names are hidden, or their name. @param {Candidate} one */
  label(one) {
    const name = one.person.name ?? `${one.person.id} (removed since)`;
    return this.named ? name : `Candidate ${letters(this.order.indexOf(one))}`;
  }

  /** Kept, and so never called off: who leaves a look comes back to it. @param {number} face */
  explanation(face) {
    let asked = this.explained.get(face);
    if (!asked) {
      asked = api.explanation(this.search, face);
      asked.catch(() => this.explained.delete(face));
      this.explained.set(face, asked);
    }
    return asked;
  }

  /** @param {any} error */
  fail(error) { if (error.name !== "AbortError") this.panel.prepend(problem(error)); }

  /** Shows a step for the chosen candidate. @param {string} key */
  async look(key) {
    this.at = key;
    this.leaving.abort();
    this.leaving = new AbortController();
    const { signal } = this.leaving;
    this.panel.setAttribute("aria-labelledby", `tab-${key}`);
    this.rail.hidden = key === "analyse" || !this.candidates.length;
    this.body.classList.toggle("alone", this.rail.hidden);
    if (NEED_QUERY.has(key) && !this.crops.length) {
      this.#only("The query was erased", "Somebody decided that it shows a person who was erased since. Ids and hashes are left.");
      return;
    }
    if (key !== "analyse" && key !== "decide" && !this.candidates.length) {
      this.#only("There are no candidates", "Nobody is enrolled in this gallery, or everybody was erased since.");
      return;
    }
    if (TELLING.has(key) && !this.named) { this.panel.replaceChildren(this.#veil(key)); return; }
    this.panel.setAttribute("aria-busy", "true");
    try {
      const made = await this.#make(key, signal);
      if (!signal.aborted) this.panel.replaceChildren(made, ...this.#onward(key));
    } catch (error) {
      if (!signal.aborted) this.panel.replaceChildren(problem(error));
    } finally {
      if (!signal.aborted) this.panel.removeAttribute("aria-busy");
    }
  }

  /** @param {string} key @param {AbortSignal} signal @returns {Promise<HTMLElement> | HTMLElement} */
  #make(key, signal) {
    switch (key) {
      case "side": return sideBySide(this);
      case "flow": return flow(this);
      case "why": return whyNot(this, signal);
      case "what": return whatIf(this, signal);
      case "ranks": return ranks(this);
      case "decide": return decide(this);
      default: return analyse(this);
    }
  }

  /** @param {string} title @param {string} text */
  #only(title, text) {
    this.panel.replaceChildren(h("div", { class: "stack" }, h("h2", {}, title), h("p", { class: "note" }, text)));
  }

  /** A way to the next step, below the look; the first one has its own. @param {string} key */
  #onward(key) {
    const next = LOOKS[LOOKS.findIndex(([one]) => one === key) + 1];
    if (!next || key === "analyse") return [];
    return [h("p", { class: "onward" }, h("button", {
      type: "button", class: "small", onclick: () => { this.go(next[0]); this.panel.focus({ preventScroll: true }); },
    }, `Next: ${next[1]}`))];
  }

  /** @param {string} key */
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

  /** Draws the list of candidates. */
  #rail() {
    const people = this.named ? this.candidates : this.order;
    const buttons = people.map((one) => this.#person(one));
    const list = h("ul", { class: "people" }, buttons.map((button) => h("li", {}, button)));
    roving(list, () => buttons);
    this.rail.replaceChildren(
      h("div", { class: "over stack" }, h("h2", {}, plural(people.length, "candidate")),
        this.named
          ? h("p", { class: "note" }, STATES[this.search.status](number(this.threshold)))
          : [h("p", { class: "note" }, "In no order."), h("button", {
            type: "button", class: "small", id: "show-names", onclick: () => { this.#name(); this.look(this.at); },
          }, "Show names and scores")]),
      list);
  }

  /** @param {Candidate} one */
  #person(one) {
    const current = one === this.candidate;
    const marked = this.marks.has(one.person.id) || (this.named && one.marked_not_this_person);
    const button = h("button", {
      type: "button", "aria-current": String(current), tabindex: current ? "0" : "-1", onclick: () => {
        const before = this.rail.querySelector("[aria-current='true']");
        before?.setAttribute("aria-current", "false");
        before?.setAttribute("tabindex", "-1");
        button.setAttribute("aria-current", "true");
        button.tabIndex = 0;
        this.candidate = one;
        this.look(this.at);
      },
    },
    picture(this.thumbnail(one.face_id), { width: 56, height: 56 }),
    h("span", { class: "text" }, h("span", { class: "who2 name" }, this.label(one)),
      this.named && h("span", { class: "sub number" }, `${one.rank} · ${number(one.score)}`),
      marked && h("span", { class: "tag spot" }, "not this person")));
    return button;
  }

  /** Says that the chosen candidate is not the person, or takes it back. @param {string} [note] */
  async mark(note) {
    const { person } = this.candidate;
    const mark = this.marks.get(person.id);
    if (mark === undefined) this.marks.set(person.id, (await api.mark(this.search, person.id, note ?? "")).id);
    else {
      await api.unmark(this.search, mark);
      this.marks.delete(person.id);
    }
    this.#rail();
    this.look(this.at);
  }
}

/** A, B, ..., Z, AA: names that say nothing about rank. @param {number} place */
function letters(place) {
  let text = "";
  for (let rest = place + 1; rest > 0; rest = Math.floor((rest - 1) / 26)) text = String.fromCharCode(65 + ((rest - 1) % 26)) + text;
  return text;
}

/**
 * The same order every time for one search, and none that means anything.
 * @template T
 * @param {T[]} list @param {string} seed
 */
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
