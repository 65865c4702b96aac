// (1) The query by itself: what it shows, how well, and what the examiner sees in it.
import { Cells } from "./cells.js";
import { legend, weightColour, weightTable } from "./colours.js";
import { h, number, percent, plural, tick } from "./dom.js";
import { FEATURES } from "./decide.js";

/** @typedef {import("./workspace.js").Workspace} Workspace */

/** @type {Record<string, string>} */
const BANDS = { good: "good", fair: "spot", poor: "bad" };
/** @type {Record<string, string>} */
const WARNINGS = {
  "no face": "No face was found; the whole photo was taken for one.",
  "unsure detection": "The detector is unsure that this is a face.",
  "too small": "The face is small, so details are missing.",
  "mostly covered": "Most of the face is covered; little is left to compare.",
  blurred: "The face is blurred.",
  "extreme pose": "The head is turned far away.",
};

/** @param {Workspace} work */
export function analyse(work) {
  const { query } = work.search;
  const face = query.faces[query.chosen];
  const { quality } = face;
  const [crop, original = crop] = work.crops;
  const ticks = FEATURES.map((feature) => tick(feature, {
    checked: work.seen.has(feature),
    onchange: (/** @type {{target: HTMLInputElement}} */ { target }) => {
      if (target.checked) work.seen.add(feature); else work.seen.delete(feature);
    },
  }));
  // A warning says what a flaw says, in a sentence; flaws that are no warning stay as they are.
  const words = [...quality.warnings.map((key) => WARNINGS[key] ?? key)];
  if (!words.length) words.push(...quality.flaws);
  return h("div", { class: "stack" },
    h("div", { class: "analyse" },
      h("figure", {}, h("h2", { class: "third" }, "The query"),
        h("div", { class: "face" }, h("img", { src: original.src, alt: "The face in the photo that was searched" })),
        h("figcaption", {}, `${plural(query.faces.length, "face")} in the photo of ${query.width}×${query.height} pixels.`)),
      h("figure", {}, h("h2", { class: "third" }, "Which regions show the face"),
        visibility(crop.src, work.grid, quality.cells),
        h("figcaption", {}, quality.cells ? "As the network sees it. Dark cells count for little in the comparison." : "This network has no model of covers; judge for yourself.")),
      h("div", { class: "quality" },
        h("h2", { class: "third" }, "Quality ", h("span", { class: `tag ${BANDS[quality.band]}` }, quality.band)),
        h("div", { class: "stack" },
          quality.visible_share !== null && meter("Of the face is visible", quality.visible_share, percent(quality.visible_share), quality.visible_share < 0.5),
          meter("Width of the face", Math.min(1, quality.width / 160), `${Math.round(quality.width)} pixels`, quality.width < 60),
          quality.sharpness !== null && meter("Sharpness", Math.min(1, quality.sharpness / 600), number(quality.sharpness, 0), quality.sharpness < 60),
          meter("The detector's confidence", face.detection_score, percent(face.detection_score), face.detection_score < 0.8),
          words.length > 0 && h("ul", { class: "told" }, words.map((one) => h("li", {}, one)))))),
    h("fieldset", { class: "sum" }, h("legend", {}, "What can you see, before you look at anybody?"),
      h("p", { class: "note" }, "It is kept with your decision."), h("div", { class: "ticks" }, ticks)),
    h("div", { class: "row" }, h("button", { type: "button", class: "main", onclick: () => { work.go("side"); work.panel.focus(); } }, "Look at the candidates"),
      !work.named && h("span", { class: "note" }, "Names and scores stay hidden until you ask for them.")));
}

/** @param {string} label @param {number} share @param {string} value @param {boolean} low */
function meter(label, share, value, low) {
  const fill = h("i");
  fill.style.width = `${(100 * share).toFixed(1)}%`;
  return h("div", { class: "measure" }, h("div", { class: "row spread" }, h("span", {}, label), h("span", { class: "number" }, value)),
    h("div", { class: `meter${low ? " low" : ""}` }, fill));
}

/**
 * Which cells of a face are seen, as a picture.
 * @param {string} src @param {[number, number]} grid @param {number[] | null} values
 */
function visibility(src, grid, values) {
  const cells = new Cells(src, grid, { label: "", alt: "The aligned face; bright cells show it, dark ones are covered", grey: values !== null });
  if (values) cells.paint((r) => [weightColour(values[r]), 0.62]);
  return h("div", {}, cells.element, values && legend(weightTable, "covered", "", "shows the face"));
}
