// The raters' pages: times an answer, takes keys, preloads the next images, and keeps an answer until the server has it.
"use strict";
const main = document.getElementById("main");
const preloaded = new Map();
let shownAt = 0, hiddenAt = 0, hiddenFor = 0, sending = false;

// Time with the page visible, from when all images are drawn.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = performance.now();
  else { hiddenFor += performance.now() - hiddenAt; hiddenAt = 0; }
});
const seconds = () => shownAt ? Math.max(0, (performance.now() - shownAt - hiddenFor) / 1000) : 0;

function useShortcuts() { return localStorage.getItem("shortcuts") !== "off"; }

function setRating(slider, value) {
  const form = document.getElementById("answer");
  slider.value = value;
  if (!slider.name) {
    slider.name = slider.dataset.name;  // without a name it is not sent: no rating yet
    form.elements.slider_start.value = slider.value;
  }
  const words = String(Number(slider.value));
  document.getElementById("value").textContent = words;
  slider.setAttribute("aria-valuetext", words);
  slider.closest(".scale").classList.remove("unset");
  form.elements.save.disabled = false;
}

function bindSlider(slider) {
  slider.addEventListener("input", () => setRating(slider, slider.value));
  // A click on the middle changes no value, so the browser sends no input event.
  slider.addEventListener("pointerup", () => setRating(slider, slider.value));
}

function chosen() { return main.querySelector("input[name=choice]:checked"); }

function bindItem() {
  const form = document.getElementById("answer");
  if (!form) { main.querySelector("[autofocus]")?.focus(); return; }
  shownAt = 0;
  hiddenAt = document.hidden ? performance.now() : 0;
  const images = [...main.querySelectorAll("img.judged")];
  images.forEach(fit);
  Promise.all(images.map((image) => image.decode())).then(
    () => { shownAt = performance.now(); hiddenFor = 0; if (document.hidden) hiddenAt = shownAt; preload(); },
    () => {
      main.querySelector(".broken").hidden = false;
      const skip = form.elements.skip;
      skip.hidden = false;
      skip.value = "broken";
    });
  const slider = document.getElementById("rating");
  if (slider) bindSlider(slider);
  form.addEventListener("change", () => { if (chosen()) form.elements.save.disabled = false; });
  const box = document.getElementById("shortcuts");
  box.checked = useShortcuts();
  box.addEventListener("change", () => localStorage.setItem("shortcuts", box.checked ? "on" : "off"));
  (slider || main).focus({ preventScroll: true });
}

// The image's size on the page, in CSS pixels; the style sheet keeps it within the screen.
function fit(image) {
  const width = Number(image.getAttribute("width")), height = Number(image.getAttribute("height"));
  image.style.setProperty("--width", `${Math.round(Number(image.dataset.size) * width / Math.max(width, height))}px`);
  image.style.setProperty("--ratio", width / height);
}

function preload() {
  const names = document.getElementById("preload").dataset.images.split(" ").filter(Boolean);
  for (const name of [...preloaded.keys()]) if (!names.includes(name)) preloaded.delete(name);
  for (const name of names) {
    if (preloaded.has(name)) continue;
    const image = new Image();
    image.src = `/picture/${name}`;
    image.decode().catch(() => {});
    preloaded.set(name, image);
  }
}

function measure(form) {
  const image = main.querySelector("img.judged:not(.original img)").getBoundingClientRect();
  form.elements.seconds.value = seconds().toFixed(3);
  form.elements.display_width.value = image.width.toFixed(1);
  form.elements.display_height.value = image.height.toFixed(1);
  form.elements.pixel_ratio.value = window.devicePixelRatio.toFixed(3);
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Sends until the server responds: an answer sent twice is stored once. The page says while it is not saved.
async function send(form, submitter) {
  if (sending) return;
  sending = true;
  if (form.id === "answer") measure(form);
  const body = new URLSearchParams(new FormData(form, submitter));
  const note = document.getElementById("unsaved");
  const slow = setTimeout(() => main.classList.add("busy"), 300);
  for (let pause = 500; ; pause = Math.min(2 * pause, 8000)) {
    try {
      const response = await fetch(form.action, { method: "POST", body, headers: { "x-study": "page" } });
      if (response.status < 500 && response.status !== 429) {
        show(await response.text(), response.ok);
        break;
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;  // TypeError: no connection
    }
    note.textContent = note.dataset.text;
    note.hidden = false;
    await wait(pause);
  }
  clearTimeout(slow);
  main.classList.remove("busy");
  note.hidden = true;
  sending = false;
}

function show(text, ok) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const next = page.getElementById("main");
  if (!next) { main.textContent = text; return; }
  document.title = page.title;
  main.className = next.className;
  main.replaceChildren(...next.childNodes);
  window.scrollTo(0, 0);
  if (ok) bindItem(); else main.focus();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.id !== "answer" && !form.classList.contains("step")) return;
  event.preventDefault();
  send(form, event.submitter);
});

document.addEventListener("keydown", (event) => {
  const form = document.getElementById("answer");
  if (!form || event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key.toLowerCase(), slider = document.getElementById("rating");
  const onControl = event.target.closest("button, summary, a, #shortcuts");
  if (key === "enter" && !onControl) {
    event.preventDefault(); // the browser itself would press the form's first button that can be pressed: Skip
    if (!event.repeat && !form.elements.save.disabled) form.requestSubmit(form.elements.save);
    return;
  }
  if (event.repeat || !useShortcuts()) return;
  if (/^[0-9]$/.test(key)) {
    event.preventDefault();
    if (slider) { setRating(slider, key); slider.focus({ preventScroll: true }); }
    else pick(key === "0" ? form.querySelector("input[value=tie]") : form.querySelectorAll(".version input")[key - 1]);
  } else if (key === "n" && !slider) pick(form.querySelector("input[value=none]"));
  else if (key === "end" && slider) { event.preventDefault(); setRating(slider, 10); }
  else if (key === "home" && slider) { event.preventDefault(); setRating(slider, 0); }
  else if (key === "s" && !form.elements.skip.hidden) form.requestSubmit(form.elements.skip);
  else if (key === "b") { const back = main.querySelector("button[form=back]"); if (!back.disabled) back.click(); }
});

function pick(radio) {
  if (!radio) return;
  radio.checked = true;
  radio.focus({ preventScroll: true });
  document.getElementById("answer").elements.save.disabled = false;
}

bindItem();

// The admin page's figures, live.
const live = document.getElementById("live");
if (live) setInterval(async () => {
  if (document.hidden || main.contains(document.activeElement) && document.activeElement !== main) return;
  const response = await fetch("/admin").catch(() => null);
  if (response?.ok) main.replaceChildren(...new DOMParser().parseFromString(await response.text(), "text/html").getElementById("main").childNodes);
}, 1000 * live.dataset.refresh);
