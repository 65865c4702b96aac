// A photo in, candidates out: (1) to (7) of the examiner's way.
import { api } from "./api.js";
import { $, attempt, dropping, h, plural, s } from "./dom.js";
import { start } from "./shell.js";
import { Workspace } from "./workspace.js";

start(async ({ page, may }) => {
  const galleries = [];
  for await (const one of api.galleries()) galleries.push(one);
  if (!galleries.length) {
    page.replaceChildren(h("div", { class: "card empty" }, h("h2", {}, "There is no gallery yet"),
      h("p", { class: "note" }, may("administer") ? "Make one under Settings, then enroll people." : "Ask an administrator to make one."),
      may("administer") && h("a", { class: "button main", href: "/settings" }, "Settings")));
    return;
  }
  const select = h("select", { name: "gallery" }, galleries.map((one) => h("option", { value: one.name }, `${one.name} – ${plural(one.people, "person", "people")}, ${plural(one.faces, "face")}`)));
  const top = h("input", { type: "number", min: 1, max: 1000, value: 100, name: "top" });
  const k = h("input", { type: "number", min: 1, max: 1000, name: "k", placeholder: "the gallery's own" });
  const threshold = h("input", { type: "number", step: "0.001", min: -1, max: 1, name: "threshold", placeholder: "the gallery's own" });
  const wrong = h("div", { class: "notice" });
  const input = h("input", { type: "file", accept: "image/*", class: "quiet", id: "photo", tabindex: "-1" });
  const button = h("button", { type: "button", class: "main", onclick: () => input.click() }, "Choose a photo");
  const drop = h("div", { class: "drop" }, face(),
    h("h2", {}, "Drop a photo here"),
    h("p", { class: "note" }, "It is compared with the enrolled people. The face and the answer are kept for a while, so that you can ask for reasons, and for good only in a case."),
    button, h("label", { class: "quiet", for: "photo" }, "Photo"), input);
  const field = (/** @type {string} */ label, /** @type {HTMLElement} */ control) => h("label", { class: "field" }, h("span", {}, label), control);
  const form = h("div", { class: "ask" }, drop,
    h("div", { class: "card stack" }, field("Gallery", select),
      h("details", {}, h("summary", {}, "How to search"), h("div", { class: "stack" },
        field("People to list", top), field("Faces to compare patch by patch", k), field("Threshold", threshold)))));
  const asked = h("div", {}, form, wrong);
  page.replaceChildren(asked);

  /** @type {string | null} */
  let original = null;
  /** @param {File} file @param {string} [chosen] which face */
  const search = (file, chosen) => attempt(button, wrong, async () => {
    const sent = new FormData();
    sent.append("image", file);
    sent.append("top", top.value || "100");
    if (k.value) sent.append("k", k.value);
    if (threshold.value) sent.append("threshold", threshold.value);
    if (chosen !== undefined) sent.append("face", chosen);
    drop.classList.add("busy");
    wrong.replaceChildren(h("div", { class: "waiting", role: "status" }, h("progress", { "aria-label": "Searching" }), h("p", { class: "note" }, "Looking for the face, and for who it may be…")));
    try {
      const found = await api.search(select.value, sent);
      wrong.replaceChildren();
      if (original) URL.revokeObjectURL(original);
      original = await around(file, found.query.faces[found.query.chosen].box);
      show(found, file, original);
    } finally { drop.classList.remove("busy"); }
  });

  /** @param {import("./api.js").Search} found @param {File} file @param {string | null} photo */
  const show = (found, file, photo) => {
    const crops = [{ label: "Aligned", src: api.crop(found, "aligned"), caption: "Aligned, as the network sees it." },
      { label: "Original", src: photo ?? api.crop(found, "original"), caption: "The photo around the face, neither turned nor scaled by us." }];
    const work = new Workspace(found, { crops, may, thumbnail: (id) => api.thumbnail(found.gallery, id) });
    const { faces, chosen } = found.query;
    const choose = faces.length > 1 && h("label", { class: "row" }, h("span", { class: "note" }, "Face"), h("select", {
      onchange: (/** @type {{target: HTMLSelectElement}} */ { target }) => search(file, target.value),
    }, faces.map((_, i) => h("option", { value: i, selected: i === chosen }, `${i + 1} of ${faces.length}`))));
    $("#actions").replaceChildren(...[choose, h("button", {
      type: "button", onclick: () => { $("#actions").replaceChildren(); page.replaceChildren(asked); button.focus(); },
    }, "Another photo")].filter((one) => one !== false));
    page.replaceChildren(work.element);
    $("#main").focus({ preventScroll: true });
  };

  input.addEventListener("change", () => { if (input.files?.[0]) search(input.files[0]); input.value = ""; });
  dropping(drop, ({ files }) => { if (files[0]) search(files[0]); });
});

function face() {
  return s("svg", { viewBox: "0 0 76 76", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "aria-hidden": "true" },
    s("rect", { x: 10, y: 10, width: 56, height: 56, rx: 9 }), s("path", { d: "M10 28.7h56M10 47.3h56M28.7 10v56M47.3 10v56", "stroke-opacity": 0.35 }),
    s("path", { d: "M24 58c1-10 7-14 14-14s13 4 14 14M38 39c-6 0-10-5-10-11s4-10 10-10 10 4 10 10-4 11-10 11z", "stroke-width": 2.2 }));
}

/**
 * The square around a face, cut from the photo here in the browser; null where it cannot read it.
 * @param {File} file @param {[number, number, number, number]} box
 */
async function around(file, [x0, y0, x1, y1]) {
  const photo = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  if (!photo || !context) return null;
  const half = 0.85 * Math.max(x1 - x0, y1 - y0);
  canvas.width = canvas.height = Math.max(1, Math.min(1024, Math.round(2 * half)));
  const scale = canvas.width / (2 * half);
  context.setTransform(scale, 0, 0, scale, -scale * ((x0 + x1) / 2 - half), -scale * ((y0 + y1) / 2 - half));
  context.drawImage(photo, 0, 0);
  photo.close();
  /** @type {Blob | null} */
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  return blob && URL.createObjectURL(blob);
}
