// Who is enrolled: look, rename, merge, split back, retire, and on what ground.
import { api } from "./api.js";
import { $, ask, attempt, day, field, h, plural, say } from "./dom.js";
import { start } from "./shell.js";

start(async ({ page, may }) => {
  const manage = may("manage people");
  const names = [];
  for await (const one of api.galleries()) names.push(one.name);
  const wrong = h("div");
  const select = h("select", { "aria-label": "Gallery" }, names.map((name) => h("option", {}, name)));
  const filter = h("input", { type: "search", placeholder: "Find a name", "aria-label": "Find a name" });
  const count = h("p", { class: "note", role: "status" });
  const tiles = h("div", { class: "tiles" });
  const merges = h("div");
  const beside = h("div", { class: "picks card", hidden: true });
  page.replaceChildren(
    h("div", { class: "row" }, h("div", {}, select), h("div", {}, filter), count), h("div", { class: "stack" }, wrong, tiles, beside, merges));
  if (!names.length) { page.replaceChildren(h("div", { class: "card" }, "There is no gallery yet.")); return; }

  let people = [];
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
    tiles.replaceChildren(...found.map(tile));
  };

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); portrait(entry.target); }
  }, { rootMargin: "300px" });

  const portrait = async (button) => {
    const blank = $(".blank", button);
    try {
      for await (const face of api.faces(gallery(), button.dataset.person)) {
        blank?.replaceWith(h("img", { src: api.thumbnail(gallery(), face.id), alt: "" }));
        break;
      }
    } catch { /* the name alone will do */ }
  };

  const tile = (one) => {
    const button = h("button", {
      type: "button", class: "tile", "data-person": one.id, "aria-pressed": String(chosen.has(one.id)), onclick: () => {
        if (chosen.has(one.id)) chosen.delete(one.id); else chosen.add(one.id);
        button.setAttribute("aria-pressed", String(chosen.has(one.id)));
        bar();
      },
    }, h("span", { class: "blank" }), h("span", {}, h("strong", { class: "name" }, one.name), h("br"), h("span", { class: "note" }, plural(one.faces, "face")),
      one.consent?.legal_hold && h("span", { class: "tag spot" }, "legal hold"), one.consent?.expiry && h("span", { class: "tag" }, `until ${new Date(one.consent.expiry).toLocaleDateString()}`)));
    seen.observe(button);
    return button;
  };

  const act = (label, work, look = "") => h("button", { type: "button", class: `small ${look}`, onclick: (event) => attempt(event.currentTarget, wrong, async () => { if (await work() !== false) { await load(); say(`${label}: done`); } }) }, label);

  const bar = () => {
    const all = people.filter((one) => chosen.has(one.id));
    beside.hidden = !all.length;
    if (!all.length) return;
    const [one] = all;
    const tools = [];
    if (all.length === 1) {
      tools.push(h("button", { type: "button", class: "small", onclick: (event) => attempt(event.currentTarget, wrong, () => faces(one)) }, "Faces"));
      if (manage) tools.push(
        act("Rename", async () => {
          const said = await ask(`Rename ${one.name}`, [field("Name", "name", { value: one.name, required: true, maxlength: 1000 })], { action: "Rename" });
          return said ? api.changePerson(gallery(), one.id, { name: said.name }) : false;
        }),
        act("Consent", () => consent(one)),
        act("Retire", async () => {
          const said = await ask(`Retire ${one.name}?`, [], { action: "Erase", bad: true, note: `${plural(one.faces, "face")} will be erased from the gallery, and a certificate is kept. This cannot be undone.` });
          return said ? api.removePerson(gallery(), one.id) : false;
        }, "bad"));
    } else if (all.length === 2 && manage) {
      const [a, b] = all;
      tools.push(...[[a, b], [b, a]].map(([from, into]) => act(`Merge ${from.name} into ${into.name}`, async () => {
        const said = await ask(`Merge ${from.name} into ${into.name}?`, [], { action: "Merge", note: `${plural(from.faces, "face")} will be ${into.name}'s. It can be split back, below.` });
        return said ? api.merge(gallery(), from.id, into.id) : false;
      })));
    }
    beside.replaceChildren(h("div", { class: "row spread" }, h("span", {}, h("strong", { class: "name" }, all.length > 2 ? plural(all.length, "person", "people") : all.map((person) => person.name).join(" and ")), all.length > 2 && h("span", { class: "note" }, " – choose two to merge")),
      h("span", { class: "row" }, tools, h("button", { type: "button", class: "small plain", onclick: () => { chosen.clear(); show(); bar(); } }, "Clear"))));
  };

  const consent = async (one) => {
    const now = one.consent ?? {};
    const said = await ask(`On what ground is ${one.name} enrolled?`, [
      field("Purpose", "purpose", { value: now.purpose ?? "" }), field("Legal basis", "legal_basis", { value: now.legal_basis ?? "" }),
      field("Where the paper lies", "reference", { value: now.reference ?? "" }), field("Date", "date", { type: "date", value: now.date ?? "" }),
      field("Erase after", "expiry", { type: "date", value: (now.expiry ?? "").slice(0, 10) }),
      h("label", { class: "tick" }, h("input", { type: "checkbox", name: "legal_hold", checked: now.legal_hold ?? false }), "Legal hold: keep in spite of the date"),
    ], { action: "Save" });
    if (!said) return false;
    return api.changePerson(gallery(), one.id, { consent: { ...said, date: said.date || null, expiry: said.expiry ? `${said.expiry}T23:59:59Z` : null, legal_hold: said.legal_hold === "on" } });
  };

  const faces = async (one) => {
    const found = [];
    for await (const face of api.faces(gallery(), one.id)) found.push(face);
    const list = h("div", { class: "tiles" }, found.map((face) => h("label", { class: "stack" }, h("img", { class: "thumb", src: api.thumbnail(gallery(), face.id), alt: `Face ${face.id}` }),
      h("span", { class: "tick" }, manage && h("input", { type: "checkbox", name: `face-${face.id}` }), h("span", { class: "note name" }, face.source)))));
    const said = await ask(`Faces of ${one.name}`, [list, manage && field("Give the ticked ones to", "name", { autocomplete: "off" })], { action: manage ? "Move" : "Close" });
    const ids = Object.keys(said ?? {}).filter((key) => key.startsWith("face-")).map((key) => Number(key.slice(5)));
    if (said?.name && ids.length) { await api.split(gallery(), one.id, ids, said.name); await load(); }
  };

  const history = async () => {
    const rows = [];
    for await (const one of api.merges(gallery())) {
      if (rows.length === 20) break;
      rows.push(h("li", {}, h("span", { class: "name" }, `${one.source.name ?? one.source.id} into ${one.target.name ?? one.target.id}`), h("span", { class: "note" }, `${plural(one.faces.length, "face")} · ${day(one.made)}`),
        one.split ? h("span", { class: "tag" }, "split back") : act("Split back", () => api.unmerge(gallery(), one.id))));
    }
    merges.replaceChildren(...(rows.length ? [h("section", { class: "card" }, h("h2", {}, "Merges"), h("ul", { class: "results" }, rows))] : []));
  };

  filter.addEventListener("input", show);
  select.addEventListener("change", load);
  await load();
});
