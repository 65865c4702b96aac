// What every page does first: who is here, which pages are theirs, signing out, and signing in again
// where a session ends in the middle of work.
import { api, onEnd } from "./api.js";
import { $, attempt, field, h, problem } from "./dom.js";

/** @typedef {import("./api.js").Schemas["Who"]} Who */
/** @typedef {{page: HTMLElement, who: Who, may: (permission: string) => boolean}} Desk */

/** @param {(desk: Desk) => Promise<void> | void} build */
export async function start(build) {
  const page = $("#page");
  try {
    const who = await api.whoami();
    $("#who").textContent = `${who.name} · ${who.role}`;
    for (const link of document.querySelectorAll(".bar nav [data-need]")) {
      const needs = (link.getAttribute("data-need") ?? "").split(",");
      if (link.parentElement) link.parentElement.hidden = !needs.some((need) => who.permissions.includes(need));
    }
    document.querySelector(".bar [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    $("#sign-out").addEventListener("click", async () => {
      await api.signOut();
      location.assign("/sign-in");
    });
    onEnd(() => again(who));
    await build({ page, who, may: (permission) => who.permissions.includes(permission) });
  } catch (error) {
    if (error.status !== 401) page.replaceChildren(problem(error));
  } finally {
    page.removeAttribute("aria-busy");
  }
}

/**
 * The session has ended: nothing that was written is lost, and nobody reads the page meanwhile.
 * @param {Who} who
 * @returns {Promise<boolean>}
 */
function again(who) {
  return new Promise((resolve) => {
    const wrong = h("div");
    const button = h("button", { class: "main" }, "Sign in");
    const leave = h("button", { type: "button", onclick: () => location.assign("/sign-in") }, "Leave this page");
    const form = h("form", { class: "stack" },
      h("h2", { id: "again-title" }, "Your session has ended"),
      h("p", { class: "note" }, `Sign in again as ${who.name} and go on where you were. What you wrote is still here.`),
      field("Key", "key", { type: "password", autocomplete: "off", spellcheck: "false", required: true }),
      h("div", { class: "row answers" }, button, leave), wrong);
    const dialog = h("dialog", { class: "shut", "aria-labelledby": "again-title" }, form);
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(button, wrong, async () => {
        const now = await api.signIn(String(new FormData(form).get("key")));
        if (now.key !== who.key) { location.assign("/"); return; } // somebody else begins anew
        dialog.remove();
        resolve(true);
      });
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
