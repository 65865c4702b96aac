// One case: the desk with the search as it was kept, blind review, and the case file.
import { api } from "./api.js";
import { decisions } from "./decide.js";
import { $, day, h } from "./dom.js";
import { start } from "./shell.js";
import { Workspace } from "./workspace.js";

start(async ({ page, who, may }) => {
  const id = location.pathname.split("/").pop();
  const kept = await api.case(id);
  $("h1").textContent = kept.title;
  document.title = `${kept.title} · faceflow`;
  $("h1").after(h("p", { class: "note" }, `${kept.gallery} · opened by ${kept.name} on ${day(kept.created)}`));
  const picture = (name) => api.casePicture(id, name);
  const crops = [{ label: "Aligned", src: picture("query-aligned.png"), caption: "Aligned, as the network sees it." }];
  if (kept.pictures.includes("query-original.jpg")) crops.push({ label: "Original", src: picture("query-original.jpg"), caption: "The photo around the face." });
  const own = new Set(kept.pictures);
  const work = new Workspace(kept.search, {
    crops: () => crops, kept,
    thumbnail: (face) => (own.has(`face-${face}.jpg`) ? picture(`face-${face}.jpg`) : api.thumbnail(kept.gallery, face)),
  });
  Object.assign(work, { who, may });
  if (!kept.hidden) $("#actions").append(h("a", { class: "button", href: api.caseFile(id), download: `${id}.zip` }, "Case file"));
  page.replaceChildren(work.element);
  if (!kept.may_decide || kept.decisions.length) work.tabs.pick("decide");
});
