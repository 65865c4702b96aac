// The two drawings of ranks: all scores on a line, and ranks before and after patches were compared.
// Their width is the panel's, so that words have the size of other words on every screen.
import { h, number, plural, s } from "./dom.js";

/** @typedef {import("./workspace.js").Workspace} Workspace */

const MOST = 24; // candidates in the drawing of ranks; the chosen one is always among them
const ROW = 28, TOP = 44;

/** @param {Workspace} work */
function width(work) {
  return Math.min(900, Math.max(300, (work.panel.clientWidth || 900) - 50));
}

/** All scores on a line, with the distance to the next. @param {Workspace} work */
export function strip(work) {
  const { candidates, candidate, threshold } = work;
  const W = width(work);
  const scores = candidates.map((one) => one.score);
  const low = Math.min(...scores), high = Math.max(...scores);
  const span = Math.max(high - low, 1e-9);
  /** @param {number} score */
  const x = (score) => 8 + ((score - low) / span) * (W - 16);
  const next = candidates[candidates.indexOf(candidate) + 1];
  const at = x(candidate.score);
  const drawing = s("svg", { viewBox: `0 0 ${W} 74`, width: W, height: 74, role: "img", "aria-label": next ? `${work.label(candidate)} is ${number(candidate.score - next.score)} ahead of the next` : `${work.label(candidate)} is the last` },
    s("path", { class: "line", d: `M8 44H${W - 8}` }),
    // One path for all the others: a thousand of them cost no more than ten.
    s("path", { d: scores.map((score) => `M${x(score).toFixed(1)} 38v12`).join(""), class: "tickline" }),
    next && s("path", { class: "gapline", d: `M${x(next.score)} 26H${at}` }),
    next && s("text", { x: at > W / 2 ? at : x(next.score), y: 17, "text-anchor": at > W / 2 ? "end" : "start" }, `${number(candidate.score - next.score)} to the next`),
    s("circle", { class: "dot on", cx: at, cy: 44, r: 6 }),
    s("text", { x: 8, y: 70 }, number(low)), s("text", { x: W - 8, y: 70, "text-anchor": "end" }, number(high)));
  if (threshold !== null && threshold >= low && threshold <= high) {
    drawing.append(s("path", { d: `M${x(threshold)} 30V58`, class: "limit" }), s("text", { x: x(threshold), y: 70, "text-anchor": "middle" }, `threshold ${number(threshold)}`));
  }
  return drawing;
}

/** Ranks by cosine alone on the left, after comparing patches on the right. @param {Workspace} work */
export function slopes(work) {
  const { candidates, candidate } = work;
  const shown = candidates.slice(0, MOST);
  if (!shown.includes(candidate)) shown.push(candidate);
  const before = [...shown].sort((a, b) => a.stage1_rank - b.stage1_rank);
  const W = Math.min(680, width(work)), H = TOP + shown.length * ROW;
  const letters = W < 480 ? 11 : 22;
  const left = 0.3 * W, right = 0.56 * W;
  /** @param {number} place */
  const y = (place) => TOP + 6 + place * ROW;
  const drawing = s("svg", { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "img", "aria-label": `Ranks of ${plural(shown.length, "candidate")} by cosine alone and after comparing patches; ${work.label(candidate)} from ${candidate.stage1_rank} to ${candidate.rank}` },
    s("text", { x: left, y: 18, "text-anchor": "end", class: "head" }, W < 480 ? "by cosine" : "by cosine alone"),
    s("text", { x: right, y: 18, class: "head" }, W < 480 ? "after patches" : "after comparing patches"),
    s("text", { x: W, y: 18, "text-anchor": "end", class: "head" }, "score"));
  // The chosen one last, so that it lies over the others.
  for (const one of [...shown.filter((other) => other !== candidate), candidate]) {
    const mine = one === candidate;
    const a = y(before.indexOf(one)), b = y(shown.indexOf(one));
    const bend = 0.4 * (right - left - 64);
    const look = mine ? "on" : "";
    drawing.append(
      s("path", { class: mine ? "mine" : "line", d: `M${left + 32} ${a}C${left + 32 + bend} ${a} ${right - 32 - bend} ${b} ${right - 32} ${b}` }),
      s("text", { x: left, y: a + 5, "text-anchor": "end", class: look }, shorten(work.label(one), letters)),
      s("text", { x: left + 26, y: a + 5, "text-anchor": "end", class: look }, String(one.stage1_rank)),
      s("text", { x: right - 26, y: b + 5, class: look }, String(one.rank)),
      s("text", { x: right, y: b + 5, class: look }, shorten(work.label(one), letters)),
      s("text", { x: W, y: b + 5, "text-anchor": "end", class: look }, number(one.score)));
  }
  return h("div", {}, drawing, candidates.length > shown.length && h("p", { class: "note" }, `The first ${MOST} of ${plural(candidates.length, "candidate")}${shown.length > MOST ? ", and the chosen one" : ""}.`));
}

/** @param {string} text @param {number} most */
const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
