// What colours mean. The scales themselves come from faceflow's pictures (scales.js is made of
// explain/drawing/colour.py), so page and picture never disagree.
import { contribution, weight } from "./scales.js";
import { h } from "./dom.js";

/** @param {string[]} table @param {number} share */
const pick = (table, share) => table[Math.round(255 * Math.min(1, Math.max(0, share)))];

/** 0 deep indigo to 1 pale yellow. @param {number} share */
export const weightColour = (share) => pick(weight, share);
/** -1 deep orange over 0 near white to 1 deep blue. @param {number} value */
export const contributionColour = (value) => pick(contribution, (value + 1) / 2);

/**
 * A bar of a scale with words at its ends.
 * @param {string[]} table @param {string} left @param {string} middle @param {string} right
 */
export function legend(table, left, middle, right) {
  const canvas = h("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  if (context) table.forEach((colour, x) => { context.fillStyle = colour; context.fillRect(x, 0, 1, 1); });
  return h("div", { class: "legend" }, canvas, h("span", {}, left), h("span", {}, middle), h("span", {}, right));
}

export { contribution as contributionTable, weight as weightTable };
