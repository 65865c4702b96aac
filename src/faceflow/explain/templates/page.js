"use strict";
// Point at a cell: the other face stays lit where the cell's weight goes to, or comes from.
for (const match of document.querySelectorAll(".flow")) {
  const data = JSON.parse(match.querySelector(".data").textContent);
  const readout = match.querySelector(".readout");
  const hint = readout.textContent;
  const [height, width] = data.grid;
  const count = height * width;
  const layers = { query: [], gallery: [] };

  const place = (r) => `row ${Math.floor(r / width) + 1}, column ${(r % width) + 1}`;
  const percent = (x) => `${(100 * x).toFixed(x < 0.0995 ? 1 : 0)}%`;
  const moved = (from, cell, to) =>
    from === "query" ? data.flow[cell * count + to] : data.flow[to * count + cell];

  const clear = () => {
    for (const layer of [...layers.query, ...layers.gallery]) {
      for (const cell of layer.children) { cell.className = ""; cell.style.background = ""; }
    }
    readout.textContent = hint;
  };

  const show = (from, cell) => {
    const flows = Array.from({ length: count }, (_, to) => moved(from, cell, to));
    const most = Math.max(...flows);
    const total = flows.reduce((sum, flow) => sum + flow, 0);
    const best = flows.indexOf(most);
    const to = from === "query" ? "gallery" : "query";
    for (const layer of layers[from]) {
      [...layer.children].forEach((box, r) => {
        box.className = r === cell ? "here" : "";
        box.style.background = "";
      });
    }
    for (const layer of layers[to]) {
      [...layer.children].forEach((box, r) => {
        const dark = 0.72 * (1 - (most > 0 ? flows[r] / most : 0));
        box.style.background = `rgba(12, 15, 24, ${dark.toFixed(3)})`;
        box.className = most > 0 && r === best ? "best" : "";
      });
    }
    const weight = percent((from === "query" ? data.u : data.v)[cell]);
    const where = total > 0
      ? `${percent(most / total)} of that ${from === "query" ? "goes to" : "comes from"} ` +
        `${to} ${place(best)}`
      : "none of that is moved";
    readout.textContent =
      `${from === "query" ? "Query" : "Gallery"} ${place(cell)} holds ${weight} of the face's ` +
      `weight; ${where}. It adds ${data[from][cell].toFixed(4)} to the EMD similarity.`;
  };

  for (const face of match.querySelectorAll(".face")) {
    const side = face.dataset.side;
    const layer = document.createElement("div");
    layer.className = "cells";
    layer.setAttribute("aria-hidden", "true");
    layer.style.gridTemplateColumns = `repeat(${width}, 1fr)`;
    layer.style.gridTemplateRows = `repeat(${height}, 1fr)`;
    for (let r = 0; r < count; r += 1) layer.append(document.createElement("i"));
    face.append(layer);
    layers[side].push(layer);

    const under = (event) => [...layer.children].indexOf(event.target);
    const point = (event) => { const r = under(event); if (r >= 0) show(side, r); };
    layer.addEventListener("pointerover", point);
    layer.addEventListener("pointerdown", point);
    layer.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") clear();
    });

    let at = Math.floor(height / 2) * width + Math.floor(width / 2);
    face.tabIndex = 0;
    face.setAttribute("role", "group");
    face.setAttribute("aria-label", `${side} face; arrow keys move over its cells`);
    face.addEventListener("focus", () => { if (face.matches(":focus-visible")) show(side, at); });
    face.addEventListener("blur", clear);
    face.addEventListener("keydown", (event) => {
      const step = { ArrowUp: -width, ArrowDown: width, ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") clear();
      if (step === undefined) return;
      event.preventDefault();
      const next = at + step;
      const sameRow = Math.floor(next / width) === Math.floor(at / width);
      if (next >= 0 && next < count && (Math.abs(step) === width || sameRow)) at = next;
      show(side, at);
    });
  }
  readout.hidden = false;
}
