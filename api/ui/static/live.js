// Keeps a page live by one stream. What it shows comes from the server; this file only connects, and says how that goes.
// At most four visible pages of a browser have a stream, because a browser opens six connections to a host; more poll.
(() => {
  const STREAMS = 4, POLL = 5000, FIRST = 500, LONGEST = 30000;
  const place = document.getElementById("live");
  const state = document.getElementById("link-state");
  if (!place || !window.htmx) return;
  const baseTitle = document.title;
  let delay = FIRST, over = false, retry = null, polling = null, release = null;

  function say(kind, text) {
    state.className = `badge ${kind}`;
    if (state.textContent !== text) state.textContent = text;
  }

  function lost() {
    if (state.dataset.since || over) return;
    state.dataset.since = String(Date.now() / 1000);
    const since = new Date().toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    say("warn", `Connection lost since ${since}`);
  }

  function found(text = "Live") {
    delete state.dataset.since;
    delay = FIRST;
    say("ok", text);
  }

  function loggedOut() {
    over = true;
    stop();
    say("bad", "Logged out");
    const notice = document.getElementById("notice");
    notice.className = "fault";
    notice.setAttribute("role", "alert");
    const words = document.createElement("div"), link = document.createElement("a"), close = document.createElement("button");
    link.href = "/login";
    link.target = "_blank";
    link.textContent = "Log in in another tab";
    words.append("You are logged out. What you typed is still here. ", link, ", then go on.");
    close.type = "button";
    close.className = "bare";
    close.dataset.close = "";
    close.textContent = "Close";
    notice.replaceChildren(words, close);
  }

  function url() {
    const path = place.dataset.stream;
    return `${path}${path.includes("?") ? "&" : "?"}seen=${encodeURIComponent(place.dataset.token)}`;
  }

  function stop() {
    clearTimeout(retry);
    clearInterval(polling);
    polling = null;
    if (place.hasAttribute("hx-sse:connect")) {
      place.removeAttribute("hx-sse:connect");
      place._htmx?.sse?.reader?.cancel();
      place._htmx?.sse?.abortController?.abort();
      delete place._htmx?.sse;
    }
  }

  function connect() {
    stop();
    place.setAttribute("hx-sse:connect", url());
    htmx.process(place);
  }

  function again() {
    if (over) return;
    lost();
    clearTimeout(retry);
    retry = setTimeout(connect, delay * (0.7 + Math.random() * 0.6));
    delay = Math.min(LONGEST, delay * 2);
  }

  async function poll() {
    try {
      const path = url();
      const answer = await fetch(`${path}&once=1`, { headers: { "HX-Request": "true" } });
      if (answer.status === 401) return loggedOut();
      if (answer.status === 404) return location.reload();
      if (!answer.ok) return lost();
      const text = await answer.text();
      const seen = answer.headers.get("x-seen");
      if (text) await htmx.swap({ sourceElement: place, target: place, swap: "none", text, response: { raw: answer } });
      if (seen) place.dataset.token = seen;
      found("Live, every 5 s");
      shown();
    } catch {
      lost();
    }
  }

  function begin(streams) {
    if (streams) return connect();
    poll();
    polling = setInterval(() => document.hidden || poll(), POLL);
  }

  // A lock is free again when its tab closes or dies, whatever happens to it.
  async function permit() {
    if (!navigator.locks) return begin(true);
    for (let number = 1; number <= STREAMS; number += 1) {
      const granted = await new Promise((resolve) => {
        navigator.locks.request(`hive-stream-${number}`, { ifAvailable: true }, (lock) => {
          resolve(Boolean(lock));
          return lock ? new Promise((free) => { release = free; }) : undefined;
        });
      });
      if (granted) return begin(true);
    }
    return begin(false);
  }

  function shown() {
    const due = Number(document.getElementById("nav")?.dataset.due || 0);
    document.title = due ? `(${due}) ${baseTitle}` : baseTitle;
    window.hiveTimes?.refresh();
    document.dispatchEvent(new CustomEvent("hive:shown"));
  }

  place.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection?.attempt > 0 && !document.hidden) lost();
  });
  place.addEventListener("htmx:sse:after:connection", () => found());
  place.addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) return loggedOut();
    if (event.detail.status === 404) return location.reload();
    if (!document.hidden) lost();
  });
  place.addEventListener("htmx:sse:after:message", (event) => {
    const id = event.detail.message?.id;
    if (id) place.dataset.token = id;
    shown();
  });
  place.addEventListener("htmx:response:error", (event) => {
    if (event.detail.ctx?.response?.status === 401) return loggedOut();
    again();
  });
  place.addEventListener("htmx:error", again);
  // What the page shows is as old as the last answer: hive goes on trying, and says when it can.
  place.addEventListener("trouble", () => say("warn", "Not up to date: hive cannot read this page"));
  place.addEventListener("well", () => found());
  place.addEventListener("gone", () => location.reload());
  place.addEventListener("over", loggedOut);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && release) {
      release();
      release = null;
      stop();
    } else if (!document.hidden && !over && !release) {
      stop();
      permit();
    }
  });
  window.addEventListener("focus", () => {
    if (over) { over = false; permit(); }
  });
  document.addEventListener("DOMContentLoaded", () => { shown(); document.hidden || permit(); });
})();
