// What every page does first: who is here, which pages are theirs, and signing out.
import { api } from "./api.js";
import { $, problem } from "./dom.js";

export async function start(build) {
  const page = $("#page");
  try {
    const who = await api.whoami();
    $("#who").textContent = `${who.name} · ${who.role}`;
    for (const link of document.querySelectorAll(".bar nav [data-need]")) {
      link.parentElement.hidden = !link.dataset.need.split(",").some((need) => who.permissions.includes(need));
    }
    $("#sign-out").addEventListener("click", async () => {
      await api.signOut();
      location.assign("/sign-in");
    });
    await build({ page, who, may: (permission) => who.permissions.includes(permission) });
  } catch (error) {
    if (error.status !== 401) page.replaceChildren(problem(error));
  } finally {
    page.removeAttribute("aria-busy");
  }
}
