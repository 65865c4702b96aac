// A photo in, candidates out: (1) to (7) of the examiner's way.
import { api } from "./api.js";
import { $, attempt, h, plural, s } from "./dom.js";
import { start } from "./shell.js";
import { Workspace } from "./workspace.js";

start(async ({ page, who, may }) => {
  const galleries = [];
  for await (const one of api.galleries()) galleries.push(one);
  if (!galleries.length) {
    page.replaceChildren(h("div", { class: "card stack" }, h("h2", {}, "There is no gallery yet"), h("p", {}, may("administer") ? "Make one under Settings, then enroll people." : "Ask an administrator to make one.")));
    return;
  }
  const select = h("select", { name: "gallery" }, galleries.map((one) => h("option", { value: one.name }, `${one.name} – ${plural(one.people, "person", "people")}, ${plural(one.faces, "face")}`)));
  const k = h("input", { type: "number", min: 1, max: 1000, value: 100, name: "k" });
  const threshold = h("input", { type: "number", step: "0.001", min: -1, max: 1, name: "threshold", placeholder: "the gallery's own" });
  const wrong = h("div");
  const input = h("input", { type: "file", accept: "image/*", class: "quiet", id: "photo" });
  const button = h("button", { type: "button", class: "main", onclick: () => input.click() }, "Choose a photo");
  const drop = h("div", { class: "drop" },
    s("svg", { viewBox: "0 0 76 76", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "aria-hidden": "true" },
      s("rect", { x: 10, y: 10, width: 56, height: 56, rx: 9 }), s("path", { d: "M10 28.7h56M10 47.3h56M28.7 10v56M47.3 10v56", "stroke-opacity": 0.35 }),
      s("path", { d: "M24 58c1-10 7-14 14-14s13 4 14 14M38 39c-6 0-10-5-10-11s4-10 10-10 10 4 10 10-4 11-10 11z", "stroke-width": 2.2 })),
    h("h2", {}, "Drop a photo here"), h("p", { class: "note" }, "It is compared with the enrolled people and kept only if you open a case."), button, h("label", { class: "quiet", for: "photo" }, "Photo"), input);
  const form = h("div", { class: "ask" }, drop,
    h("div", { class: "card stack" }, h("label", { class: "field" }, h("span", {}, "Gallery"), select),
      h("details", {}, h("summary", {}, "How to search"), h("div", { class: "stack" }, h("label", { class: "field" }, h("span", {}, "Faces to compare patch by patch"), k), h("label", { class: "field" }, h("span", {}, "Threshold"), threshold)))));
  const asked = h("div", {}, form, wrong);
  page.replaceChildren(asked);

  let original = null;
  const search = (file, face) => attempt(button, wrong, async () => {
    const form = new FormData();
    form.append("image", file);
    form.append("k", k.value || "100");
    if (threshold.value) form.append("threshold", threshold.value);
    if (face !== undefined) form.append("face", String(face));
    wrong.replaceChildren(h("p", { class: "note", role: "status" }, "Looking…"));
    const found = await api.search(select.value, form);
    wrong.replaceChildren();
    if (original) URL.revokeObjectURL(original);
    original = await around(file, found.query.faces[found.query.chosen].box);
    show(found, file);
  });

  const show = (found, file) => {
    const crops = [
      { label: "Aligned", src: api.crop(found, "aligned"), caption: "Aligned, as the network sees it." },
      { label: "Original", src: original, caption: "The photo around the face, neither turned nor scaled by us." },
    ];
    const work = new Workspace(found, { crops: () => crops, thumbnail: (id) => api.thumbnail(found.gallery, id) });
    Object.assign(work, { who, may });
    const faces = found.query.faces;
    $("#actions").replaceChildren(
      ...(faces.length > 1 ? [h("label", { class: "row" }, h("span", { class: "note" }, "Face"), h("select", { onchange: (event) => search(file, event.target.value) }, faces.map((_, i) => h("option", { value: i, selected: i === found.query.chosen }, `${i + 1} of ${faces.length}`))))] : []),
      h("button", { type: "button", onclick: () => { $("#actions").replaceChildren(); page.replaceChildren(asked); button.focus(); } }, "Another photo"));
    page.replaceChildren(work.element);
    $("#main").focus({ preventScroll: true });
  };

  input.addEventListener("change", () => { if (input.files[0]) search(input.files[0]); input.value = ""; });
  for (const name of ["dragover", "dragenter"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  drop.addEventListener("drop", (event) => { if (event.dataTransfer.files[0]) search(event.dataTransfer.files[0]); });
});

/** The square around a face, cut from the photo here in the browser. */
async function around(file, [x0, y0, x1, y1]) {
  const photo = await createImageBitmap(file, { imageOrientation: "from-image" });
  const half = 0.85 * Math.max(x1 - x0, y1 - y0);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.max(1, Math.min(1024, Math.round(2 * half)));
  const scale = canvas.width / (2 * half);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, -scale * ((x0 + x1) / 2 - half), -scale * ((y0 + y1) / 2 - half));
  context.drawImage(photo, 0, 0);
  photo.close();
  return URL.createObjectURL(await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); }));
}
