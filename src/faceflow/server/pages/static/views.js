// The examiner's looks at one candidate: each takes the workspace and gives an element.
import { Cells } from "./cells.js";
import { contributionColour, contributionTable, legend, weightColour, weightTable } from "./colours.js";
import { h, number, percent, plural, s, say, signed } from "./dom.js";
import { SideBySide } from "./side-by-side.js";

const NAMES = { emd: "EMD similarity", visible_cosine: "visible cosine", cosine: "cosine" };
const words = (key) => NAMES[key] ?? key.replaceAll("_", " ");

/** (2) Side by side. */
export function sideBySide(work) {
  const { candidate } = work;
  const kinds = work.crops();
  const both = new SideBySide([
    { title: "Query", src: kinds[0].src, alt: "The face that was searched for", caption: kinds[0].caption },
    { title: work.label(candidate), src: work.thumbnail(candidate.face_id), alt: "The candidate's enrolled face", caption: "Aligned, as it was enrolled. No other picture of it is kept." },
  ], work.grid);
  const buttons = kinds.map((kind, place) => h("button", {
    type: "button", class: "small", "aria-pressed": String(place === 0),
    onclick: () => {
      both.change(0, { src: kind.src, alt: "The face that was searched for", caption: kind.caption });
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === place)));
    },
  }, kind.label));
  if (buttons.length > 1) both.slot.append(...buttons);
  return both.element;
}

/** The terms of a score as a sum and a bar. */
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
    h("p", { class: "terms" }, keys.map((key) => h("span", {}, h("i", { class: `key ${key}` }), words(key), " ",
      shares[key] !== undefined && h("span", { class: "note" }, `${number(similarities[key])} × ${number(shares[key], 2)} = `),
      number(terms[key]))), h("span", { class: "total" }, `score ${number(total)}`)), bar);
}

/** (3) Flow: point at a cell, see where its mass goes and what it adds; and back. */
export async function flow(work) {
  const why = await work.explanation(work.candidate.face_id);
  const [rows, columns] = why.grid;
  const count = rows * columns;
  const from = { query: Array.from({ length: count }, () => []), gallery: Array.from({ length: count }, () => []) };
  for (const cell of why.flow) {
    from.query[cell.i].push({ to: cell.j, mass: cell.mass, similarity: cell.similarity });
    from.gallery[cell.j].push({ to: cell.i, mass: cell.mass, similarity: cell.similarity });
  }
  const adds = { query: why.contributions, gallery: why.gallery_contributions };
  const holds = { query: why.weights.u, gallery: why.weights.v };
  const most = Math.max(...adds.query.map(Math.abs), ...adds.gallery.map(Math.abs), 1e-12);
  const hint = "Point at a cell of either face, or move to a face with Tab and over its cells with the arrow keys.";
  const readout = h("p", { class: "readout" }, hint);
  const threads = s("svg", { class: "threads", "aria-hidden": "true" });
  const faces = {};

  const rest = () => {
    for (const side of ["query", "gallery"]) {
      faces[side].paint((r) => [contributionColour(adds[side][r] / most), 0.66]);
      faces[side].mark(null);
    }
    threads.replaceChildren();
    readout.textContent = hint;
  };

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

  const draw = (side, cell, goes, top) => {
    const base = threads.getBoundingClientRect();
    const centre = (which, r) => {
      const box = faces[which].svg.getBoundingClientRect();
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

  const make = (side, src, alt) => new Cells(src, why.grid, {
    label: `${side === "query" ? "Query" : "Candidate"}; arrow keys move over its cells`, alt, grey: true,
    onpoint: (cell, aloud) => show(side, cell, aloud), onleave: rest,
  });
  faces.query = make("query", work.crops()[0].src, "The query's face as the network sees it");
  faces.gallery = make("gallery", work.thumbnail(why.face_id), "The candidate's face");
  rest();
  const best = adds.query.map((value, r) => [value, r]).sort((a, b) => b[0] - a[0]).slice(0, 10);
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
    h("details", {}, h("summary", {}, "The ten strongest cells as a table"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The strongest cells" }, h("table", {}, h("thead", {}, h("tr", {}, ["Query cell", "goes mostly to", "weight", "adds"].map((text, i) => h("th", { scope: "col", class: i > 1 ? "number" : "" }, text)))),
        h("tbody", {}, best.map(([value, r]) => {
          const to = [...from.query[r]].sort((a, b) => b.mass - a.mass)[0];
          return h("tr", {}, h("th", { scope: "row" }, faces.query.place(r)), h("td", {}, to ? faces.gallery.place(to.to) : "nowhere"), h("td", { class: "number" }, percent(holds.query[r])), h("td", { class: "number" }, signed(value, 4)));
        }))))));
}

/** (4) Why this one and not another. */
export async function whyNot(work, signal) {
  const others = work.candidates.filter((other) => other !== work.candidate).slice(0, 50);
  if (!others.length) return h("p", { class: "note" }, "There is no other candidate to compare with.");
  const next = work.candidates[work.candidates.indexOf(work.candidate) + 1] ?? others[0];
  const select = h("select", { id: "other" }, others.map((other) => h("option", { value: other.face_id, selected: other === next }, `${work.label(other)}, rank ${other.rank}`)));
  const place = h("div", { "aria-live": "polite" });
  const show = async () => {
    const it = await work.comparison(work.candidate.face_id, Number(select.value), signal);
    const other = others.find((one) => one.face_id === Number(select.value));
    const most = Math.max(...it.cells.map(Math.abs), 1e-12);
    const hint = `Blue cells speak for ${work.label(work.candidate)}, orange ones for ${work.label(other)}.`;
    const readout = h("p", { class: "readout" }, hint);
    const query = new Cells(work.crops()[0].src, it.grid, {
      label: "Query; arrow keys move over its cells", alt: "The query's face as the network sees it", grey: true,
      onpoint: (cell, aloud) => {
        query.mark(cell);
        const value = it.cells[cell];
        readout.textContent = `Query ${query.place(cell)}: ${signed(value, 4)} for ${value >= 0 ? work.label(work.candidate) : work.label(other)}.`;
        if (aloud) say(readout.textContent);
      },
      onleave: () => { query.mark(null); readout.textContent = hint; },
    });
    query.paint((r) => [contributionColour(it.cells[r] / most), 0.72]);
    const face = (one) => h("figure", {}, h("h2", { class: "third name" }, work.label(one)), h("div", { class: "face" }, h("img", { src: work.thumbnail(one.face_id), alt: "Enrolled face" })), h("figcaption", { class: "number" }, `score ${number(one === other ? it.score_b : it.score_a)}`));
    place.replaceChildren(
      h("div", { class: "why" }, face(work.candidate),
        h("figure", {}, h("h2", { class: "third" }, "Where they differ on the query"), query.element, legend(contributionTable, `for ${work.label(other)}`, "", `for ${work.label(work.candidate)}`)),
        face(other)),
      readout,
      waterfall(it));
  };
  select.addEventListener("change", () => show().catch(work.fail));
  await show();
  return h("div", { class: "stack" },
    h("div", { class: "row" }, h("label", { for: "other" }, `Why ${work.label(work.candidate)} and not`), h("span", { class: "pick" }, select)), place);
}

function waterfall(it) {
  const keys = Object.keys(it.terms);
  return h("div", { class: "sum" },
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The difference as a sum" }, h("table", {},
      h("caption", { class: "quiet" }, "What the difference of the two scores is made of"),
      h("tbody", {},
        h("tr", {}, h("th", { scope: "row" }, "Score of the other"), h("td", { class: "number" }, number(it.score_b, 4))),
        keys.map((key) => h("tr", {}, h("th", { scope: "row" }, h("i", { class: `key ${key}` }), words(key), key === "emd" && h("span", { class: "note" }, " – the sum of all cells above")), h("td", { class: "number" }, signed(it.terms[key], 4)))),
        h("tr", {}, h("th", { scope: "row" }, "Score of this one"), h("td", { class: "number" }, h("strong", {}, number(it.score_a, 4))))))));
}

const PRESETS = [
  ["Upper half", (row, column, rows) => row < rows / 2],
  ["Lower half", (row, column, rows) => row >= rows / 2],
  ["Left half", (row, column, rows, columns) => column < columns / 2],
  ["Right half", (row, column, rows, columns) => column >= columns / 2],
  ["Edge", (row, column, rows, columns) => row === 0 || column === 0 || row === rows - 1 || column === columns - 1],
];

/** (5) What if cells of the query had shown nothing. */
export function whatIf(work, signal) {
  const [rows, columns] = work.grid;
  const hidden = new Set();
  let asked = 0;
  let wait;
  const list = h("div", { "aria-live": "polite" });
  const table = (candidates, text) => h("div", { class: "stack" }, h("p", { class: "note" }, text),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Candidates scored anew" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Rank"), h("th", { scope: "col" }, "Candidate"), h("th", { scope: "col", class: "number" }, "Score"), h("th", { scope: "col", class: "number" }, "Change"))),
      h("tbody", {}, candidates.slice(0, 12).map((one) => {
        const moved = one.recorded_rank - one.rank;
        return h("tr", {},
          h("td", { class: "number" }, String(one.rank), moved !== 0 && h("span", { class: moved > 0 ? "up" : "down" }, moved > 0 ? ` ▲${moved}` : ` ▼${-moved}`, h("span", { class: "quiet" }, moved > 0 ? " places up" : " places down"))),
          h("th", { scope: "row", class: "name" }, work.label(work.find(one.person.id) ?? one)),
          h("td", { class: "number" }, number(one.score)),
          h("td", { class: "number" }, Math.abs(one.score - one.recorded_score) < 5e-6 ? "–" : signed(one.score - one.recorded_score)));
      })))));
  const recorded = () => work.candidates.map((one) => ({ ...one, recorded_rank: one.rank, recorded_score: one.score }));
  const rescore = () => {
    clearTimeout(wait);
    const turn = ++asked;
    if (!hidden.size) { list.replaceChildren(table(recorded(), "The recorded result. Brush over cells of the query to leave them out.")); return; }
    wait = setTimeout(async () => {
      try {
        const answer = await work.whatIf([...hidden].sort((a, b) => a - b), signal);
        if (turn === asked) list.replaceChildren(table(answer.candidates, `Scored anew without ${plural(hidden.size, "cell")}. The cosine of the whole faces stays, because the network saw the whole photo.`));
      } catch (error) { work.fail(error); }
    }, 40);
  };
  const query = new Cells(work.crops()[0].src, work.grid, {
    label: "Query; arrow keys move, the space bar leaves a cell out or puts it back", alt: "The query's face as the network sees it",
    onbrush: (cell, mode, aloud) => {
      if (mode !== "look") {
        const hide = mode ?? !hidden.has(cell);
        if (hidden.has(cell) !== hide) { if (hide) hidden.add(cell); else hidden.delete(cell); change(); }
        if (aloud) say(`${query.place(cell)} ${hide ? "left out" : "put back"}, ${plural(hidden.size, "cell")} out`);
        return hide;
      }
      say(`${query.place(cell)}${hidden.has(cell) ? ", left out" : ""}`);
      return mode;
    },
  });
  const banner = h("p", { class: "recorded", hidden: true }, h("strong", {}, "Not the recorded result. "), "Nothing of this is kept, and nothing of it changes the search.");
  const change = () => {
    query.paint((r) => (hidden.has(r) ? ["#8d9099", 0.94] : ["#0c0f18", 0]));
    banner.hidden = !hidden.size;
    rescore();
  };
  const all = (test) => { for (let r = 0; r < rows * columns; r += 1) if (test(Math.floor(r / columns), r % columns, rows, columns)) hidden.add(r); change(); };
  change();
  return h("div", {}, h("div", { class: "what" },
    h("div", {}, h("div", { class: "tools" }, PRESETS.map(([label, test]) => h("button", { type: "button", class: "small", onclick: () => all(test) }, label)), h("button", { type: "button", class: "small plain", onclick: () => { hidden.clear(); change(); } }, "Put all back")), query.element),
    h("div", {}, banner, list)));
}

/** (6) Ranks: from stage 1 to the end, the distance to the next, and the person's other faces. */
export function ranks(work) {
  const { candidates, candidate } = work;
  const shown = candidates.slice(0, 24);
  if (!shown.includes(candidate)) shown.push(candidate);
  const W = 900, row = 26, H = 44 + shown.length * row;
  const byFirst = [...shown].sort((a, b) => a.stage1_rank - b.stage1_rank);
  const y = (place) => 44 + place * row;
  const slope = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Ranks of ${plural(shown.length, "candidate")} by cosine alone and after comparing patches; ${work.label(candidate)} from ${candidate.stage1_rank} to ${candidate.rank}` },
    s("text", { x: 230, y: 16, "text-anchor": "end" }, "by cosine alone"), s("text", { x: 470, y: 16 }, "after comparing patches"));
  for (const one of shown) {
    const mine = one === candidate;
    const a = y(byFirst.indexOf(one)), b = y(shown.indexOf(one));
    slope.append(
      s("path", { class: mine ? "mine" : "line", d: `M246 ${a}C320 ${a} 380 ${b} 454 ${b}` }),
      s("text", { x: 234, y: a + 4, "text-anchor": "end", class: mine ? "on" : "" }, `${shorten(work.label(one))}  ${one.stage1_rank}`),
      s("text", { x: 466, y: b + 4, class: mine ? "on" : "" }, `${one.rank}  ${shorten(work.label(one))}`),
      s("text", { x: W - 4, y: b + 4, "text-anchor": "end", class: mine ? "on" : "" }, number(one.score)));
  }
  const low = Math.min(...candidates.map((one) => one.score)), high = Math.max(...candidates.map((one) => one.score));
  const span = Math.max(high - low, 1e-9);
  const x = (score) => 20 + ((score - low) / span) * (W - 40);
  const next = candidates[candidates.indexOf(candidate) + 1];
  // One path for all the others: a thousand of them cost no more than ten.
  const strip = s("svg", { viewBox: `0 0 ${W} 74`, role: "img", "aria-label": next ? `${work.label(candidate)} is ${number(candidate.score - next.score)} ahead of the next` : `${work.label(candidate)} is the last` },
    s("path", { class: "line", d: `M20 44H${W - 20}` }),
    s("path", { d: candidates.map((one) => `M${x(one.score).toFixed(1)} 38v12`).join(""), class: "tickline" }),
    next && s("path", { class: "gapline", d: `M${x(next.score)} 26H${x(candidate.score)}` }),
    next && s("text", { x: (x(next.score) + x(candidate.score)) / 2, y: 17, "text-anchor": x(candidate.score) > W - 130 ? "end" : "middle" }, `${number(candidate.score - next.score)} to the next`),
    s("circle", { class: "dot on", cx: x(candidate.score), cy: 44, r: 6 }),
    s("text", { x: 20, y: 70 }, number(low)), s("text", { x: W - 20, y: 70, "text-anchor": "end" }, number(high)));
  if (work.threshold !== null && work.threshold >= low && work.threshold <= high) {
    strip.append(s("path", { d: `M${x(work.threshold)} 30V58`, class: "limit" }), s("text", { x: x(work.threshold), y: 70, "text-anchor": "middle" }, `threshold ${number(work.threshold)}`));
  }
  return h("div", { class: "rank stack" },
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores" }, h("h2", { class: "third" }, `Scores of all ${plural(candidates.length, "candidate")}`), strip),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Ranks" }, h("h2", { class: "third" }, "From the first stage to the last"), slope),
    h("div", {}, h("h2", { class: "third" }, `Faces of ${work.label(candidate)}`), h("div", { class: "strip" },
      (candidate.faces.length ? candidate.faces : [{ face_id: candidate.face_id, score: candidate.score }]).map((face) => h("figure", {}, h("img", { class: "thumb", loading: "lazy", src: work.thumbnail(face.face_id), alt: `Face ${face.face_id}` }), h("figcaption", { class: "number" }, number(face.score)))))));
}

const shorten = (text) => (text.length > 26 ? `${text.slice(0, 25)}…` : text);

/** Which cells of a face are seen, as a picture. */
export function visibility(src, grid, values, alt) {
  const cells = new Cells(src, grid, { label: "", alt, grey: values !== null });
  if (values) cells.paint((r) => [weightColour(values[r]), 0.62]);
  return h("div", {}, cells.element, values && legend(weightTable, "covered", "", "shows the face"));
}
