// Refreshes the parts of a page marked data-live when the sandbox has changed.
"use strict";

const LOOK_EVERY_MS = 1500;
let known = null;

function inUse(region) {
  const holdsFocus = region.contains(document.activeElement);
  const holdsSelection = !document.getSelection().isCollapsed
    && region.contains(document.getSelection().anchorNode);
  return holdsFocus || holdsSelection || region.querySelector("details[open]") !== null;
}

async function refresh() {
  const answer = await fetch(window.location.href);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const region of document.querySelectorAll("[data-live]")) {
    const update = fresh.getElementById(region.id);
    if (update && update.innerHTML !== region.innerHTML && !inUse(region)) {
      region.replaceChildren(...update.childNodes);
    }
  }
}

async function look() {
  try {
    const answer = await fetch("/changes");
    const { changes } = await answer.json();
    if (known !== null && changes !== known) await refresh();
    known = changes;
  } catch {
    // The sandbox is stopped or restarting; the next look will tell.
    known = -1;
  }
}

if (document.querySelector("[data-live]")) {
  window.setInterval(() => {
    if (document.visibilityState === "visible") look();
  }, LOOK_EVERY_MS);
  look();
}
