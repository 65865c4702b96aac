import { api } from "./api.js";
import { $, attempt } from "./dom.js";

const form = $("#door");
form.elements.key.focus();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt($("button", form), $("#wrong"), async () => {
    await api.signIn(form.elements.key.value);
    const next = new URLSearchParams(location.search).get("next") ?? "/";
    // Only a path of this service: "//elsewhere" would be another host.
    location.assign(/^\/(?![/\\])/.test(next) ? next : "/");
  });
});
