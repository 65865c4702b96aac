// Elements, and the few habits all pages share. No style attributes and no inline handlers: the
// content security policy forbids both.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | false | null | undefined} Leaf */
/** @typedef {Leaf | Leaf[] | Leaf[][]} Child */
/** @typedef {Record<string, any>} Attributes */

/**
 * An element: h("p", {class: "note", onclick: f}, "text", child, [children]).
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Attributes} [attributes] @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * The same for SVG.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag @param {Attributes} [attributes] @param {...Child} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * @template {Element} E
 * @param {E} element @param {Attributes} attributes @param {Child[]} children
 * @returns {E}
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") Object.assign(element, { [name]: value });
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(/** @type {Node | string} */ (child));
  }
  return element;
}

/**
 * The element of a selector, which is known to be there.
 * @template {HTMLElement} [E=HTMLElement]
 * @param {string} selector @param {ParentNode} [root]
 */
export function $(selector, root = document) {
  return /** @type {E} */ (root.querySelector(selector));
}

const BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
const SEEN = 120; // ms in sight: who scrolls past has seen nobody
/** @type {WeakMap<Element, number>} */
const waiting = new WeakMap();
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    clearTimeout(waiting.get(target));
    if (!isIntersecting) continue;
    waiting.set(target, setTimeout(() => {
      near.unobserve(target);
      const image = /** @type {HTMLImageElement} */ (target);
      image.src = image.dataset.src ?? "";
    }, SEEN));
  }
});

/**
 * A picture that is asked for when it comes into sight: each is an entry in the audit log, so none is
 * fetched that nobody looks at.
 * @param {string} src @param {Attributes} [attributes]
 */
export function picture(src, attributes = {}) {
  const image = h("img", { alt: "", src: BLANK, "data-src": src, ...attributes });
  near.observe(image);
  return image;
}

/** Says something to a screen reader without moving the focus. @param {string} text */
export function say(text) {
  const live = $("#live");
  live.textContent = "";
  setTimeout(() => { live.textContent = text; }, 30);
}

/** With a capital at the start and a full stop at the end. @param {string} text */
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");

/** A problem, as the service tells it: what, why, what to do. @param {any} error */
export function problem(error) {
  const told = error.status !== undefined; // by the service; else it is a fault of these pages
  const lines = [h("p", {}, h("strong", {}, told ? error.message : "Something went wrong on this page"))];
  if (!told) lines.push(h("p", {}, "Load it again; if it comes back, report it."), h("p", { class: "note" }, String(error)));
  if (error.why) lines.push(h("p", {}, sentence(error.why)));
  if (error.todo) lines.push(h("p", {}, sentence(error.todo)));
  if (error.request) lines.push(h("p", { class: "note" }, "Request ", h("code", {}, error.request)));
  return h("div", { class: "wrong", role: "alert" }, lines);
}

/**
 * Runs what a button started; the button waits, and what goes wrong is shown in `place`.
 * @template T
 * @param {HTMLButtonElement | null} button @param {Element} place @param {() => Promise<T>} work
 * @returns {Promise<T | undefined>}
 */
export async function attempt(button, place, work) {
  if (button) button.disabled = true;
  place.replaceChildren();
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    place.replaceChildren(problem(error));
    place.scrollIntoView({ block: "nearest" });
    return undefined;
  } finally {
    if (button) button.disabled = false;
  }
}

/**
 * A question in a dialog; resolves with the form's values, or null.
 * @param {string} title @param {Child} fields
 * @param {{action?: string, bad?: boolean, note?: string, wide?: boolean}} [options]
 * @returns {Promise<Record<string, string> | null>}
 */
export function ask(title, fields, { action = "OK", bad = false, note = "", wide = false } = {}) {
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog", class: "stack" },
      h("h2", { id: "dialog-title" }, title),
      note && h("p", { class: "note" }, note),
      fields,
      h("div", { class: "row answers" },
        h("button", { class: bad ? "bad" : "main", value: "yes" }, action),
        h("button", { value: "no", formnovalidate: true }, "Cancel")));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", class: wide ? "wide" : "" }, form);
    dialog.addEventListener("close", () => {
      const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]));
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? values : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** @param {string} label @param {string} name @param {Attributes} [attributes] */
export function field(label, name, attributes = {}) {
  const { type = "text", ...rest } = attributes;
  return h("label", { class: "field" }, h("span", {}, label), h("input", { type, name, ...rest }));
}

/** @param {string} label @param {Attributes} attributes of the checkbox */
export function tick(label, attributes) {
  return h("label", { class: "tick" }, h("input", { type: "checkbox", ...attributes }), h("span", {}, label));
}

/**
 * A table that scrolls by itself where it is too wide, also by keyboard.
 * @param {string} label @param {Child} head @param {Child} body @param {string} [look]
 */
export function table(label, head, body, look = "") {
  return h("div", { class: `scroll ${look}`, tabindex: "0", role: "region", "aria-label": label },
    h("table", {}, head && h("thead", {}, h("tr", {}, head)), body instanceof HTMLTableSectionElement ? body : h("tbody", {}, body)));
}

/**
 * Takes files that are dropped on an element.
 * @param {HTMLElement} place @param {(transfer: DataTransfer) => void} take
 */
export function dropping(place, take) {
  for (const name of ["dragover", "dragenter"]) {
    place.addEventListener(name, (event) => { event.preventDefault(); place.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) {
    place.addEventListener(name, (event) => { event.preventDefault(); place.classList.remove("over"); });
  }
  place.addEventListener("drop", (event) => { if (event.dataTransfer) take(event.dataTransfer); });
}

/**
 * Moves the focus among buttons by arrow keys; Tab stops at one of them only.
 * @param {HTMLElement} list @param {() => HTMLElement[]} stops
 */
export function roving(list, stops) {
  list.addEventListener("keydown", (event) => {
    const all = stops();
    const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 };
    const to = steps[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = all[Math.min(all.length - 1, Math.max(0, to))];
    all[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

/**
 * Tabs: [{key, label}] with arrow keys, as the ARIA practices describe.
 * @param {string} label @param {{key: string, label: string}[]} entries @param {(key: string) => void} select
 */
export function tabs(label, entries, select) {
  const buttons = entries.map((entry, place) => h("button", {
    type: "button", role: "tab", id: `tab-${entry.key}`, "aria-controls": "panel", "aria-selected": "false", tabindex: "-1",
    onclick: () => pick(place),
  }, h("b", { "aria-hidden": "true" }, String(place + 1)), entry.label));
  const bar = h("div", { class: "steps", role: "tablist", "aria-label": label }, buttons);
  /** @param {number} place @param {boolean} [focus] */
  const pick = (place, focus = false) => {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === place));
      button.tabIndex = i === place ? 0 : -1;
    });
    if (focus) buttons[place].focus();
    buttons[place].scrollIntoView({ block: "nearest", inline: "center" });
    select(entries[place].key);
  };
  bar.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 };
    const to = steps[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    pick((to + buttons.length) % buttons.length, true);
  });
  return { bar, pick: (/** @type {string} */ key) => pick(entries.findIndex((entry) => entry.key === key)) };
}

/** @param {number | null | undefined} value */
export const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
/** @param {number} value */
export const signed = (value, digits = 3) => (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(digits);
/** @param {number} value */
export const percent = (value) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)}%`;
/** @param {string | null | undefined} text */
export const day = (text) => (text ? new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–");
/** @param {string} text */
export const date = (text) => new Date(text).toLocaleDateString(undefined, { dateStyle: "medium" });
/** @param {number} count @param {string} one */
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : many}`;
