import { api } from "./api.js";
import { $, attempt, h } from "./dom.js";

const form = /** @type {HTMLFormElement} */ ($("#door"));
const key = /** @type {HTMLInputElement} */ ($("input", form));
const asked = new URLSearchParams(location.search);
if (asked.has("ended")) form.before(h("p", { class: "told", role: "status" }, "Your session has ended."));
key.focus();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(/** @type {HTMLButtonElement} */ ($("button", form)), $("#wrong"), async () => {
    await api.signIn(key.value);
    const next = asked.get("next") ?? "/";
    // Only a path of this service: "//elsewhere" would be another host.
    location.assign(/^\/(?![/\\])/.test(next) ? next : "/");
  });
});
