// A folder of photos, one folder per person: sent, worked through, and told photo by photo.
import { api } from "./api.js";
import { attempt, dropping, h, plural, say } from "./dom.js";
import { start } from "./shell.js";

/** @typedef {import("./api.js").Schemas} Schemas */
/** @typedef {{file: File, person: string}} Photo */

const PHOTO = /\.(jpe?g|png|webp|bmp|tiff?)$/i;
const BATCH = 50; // photos in a request; the service has a limit

start(async ({ page, may }) => {
  const names = [];
  for await (const one of api.galleries()) names.push(one.name);
  if (!names.length) {
    page.replaceChildren(h("div", { class: "card empty" }, h("h2", {}, "There is no gallery yet"),
      h("p", { class: "note" }, may("administer") ? "Make one under Settings." : "An administrator makes one under Settings.")));
    return;
  }
  const select = h("select", {}, names.map((name) => h("option", {}, name)));
  const input = h("input", { type: "file", webkitdirectory: true, multiple: true, class: "quiet", id: "folder", "aria-label": "Folder", tabindex: "-1" });
  const files = h("input", { type: "file", multiple: true, accept: "image/*", class: "quiet", id: "files", "aria-label": "Photos", tabindex: "-1" });
  const person = h("input", { type: "text", autocomplete: "off" });
  const wrong = h("div");
  const choose = h("button", { type: "button", class: "main", onclick: () => input.click() }, "Choose a folder");
  const some = h("button", { type: "button", onclick: () => files.click() }, "Choose photos of one person");
  const drop = h("div", { class: "drop" }, h("h2", {}, "Drop a folder here"),
    h("p", { class: "note" }, "Inside it, one folder per person: ", h("code", {}, "Ada/1.jpg"), ", ", h("code", {}, "Ada/2.jpg"), ", ", h("code", {}, "Bruno/1.jpg")),
    h("div", { class: "row" }, choose, some), input, files);
  const progress = h("section", { class: "card stack", hidden: true, "aria-label": "Progress" });
  page.replaceChildren(h("div", { class: "stack" },
    h("div", { class: "two" }, h("label", { class: "field" }, h("span", {}, "Gallery"), select), h("label", { class: "field" }, h("span", {}, "Person, for photos that lie in no folder"), person)),
    drop, wrong, progress));

  /** @param {string} text */
  const refuse = (text) => wrong.replaceChildren(h("p", { class: "wrong", role: "alert" }, text));

  /** @param {Photo[]} photos */
  const enroll = (photos) => attempt(choose, wrong, async () => {
    const wanted = photos.filter((one) => PHOTO.test(one.file.name));
    if (!wanted.length) { refuse("There are no photos in it: files that end in .jpg, .png, .webp, .bmp or .tiff."); return; }
    const nameless = wanted.filter((one) => !one.person);
    if (nameless.length) {
      refuse(`Nobody is named for ${plural(nameless.length, "photo")}. Write who it is, or put them into a folder of that name.`);
      person.focus();
      return;
    }
    const list = h("ul", { class: "results" });
    for (let from = 0; from < wanted.length; from += BATCH) await batch(wanted.slice(from, from + BATCH), from, wanted.length, list);
    say("All photos are done");
  });

  /** @param {Photo[]} photos @param {number} from @param {number} total @param {HTMLElement} list */
  const batch = async (photos, from, total, list) => {
    const form = new FormData();
    for (const one of photos) form.append("images", one.file, `${one.person}/${one.file.name}`);
    const gallery = select.value;
    const title = h("h2", {}, total > photos.length ? `Photos ${from + 1} to ${from + photos.length} of ${total}` : plural(total, "photo"));
    const meter = h("progress", { max: photos.length, "aria-label": "Photos done" });
    const told = h("p", { class: "number", role: "status" }, "Sending…");
    progress.hidden = false;
    progress.replaceChildren(h("div", { class: "row spread" }, title), meter, told, list);
    const job = await api.startJob(gallery, form);
    const stop = h("button", { type: "button", class: "small", onclick: () => attempt(stop, wrong, () => api.cancelJob(gallery, job.id)) }, "Stop");
    title.after(stop);
    await follow(gallery, job, { meter, told, list });
    stop.remove();
  };

  /** @param {Schemas["JobPhoto"]} one */
  const line = (one) => h("li", {},
    h("span", { class: `tag ${one.outcome === "added" ? "good" : one.outcome === "duplicate" ? "" : "bad"}` }, one.outcome === "added" ? "added" : one.reason ?? one.outcome),
    h("span", { class: "name" }, one.person, " ", h("span", { class: "note" }, one.name.split("/").pop())),
    (one.detail || one.warnings.length > 0) && h("span", { class: "note detail" }, [one.detail, ...(one.outcome === "added" ? one.warnings : [])].filter(Boolean).join(", ")));

  /**
   * Told by the service photo by photo; what was missed meanwhile is asked for at the end.
   * @param {string} gallery @param {Schemas["Job"]} job
   * @param {{meter: HTMLProgressElement, told: HTMLElement, list: HTMLElement}} places
   * @returns {Promise<void>}
   */
  const follow = (gallery, job, { meter, told, list }) => new Promise((resolve, reject) => {
    const shown = new Set();
    /** @param {Schemas["Job"]} one */
    const count = (one) => {
      meter.value = one.done;
      told.textContent = `${one.done} of ${one.photos} done: ${one.added} added, ${one.duplicates} there already, ${one.skipped} left out${one.status === "cancelled" ? "; stopped" : ""}`;
    };
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
      /** @type {Schemas["JobPhoto"]} */
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

  /** @param {FileList | null} list @returns {Photo[]} */
  const from = (list) => [...list ?? []].map((file) => {
    const parts = (file.webkitRelativePath || file.name).split("/");
    return { file, person: parts.length > 1 ? parts[parts.length - 2] : person.value.trim() };
  });
  input.addEventListener("change", () => { enroll(from(input.files)); input.value = ""; });
  files.addEventListener("change", () => { enroll(from(files.files)); files.value = ""; });
  dropping(drop, async ({ items }) => {
    const entries = [...items].map((item) => item.webkitGetAsEntry());
    /** @type {{file: File, folder: string}[]} */
    const found = [];
    for (const entry of entries) if (entry) await walk(entry, "", found);
    enroll(found.map((one) => ({ file: one.file, person: one.folder || person.value.trim() })));
  });
});

/** @param {FileSystemEntry} entry @param {string} folder @param {{file: File, folder: string}[]} found */
async function walk(entry, folder, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject); });
    found.push({ folder, file });
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return;
    for (const one of some) await walk(one, entry.name, found);
  }
}
