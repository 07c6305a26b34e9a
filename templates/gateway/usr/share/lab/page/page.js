// The page of a lab: all its nodes with their state, and their desktops in tabs.
import { lab, openingToken, Refused } from "./lab.js";
import { Screen } from "./screen.js";

const POLL = 2500; // milliseconds
const PICTURES = 9; // so many desktops are shown live without being asked to

const $ = (id) => document.getElementById(id);
const tabs = new Map(); // node's name -> { screen, tab }
const cards = new Map(); // node's name -> { card, picture }
let token = "";
let known = null;
let open = null; // name of the desktop in front, null for the overview
let wall = null; // live pictures: true, false, or null while nobody has said

function message(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

function words(node) {
  return node.state === "ready" && !node.desktop ? "running" : node.state;
}

// ---------------------------------------------------------------- overview

function card(node) {
  const item = document.createElement("li");
  item.className = node.desktop ? "node" : "node plain";
  item.dataset.node = node.name;
  const button = document.createElement("button");
  button.type = "button";
  button.disabled = !node.desktop;
  const picture = document.createElement("span");
  picture.className = "picture";
  const caption = document.createElement("span");
  caption.className = "caption";
  const dot = document.createElement("i");
  dot.className = "dot";
  const name = document.createElement("b");
  name.textContent = node.name;
  const state = document.createElement("small");
  caption.append(dot, name, state);
  button.append(picture, caption);
  button.addEventListener("click", () => front(node.name));
  item.append(button);
  return { card: item, button, picture, state, live: null };
}

function pictures() {
  const shown = open === null && !document.hidden && known && known.nodes.length > 0;
  const few = known ? known.nodes.filter((node) => node.desktop).length <= PICTURES : false;
  const wanted = shown && (wall ?? few);
  $("wall").setAttribute("aria-pressed", String(wall ?? few));
  for (const node of known?.nodes ?? []) {
    const place = cards.get(node.name);
    if (!node.desktop) continue;
    if (wanted && node.state === "ready" && !place.live) {
      place.live = new Screen(node, { live: false });
      place.picture.append(place.live.element);
      place.live.connect();
    } else if (place.live && (!wanted || node.state !== "ready")) {
      place.live.close();
      place.live = null;
    }
  }
}

function draw() {
  $("lab").textContent = known.lab;
  document.body.dataset.viewOnly = String(known.view_only);
  $("badge").hidden = !known.view_only;
  const names = new Set(known.nodes.map((node) => node.name));
  for (const [name, place] of cards) {
    if (!names.has(name)) {
      place.live?.close();
      place.card.remove();
      cards.delete(name);
      close(name);
    }
  }
  for (const node of known.nodes) {
    if (!cards.has(node.name)) {
      cards.set(node.name, card(node));
      $(node.desktop ? "desktops" : "others").append(cards.get(node.name).card);
    }
    const place = cards.get(node.name);
    place.card.dataset.state = node.state;
    place.state.textContent = words(node);
    const tab = tabs.get(node.name);
    if (tab) {
      tab.tab.dataset.state = node.state;
      tab.screen.node = node; // a password may be new
      if (node.state === "ready" && !tab.screen.rfb && !tab.screen.refused) tab.screen.connect();
    }
  }
  $("desktops").style.setProperty("--count", $("desktops").childElementCount);
  pictures();
}

// ---------------------------------------------------------------- tabs

function tabOf(node) {
  const tab = document.createElement("span");
  tab.className = "tab";
  tab.dataset.node = node.name;
  tab.dataset.state = node.state;
  const name = document.createElement("button");
  name.type = "button";
  name.setAttribute("role", "tab");
  const dot = document.createElement("i");
  dot.className = "dot";
  name.append(dot, node.name);
  name.addEventListener("click", () => front(node.name));
  const shut = document.createElement("button");
  shut.type = "button";
  shut.className = "close";
  shut.textContent = "×";
  shut.title = `Close ${node.name}`;
  shut.setAttribute("aria-label", shut.title);
  shut.addEventListener("click", () => close(node.name));
  tab.append(name);
  if (!known.one) tab.append(shut);
  return tab;
}

function front(name) {
  const node = known.nodes.find((each) => each.name === name && each.desktop);
  if (name !== null && !node) return;
  if (node && !tabs.has(name)) {
    const screen = new Screen(node, { viewOnly: known.view_only, fit: fitting() });
    screen.addEventListener("clipboard", (event) => copied(name, event.detail));
    screen.addEventListener("lost", () => setTimeout(refresh, 200));
    const tab = tabOf(node);
    tabs.set(name, { screen, tab });
    $("tabs").append(tab);
    $("stage").append(screen.element);
    screen.connect();
  }
  open = name;
  for (const [each, { screen, tab }] of tabs) {
    screen.element.dataset.open = tab.dataset.open = String(each === name);
    tab.firstChild.setAttribute("aria-selected", String(each === name));
  }
  $("overview").hidden = name !== null;
  $("stage").hidden = name === null;
  $("full").hidden = name === null;
  $("fit").hidden = $("clipboard").hidden = name === null || known.view_only;
  $("wall").hidden = name !== null;
  document.title = name === null ? known.lab : `${name} · ${known.lab}`;
  document.body.dataset.view = name ?? "overview";
  pictures();
  tabs.get(name)?.screen.focus();
}

function close(name) {
  const gone = tabs.get(name);
  if (!gone) return;
  gone.screen.close();
  gone.tab.remove();
  tabs.delete(name);
  if (open === name) front([...tabs.keys()].pop() ?? null);
}

// ---------------------------------------------------------------- clipboard

async function copied(name, text) {
  if (name !== open) return;
  $("text").value = text;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not allowed, or the window is not in front: the dialog still has it.
  }
}

async function offer() {
  const screen = tabs.get(open)?.screen;
  if (!screen || known.view_only || !document.hasFocus()) return;
  try {
    screen.send(await navigator.clipboard.readText());
  } catch {
    // Not allowed: the dialog is there.
  }
}

window.addEventListener("focus", offer);
$("stage").addEventListener("pointerenter", offer);
window.addEventListener("paste", (event) => tabs.get(open)?.screen.send(event.clipboardData?.getData("text")), true);
$("text").addEventListener("input", () => tabs.get(open)?.screen.send($("text").value));
$("clipboard").addEventListener("click", () => {
  $("text").value = tabs.get(open)?.screen.clipboard ?? "";
  $("paste").showModal();
});
$("paste").addEventListener("close", () => tabs.get(open)?.screen.focus());

// ---------------------------------------------------------------- tools

function fitting() {
  return localStorage.getItem("fit") !== "no";
}

$("home").addEventListener("click", () => known && !known.one && front(null));
$("wall").addEventListener("click", () => {
  wall = $("wall").getAttribute("aria-pressed") !== "true";
  pictures();
});
$("full").addEventListener("click", () =>
  document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen(),
);
$("fit").setAttribute("aria-pressed", String(fitting()));
$("fit").addEventListener("click", () => {
  const fit = !fitting();
  localStorage.setItem("fit", fit ? "yes" : "no");
  $("fit").setAttribute("aria-pressed", String(fit));
  for (const { screen } of tabs.values()) screen.setFit(fit);
});
document.addEventListener("visibilitychange", pictures);
window.addEventListener("hashchange", () => location.reload());

// ---------------------------------------------------------------- life

let asking = null;

function refresh() {
  asking ??= read().finally(() => {
    asking = null;
  });
  return asking;
}

async function read() {
  try {
    known = await lab(token);
    message("");
    draw();
  } catch (error) {
    if (error instanceof Refused) {
      document.body.dataset.view = "refused";
      message("This link opens no desktop. “labctl url” prints the right one.");
      for (const name of [...tabs.keys()]) close(name);
    } else if (!tabs.size) {
      message("The lab's gateway does not answer. Is the lab up? Trying again …");
    }
  }
}

async function begin() {
  try {
    token = await openingToken();
  } catch {
    document.body.dataset.view = "refused";
    message("This link was used already, or is too old. “labctl vnc” opens a new one.");
    return;
  }
  if (!token) {
    document.body.dataset.view = "refused";
    message("The link is not complete. “labctl url” prints the whole of it.");
    return;
  }
  await refresh();
  if (known) front(known.one ? (known.nodes[0]?.name ?? null) : null);
  setInterval(() => {
    if (!document.hidden) refresh();
  }, POLL);
}

begin();
