// Who is enrolled: look, rename, merge, split back, retire, and on what ground.
import { api } from "./api.js";
import { ask, attempt, date, day, field, h, picture, plural, say, table, tick } from "./dom.js";
import { start } from "./shell.js";

/** @typedef {import("./api.js").Schemas} Schemas */
/** @typedef {Schemas["Person"]} Person */

const MERGES = 20; // shown, the newest first

start(async ({ page, may }) => {
  const manage = may("manage people");
  const names = [];
  for await (const one of api.galleries()) names.push(one.name);
  if (!names.length) {
    page.replaceChildren(h("div", { class: "card empty" }, h("h2", {}, "There is no gallery yet"), h("p", { class: "note" }, "An administrator makes one under Settings.")));
    return;
  }
  const wrong = h("div");
  const select = h("select", { "aria-label": "Gallery" }, names.map((name) => h("option", {}, name)));
  const filter = h("input", { type: "search", placeholder: "Find a name", "aria-label": "Find a name" });
  const count = h("p", { class: "note", role: "status" });
  const tiles = h("div", { class: "tiles" });
  const merges = h("div");
  const beside = h("div", { class: "picks card", role: "region", "aria-label": "Chosen people", hidden: true });
  page.replaceChildren(h("div", { class: "stack" }, h("div", { class: "row finder" }, select, filter, count), wrong, tiles, beside, merges));

  /** @type {Person[]} */
  let people = [];
  /** @type {Set<string>} */
  const chosen = new Set();
  const gallery = () => select.value;

  const load = () => attempt(null, wrong, async () => {
    people = [];
    chosen.clear();
    for await (const one of api.people(gallery())) people.push(one);
    show();
    bar();
    if (manage) await history();
  });

  const show = () => {
    const text = filter.value.trim().toLocaleLowerCase();
    const found = people.filter((one) => one.name.toLocaleLowerCase().includes(text));
    count.textContent = `${plural(found.length, "person", "people")}${text ? ` of ${people.length}` : ""}`;
    const none = people.length
      ? h("p", { class: "note" }, "Nobody has such a name.")
      : h("div", { class: "card empty" }, h("h2", {}, "Nobody is enrolled"), may("enroll") && h("a", { class: "button main", href: "/enroll" }, "Enroll people"));
    tiles.classList.toggle("tiles", found.length > 0);
    tiles.replaceChildren(...(found.length ? found.map(tile) : [none]));
  };

  /** A person's picture is that of their first face; asked for when the tile comes into sight. */
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) { seen.unobserve(target); portrait(/** @type {HTMLElement} */ (target)); }
    }
  }, { rootMargin: "120px" });

  /** @param {HTMLElement} button */
  const portrait = async (button) => {
    try {
      const { value } = await api.faces(gallery(), button.dataset.person ?? "", 1).next();
      if (value) button.querySelector(".blank")?.replaceWith(h("img", { src: api.thumbnail(gallery(), value.id), alt: "" }));
    } catch { /* the name alone will do */ }
  };

  /** @param {Person} one */
  const tile = (one) => {
    const button = h("button", {
      type: "button", class: "tile", "data-person": one.id, "aria-pressed": String(chosen.has(one.id)), onclick: () => {
        if (chosen.has(one.id)) chosen.delete(one.id); else chosen.add(one.id);
        button.setAttribute("aria-pressed", String(chosen.has(one.id)));
        bar();
      },
    }, h("span", { class: "blank" }), h("span", { class: "under" }, h("strong", { class: "name" }, one.name), h("span", { class: "note" }, plural(one.faces, "face")),
      one.consent?.legal_hold && h("span", { class: "tag spot" }, "legal hold"), one.consent?.expiry && h("span", { class: "tag" }, `until ${date(one.consent.expiry)}`)));
    seen.observe(button);
    return button;
  };

  /** @param {string} label @param {() => Promise<unknown>} work false: nothing was done @param {string} [look] */
  const act = (label, work, look = "") => {
    const button = h("button", { type: "button", class: `small ${look}`, onclick: () => attempt(button, wrong, async () => {
      if (await work() !== false) { await load(); say(`${label}: done`); }
    }) }, label);
    return button;
  };

  const bar = () => {
    const all = people.filter((one) => chosen.has(one.id));
    beside.hidden = !all.length;
    if (!all.length) return;
    const title = all.length > 2 ? plural(all.length, "person", "people") : all.map((one) => one.name).join(" and ");
    const tools = all.length === 1 ? forOne(all[0]) : all.length === 2 && manage ? forTwo(all[0], all[1]) : [];
    beside.replaceChildren(h("div", { class: "row spread" },
      h("span", {}, h("strong", { class: "name" }, title), all.length > 2 && manage && h("span", { class: "note" }, " – choose two to merge")),
      h("span", { class: "row" }, tools, h("button", { type: "button", class: "small plain", onclick: () => { chosen.clear(); show(); bar(); } }, "Clear"))));
  };

  /** @param {Person} one */
  const forOne = (one) => [
    act("Faces", () => faces(one)),
    ...(manage ? [
      act("Rename", async () => {
        const said = await ask(`Rename ${one.name}`, [field("Name", "name", { value: one.name, required: true, maxlength: 1000 })], { action: "Rename" });
        return said ? api.changePerson(gallery(), one.id, { name: said.name }) : false;
      }),
      act("Consent", () => consent(one)),
      act("Retire", () => retire(one), "bad"),
    ] : []),
  ];

  /** @param {Person} a @param {Person} b */
  const forTwo = (a, b) => [[a, b], [b, a]].map(([from, into]) => act(`Merge ${from.name} into ${into.name}`, async () => {
    const said = await ask(`Merge ${from.name} into ${into.name}?`, [], { action: "Merge", note: `${plural(from.faces, "face")} will be ${into.name}'s. It can be split back, below.` });
    return said ? api.merge(gallery(), from.id, into.id) : false;
  }));

  /** @param {Person} one */
  const retire = async (one) => {
    if (one.consent?.legal_hold) {
      await ask(`${one.name} is on legal hold`, [], { action: "Understood", note: "Nobody on hold is erased. End the hold under Consent first, if it has ended." });
      return false;
    }
    const said = await ask(`Retire ${one.name}?`, [], { action: "Erase", bad: true, note: `${plural(one.faces, "face")} and everything that is known of ${one.name} will be erased from the gallery. In cases, pictures, names and words about them go too; ids and hashes stay. This cannot be undone. A certificate is kept.` });
    if (!said) return false;
    const made = await api.removePerson(gallery(), one.id);
    await load();
    wrong.replaceChildren(h("div", { class: "told stack good", role: "status" },
      h("p", {}, h("strong", {}, `${one.name} was erased. `), `${plural(made.faces, "face")}, and from ${plural(made.cases ?? 0, "case")}.`),
      h("p", { class: "note" }, "Certificate ", h("code", {}, made.id), `, ${day(made.finished)}. May remain: ${made.remains}`)));
    return false; // loaded already
  };

  /** @param {Person} one */
  const consent = async (one) => {
    const now = one.consent;
    const said = await ask(`On what ground is ${one.name} enrolled?`, [
      field("Purpose", "purpose", { value: now?.purpose ?? "" }), field("Legal basis", "legal_basis", { value: now?.legal_basis ?? "" }),
      field("Where the paper lies", "reference", { value: now?.reference ?? "" }),
      h("div", { class: "two" }, field("Date", "date", { type: "date", value: now?.date ?? "" }), field("Erase after", "expiry", { type: "date", value: (now?.expiry ?? "").slice(0, 10) })),
      tick("Legal hold: keep in spite of the date", { name: "legal_hold", checked: now?.legal_hold ?? false }),
    ], { action: "Save" });
    if (!said) return false;
    return api.changePerson(gallery(), one.id, { consent: {
      purpose: said.purpose, legal_basis: said.legal_basis, reference: said.reference, date: said.date || null,
      expiry: said.expiry ? `${said.expiry}T23:59:59Z` : null, legal_hold: said.legal_hold === "on",
    } });
  };

  /** @param {Person} one */
  const faces = async (one) => {
    const found = [];
    for await (const face of api.faces(gallery(), one.id)) found.push(face);
    const list = h("div", { class: "tiles small" }, found.map((face) => h("label", { class: "tile" },
      picture(api.thumbnail(gallery(), face.id), { alt: `Face ${face.id}` }),
      h("span", { class: "tick" }, manage && h("input", { type: "checkbox", name: `face-${face.id}` }),
        // Where a photo lay on somebody's disk is nobody's business here.
        h("span", { class: "note name" }, face.source.split(/[/\\]/).pop())))));
    const said = await ask(`Faces of ${one.name}`, [list, manage && field("Give the ticked ones to", "name", { autocomplete: "off" })], { action: manage ? "Move" : "Close", wide: true });
    const ids = Object.keys(said ?? {}).filter((key) => key.startsWith("face-")).map((key) => Number(key.slice(5)));
    return said?.name && ids.length ? api.split(gallery(), one.id, ids, said.name) : false;
  };

  const history = async () => {
    const rows = [];
    for await (const one of api.merges(gallery())) {
      if (rows.length === MERGES) break;
      rows.push(h("tr", {}, h("th", { scope: "row", class: "name" }, `${one.source.name ?? one.source.id} into ${one.target.name ?? one.target.id}`),
        h("td", {}, plural(one.faces.length, "face")), h("td", { class: "hide-small number" }, day(one.made)),
        h("td", { class: "number" }, one.split ? h("span", { class: "tag" }, "split back") : act("Split back", () => api.unmerge(gallery(), one.id)))));
    }
    merges.replaceChildren(...(rows.length ? [h("section", { class: "card stack" }, h("h2", {}, "Merges"), table("Merges", null, rows))] : []));
  };

  filter.addEventListener("input", show);
  select.addEventListener("change", load);
  await load();
});
