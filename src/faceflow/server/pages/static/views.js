// The examiner's looks at one candidate: each takes the workspace and gives an element.
import { api } from "./api.js";
import { Cells } from "./cells.js";
import { contributionColour, contributionTable, legend } from "./colours.js";
import { ask, attempt, field, h, number, percent, picture, plural, s, say, signed, table } from "./dom.js";
import { slopes, strip } from "./ranks.js";
import { SideBySide } from "./side-by-side.js";

/** @typedef {import("./workspace.js").Workspace} Workspace */
/** @typedef {import("./api.js").Schemas} Schemas */
/** @typedef {Schemas["Candidate"]} Candidate */
/** @typedef {"query" | "gallery"} Which */

/** @type {Record<string, string>} */
const NAMES = { emd: "EMD similarity", visible_cosine: "visible cosine", cosine: "cosine" };
/** @param {string} key */
const words = (key) => NAMES[key] ?? key.replaceAll("_", " ");

/** (2) Side by side. @param {Workspace} work */
export function sideBySide(work) {
  const { candidate, crops } = work;
  const both = new SideBySide([
    { title: "Query", src: crops[0].src, alt: "The face that was searched for", caption: crops[0].caption },
    { title: work.label(candidate), src: work.thumbnail(candidate.face_id), alt: "The candidate's enrolled face", caption: "Aligned, as it was enrolled. No other picture of it is kept." },
  ], work.grid);
  const buttons = crops.map((crop, place) => h("button", {
    type: "button", class: "small", "aria-pressed": String(place === 0),
    onclick: () => {
      both.change(0, { ...crop, alt: "The face that was searched for" });
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === place)));
    },
  }, crop.label));
  if (buttons.length > 1) both.slot.append(...buttons);
  return h("div", {}, both.element, mark(work));
}

/** Not this person: kept, and shown to whoever searches for this face again. @param {Workspace} work */
function mark(work) {
  const { candidate } = work;
  if (!work.may("mark") || candidate.person.name === null) return null;
  const wrong = h("div");
  const mine = work.marks.has(candidate.person.id);
  const button = h("button", {
    type: "button", class: "small", onclick: () => attempt(button, wrong, async () => {
      if (mine) { await work.mark(); return; }
      const said = await ask(`${work.label(candidate)} is not the person in this photo`, [field("Why", "note", { maxlength: 1000 })], {
        action: "Mark", note: "Later searches for this face say so, to whoever asks. It is not a decision in a case, and can be taken back.",
      });
      if (said) { await work.mark(said.note); say("Marked as not this person"); }
    }),
  }, mine ? "Take the mark back" : "Not this person");
  return h("div", { class: "pair faces" }, h("div"), h("div", { class: "row" }, button,
    mine && h("span", { class: "note" }, "Later searches for this face say so."), wrong));
}

/**
 * The terms of a score as a sum and a bar.
 * @param {Record<string, number>} terms @param {number} total
 * @param {Record<string, number>} [similarities] @param {Record<string, number>} [shares]
 */
function sum(terms, total, similarities = {}, shares = {}) {
  const keys = Object.keys(terms);
  const bar = s("svg", { class: "parts", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  let x = 0;
  for (const key of keys) {
    const width = Math.max(0, terms[key]);
    bar.append(s("rect", { x, y: 0, width, height: 1, class: `part ${key}` }));
    x += width;
  }
  return h("div", { class: "sum" },
    h("p", { class: "terms" }, h("strong", { class: "total" }, `Score ${number(total)}`), keys.map((key, i) => h("span", {},
      h("span", { class: "sign", "aria-hidden": "true" }, i ? "+" : "="), h("i", { class: `key ${key}` }), words(key), " ",
      shares[key] !== undefined && h("span", { class: "note" }, `${number(similarities[key])} × ${number(shares[key], 2)} = `),
      number(terms[key])))), bar);
}

/** (3) Flow: point at a cell, see where its mass goes and what it adds; and back. @param {Workspace} work */
export async function flow(work) {
  const why = await work.explanation(work.candidate.face_id);
  const [rows, columns] = why.grid;
  const count = rows * columns;
  /** @typedef {{to: number, mass: number, similarity: number}} Going */
  /** @type {Record<Which, Going[][]>} */
  const from = { query: Array.from({ length: count }, () => []), gallery: Array.from({ length: count }, () => []) };
  for (const cell of why.flow) {
    from.query[cell.i].push({ to: cell.j, mass: cell.mass, similarity: cell.similarity });
    from.gallery[cell.j].push({ to: cell.i, mass: cell.mass, similarity: cell.similarity });
  }
  /** @type {Record<Which, number[]>} */
  const adds = { query: why.contributions, gallery: why.gallery_contributions };
  /** @type {Record<Which, number[]>} */
  const holds = { query: why.weights.u, gallery: why.weights.v };
  const most = Math.max(...adds.query.map(Math.abs), ...adds.gallery.map(Math.abs), 1e-12);
  const hint = "Point at a cell of either face, or move to a face with Tab and over its cells with the arrow keys.";
  const readout = h("p", { class: "readout" }, hint);
  const threads = s("svg", { class: "threads", "aria-hidden": "true" });

  const rest = () => {
    for (const side of /** @type {Which[]} */ (["query", "gallery"])) {
      faces[side].paint((r) => [contributionColour(adds[side][r] / most), 0.66]);
      faces[side].mark(null);
    }
    threads.replaceChildren();
    readout.textContent = hint;
  };

  /** @param {Which} side @param {number} cell @param {boolean} [aloud] */
  const show = (side, cell, aloud) => {
    const other = side === "query" ? "gallery" : "query";
    const goes = [...from[side][cell]].sort((a, b) => b.mass - a.mass);
    const total = goes.reduce((all, one) => all + one.mass, 0);
    const at = new Map(goes.map((one) => [one.to, one.mass]));
    const top = goes[0]?.mass ?? 0;
    faces[side].paint((r) => ["#0c0f18", r === cell ? 0 : 0.3]);
    faces[other].paint((r) => ["#0c0f18", top > 0 ? 0.82 * (1 - (at.get(r) ?? 0) / top) : 0.82]);
    faces[side].mark(cell);
    faces[other].mark(total > 0 ? goes[0].to : null, true);
    draw(side, cell, goes.filter((one) => one.mass > 0.03 * top).slice(0, 12), top);
    const where = total > 0
      ? `${percent(goes[0].mass / total)} of it ${side === "query" ? "goes to" : "comes from"} the ${other} face's ${faces[other].place(goes[0].to)} (cosine ${number(goes[0].similarity, 2)})`
      : "none of it is moved";
    readout.textContent = `${side === "query" ? "Query" : "Gallery"} ${faces[side].place(cell)} holds ${percent(holds[side][cell])} of the face's weight; ${where}. It adds ${number(adds[side][cell], 4)} to the score.`;
    if (aloud) say(readout.textContent);
  };

  /** @param {Which} side @param {number} cell @param {Going[]} goes @param {number} top */
  const draw = (side, cell, goes, top) => {
    const base = threads.getBoundingClientRect();
    const boxes = { query: faces.query.svg.getBoundingClientRect(), gallery: faces.gallery.svg.getBoundingClientRect() };
    /** @param {Which} which @param {number} r */
    const centre = (which, r) => {
      const box = boxes[which];
      return [box.left - base.left + ((r % columns) + 0.5) * (box.width / columns), box.top - base.top + (Math.floor(r / columns) + 0.5) * (box.height / rows)];
    };
    const other = side === "query" ? "gallery" : "query";
    threads.replaceChildren(...goes.map((one) => {
      const [x0, y0] = centre(side, cell);
      const [x1, y1] = centre(other, one.to);
      const bend = (x1 - x0) * 0.45;
      return s("path", { d: `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`, "stroke-width": (0.8 + 5 * (one.mass / top)).toFixed(2), "stroke-opacity": (0.25 + 0.65 * (one.mass / top)).toFixed(2) });
    }));
  };

  /** @param {Which} side @param {string} src @param {string} alt */
  const make = (side, src, alt) => new Cells(src, why.grid, {
    label: `${side === "query" ? "Query" : "Candidate"}; arrow keys move over its cells`, alt, grey: true,
    onpoint: (cell, aloud) => show(side, cell, aloud), onleave: rest,
  });
  /** @type {Record<Which, Cells>} */
  const faces = {
    query: make("query", work.crops[0].src, "The query's face as the network sees it"),
    gallery: make("gallery", work.thumbnail(why.face_id), "The candidate's face"),
  };
  rest();
  return h("div", {},
    h("div", { class: "faces" },
      h("div", { class: "pair" },
        h("figure", {}, h("h2", { class: "third" }, "Query: what each cell adds"), faces.query.element),
        h("figure", {}, h("h2", { class: "third" }, `${work.label(work.candidate)}: what each cell receives`), faces.gallery.element)),
      threads),
    h("div", { class: "faces" }, legend(contributionTable, `−${number(most, 4)} of score`, "nothing", `+${number(most, 4)} of score`)),
    readout,
    sum(why.terms, why.score, why.similarities, why.shares),
    h("p", { class: "note after" }, `${columns}×${rows} ${why.patches} patches, ${why.weighting} weights, ${why.solver.name ?? "Sinkhorn"}: ${why.status.replaceAll("_", " ")} after ${plural(why.iterations, "iteration")}. The cells' contributions add up to the EMD term, and the terms to the score. A flow shows which patches were matched; it is no proof of identity, and a score is a similarity, not a probability.`),
    strongest(why, from.query, faces));
}

/**
 * The strongest cells as a table, for whoever does not see colours or threads.
 * @param {Schemas["Explanation"]} why @param {{to: number, mass: number}[][]} goes @param {Record<Which, Cells>} faces
 */
function strongest(why, goes, faces) {
  const best = why.contributions.map((value, r) => ({ value, r })).sort((a, b) => b.value - a.value).slice(0, 10);
  const heads = ["Query cell", "goes mostly to", "weight", "adds"];
  return h("details", {}, h("summary", {}, "The ten strongest cells as a table"),
    table("The strongest cells", heads.map((text, i) => h("th", { scope: "col", class: i > 1 ? "number" : "" }, text)), best.map(({ value, r }) => {
      const [to] = [...goes[r]].sort((a, b) => b.mass - a.mass);
      return h("tr", {}, h("th", { scope: "row" }, faces.query.place(r)), h("td", {}, to ? faces.gallery.place(to.to) : "nowhere"), h("td", { class: "number" }, percent(why.weights.u[r])), h("td", { class: "number" }, signed(value, 4)));
    }), "measured"));
}

/** (4) Why this one and not another. @param {Workspace} work @param {AbortSignal} signal */
export async function whyNot(work, signal) {
  const others = work.nearby().filter((other) => other !== work.candidate);
  if (!others.length) return h("p", { class: "note" }, "There is no other candidate to compare with.");
  const next = work.candidates[work.candidates.indexOf(work.candidate) + 1] ?? others[0];
  const select = h("select", { id: "other" }, others.map((other) => h("option", { value: other.face_id, selected: other === next }, `${work.label(other)}, rank ${other.rank}`)));
  const place = h("div", { "aria-live": "polite" });
  const show = async () => {
    const it = await api.comparison(work.search, work.candidate.face_id, Number(select.value), signal);
    const other = others.find((one) => one.face_id === it.b_face_id) ?? next;
    const [mine, theirs] = [work.label(work.candidate), work.label(other)];
    const most = Math.max(...it.cells.map(Math.abs), 1e-12);
    const hint = `Blue cells speak for ${mine}, orange ones for ${theirs}.`;
    const readout = h("p", { class: "readout" }, hint);
    const query = new Cells(work.crops[0].src, it.grid, {
      label: "Query; arrow keys move over its cells", alt: "The query's face as the network sees it", grey: true,
      onpoint: (cell, aloud) => {
        query.mark(cell);
        const value = it.cells[cell];
        readout.textContent = `Query ${query.place(cell)}: ${signed(value, 4)} for ${value >= 0 ? mine : theirs}.`;
        if (aloud) say(readout.textContent);
      },
      onleave: () => { query.mark(null); readout.textContent = hint; },
    });
    query.paint((r) => [contributionColour(it.cells[r] / most), 0.72]);
    /** @param {Candidate} one @param {number} score */
    const face = (one, score) => h("figure", {}, h("h2", { class: "third name" }, work.label(one)),
      h("div", { class: "face" }, h("img", { src: work.thumbnail(one.face_id), alt: "Enrolled face" })), h("figcaption", { class: "number" }, `score ${number(score)}`));
    place.replaceChildren(
      h("div", { class: "why faces" }, face(work.candidate, it.score_a),
        h("figure", {}, h("h2", { class: "third" }, "Where they differ on the query"), query.element, legend(contributionTable, `for ${theirs}`, "", `for ${mine}`)),
        face(other, it.score_b)),
      readout,
      waterfall(it, mine, theirs));
  };
  select.addEventListener("change", () => { show().catch((error) => work.fail(error)); });
  await show();
  return h("div", { class: "stack" },
    h("div", { class: "row" }, h("label", { for: "other" }, `Why ${work.label(work.candidate)} and not`), h("span", { class: "pick" }, select)), place);
}

/** @param {Schemas["Comparison"]} it @param {string} mine @param {string} theirs */
function waterfall(it, mine, theirs) {
  const keys = Object.keys(it.terms);
  return h("div", { class: "sum" },
    table("The difference as a sum", null, [
      h("tr", {}, h("th", { scope: "row" }, "Score of ", h("span", { class: "name" }, theirs)), h("td", { class: "number" }, number(it.score_b, 4))),
      ...keys.map((key) => h("tr", {}, h("th", { scope: "row" }, h("i", { class: `key ${key}` }), words(key), key === "emd" && h("span", { class: "note" }, " – the sum of all cells above")), h("td", { class: "number" }, signed(it.terms[key], 4)))),
      h("tr", {}, h("th", { scope: "row" }, "Score of ", h("span", { class: "name" }, mine)), h("td", { class: "number" }, h("strong", {}, number(it.score_a, 4)))),
    ], "measured"));
}

/** @typedef {(row: number, column: number, rows: number, columns: number) => boolean} Test */
/** @type {[string, Test][]} */
const PRESETS = [
  ["Upper half", (row, _column, rows) => row < rows / 2],
  ["Lower half", (row, _column, rows) => row >= rows / 2],
  ["Left half", (_row, column, _rows, columns) => column < columns / 2],
  ["Right half", (_row, column, _rows, columns) => column >= columns / 2],
  ["Edge", (row, column, rows, columns) => row === 0 || column === 0 || row === rows - 1 || column === columns - 1],
];

const SHOWN = 12; // rows of what if

/** (5) What if cells of the query had shown nothing. @param {Workspace} work @param {AbortSignal} signal */
export function whatIf(work, signal) {
  const [rows, columns] = work.grid;
  /** @type {Set<number>} */
  const hidden = new Set();
  let asked = 0; // the last change
  let answering = false;
  const list = h("div", { "aria-live": "polite" });

  /** @param {Pick<Schemas["WhatIfCandidate"], "person" | "rank" | "recorded_rank" | "score" | "recorded_score">[]} candidates @param {string} text */
  const scores = (candidates, text) => h("div", { class: "stack" }, h("p", { class: "note" }, text),
    table("Candidates scored anew", ["Rank", "", "Candidate", "Score", "Change"].map((head, i) => (head ? h("th", { scope: "col", class: i === 2 ? "" : "number" }, head) : h("td"))),
      candidates.slice(0, SHOWN).map((one) => {
        const moved = one.recorded_rank - one.rank;
        const known = work.find(one.person.id);
        return h("tr", {},
          h("td", { class: "number" }, String(one.rank)),
          h("td", { class: "moved" }, moved !== 0 && h("span", { class: moved > 0 ? "up" : "down" }, moved > 0 ? `▲${moved}` : `▼${-moved}`, h("span", { class: "quiet" }, moved > 0 ? " places up" : " places down"))),
          h("th", { scope: "row", class: "name" }, known ? work.label(known) : one.person.id),
          h("td", { class: "number" }, number(one.score)),
          h("td", { class: "number" }, Math.abs(one.score - one.recorded_score) < 5e-6 ? "–" : signed(one.score - one.recorded_score)));
      }), "scores"));
  const recorded = () => work.candidates.map((one) => ({ ...one, recorded_rank: one.rank, recorded_score: one.score }));

  /** Asks once at a time, and then for what has become of the cells meanwhile: a brush is faster. */
  const rescore = async () => {
    if (!hidden.size) { list.replaceChildren(scores(recorded(), "The recorded result. Brush over cells of the query to leave them out.")); return; }
    if (answering) return;
    answering = true;
    let turn;
    try {
      do {
        turn = asked;
        const cells = [...hidden].sort((a, b) => a - b);
        const answer = await api.whatIf(work.search, cells, signal);
        if (hidden.size) list.replaceChildren(scores(answer.candidates, `Scored anew without ${plural(cells.length, "cell")}. The cosine of the whole faces stays, because the network saw the whole photo.`));
      } while (turn !== asked && hidden.size);
    } catch (error) { work.fail(error); } finally { answering = false; }
  };
  const query = new Cells(work.crops[0].src, work.grid, {
    label: "Query; arrow keys move, the space bar leaves a cell out or puts it back", alt: "The query's face as the network sees it",
    onbrush: (cell, mode, aloud) => {
      if (mode === "look") {
        say(`${query.place(cell)}${hidden.has(cell) ? ", left out" : ""}`);
        return null;
      }
      const hide = mode ?? !hidden.has(cell);
      if (hidden.has(cell) !== hide) { if (hide) hidden.add(cell); else hidden.delete(cell); change(); }
      if (aloud) say(`${query.place(cell)} ${hide ? "left out" : "put back"}, ${plural(hidden.size, "cell")} out`);
      return hide;
    },
  });
  const banner = h("p", { class: "recorded", hidden: true }, h("strong", {}, "Not the recorded result. "), "Nothing of this is kept, and nothing of it changes the search.");
  const back = h("button", { type: "button", class: "small", onclick: () => { hidden.clear(); change(); } }, "Put all back");
  const change = () => {
    asked += 1;
    query.paint((r) => (hidden.has(r) ? ["#8d9099", 0.94] : ["#0c0f18", 0]));
    back.disabled = !hidden.size;
    banner.hidden = !hidden.size;
    rescore();
  };
  /** @param {Test} test */
  const all = (test) => {
    for (let r = 0; r < rows * columns; r += 1) if (test(Math.floor(r / columns), r % columns, rows, columns)) hidden.add(r);
    change();
  };
  change();
  return h("div", { class: "what" },
    h("div", {}, query.element,
      h("div", { class: "tools below" }, PRESETS.map(([label, test]) => h("button", { type: "button", class: "small", onclick: () => all(test) }, label)), back)),
    h("div", {}, banner, list));
}

/** (6) Ranks: from stage 1 to the end, the distance to the next, and the person's other faces. @param {Workspace} work */
export function ranks(work) {
  const { candidates, candidate } = work;
  const faces = candidate.faces.length ? candidate.faces : [{ face_id: candidate.face_id, score: candidate.score }];
  return h("div", { class: "rank" },
    h("section", {}, h("h2", { class: "third" }, `Scores of all ${plural(candidates.length, "candidate")}`), strip(work)),
    h("section", {}, h("h2", { class: "third" }, "From the first stage to the last"), slopes(work)),
    h("section", {}, h("h2", { class: "third" }, `Faces of ${work.label(candidate)}`), h("div", { class: "strip" },
      faces.map((face) => h("figure", {}, picture(work.thumbnail(face.face_id), { class: "thumb", alt: `Face ${face.face_id}` }), h("figcaption", { class: "number" }, number(face.score)))))));
}
