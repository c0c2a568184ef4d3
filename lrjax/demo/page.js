import { frame, marks, tone } from "./view.js";

const WORDS = { five: "five", aflw19: "19", ibug68: "68" };

const $ = (id) => document.getElementById(id);
const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });

let state = null; // what the program says of itself
let picture = null; // { blob, width, height }
let faces = [];
let chosen = null; // number of a face
let asked = 0; // how many pictures were sent: answers to earlier ones are late
const slots = [null, null]; // { blob, box, aligned }, oldest first to go
let turn = 0;
let ready = null; // a promise

function say(text, kind = "") {
  $("said").textContent = text;
  $("said").className = kind;
  $("said").hidden = !text;
}

// The answer to a request; one that comes too early is made again.
async function ask(path, options, still = () => true) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Error("The program does not answer. Start it again, and open the address that it gives.");
    }
    if (answer.ok) return answer;
    const text = await answer.text();
    let reason = text;
    try {
      reason = JSON.parse(text).error;
    } catch { /* it is a text then */ }
    if (answer.status !== 503) throw new Error(reason);
    if (!still()) return null;
    say(reason, "wait");
    await pause(Math.min(2, Number(answer.headers.get("Retry-After")) || 2));
  }
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function draw() {
  if (!picture) return;
  const [left, top, width, height] = frame(picture, chosen === null ? null : faces[chosen]);
  const [view, image, svg] = [$("view"), $("view").querySelector("img"), $("view").querySelector("svg")];
  view.style.aspectRatio = `${picture.width} / ${picture.height}`;
  view.style.maxWidth = `calc(76vh * ${picture.width / picture.height})`;
  view.classList.toggle("close", chosen !== null);
  image.style.left = `${(100 * (-0.5 - left)) / width}%`;
  image.style.top = `${(100 * (-0.5 - top)) / height}%`;
  image.style.width = `${(100 * picture.width) / width}%`;
  image.style.height = `${(100 * picture.height) / height}%`;
  svg.setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
  svg.replaceChildren(...marks(faces, chosen, $("boxes").checked, width / (view.clientWidth || 1)));
  $("whole").disabled = chosen === null;
}

function choose(number) {
  chosen = number;
  for (const [i, item] of [...$("faces").children].entries()) item.firstChild.setAttribute("aria-pressed", String(i === number));
  $("about-face").hidden = number === null;
  if (number !== null) describe(faces[number], number);
  draw();
  if (number !== null) $("view").scrollIntoView({ block: "nearest" });
}

function describe(face, number) {
  const [, , w, h] = face.box;
  const rows = [["Size", `${w.toFixed(0)} × ${h.toFixed(0)} pixels`], ["Landmarks’ confidence", face.confidence.toFixed(2)]];
  if (face.detector_confidence !== null) rows.push(["Detector’s probability", face.detector_confidence.toFixed(2)]);
  const points = Object.entries(face.landmarks);
  if (points.length <= 5) rows.push(...points.map(([name, p]) => [name.replace("_", " "), `${p.x.toFixed(1)}, ${p.y.toFixed(1)}`]));
  $("about-face").querySelector("h3").textContent = `Face ${number + 1}${face.doubtful ? ": it may be none" : ""}`;
  $("about-face").querySelector("dl").replaceChildren(...rows.flatMap(([name, value]) => [
    element("dt", { textContent: name }), element("dd", { textContent: value }),
  ]));
  $("compare-this").hidden = !state || !state.encoder;
}

function list(seconds) {
  const doubtful = faces.filter((face) => face.doubtful).length;
  const word = faces.length === 1 ? "face" : "faces";
  $("count").innerText = `${faces.length || "No"} ${word}${doubtful ? `, ${doubtful} of them doubtful` : ""}`;
  $("count").append(element("small", { textContent: ` in ${seconds.toFixed(1)} s` }));
  $("faces").replaceChildren(...faces.map((face, i) => {
    const share = element("span");
    share.style.width = `${100 * face.confidence}%`;
    const button = element("button", { type: "button", className: tone(face) },
      element("img", { src: face.aligned, alt: `Face ${i + 1}, aligned` }),
      element("span", { className: "line" }, element("b", { textContent: i + 1 }), element("span", { textContent: face.confidence.toFixed(2) })),
      element("span", { className: "meter" }, share));
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => choose(chosen === i ? null : i));
    return element("li", {}, button);
  }));
}

async function look() {
  const mine = ++asked;
  say("");
  $("wait").hidden = false;
  try {
    await ready;
    const options = { method: "POST", body: picture.blob };
    const answer = await ask(`predict?aligned=true&points=${$("points").value}`, options, () => mine === asked);
    if (answer === null || mine !== asked) return;
    const text = await answer.json();
    if (mine !== asked) return;
    say("");
    faces = text.faces;
    // As the program sees it: it may know of an orientation what the browser does not.
    [picture.width, picture.height] = [text.width, text.height];
    $("panel").hidden = false;
    list(text.seconds);
    choose(null);
    const short = text.faces.map((face) => ({ ...face, aligned: face.aligned && `${face.aligned.slice(0, 40)}…` }));
    $("answer").querySelector("pre").textContent = JSON.stringify({ ...text, faces: short }, null, 1);
    $("answer").hidden = false;
  } catch (error) {
    if (mine === asked) say(error.message);
  } finally {
    if (mine === asked) $("wait").hidden = true;
  }
}

function open(blob) {
  if (!blob) return;
  if (state && blob.size > state.limits.bytes) {
    say(`The picture has ${blob.size.toLocaleString("en")} bytes; take one of at most ${state.limits.bytes.toLocaleString("en")}.`);
    return;
  }
  const image = $("view").querySelector("img");
  const address = URL.createObjectURL(blob);
  const probe = new Image();
  probe.addEventListener("load", () => {
    URL.revokeObjectURL(image.src);
    image.src = address;
    picture = { blob, width: probe.naturalWidth, height: probe.naturalHeight };
    faces = [];
    chosen = null;
    $("drop").hidden = true;
    $("shown").hidden = false;
    $("panel").hidden = true;
    draw();
    look();
  });
  probe.addEventListener("error", () => {
    URL.revokeObjectURL(address);
    say("The browser cannot show this file; take a JPEG, PNG or WebP picture.");
  });
  probe.src = address;
}

async function example() {
  say("The example is being drawn …", "wait");
  try {
    open(await (await ask("example.png")).blob());
    say("");
  } catch (error) {
    say(error.message);
  }
}

async function compare() {
  const both = document.querySelectorAll(".slot");
  slots.forEach((slot, i) => {
    both[i].classList.toggle("full", slot !== null);
    both[i].replaceChildren(slot ? element("img", { src: slot.aligned, alt: `Face ${i + 1} of the comparison` }) : "Choose a face, then “Compare this face”");
  });
  const [number, mark] = [$("likeness").querySelector("b"), $("likeness").querySelector(".scale span")];
  mark.hidden = true;
  number.textContent = "–";
  if (slots.includes(null)) return;
  number.textContent = "…";
  const form = new FormData();
  ["first", "second"].forEach((name, i) => {
    form.append(name, slots[i].blob, name);
    form.append(`${name}_box`, JSON.stringify(slots[i].box));
  });
  try {
    const { similarity } = await (await ask("compare", { method: "POST", body: form })).json();
    say("");
    number.textContent = similarity.toFixed(2).replace("-", "−");
    mark.hidden = false;
    mark.style.left = `calc(${50 + 50 * similarity}% - 2px)`;
  } catch (error) {
    number.textContent = "–";
    say(error.message);
  }
}

// Ask what the program is doing until it is ready.
async function watch() {
  for (;;) {
    try {
      state = await (await ask("state")).json();
      if (state.problem) throw new Error(state.problem);
    } catch (error) {
      $("state").className = "broken";
      $("state").querySelector(".text").textContent = state && state.problem ? "Broken" : "No answer";
      say(error.message);
      throw error;
    }
    $("state").className = state.ready ? "ready" : "";
    $("state").querySelector(".text").textContent = state.ready ? "Ready" : `${state.doing} … ${state.seconds.toFixed(0)} s`;
    if (!$("points").options.length) begin();
    if (state.ready) return;
    await pause(1);
  }
}

function begin() {
  const mebibytes = Math.floor(state.limits.bytes / 2 ** 20);
  $("limits").textContent = `JPEG, PNG or WebP, at most ${mebibytes} MiB and ${Math.floor(state.limits.pixels / 1e6)} megapixels`;
  const names = Object.keys(WORDS).filter((name) => state.points.includes(name));
  $("points").replaceChildren(...names.map((name) => element("option", { value: name, textContent: WORDS[name] })));
  $("needed").hidden = !state.needed;
  $("needed").textContent = state.needed || "";
  $("slots").hidden = !state.encoder;
  $("encoder").textContent = state.encoder || "";
  $("address").textContent = new URL("predict", location.href).href;
  compare();
}

$("choose").addEventListener("click", () => $("file").click());
$("another").addEventListener("click", () => $("file").click());
$("example").addEventListener("click", example);
$("file").addEventListener("change", () => {
  open($("file").files[0]);
  $("file").value = "";
});
$("whole").addEventListener("click", () => choose(null));
$("boxes").addEventListener("change", draw);
$("points").addEventListener("change", () => picture && look());
$("view").addEventListener("click", (event) => {
  const face = event.target.closest("[data-face]");
  choose(face && chosen === null ? Number(face.dataset.face) : null);
});
$("compare-this").addEventListener("click", () => {
  const face = faces[chosen];
  slots[turn] = { blob: picture.blob, box: face.box, aligned: face.aligned };
  turn = 1 - turn;
  compare();
});
document.addEventListener("paste", (event) => open([...event.clipboardData.files][0]));
document.addEventListener("keydown", (event) => event.key === "Escape" && chosen !== null && choose(null));
for (const kind of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    if (kind === "drop") open([...event.dataTransfer.files].find((file) => file.type.startsWith("image/")) || event.dataTransfer.files[0]);
  });
}
new ResizeObserver(draw).observe($("view"));
ready = watch();
ready.catch(() => {}); // it was said
