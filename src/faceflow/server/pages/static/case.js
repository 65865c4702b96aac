// One case: the desk with the search as it was kept, blind review, and the case file.
import { api } from "./api.js";
import { $, day, h } from "./dom.js";
import { start } from "./shell.js";
import { Workspace } from "./workspace.js";

start(async ({ page, may }) => {
  const id = location.pathname.split("/").pop() ?? "";
  const kept = await api.case(id);
  $("h1").textContent = kept.title;
  document.title = `${kept.title} · faceflow`;
  $("h1").after(h("p", { class: "note" }, `${kept.gallery} · opened by ${kept.name} on ${day(kept.created)}`));
  const own = new Set(kept.pictures);
  const picture = (/** @type {string} */ name) => (own.has(name) ? api.casePicture(id, name) : null);
  const crops = [
    { label: "Aligned", src: picture("query-aligned.png"), caption: "Aligned, as the network sees it." },
    { label: "Original", src: picture("query-original.jpg"), caption: "The photo around the face." },
  ].flatMap((crop) => (crop.src === null ? [] : [{ ...crop, src: crop.src }]));
  const work = new Workspace(kept.search, {
    kept, may, crops,
    thumbnail: (face) => picture(`face-${face}.jpg`) ?? api.thumbnail(kept.gallery, face),
  });
  if (!kept.hidden) $("#actions").append(h("a", { class: "button", href: api.caseFile(id), download: `${id}.zip` }, "Case file"));
  page.replaceChildren(work.element);
  if (!kept.may_decide || kept.decisions.length) work.go("decide");
});
