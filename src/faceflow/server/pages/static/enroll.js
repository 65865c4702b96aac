// A folder of photos, one folder per person: sent, worked through, and told photo by photo.
import { api } from "./api.js";
import { $, attempt, h, plural, say } from "./dom.js";
import { start } from "./shell.js";

const PHOTO = /\.(jpe?g|png|webp|bmp|tiff?)$/i;
const BATCH = 50; // photos in a request; the service has a limit

start(async ({ page }) => {
  const names = [];
  for await (const one of api.galleries()) names.push(one.name);
  if (!names.length) { page.replaceChildren(h("div", { class: "card" }, "There is no gallery yet. Make one under Settings.")); return; }
  const select = h("select", {}, names.map((name) => h("option", {}, name)));
  const input = h("input", { type: "file", webkitdirectory: true, multiple: true, class: "quiet", id: "folder", "aria-label": "Folder" });
  const files = h("input", { type: "file", multiple: true, accept: "image/*", class: "quiet", id: "files", "aria-label": "Photos" });
  const person = h("input", { type: "text", autocomplete: "off" });
  const wrong = h("div");
  const choose = h("button", { type: "button", class: "main", onclick: () => input.click() }, "Choose a folder");
  const some = h("button", { type: "button", onclick: () => files.click() }, "Choose photos of one person");
  const drop = h("div", { class: "drop" }, h("h2", {}, "Drop a folder here"), h("p", { class: "note" }, "Inside it, one folder per person: people/Ada/1.jpg, people/Ada/2.jpg, people/Bruno/1.jpg"), h("div", { class: "row" }, choose, some), input, files);
  const progress = h("section", { class: "card stack", hidden: true, "aria-label": "Progress" });
  page.replaceChildren(h("div", { class: "stack" },
    h("div", { class: "two" }, h("label", { class: "field" }, h("span", {}, "Gallery"), select), h("label", { class: "field" }, h("span", {}, "Person, for photos that lie in no folder"), person)),
    drop, wrong, progress));

  const enroll = (photos) => attempt(choose, wrong, async () => {
    const wanted = photos.filter((one) => PHOTO.test(one.file.name));
    if (!wanted.length) { wrong.replaceChildren(h("p", { class: "wrong", role: "alert" }, "There are no photos in it: files that end in .jpg, .png, .webp, .bmp or .tiff.")); return; }
    const nameless = wanted.filter((one) => !one.person);
    if (nameless.length) { wrong.replaceChildren(h("p", { class: "wrong", role: "alert" }, `Nobody is named for ${plural(nameless.length, "photo")}. Write who it is, or put them into a folder of that name.`)); person.focus(); return; }
    for (let from = 0; from < wanted.length; from += BATCH) await batch(wanted.slice(from, from + BATCH), from, wanted.length);
    say("All photos are done");
  });

  const batch = async (photos, from, total) => {
    const form = new FormData();
    for (const one of photos) form.append("images", one.file, `${one.person}/${one.file.name}`);
    const gallery = select.value;
    const job = await api.startJob(gallery, form);
    const meter = h("progress", { max: photos.length, value: 0, "aria-label": "Photos done" });
    const told = h("p", { class: "number", role: "status" });
    const stop = h("button", { type: "button", class: "small", onclick: () => attempt(stop, wrong, () => api.cancelJob(gallery, job.id)) }, "Stop");
    const list = h("ul", { class: "results" });
    progress.hidden = false;
    progress.replaceChildren(h("div", { class: "row spread" }, h("h2", {}, total > photos.length ? `Photos ${from + 1} to ${from + photos.length} of ${total}` : plural(total, "photo")), stop), meter, told, list);
    await follow(gallery, job, { meter, told, list });
    stop.hidden = true;
  };

  const line = (one) => h("li", {}, h("span", { class: "name" }, one.person, " ", h("span", { class: "note" }, one.name)),
    h("span", { class: `tag ${one.outcome === "added" ? "good" : one.outcome === "duplicate" ? "" : "bad"}` }, one.outcome === "added" ? "added" : one.reason ?? one.outcome), one.detail && h("span", { class: "note" }, one.detail));

  const follow = (gallery, job, { meter, told, list }) => new Promise((resolve, reject) => {
    const shown = new Set();
    const count = (one) => { meter.value = one.done; told.textContent = `${one.done} of ${one.photos} done: ${one.added} added, ${one.duplicates} there already, ${one.skipped} left out`; };
    const finish = async () => {
      source.close();
      try {
        for await (const photo of api.jobPhotos(gallery, job.id)) if (!shown.has(photo.number)) list.append(line(photo));
        count(await api.job(gallery, job.id));
        resolve();
      } catch (error) { reject(error); }
    };
    const source = new EventSource(api.jobEvents(gallery, job.id));
    source.addEventListener("photo", (event) => {
      const photo = JSON.parse(event.data);
      if (shown.has(photo.number)) return;
      shown.add(photo.number);
      list.prepend(line(photo));
      meter.value = shown.size;
      told.textContent = `${shown.size} of ${job.photos} done`;
    });
    source.addEventListener("end", finish);
    // The browser connects again by itself and says where it was; only a refusal ends it.
    source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) finish(); });
  });

  const from = (list) => [...list].map((file) => {
    const parts = (file.webkitRelativePath || file.name).split("/");
    return { file, person: parts.length > 1 ? parts[parts.length - 2] : person.value.trim() };
  });
  input.addEventListener("change", () => { enroll(from(input.files)); input.value = ""; });
  files.addEventListener("change", () => { enroll(from(files.files)); files.value = ""; });
  for (const name of ["dragover", "dragenter"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  drop.addEventListener("drop", async (event) => {
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const found = [];
    for (const entry of entries) await walk(entry, "", found);
    enroll(found.map((one) => ({ file: one.file, person: one.folder || person.value.trim() })));
  });
});

async function walk(entry, folder, found) {
  if (entry.isFile) {
    found.push({ folder, file: await new Promise((resolve, reject) => { entry.file(resolve, reject); }) });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return;
    for (const one of some) await walk(one, entry.name, found);
  }
}
