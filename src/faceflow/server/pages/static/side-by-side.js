// Two faces that zoom, move and turn together, each to be flipped, under one grid.
import { h, s, say } from "./dom.js";

const MOST = 8;

export class SideBySide {
  /** @param {{title: string, src: string, alt: string, caption: string}[]} faces two of them */
  constructor(faces, [rows, columns]) {
    this.zoom = 1;
    this.x = 0; // the top left corner of what is seen, in shares of the picture
    this.y = 0;
    this.views = faces.map((face) => this.#view(face, rows, columns));
    this.element = h("div", {},
      this.#tools(),
      h("div", { class: "pair faces" }, this.views.map((view) => view.figure)));
    this.#show();
  }

  /** Another picture in one of the two places. */
  change(place, { src, alt, caption }) {
    const view = this.views[place];
    view.image.src = src;
    view.image.alt = alt;
    view.caption.textContent = caption;
  }

  #view({ title, src, alt, caption }, rows, columns) {
    const image = h("img", { src, alt, draggable: "false" });
    const turn = h("div", { class: "turn" }, image);
    const lines = s("svg", { class: "lines", viewBox: `0 0 ${columns} ${rows}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      [...Array(columns - 1).keys()].map((i) => s("path", { d: `M${i + 1} 0V${rows}`, stroke: "#fff", "stroke-opacity": 0.5, "stroke-width": 0.02 })),
      [...Array(rows - 1).keys()].map((i) => s("path", { d: `M0 ${i + 1}H${columns}`, stroke: "#fff", "stroke-opacity": 0.5, "stroke-width": 0.02 })));
    lines.setAttribute("hidden", "");
    const frame = h("div", {
      class: "face view", tabindex: "0", role: "group",
      "aria-label": `${title}; plus and minus zoom, arrow keys move, 0 shows all`,
    }, turn, lines);
    const words = h("figcaption", {}, caption);
    this.#handle(frame);
    return { frame, image, turn, lines, caption: words, figure: h("figure", {}, h("h2", { class: "third" }, title), frame, words) };
  }

  #tools() {
    const zoom = h("span", { class: "number note", "aria-live": "polite" });
    this.told = zoom;
    const press = (label, act) => h("button", { type: "button", class: "small", onclick: act }, label);
    const toggle = (label, act) => {
      const button = h("button", { type: "button", class: "small", "aria-pressed": "false", onclick: () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        act(on);
        this.#show();
      } }, label);
      return button;
    };
    const flip = (place) => (on) => {
      this.views[place].turn.classList.toggle("flip", on);
      this.views[place].lines.style.transform = on ? "scaleX(-1)" : "";
      say(`${place === 0 ? "Query" : "Candidate"} ${on ? "mirrored" : "as it is"}`);
    };
    this.slot = h("span", { class: "row" });
    return h("div", { class: "tools", role: "toolbar", "aria-label": "Both faces" },
      press("Zoom in", () => this.#by(1.4)), press("Zoom out", () => this.#by(1 / 1.4)),
      press("All", () => { this.zoom = 1; this.x = this.y = 0; this.#show(); }), zoom,
      h("span", { class: "gap" }),
      toggle("Grid", (on) => { for (const view of this.views) view.lines.toggleAttribute("hidden", !on); }),
      toggle("Flip query", flip(0)), toggle("Flip candidate", flip(1)),
      h("span", { class: "gap" }), this.slot);
  }

  #handle(frame) {
    let from = null;
    frame.addEventListener("pointerdown", (event) => {
      frame.setPointerCapture(event.pointerId);
      frame.classList.add("held");
      from = [event.clientX, event.clientY, this.x, this.y];
    });
    frame.addEventListener("pointermove", (event) => {
      if (from === null || !event.buttons) return;
      const size = frame.clientWidth * this.zoom;
      const mirrored = frame.firstElementChild.classList.contains("flip") ? -1 : 1;
      this.x = from[2] - (mirrored * (event.clientX - from[0])) / size;
      this.y = from[3] - (event.clientY - from[1]) / size;
      this.#show();
    });
    const stop = () => { from = null; frame.classList.remove("held"); };
    frame.addEventListener("pointerup", stop);
    frame.addEventListener("pointercancel", stop);
    frame.addEventListener("dblclick", () => this.#by(1.8));
    frame.addEventListener("wheel", (event) => {
      // Without Ctrl the wheel scrolls the page, as everywhere else; a pinch comes with Ctrl.
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.#by(Math.exp(-event.deltaY / 240));
    }, { passive: false });
    frame.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === "+" || event.key === "=") this.#by(1.4);
      else if (event.key === "-") this.#by(1 / 1.4);
      else if (event.key === "0") { this.zoom = 1; this.x = this.y = 0; this.#show(); }
      else if (move) { this.x += (0.08 * move[0]) / this.zoom; this.y += (0.08 * move[1]) / this.zoom; this.#show(); }
      else return;
      event.preventDefault();
    });
  }

  #by(factor) {
    const centre = [this.x + 0.5 / this.zoom, this.y + 0.5 / this.zoom];
    this.zoom = Math.min(MOST, Math.max(1, this.zoom * factor));
    this.x = centre[0] - 0.5 / this.zoom;
    this.y = centre[1] - 0.5 / this.zoom;
    this.#show();
  }

  #show() {
    const room = 1 - 1 / this.zoom;
    this.x = Math.min(room, Math.max(0, this.x));
    this.y = Math.min(room, Math.max(0, this.y));
    const transform = `scale(${this.zoom}) translate(${-100 * this.x}%, ${-100 * this.y}%)`;
    for (const view of this.views) {
      view.image.style.transform = transform;
      view.lines.firstChild.parentNode.style.transformOrigin = "50% 50%";
      this.#lines(view);
    }
    this.told.textContent = `${Math.round(100 * this.zoom)}%`;
  }

  /** The grid stays on the face: its view box is the part that is seen. */
  #lines(view) {
    const [columns, rows] = [view.lines.querySelectorAll("path[d*=V]").length + 1, view.lines.querySelectorAll("path[d*=H]").length + 1];
    view.lines.setAttribute("viewBox", `${columns * this.x} ${rows * this.y} ${columns / this.zoom} ${rows / this.zoom}`);
  }
}
