// Two faces that zoom, move and turn together, each to be flipped, under one grid.
import { h, s, say } from "./dom.js";

const MOST = 8;

/** @typedef {{title: string, src: string, alt: string, caption: string}} Side */
/** @typedef {{frame: HTMLElement, image: HTMLElement, turn: HTMLElement, lines: SVGElement, caption: HTMLElement, figure: HTMLElement}} View */

export class SideBySide {
  /** @param {Side[]} faces two of them @param {[number, number]} grid */
  constructor(faces, [rows, columns]) {
    this.zoom = 1;
    this.x = 0; // the top left corner of what is seen, in shares of the picture
    this.y = 0;
    this.told = h("span", { class: "number note", "aria-live": "polite" });
    this.slot = h("span", { class: "row" });
    this.grid = { rows, columns };
    this.views = faces.map((face) => this.#view(face));
    this.element = h("div", {},
      this.#tools(),
      h("div", { class: "pair faces" }, this.views.map((view) => view.figure)));
    this.#show();
  }

  /** Another picture in one of the two places. @param {number} place @param {Omit<Side, "title">} side */
  change(place, { src, alt, caption }) {
    const view = this.views[place];
    Object.assign(view.image, { src, alt });
    view.caption.textContent = caption;
  }

  /** @param {Side} side @returns {View} */
  #view({ title, src, alt, caption }) {
    const { rows, columns } = this.grid;
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
    /** @param {string} label @param {() => void} act */
    const press = (label, act) => h("button", { type: "button", class: "small", onclick: act }, label);
    /** @param {string} label @param {(on: boolean) => void} act */
    const toggle = (label, act) => {
      const button = h("button", { type: "button", class: "small", "aria-pressed": "false", onclick: () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        act(on);
        this.#show();
      } }, label);
      return button;
    };
    const flip = (/** @type {number} */ place) => (/** @type {boolean} */ on) => {
      this.views[place].turn.classList.toggle("flip", on);
      this.views[place].lines.style.transform = on ? "scaleX(-1)" : "";
      say(`${place === 0 ? "Query" : "Candidate"} ${on ? "mirrored" : "as it is"}`);
    };
    return h("div", { class: "tools", role: "toolbar", "aria-label": "Both faces" },
      press("Zoom in", () => this.#by(1.4)), press("Zoom out", () => this.#by(1 / 1.4)),
      press("All", () => { this.zoom = 1; this.x = this.y = 0; this.#show(); }), this.told,
      h("span", { class: "gap" }),
      toggle("Grid", (on) => { for (const view of this.views) view.lines.toggleAttribute("hidden", !on); }),
      toggle("Flip query", flip(0)), toggle("Flip candidate", flip(1)),
      h("span", { class: "gap" }), this.slot);
  }

  /** @param {HTMLElement} frame */
  #handle(frame) {
    /** Fingers on the face: one moves, two zoom. @type {Map<number, [number, number]>} */
    const fingers = new Map();
    const apart = () => {
      const [a, b] = [...fingers.values()];
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    frame.addEventListener("pointerdown", (event) => {
      frame.setPointerCapture(event.pointerId);
      frame.classList.add("held");
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    frame.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (before === undefined) return;
      const distance = fingers.size === 2 ? apart() : 0;
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (distance) { this.#by(apart() / distance); return; }
      const size = frame.clientWidth * this.zoom;
      const mirrored = frame.firstElementChild?.classList.contains("flip") ? -1 : 1;
      this.x -= (mirrored * (event.clientX - before[0])) / size;
      this.y -= (event.clientY - before[1]) / size;
      this.#show();
    });
    const stop = (/** @type {PointerEvent} */ event) => {
      fingers.delete(event.pointerId);
      frame.classList.toggle("held", fingers.size > 0);
    };
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
      /** @type {Record<string, number[]>} */
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const move = moves[event.key];
      if (event.key === "+" || event.key === "=") this.#by(1.4);
      else if (event.key === "-") this.#by(1 / 1.4);
      else if (event.key === "0") { this.zoom = 1; this.x = this.y = 0; this.#show(); }
      else if (move) { this.x += (0.08 * move[0]) / this.zoom; this.y += (0.08 * move[1]) / this.zoom; this.#show(); }
      else return;
      event.preventDefault();
    });
  }

  /** @param {number} factor */
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
    const { rows, columns } = this.grid;
    const transform = `scale(${this.zoom}) translate(${-100 * this.x}%, ${-100 * this.y}%)`;
    for (const view of this.views) {
      view.image.style.transform = transform;
      view.frame.classList.toggle("zoomed", this.zoom > 1); // else a finger scrolls the page
      // The grid stays on the face: its view box is the part that is seen.
      view.lines.style.transformOrigin = "50% 50%";
      view.lines.setAttribute("viewBox", `${columns * this.x} ${rows * this.y} ${columns / this.zoom} ${rows / this.zoom}`);
    }
    this.told.textContent = `${Math.round(100 * this.zoom)}%`;
  }
}
