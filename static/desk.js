// What makes the desk quick: keys, choosing several rows, countdowns, and a count in the tab.
// Every page works without this file.
"use strict";

(() => {
  const SOON_SECONDS = 15 * 60;

  // Keys. None decides anything by itself: they lead to a button that has to be pressed.

  const SENTENCE_MS = 2_000;

  let goingTo = 0;
  let typedAt = 0;

  function isTyping(target) {
    return target.closest("input:not([type=checkbox], [type=radio]), textarea, select") !== null;
  }

  const rows = () => Array.from(document.querySelectorAll("main .row-link"));

  // Each of these says whether there was anything to do it to.

  function move(step) {
    const all = rows();
    const place = all.indexOf(document.activeElement.closest(".row")?.querySelector(".row-link"));
    const next = all[place < 0 ? (step > 0 ? 0 : all.length - 1) : place + step];
    next?.focus();
    next?.closest(".row").scrollIntoView({ block: "nearest" });
    return all.length > 0;
  }

  function pick() {
    const box = document.activeElement.closest(".row")?.querySelector("input[name=request]");
    box?.click();
    return Boolean(box);
  }

  const chosen = () => document.querySelectorAll("#batch input[name=request]:checked").length;

  // To the button of a verdict: of what is chosen, of this page's request, or of the row's page.
  function goToVerdict(verdict) {
    const batch = document.querySelector(`.batch-bar button[value=${verdict}]`);
    const own = document.querySelector(`.verdict-${verdict}`);
    // What is decided already, and a run, has no such button on its page.
    const row = document.activeElement.closest("#batch .row");
    if (batch && chosen() > 0) {
      batch.focus();
    } else if (own) {
      const fields = "input:not([type=hidden]):enabled, textarea:enabled, button:enabled";
      (own.querySelector(fields) || own).focus();
      own.scrollIntoView({ block: "center" });
    } else if (row) {
      location.assign(`${row.querySelector(".row-link").href}#${verdict}`);
    } else {
      return false;
    }
    return true;
  }

  function press(key) {
    const place = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (place && place.matches("a, button")) {
      place.click();
    } else if (place) {
      place.focus();
      place.select?.();
    }
    return place !== null;
  }

  const GOES = { q: "queue", h: "history", i: "insights" };
  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    x: pick,
    a: () => goToVerdict("approve"),
    r: () => goToVerdict("reject"),
    n: () => press("n"),
    "/": () => press("/"),
    "?": () => {
      document.getElementById("keys").showModal();
      return true;
    },
    g: () => {
      goingTo = Date.now() + 1500;
      return true;
    },
  };

  document.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.isComposing;
    // Enter on a row's box opens the row, as everywhere else in it; it must press no button.
    if (event.key === "Enter" && event.target.matches?.("#batch input[name=request]")) {
      event.preventDefault();
      if (plain) {
        event.target.closest(".row").querySelector(".row-link").click();
      }
      return;
    }
    if (!("keys" in document.body.dataset) || document.querySelector("dialog[open]")) {
      return;
    }
    if (isTyping(event.target)) {
      // These two leave the field on purpose.
      typedAt = ["Tab", "Escape"].includes(event.key) ? 0 : Date.now();
      return;
    }
    if (!plain) {
      return;
    }
    // The field may be taken away in the middle of a sentence, by somebody else's decision. What is
    // typed on must move, choose and press nothing.
    if (event.key.length === 1 && Date.now() - typedAt < SENTENCE_MS) {
      typedAt = Date.now();
      event.preventDefault();
      return;
    }
    const key = event.key.toLowerCase();
    const going = Date.now() < goingTo ? document.querySelector(`[data-go="${GOES[key]}"]`) : null;
    goingTo = 0;
    if (going) {
      event.preventDefault();
      going.click();
    } else if (Object.hasOwn(KEYS, key) && KEYS[key]()) {
      event.preventDefault();
    }
  });

  // So does a click elsewhere.
  document.addEventListener("pointerdown", () => {
    typedAt = 0;
  });

  // Several rows: a click with the shift key chooses everything since the last one.

  let lastBox = "";
  // A click beside the box, on its label, is told to the box without the key that was held.
  let heldShift = false;

  document.addEventListener("click", (event) => {
    const label = event.target.closest?.("#batch .row-pick");
    const box = event.target.closest?.("#batch input[name=request]");
    if (label && !box) {
      event.preventDefault();
      heldShift = event.shiftKey;
      label.querySelector("input")?.click();
      heldShift = false;
      return;
    }
    if (!box) {
      return;
    }
    const boxes = Array.from(document.querySelectorAll("#batch input[name=request]"));
    const from = boxes.findIndex((one) => one.id === lastBox);
    if ((event.shiftKey || heldShift) && from >= 0) {
      const [first, last] = [from, boxes.indexOf(box)].sort((one, other) => one - other);
      for (const one of boxes.slice(first, last + 1)) {
        one.checked = box.checked;
      }
    }
    lastBox = box.id;
    countChosen();
  });

  function countChosen() {
    const output = document.getElementById("batch-count");
    if (output) {
      output.textContent = String(chosen());
    }
  }

  // Moments grow older, and deadlines come nearer, by the gateway's clock.

  function span(seconds) {
    const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const first = units.findIndex(([size]) => seconds >= size);
    const words = [];
    let rest = seconds;
    for (const [size, unit] of units.slice(first, first < 2 ? first + 2 : first + 1)) {
      const count = Math.floor(rest / size);
      rest -= count * size;
      if (count) {
        words.push(`${count} ${unit}`);
      }
    }
    return words.join(" ");
  }

  // How far this machine's clock is from the gateway's, in milliseconds, by the newest part.
  let ahead = 0;
  let known = "";

  function setClock() {
    const told = Array.from(document.querySelectorAll("[data-now]"), (part) => part.dataset.now);
    const now = told.sort().at(-1) || known;
    if (now !== known) {
      known = now;
      ahead = Date.now() - Date.parse(now);
    }
  }

  function tick() {
    const now = Date.now() - ahead;
    for (const time of document.querySelectorAll("time[datetime]")) {
      const words = time.querySelector(".moment-words");
      const seconds = Math.round((Date.parse(time.dateTime) - now) / 1000);
      if (words && !Number.isNaN(seconds)) {
        const told = seconds > 0 ? `in ${span(seconds)}` : seconds < 0 ? `${span(-seconds)} ago` : "now";
        if (words.textContent !== told) {
          words.textContent = told;
        }
        if ("until" in time.dataset) {
          time.classList.toggle("until-soon", seconds < SOON_SECONDS);
        }
      }
    }
  }

  // The tab tells how many requests wait for this person, and, if they like, so does the desktop.

  let waited = null;

  function badge(count) {
    const shown = count > 99 ? "99+" : String(count);
    const drawing =
      '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">' +
      '<rect width="24" height="24" rx="5" fill="#0e5c56"/>' +
      '<text x="12" y="17.5" font-family="sans-serif" font-weight="700" fill="#fff"' +
      ` font-size="${shown.length > 2 ? 10 : 15}" text-anchor="middle">${shown}</text></svg>`;
    return `data:image/svg+xml,${encodeURIComponent(drawing)}`;
  }

  const icon = document.querySelector("link[rel=icon]");
  const plainIcon = icon?.href;

  function tell() {
    const part = document.querySelector("[data-waiting]");
    if (!part) {
      return;
    }
    const count = Number(part.dataset.waiting);
    document.title = document.title.replace(/^(\(\d+\) )?/, count ? `(${count}) ` : "");
    if (icon) {
      icon.href = count ? badge(count) : plainIcon;
    }
    const more = waited !== null && count > waited;
    waited = count;
    if (more) {
      notify(count);
    }
  }

  function notify(count) {
    const wanted = "notify" in document.body.dataset && document.hidden;
    if (wanted && window.Notification?.permission === "granted") {
      const words = count === 1 ? "One request waits" : `${count} requests wait`;
      try {
        new Notification(`${words} for your decision`, { tag: "approval-gateway", icon: plainIcon });
      } catch (error) {
        // Chrome on Android has the name, and throws.
        if (!(error instanceof TypeError)) {
          throw error;
        }
      }
    }
  }

  // Whoever wants to be notified is asked by the browser once, when they choose it.
  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.closest("[data-asks-to-notify]") && box.checked) {
      const asked = window.Notification?.requestPermission() ?? Promise.resolve("denied");
      asked.then((answer) => {
        if (answer !== "granted") {
          box.checked = false;
          refuse("This browser does not allow notifications from here. Its settings for this site may.");
        }
      });
    }
  });

  function refuse(sentence) {
    const notice = document.createElement("p");
    notice.className = "notice notice-warn";
    notice.textContent = sentence;
    document.getElementById("notices").replaceChildren(notice);
  }

  function look() {
    setClock();
    tick();
    tell();
    countChosen();
  }

  document.addEventListener("htmx:afterSettle", look);
  window.setInterval(tick, 1000);
  look();
  if (location.hash === "#approve" || location.hash === "#reject") {
    goToVerdict(location.hash.slice(1));
  }
})();
