// What is seen of a face, and what is drawn on it. Coordinates are as in page.js.

import { element } from "./svg.js";

export const INVISIBLE = -1;

export const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
export const isInvisible = (point) => point !== null && point[0] === INVISIBLE && point[1] === INVISIBLE;
export const isSeen = (point) => point !== null && !isInvisible(point);

// What of the face is seen: [left, top, side], a square that holds the frame, or a part of it.
export function part(face, zoom, middle) {
  const [left, top, width, height] = face.frame;
  const whole = Math.max(width, height);
  const side = whole / zoom;
  const low = [left + (width - whole) / 2 - 0.5, top + (height - whole) / 2 - 0.5];
  return [0, 1]
    .map((i) => clamp(middle[i] - side / 2, low[i], low[i] + whole - side))
    .concat(side);
}

// The nearest point within what is shown of a face, to a hundredth of a pixel.
export function within(face, point) {
  const [left, top, width, height] = face.frame;
  const inside = [
    clamp(point[0], left - 0.5, left + width - 0.5),
    clamp(point[1], top - 0.5, top + height - 0.5),
  ].map((value) => Math.round(100 * value) / 100);
  // A point that is seen may not lie where invisible ones are written.
  if (isInvisible(inside)) inside[0] += 0.01;
  return inside;
}

// The marks on a face of which a square of `side` pixels is seen.
export function marks(face, points, chosen, hidden, side) {
  const unit = side / 100;
  const made = [element("rect", { class: "box", x: -0.5, y: -0.5, width: face.size[0], height: face.size[1] })];
  if (face.start && !hidden) face.start.forEach((point) => made.push(mark(point, unit, "network")));
  points.forEach((point, i) => {
    if (isSeen(point)) made.push(mark(point, unit, i === chosen ? "point chosen" : "point", i + 1));
  });
  return made;
}

// A cross that leaves free what it marks.
function mark([x, y], unit, kind, label) {
  const [inner, outer] = kind === "network" ? [0.6, 2.6] : [1, 3.4];
  const path = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    .map(([dx, dy]) => `M${x + dx * inner * unit} ${y + dy * inner * unit}L${x + dx * outer * unit} ${y + dy * outer * unit}`)
    .join("");
  const group = element("g", { class: kind }, element("path", { class: "under", d: path }), element("path", { class: "mark", d: path }));
  if (label) {
    const text = element("text", { x: x + 2 * unit, y: y - 1.6 * unit, "font-size": 5 * unit, "stroke-width": unit });
    text.textContent = label;
    group.append(text);
  }
  return group;
}
