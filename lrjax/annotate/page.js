// Coordinates are (x, y) in pixels of the face's picture, the centre of the first one being (0, 0).
// A point is null until it is placed, and INVISIBLE if it cannot be seen.

import { element } from "./svg.js";
import { INVISIBLE, clamp, isInvisible, isSeen, marks, part, within } from "./view.js";

const NAMES = ["left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner"];
const STEP = 0.25; // pixels that an arrow key moves a point by; with Shift, a whole one
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];

const $ = (id) => document.getElementById(id);
const annotator = (new URLSearchParams(location.search).get("name") || "").trim();
const query = `?annotator=${encodeURIComponent(annotator)}`;

let faces = { count: 0, done: [] };
let done = new Set();
let at = -1; // number of the face
let face = null;
let points = [];
let past = [];
let chosen = 0;
let zoom = 1;
let middle = [0, 0]; // of what is seen, when zoomed
let hidden = localStorage.getItem("hidden") === "yes";
let saving = Promise.resolve();

// By the face, as another call of the program may number others so.
const draft = (file) => `draft ${annotator} ${file}`;

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path + query, options);
  } catch {
    throw new Error("The program does not answer; call it again with the same --out and open the address that it gives. What is not saved must be placed again.");
  }
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function say(text, kind = "") {
  $("status").textContent = text;
  $("status").className = kind;
}

function seen() {
  return part(face, zoom, middle);
}

function draw() {
  const [x, y, side] = seen();
  const [left, top, width, height] = face.frame;
  const percent = (value) => `${(100 * value) / side}%`;
  for (const view of document.querySelectorAll(".view")) {
    const image = view.querySelector("img");
    image.style.left = percent(left - 0.5 - x);
    image.style.top = percent(top - 0.5 - y);
    image.style.width = percent(width);
    image.style.height = percent(height);
    view.classList.toggle("zoomed", zoom > 1);
    const svg = view.querySelector("svg");
    svg.setAttribute("viewBox", `${x} ${y} ${side} ${side}`);
    svg.replaceChildren(...marks(face, points, chosen, hidden, side));
  }
  NAMES.forEach((name, i) => {
    const button = $("points").children[i].firstChild;
    const point = points[i];
    button.setAttribute("aria-pressed", String(i === chosen));
    const value = isInvisible(point) ? "invisible" : point && point.map((v) => v.toFixed(1)).join(", ");
    button.querySelector(".value").textContent = value || "–";
  });
  $("zoom").textContent = `${zoom}×`;
  $("undo").disabled = !past.length;
  $("network").hidden = !face.start;
  $("hide").firstChild.textContent = hidden ? "Show " : "Hide ";
}

async function show(number) {
  let found;
  try {
    found = await ask(`faces/${number}`);
  } catch (error) {
    say(error.message, "bad");
    return;
  }
  at = number;
  face = found;
  const kept = JSON.parse(sessionStorage.getItem(draft(face.file)));
  const whole = kept !== null && kept.every((point) => point !== null);
  // All five, which could not be saved, are; fewer are not put in the place of what is saved.
  points = whole || !face.points ? kept || NAMES.map(() => null) : face.points;
  past = [];
  zoom = 1;
  middle = [(face.size[0] - 1) / 2, (face.size[1] - 1) / 2];
  chosen = Math.max(0, points.indexOf(null));
  history.replaceState(null, "", `#${number + 1}`);
  for (const image of document.querySelectorAll(".view img")) image.src = `faces/${number}/picture`;
  $("number").textContent = number + 1;
  $("source").textContent = face.source;
  $("back").disabled = number === 0;
  $("next").disabled = number === faces.count - 1;
  say(face.points ? "Saved" : "", "good");
  draw();
  progress();
  if (whole) save();
}

function progress() {
  $("count").textContent = faces.count;
  $("progress").max = faces.count;
  $("progress").value = done.size;
  $("done").textContent = `${annotator}: ${done.size} done`;
  $("open").disabled = done.size === faces.count;
}

// Change the points, so that it can be undone, and save them where all five are decided.
function change(next, remember = true) {
  if (remember) past.push(points);
  points = next;
  draw();
  save();
}

function save() {
  const [number, now, key] = [at, points, draft(face.file)];
  const whole = now.every((point) => point !== null);
  sessionStorage.setItem(key, JSON.stringify(now));
  if (!whole && !done.has(number)) {
    say("");
    return;
  }
  say("Saving …");
  // One after the other, so that the last change is what stays.
  saving = saving.then(async () => {
    try {
      const options = whole ? { method: "PUT", body: JSON.stringify(now) } : { method: "DELETE" };
      await ask(`faces/${number}`, options);
      if (whole) {
        done.add(number);
        if (sessionStorage.getItem(key) === JSON.stringify(now)) sessionStorage.removeItem(key);
      } else {
        done.delete(number);
      }
      if (number === at && now === points) say(whole ? "Saved" : "", "good");
      progress();
    } catch (error) {
      say(`Not saved. ${error.message}`, "bad");
    }
  });
}

function place(point) {
  const inside = within(face, point);
  change(points.map((old, i) => (i === chosen ? inside : old)));
}

function choose(number) {
  chosen = number;
  draw();
}

function onward() {
  const open = points.indexOf(null);
  if (open >= 0) chosen = open;
  draw();
}

function move(dx, dy) {
  const from = isSeen(points[chosen]) ? points[chosen] : (face.start && !hidden && face.start[chosen]) || middle;
  place([from[0] + dx, from[1] + dy]);
}

function zoomBy(steps, about) {
  const before = seen();
  const target = about || (isSeen(points[chosen]) ? points[chosen] : [0, 1].map((i) => before[i] + before[2] / 2));
  const share = [0, 1].map((i) => (target[i] - before[i]) / before[2]);
  zoom = ZOOMS[clamp(ZOOMS.indexOf(zoom) + steps, 0, ZOOMS.length - 1)];
  const side = Math.max(face.frame[2], face.frame[3]) / zoom;
  // What is pointed at stays where it is.
  middle = [0, 1].map((i) => target[i] + (0.5 - share[i]) * side);
  draw();
}

const ACTIONS = {
  invisible: () => {
    change(points.map((old, i) => (i === chosen ? [INVISIBLE, INVISIBLE] : old)));
    onward();
  },
  undo: () => {
    if (!past.length) return;
    const next = past.pop();
    const back = next.findIndex((point, i) => point !== points[i]);
    if (back >= 0) chosen = back;
    change(next, false);
  },
  take: () => {
    if (!face.start) return;
    change(face.start.map((point) => within(face, point)));
  },
  hide: () => {
    hidden = !hidden;
    localStorage.setItem("hidden", hidden ? "yes" : "no");
    draw();
  },
  in: () => zoomBy(1),
  out: () => zoomBy(-1),
  whole: () => {
    zoom = 1;
    draw();
  },
  back: () => at > 0 && show(at - 1),
  next: () => at < faces.count - 1 && show(at + 1),
  open: () => {
    const rest = [...Array(faces.count).keys()].filter((i) => !done.has(i));
    if (rest.length) show(rest.find((i) => i > at) ?? rest[0]);
  },
};

const KEYS = {
  x: "invisible", u: "undo", t: "take", h: "hide", "+": "in", "=": "in", "-": "out", 0: "whole",
  p: "back", PageUp: "back", Enter: "next", PageDown: "next", n: "open",
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pressed(event) {
  if (!face || event.altKey || event.metaKey || (event.ctrlKey && event.key !== "z")) return;
  // A button that has the focus is pressed by Enter, as everywhere.
  if (event.key === "Enter" && event.target.closest("button, summary")) return;
  const step = event.shiftKey ? 1 : STEP;
  if (event.ctrlKey) ACTIONS.undo();
  else if (event.key in ARROWS) move(...ARROWS[event.key].map((d) => d * step));
  else if ("12345".includes(event.key)) choose(Number(event.key) - 1);
  else if (KEYS[event.key] || KEYS[event.key.toLowerCase()]) ACTIONS[KEYS[event.key] || KEYS[event.key.toLowerCase()]]();
  else return;
  event.preventDefault();
}

function located(view, event) {
  const box = view.getBoundingClientRect();
  const [x, y, side] = seen();
  return [x + ((event.clientX - box.left) / box.width) * side, y + ((event.clientY - box.top) / box.height) * side];
}

function watch(view) {
  let from = null; // where the pointer went down, and the middle then
  let dragged = false;
  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = { at: [event.clientX, event.clientY], middle: seen().slice(0, 2).map((v) => v + seen()[2] / 2) };
    dragged = false;
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", (event) => {
    if (!from) return;
    const way = [event.clientX - from.at[0], event.clientY - from.at[1]];
    dragged ||= Math.hypot(...way) > 5;
    if (!dragged || zoom === 1) return;
    const scale = seen()[2] / view.getBoundingClientRect().width;
    middle = from.middle.map((v, i) => v - way[i] * scale);
    draw();
  });
  view.addEventListener("pointerup", (event) => {
    if (from && !dragged) {
      place(located(view, event));
      onward();
    }
    from = null;
  });
  view.addEventListener("pointercancel", () => { from = null; });
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1 : -1, located(view, event));
  }, { passive: false });
}

async function compare() {
  const found = await ask("faces");
  const cell = (text, kind) => Object.assign(document.createElement("td"), { textContent: text, className: kind || "" });
  const row = (...cells) => {
    const made = document.createElement("tr");
    made.append(...cells);
    return made;
  };
  const alone = Object.entries(found.annotators).map(([name, count]) => row(cell(name), cell(count, "n"), cell("", "n"), cell("", "n")));
  const pairs = found.agreement.map((pair) => row(
    cell(pair.annotators.join(" and ")),
    cell(pair.faces, "n"),
    cell(pair.points, "n"),
    cell(pair.distance === null ? "–" : (100 * pair.distance).toFixed(2), "n"),
  ));
  $("agreement").querySelector("tbody").replaceChildren(...alone, ...pairs);
}

function build() {
  for (const view of document.querySelectorAll(".view")) {
    const image = Object.assign(document.createElement("img"), { alt: "", draggable: false });
    view.append(image, element("svg", { "aria-hidden": "true" }));
    watch(view);
  }
  NAMES.forEach((name, i) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const parts = [["kbd", "", i + 1], ["span", "label", name], ["span", "value", "–"]];
    button.append(...parts.map(([tag, kind, text]) => Object.assign(document.createElement(tag), { className: kind, textContent: text })));
    button.addEventListener("click", () => choose(i));
    const item = document.createElement("li");
    item.append(button);
    $("points").append(item);
  });
  for (const [id, action] of Object.entries(ACTIONS)) $(id).addEventListener("click", action);
  document.addEventListener("keydown", pressed);
  $("agreement").addEventListener("toggle", () => compare().catch((error) => say(error.message, "bad")));
}

async function start() {
  if (!annotator) {
    $("who").hidden = false;
    return;
  }
  try {
    faces = await ask("faces");
  } catch (error) {
    $("who").hidden = false;
    $("who").querySelector("p").textContent = error.message;
    $("name").value = annotator;
    return;
  }
  done = new Set(faces.done);
  build();
  const asked = Number(location.hash.slice(1)) - 1;
  const first = [...Array(faces.count).keys()].find((i) => !done.has(i)) ?? 0;
  await show(Number.isInteger(asked) && asked >= 0 && asked < faces.count ? asked : first);
  $("work").hidden = false;
}

start();
