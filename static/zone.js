// Tells the gateway in which time zone this browser is, so that pages show times in it.
"use strict";

(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = document.cookie.split("; ").includes(`hitl_zone=${zone}`);
  if (zone && !known) {
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `hitl_zone=${zone}; path=/; max-age=31536000; samesite=lax${secure}`;
  }
})();
