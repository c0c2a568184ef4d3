// What is drawn over a picture. Coordinates are (x, y) in its pixels, the centre of the first one
// being (0, 0): the picture itself reaches from -0.5 on.

import { element } from "./svg.js";

const BORDER = 3; // what is shown about a face that is looked at closely, in sides of it

// Of iBUG's 68 landmarks: first and last of each chain, and whether it is closed.
const CHAINS = [
  [0, 16], [17, 21], [22, 26], [27, 30], [31, 35], [36, 41, true], [42, 47, true], [48, 59, true], [60, 67, true],
];

export const tone = (face) => (face.doubtful ? "doubtful" : face.confidence < 0.65 ? "fair" : "sure");

// What is shown: [left, top, width, height], all of the picture, or what is about a face.
export function frame(picture, face) {
  const whole = [-0.5, -0.5, picture.width, picture.height];
  if (!face) return whole;
  const [x, y, w, h] = face.box;
  const high = Math.max(BORDER * h, (BORDER * w * picture.height) / picture.width);
  const scale = high / picture.height;
  if (scale >= 1) return whole;
  const [width, height] = [picture.width * scale, picture.height * scale];
  const start = (at, side, shown, all) => Math.min(Math.max(at + side / 2 - shown / 2, 0), all - shown) - 0.5;
  return [start(x, w, width, picture.width), start(y, h, height, picture.height), width, height];
}

// The marks on all faces; `unit` is a pixel of the screen, `chosen` the number of a face or null.
export function marks(faces, chosen, boxes, unit) {
  return faces.map((face, i) => {
    const [x, y, w, h] = face.box;
    const points = Object.values(face.landmarks);
    const group = element("g", { class: `face ${tone(face)}${chosen !== null && chosen !== i ? " dim" : ""}`, "data-face": i });
    if (boxes) {
      const corners = { x: x - 0.5, y: y - 0.5, width: w, height: h, rx: 0.06 * w };
      group.append(element("rect", { class: "under", ...corners }), element("rect", { class: "box", ...corners }));
      // The numbers of the smallest would hide them.
      const label = w < 16 * unit ? "" : element("text", { x: x - 0.5, y: y - 0.5 - 4 * unit, "font-size": 12 * unit, "stroke-width": 3 * unit });
      if (label) label.textContent = i + 1;
      group.append(label);
    }
    if (points.length === 68 || points.length === 73) {
      const path = CHAINS.map(([first, last, closed]) =>
        points.slice(first, last + 1).map((p, k) => `${k ? "L" : "M"}${p.x} ${p.y}`).join("") + (closed ? "Z" : "")).join("");
      group.append(element("path", { class: "line", d: path }));
    }
    const radius = Math.max((points.length > 10 ? 0.012 : 0.03) * Math.sqrt(w * h), 1.1 * unit);
    points.forEach((p) => group.append(element("circle", { class: "dotted", cx: p.x, cy: p.y, r: radius })));
    return group;
  });
}
