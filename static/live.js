// Makes the pages live: refreshes the parts marked data-live when the gateway says that something
// changed, and keeps what the person is doing through it. Every page works without this file.
"use strict";

(() => {
  const GATHER_MS = 150;
  const LISTEN_AGAIN_MS = 10_000;
  // For so long at most a hand holds a refresh up: browsers do not tell of every end of a press, a
  // phone's keyboard puts a word together until the next one begins, and a marked text stays marked.
  const HAND_MS = 5_000;
  const MARKED_MS = 10_000;
  const SIGNED_OUT =
    "Nothing was sent or refreshed: you are not logged in any more, or the page is too old. " +
    "What you typed is still here. Log in in another tab, come back, and press the button again.";
  const UNANSWERED =
    "The gateway did not answer. Open this page in another tab to see whether it counted; " +
    "what you typed is still here.";
  const UNFILTERED = "The gateway did not answer. What is shown is from before; try again.";

  const parts = () => Array.from(document.querySelectorAll("[data-live]"));

  // One stream of changes, only while somebody looks or is to be notified: browsers allow few
  // connections a site.
  const asleep = () => document.hidden && !("notify" in document.body.dataset);
  let stream = null;
  // The page is as old as its loading, so the first opening refreshes it too.
  let missed = true;
  let timer = 0;
  const changed = new Set();

  // Many pages that are open at once ask in turns: each after a time of its own.
  function refreshSoon(requestId, withinMs = 0) {
    changed.add(requestId);
    timer = timer || window.setTimeout(refresh, GATHER_MS + Math.random() * withinMs);
  }

  function refresh() {
    timer = 0;
    const stale = parts().filter((part) => {
      // One part may be about several streams, such as a request and its run.
      const about = part.dataset.live.split(" ");
      return changed.has("all") || about.some((one) => one === "all" || changed.has(one));
    });
    // A part that is on its way would take no second question along when it is replaced.
    if (stale.some((part) => part.classList.contains("htmx-request") || underHand(part))) {
      timer = window.setTimeout(refresh, GATHER_MS);
      return;
    }
    for (const part of stale) {
      window.htmx.trigger(part, "changed");
    }
    changed.clear();
  }

  // What a hand is at is not taken away under it: a button that is pressed and not let go of yet,
  // a word that is put together from several keys, a text that is marked to be copied.
  let pressedAt = 0;
  let composedAt = 0;
  let markedAt = 0;

  function underHand(part) {
    const marked = document.getSelection();
    return (
      Date.now() - Math.max(pressedAt, composedAt) < HAND_MS ||
      (!marked.isCollapsed && part.contains(marked.anchorNode) && Date.now() - markedAt < MARKED_MS)
    );
  }

  document.addEventListener("pointerdown", (event) => {
    pressedAt = event.button === 0 ? Date.now() : 0;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, () => {
      pressedAt = 0;
    });
  }
  for (const begun of ["compositionstart", "compositionupdate"]) {
    document.addEventListener(begun, () => {
      composedAt = Date.now();
    });
  }
  document.addEventListener("compositionend", () => {
    composedAt = 0;
  });
  document.addEventListener("selectionchange", () => {
    markedAt = Date.now();
  });

  function listen() {
    if (stream || asleep() || parts().length === 0 || !window.EventSource) {
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
      // After an answer that is no stream, such as an error of a proxy, it never tries by itself.
      if (stream?.readyState === EventSource.CLOSED) {
        stream = null;
        window.setTimeout(listen, LISTEN_AGAIN_MS);
      }
    });
    stream.addEventListener("changed", (event) => {
      const news = JSON.parse(event.data);
      refreshSoon(news.request_id || "all", news.within_ms);
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
    if (asleep()) {
      stopListening();
    } else {
      listen();
    }
  });
  window.addEventListener("pagehide", stopListening);
  window.addEventListener("pageshow", listen);

  // Half-written words, unfolded details and the place of the keyboard survive a refresh.
  let kept = [];
  let place = null;

  function selectorOf(element) {
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

  // The same link may stand in the header, in several sections, and more than once in each.
  function placeOf(element, part) {
    const selector = selectorOf(element);
    const section = element.closest("section[aria-labelledby]");
    const alike = selector ? Array.from((section || part).querySelectorAll(selector)) : [];
    const label = section ? section.getAttribute("aria-labelledby") : "";
    return { part: part.id, selector, label, index: alike.indexOf(element) };
  }

  function find({ part, selector, label, index }) {
    const whole = document.getElementById(part);
    if (!whole || !selector) {
      return null;
    }
    const section = label && whole.querySelector(`section[aria-labelledby="${CSS.escape(label)}"]`);
    const alike = (section || whole).querySelectorAll(selector);
    return alike[Math.min(index, alike.length - 1)] || whole.querySelector(selector);
  }

  // The form that is being sent, if one is, comes back with what was written into it.
  function keep(part, sent) {
    kept = [];
    const held = document.activeElement;
    place = held && part.contains(held) ? placeOf(held, part) : null;
    const others = (selector) =>
      Array.from(part.querySelectorAll(selector)).filter((field) => !sent || field.form !== sent);
    for (const field of others("textarea[id], input[type=text][id]")) {
      // What came back with a refused form is the person's own too, though the page wrote it there.
      if (field.value) {
        kept.push({
          id: field.id,
          value: field.value,
          caret: field === held && [field.selectionStart, field.selectionEnd],
        });
      }
    }
    for (const field of others("input[type=radio][id]:checked")) {
      if (field.value) {
        kept.push({ id: field.id, value: field.value, checked: true });
      }
    }
    for (const box of others("input[type=checkbox][id]")) {
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

  function restore(event) {
    const lost = [];
    let caret = null;
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
        caret = item;
        element.setSelectionRange(...item.caret);
      }
    }
    kept = [];
    // Last: what was chosen may show the field that was written in.
    const held = place && find(place);
    held?.focus({ preventScroll: true });
    const slipped = place !== null && (!held || document.activeElement !== held);
    if (slipped && held && caret) {
      // A field that nobody sees any more is as good as gone.
      lost.push(caret.value);
    }
    const words = lost.filter(Boolean).map((text) => `“${text}”`);
    // What a person sent has its own answer, which must not be painted over.
    if (words.length > 0 && event.detail.requestConfig.verb === "get") {
      say(`The form is gone. What you had written: ${words.join(", ")}`, "notice-warn");
    }
    if (slipped) {
      const notice = document.querySelector("#notices .notice");
      (notice || document.getElementById("content")).focus({ preventScroll: true });
    }
    place = null;
  }

  function say(text, kind) {
    const notice = document.createElement("p");
    notice.className = `notice ${kind}`;
    notice.tabIndex = -1;
    notice.textContent = text;
    document.getElementById("notices").replaceChildren(notice);
    return notice;
  }

  // Where whoever pressed a button looks and listens; whoever did nothing is not interrupted.
  function tell(text, pressed) {
    const said = document.querySelector("#notices .notice");
    if (pressed) {
      lookAt(say(text, "notice-refused"));
    } else if (said?.textContent !== text) {
      say(text, "notice-refused");
    }
  }

  function lookAt(notice) {
    notice.focus();
    notice.scrollIntoView({ block: "nearest" });
  }

  let announced = "";

  function announce() {
    const text = parts().map((part) => part.dataset.announce).join(" ");
    if (text !== announced) {
      document.getElementById("announcer").textContent = text;
      announced = text;
    }
  }

  // What a person asked for goes before what the page asks by itself: a refresh that overlaps it is
  // thrown away, and asked for again afterwards. The refresh shows what was before, and would take
  // away the form or the part that the answer belongs to.
  // Of those, what decides something goes before what only looks.
  let asking = 0;
  let asked = 0;
  let writing = 0;
  let discarded = false;
  let filter = null;

  const isRefresh = (config) => config.elt.matches("[data-live]");

  document.addEventListener("htmx:beforeSend", (event) => {
    const { xhr, requestConfig } = event.detail;
    if (!isRefresh(requestConfig)) {
      const writes = requestConfig.verb !== "get" ? 1 : 0;
      asking += 1;
      asked += 1;
      writing += writes;
      // By the request itself: htmx has nobody to tell of it once the form has left the page.
      xhr.addEventListener("loadend", () => {
        asking -= 1;
        writing -= writes;
        if (!xhr.arrived && xhr.status && !writes) {
          filter = requestConfig.elt.closest("form");
        }
        if (discarded || !xhr.arrived) {
          discarded = false;
          refreshSoon("all");
        }
        if (filter && writing === 0) {
          filter.requestSubmit();
          filter = null;
        }
      });
    }
    xhr.asOf = asked;
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, requestConfig, target } = event.detail;
    const refreshes = isRefresh(requestConfig);
    const looks = requestConfig.verb === "get";
    if (looks && !refreshes && writing) {
      event.detail.shouldSwap = false;
      return;
    }
    xhr.arrived = true;
    // A login page or an error page is no part of this one.
    if (/^\s*<!doctype/i.test(xhr.responseText)) {
      event.detail.shouldSwap = false;
      if (xhr.status < 400 || xhr.status === 403) {
        tell(SIGNED_OUT, !looks);
      }
    } else if (refreshes && (asking || xhr.asOf !== asked)) {
      event.detail.shouldSwap = false;
      discarded = true;
      if (!asking) {
        refreshSoon("all");
      }
    } else if (refreshes && underHand(target)) {
      event.detail.shouldSwap = false;
      refreshSoon("all");
    } else if (event.detail.shouldSwap) {
      const said = document.querySelector("#notices .notice");
      if (said?.textContent === SIGNED_OUT) {
        said.remove();
      }
      keep(target, looks ? null : requestConfig.elt);
    }
  });

  document.addEventListener("htmx:afterSwap", restore);

  // What came of pressing a button.
  function lookAtAnswer() {
    const notice = document.querySelector("#notices [data-focus]");
    if (notice) {
      notice.removeAttribute("data-focus");
      lookAt(notice);
    }
  }

  document.addEventListener("htmx:afterSettle", () => {
    announce();
    lookAtAnswer();
  });

  for (const failure of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(failure, (event) => {
      const { requestConfig } = event.detail;
      if (requestConfig.verb !== "get") {
        tell(UNANSWERED, true);
      } else if (!isRefresh(requestConfig)) {
        tell(UNFILTERED, false);
      }
    });
  }

  announced = parts().map((part) => part.dataset.announce).join(" ");
  // A form that was sent before htmx had seen it is answered by a whole page.
  lookAtAnswer();
  listen();
})();
