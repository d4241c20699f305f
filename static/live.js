// Makes the pages live: refreshes the parts marked data-live when the gateway says that something
// changed, and keeps what the person is doing through it. Every page works without this file.
"use strict";

(() => {
  const GATHER_MS = 150;
  const SIGNED_OUT =
    "Nothing was sent or refreshed: you are not logged in any more, or the page is too old. " +
    "What you typed is still here. Log in in another tab, come back, and press the button again.";

  const parts = () => Array.from(document.querySelectorAll("[data-live]"));

  // One stream of changes, only while somebody looks: browsers allow few connections a site.
  let stream = null;
  // The page is as old as its loading, so the first opening refreshes it too.
  let missed = true;
  let timer = 0;
  const changed = new Set();

  function refreshSoon(requestId) {
    changed.add(requestId);
    timer = timer || window.setTimeout(refresh, GATHER_MS);
  }

  function refresh() {
    timer = 0;
    for (const part of parts()) {
      // One part may be about several streams, such as a request and its run.
      const about = part.dataset.live.split(" ");
      if (changed.has("all") || about.some((one) => one === "all" || changed.has(one))) {
        window.htmx.trigger(part, "changed");
      }
    }
    changed.clear();
  }

  function listen() {
    if (stream || document.hidden || parts().length === 0 || !window.EventSource) {
      return;
    }
    stream = new EventSource(document.body.dataset.events);
    stream.addEventListener("open", () => {
      if (missed) {
        refreshSoon("all");
      }
      missed = false;
    });
    stream.addEventListener("error", () => {
      missed = true;
    });
    stream.addEventListener("changed", (event) => {
      refreshSoon(JSON.parse(event.data).request_id || "all");
    });
  }

  function stopListening() {
    if (stream) {
      stream.close();
      stream = null;
      missed = true;
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stopListening();
    } else {
      listen();
    }
  });
  window.addEventListener("pagehide", stopListening);
  window.addEventListener("pageshow", listen);

  // Half-written words, unfolded details and the place of the keyboard survive a refresh.
  let kept = [];
  let place = "";

  function placeOf(element) {
    if (element.id) {
      return `#${CSS.escape(element.id)}`;
    }
    if (element.matches("summary")) {
      return `#${CSS.escape(element.parentElement.id)} > summary`;
    }
    if (element.matches("a[href]")) {
      return `a[href="${CSS.escape(element.getAttribute("href"))}"]`;
    }
    // A button without a name of its own, where its form has no other: another one would do
    // something else.
    const form = element.closest("form[action]");
    const alone = form && form.querySelectorAll("button").length === 1;
    return alone ? `form[action="${CSS.escape(form.getAttribute("action"))}"] button` : "";
  }

  function keep(part) {
    kept = [];
    const held = document.activeElement;
    place = held && part.contains(held) ? placeOf(held) : "";
    for (const field of part.querySelectorAll("textarea[id], input[type=text][id]")) {
      // What came back with a refused form is the person's own too, though the page wrote it there.
      if (field.value) {
        kept.push({
          id: field.id,
          value: field.value,
          caret: field === document.activeElement && [field.selectionStart, field.selectionEnd],
        });
      }
    }
    for (const field of part.querySelectorAll("input[type=radio][id]:checked")) {
      if (field.value) {
        kept.push({ id: field.id, value: field.value, checked: true });
      }
    }
    for (const box of part.querySelectorAll("input[type=checkbox][id]")) {
      if (box.checked !== box.defaultChecked) {
        kept.push({ id: box.id, ticked: box.checked });
      }
    }
    for (const details of part.querySelectorAll("details[id]")) {
      kept.push({ id: details.id, open: details.open });
    }
    for (const region of part.querySelectorAll("[role=region][id]")) {
      if (region.scrollTop) {
        kept.push({ id: region.id, scrolled: region.scrollTop });
      }
    }
  }

  function restore() {
    const lost = [];
    for (const item of kept) {
      const element = document.getElementById(item.id);
      if (!element) {
        lost.push(item.value);
      } else if ("open" in item) {
        element.open = item.open;
      } else if (item.scrolled) {
        element.scrollTop = item.scrolled;
      } else if ("ticked" in item) {
        element.checked = item.ticked;
      } else if (item.checked) {
        element.checked = true;
      } else if (item.value !== element.value) {
        element.value = item.value;
      }
      if (element && item.caret) {
        element.setSelectionRange(...item.caret);
      }
    }
    const words = lost.filter(Boolean).map((text) => `“${text}”`);
    if (words.length > 0) {
      say(`The form is gone. What you had written: ${words.join(", ")}`, "notice-warn");
    }
    kept = [];
    // Last: what was chosen may show the field that was written in.
    const held = place && (document.querySelector(place) || document.querySelector("#notices .notice"));
    if (held && held !== document.activeElement) {
      held.focus({ preventScroll: true });
    }
    place = "";
  }

  function say(text, kind) {
    const notice = document.createElement("p");
    notice.className = `notice ${kind}`;
    notice.tabIndex = -1;
    notice.textContent = text;
    document.getElementById("notices").replaceChildren(notice);
  }

  let announced = "";

  function announce() {
    const text = parts().map((part) => part.dataset.announce).join(" ");
    if (text !== announced) {
      document.getElementById("announcer").textContent = text;
      announced = text;
    }
  }

  // A refresh that overlaps a write is thrown away: the write's own answer is the newer one, and it
  // would find the form it belongs to gone.
  let writing = 0;
  let written = 0;

  document.addEventListener("htmx:beforeSend", (event) => {
    const { xhr, requestConfig } = event.detail;
    if (requestConfig.verb !== "get") {
      writing += 1;
      written += 1;
    }
    xhr.asOf = written;
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.requestConfig.verb !== "get") {
      writing -= 1;
    }
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, requestConfig, target } = event.detail;
    // A login page or an error page is no part of this one.
    if (/^\s*<!doctype/i.test(xhr.responseText)) {
      event.detail.shouldSwap = false;
      say(SIGNED_OUT, "notice-refused");
    } else if (requestConfig.verb === "get") {
      if (writing || xhr.asOf !== written) {
        event.detail.shouldSwap = false;
      } else {
        keep(target);
      }
    }
  });

  document.addEventListener("htmx:afterSwap", restore);

  document.addEventListener("htmx:afterSettle", () => {
    announce();
    const notice = document.querySelector("#notices [data-focus]");
    if (notice) {
      notice.removeAttribute("data-focus");
      notice.focus();
      notice.scrollIntoView({ block: "nearest" });
    }
  });

  for (const failure of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(failure, (event) => {
      if (event.detail.requestConfig.verb !== "get") {
        say("The gateway did not answer. Reload the page to see whether this counted.", "notice-refused");
      }
    });
  }

  announced = parts().map((part) => part.dataset.announce).join(" ");
  listen();
})();
