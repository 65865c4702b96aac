// A face with a grid of cells over it: coloured, pointed at, brushed, by mouse, finger and keys.
import { h, s } from "./dom.js";

/**
 * @typedef {object} Options
 * @property {string} label what a screen reader calls it
 * @property {string} alt
 * @property {boolean} [grey] the picture without its colours
 * @property {(cell: number, aloud?: boolean) => void} [onpoint]
 * @property {() => void} [onleave]
 * @property {Brush} [onbrush]
 */
/**
 * Told of each cell under the brush. The mode is what the first cell of a stroke became, or null for
 * the first; "look" for a cell that the keyboard only moves to.
 * @callback Brush
 * @param {number} cell @param {boolean | null | "look"} mode @param {boolean} [aloud]
 * @returns {boolean | null}
 */

export class Cells {
  /**
   * @param {string} src picture of the face
   * @param {[number, number]} grid rows, columns
   * @param {Options} options
   */
  constructor(src, grid, { label, alt, grey = false, onpoint, onleave, onbrush }) {
    this.rows = grid[0];
    this.columns = grid[1];
    this.count = this.rows * this.columns;
    this.at = Math.floor(this.rows / 2) * this.columns + Math.floor(this.columns / 2);
    this.rects = Array.from({ length: this.count }, (_, r) => s("rect", {
      x: r % this.columns, y: Math.floor(r / this.columns), width: 1, height: 1, "fill-opacity": 0, fill: "#0c0f18",
    }));
    this.ring = s("rect", { width: 0.94, height: 0.94, class: "ring", visibility: "hidden" });
    const interactive = onpoint || onbrush;
    this.svg = s("svg", {
      class: `cells${onbrush ? " brush" : ""}`, viewBox: `0 0 ${this.columns} ${this.rows}`,
      preserveAspectRatio: "none", "aria-hidden": "true",
    }, this.rects, this.ring);
    this.image = h("img", { src, alt, draggable: "false" });
    this.element = h("div", {
      class: `face${grey ? " grey" : ""}`, ...(interactive ? { tabindex: "0", role: "group", "aria-label": label } : {}),
    }, this.image, this.svg);
    if (onpoint) this.#pointing(onpoint, onleave);
    if (onbrush) this.#brushing(onbrush);
  }

  /** Colours, one per cell: [colour, opacity]. @param {(cell: number) => [string, number]} colours */
  paint(colours) {
    this.rects.forEach((rect, r) => {
      const [colour, opacity] = colours(r);
      rect.setAttribute("fill", colour);
      rect.setAttribute("fill-opacity", String(opacity));
    });
  }

  /** Puts the ring around a cell, or away. @param {number | null} cell */
  mark(cell, best = false) {
    this.ring.setAttribute("visibility", cell === null ? "hidden" : "visible");
    this.ring.setAttribute("class", best ? "ring best" : "ring");
    if (cell === null) return;
    this.ring.setAttribute("x", String((cell % this.columns) + 0.03));
    this.ring.setAttribute("y", String(Math.floor(cell / this.columns) + 0.03));
  }

  /** @param {number} cell */
  place(cell) {
    return `row ${Math.floor(cell / this.columns) + 1}, column ${(cell % this.columns) + 1}`;
  }

  /** @param {PointerEvent} event */
  #under(event) {
    const box = this.svg.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
    const inside = column >= 0 && row >= 0 && column < this.columns && row < this.rows;
    return inside ? row * this.columns + column : null;
  }

  /** @param {KeyboardEvent} event */
  #keys(event) {
    /** @type {Record<string, number>} */
    const steps = { ArrowUp: -this.columns, ArrowDown: this.columns, ArrowLeft: -1, ArrowRight: 1 };
    const step = steps[event.key];
    if (step === undefined) return false;
    event.preventDefault();
    const next = this.at + step;
    const sameRow = Math.floor(next / this.columns) === Math.floor(this.at / this.columns);
    if (next >= 0 && next < this.count && (Math.abs(step) === this.columns || sameRow)) this.at = next;
    return true;
  }

  /** @param {(cell: number, aloud?: boolean) => void} onpoint @param {(() => void) | undefined} onleave */
  #pointing(onpoint, onleave) {
    /** @type {number | null} */
    let last = null;
    const point = (/** @type {PointerEvent} */ event) => {
      const cell = this.#under(event);
      if (cell !== null && cell !== last) { last = cell; this.at = cell; onpoint(cell); }
    };
    const leave = () => { last = null; onleave?.(); };
    this.svg.addEventListener("pointermove", point);
    this.svg.addEventListener("pointerdown", point);
    this.svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") leave(); });
    this.element.addEventListener("focus", () => { if (this.element.matches(":focus-visible")) onpoint(this.at, true); });
    this.element.addEventListener("blur", leave);
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") leave();
      else if (this.#keys(event)) onpoint(this.at, true);
    });
  }

  /** @param {Brush} onbrush */
  #brushing(onbrush) {
    /** @type {boolean | null} */
    let mode = null;
    const stroke = (/** @type {PointerEvent} */ event) => {
      const cell = this.#under(event);
      if (cell === null) return;
      this.at = cell;
      if (mode === null) mode = onbrush(cell, null);
      else onbrush(cell, mode);
    };
    this.svg.addEventListener("pointerdown", (event) => {
      this.svg.setPointerCapture(event.pointerId);
      mode = null;
      stroke(event);
    });
    this.svg.addEventListener("pointermove", (event) => { if (event.buttons) stroke(event); });
    this.element.addEventListener("focus", () => { if (this.element.matches(":focus-visible")) this.mark(this.at); });
    this.element.addEventListener("blur", () => this.mark(null));
    this.element.addEventListener("keydown", (event) => {
      if (event.key === " " || event.key === "Enter") {
        event.preventDefault();
        onbrush(this.at, null, true);
      } else if (this.#keys(event)) {
        this.mark(this.at);
        onbrush(this.at, "look", true);
      }
    });
  }
}
