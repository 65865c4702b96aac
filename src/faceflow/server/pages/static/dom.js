// Elements, and the few habits all pages share. No style attributes and no inline handlers: the
// content security policy forbids both.

const SVG = "http://www.w3.org/2000/svg";

/** An element: h("p", {class: "note", onclick: f}, "text", child, [children]). */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (selector, root = document) => root.querySelector(selector);

/** Says something to a screen reader without moving the focus. */
export function say(text) {
  const live = $("#live");
  live.textContent = "";
  setTimeout(() => { live.textContent = text; }, 30);
}

/** A problem, as the service tells it: what, why, what to do. */
export function problem(error) {
  const lines = [h("p", {}, h("strong", {}, error.message || "Something went wrong"))];
  if (error.why) lines.push(h("p", { class: "note" }, error.why));
  if (error.todo) lines.push(h("p", {}, error.todo));
  if (error.request) lines.push(h("p", { class: "note" }, `Request ${error.request}`));
  return h("div", { class: "wrong", role: "alert" }, lines);
}

/** Runs what a button started; the button waits, and what goes wrong is shown in `place`. */
export async function attempt(button, place, work) {
  if (button) button.disabled = true;
  place?.replaceChildren();
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (!place) throw error;
    place.replaceChildren(problem(error));
    place.scrollIntoView({ block: "nearest" });
    return undefined;
  } finally {
    if (button) button.disabled = false;
  }
}

/** A question in a dialog; resolves with the form's values, or null. */
export function ask(title, fields, { action = "OK", bad = false, note = "" } = {}) {
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog", class: "stack" },
      h("h2", { id: "dialog-title" }, title),
      note && h("p", { class: "note" }, note),
      fields,
      h("div", { class: "row" },
        h("button", { class: bad ? "bad" : "main", value: "yes" }, action),
        h("button", { value: "no", formnovalidate: true }, "Cancel")));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    dialog.addEventListener("close", () => {
      const values = Object.fromEntries(new FormData(form));
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? values : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function field(label, name, attributes = {}) {
  const { type = "text", ...rest } = attributes;
  return h("label", { class: "field" }, h("span", {}, label), h("input", { type, name, ...rest }));
}

/** Tabs: [{key, label, enabled}] with arrow keys, as the ARIA practices describe. */
export function tabs(label, entries, select) {
  const buttons = entries.map((entry, place) => h("button", {
    type: "button", role: "tab", id: `tab-${entry.key}`, "aria-controls": "panel", "aria-selected": "false", tabindex: "-1",
    onclick: () => pick(place),
  }, h("b", { "aria-hidden": "true" }, String(place + 1)), entry.label));
  const bar = h("div", { class: "steps", role: "tablist", "aria-label": label }, buttons);
  const pick = (place, focus = false) => {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === place));
      button.tabIndex = i === place ? 0 : -1;
    });
    if (focus) buttons[place].focus();
    buttons[place].scrollIntoView({ block: "nearest", inline: "nearest" });
    select(entries[place].key);
  };
  bar.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    pick((to + buttons.length) % buttons.length, true);
  });
  return { bar, pick: (key) => pick(entries.findIndex((entry) => entry.key === key)) };
}

export const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
export const signed = (value, digits = 3) => (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(digits);
export const percent = (value) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)}%`;
export const day = (text) => (text ? new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–");
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
