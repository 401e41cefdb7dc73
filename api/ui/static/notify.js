// Notifications of what needs the operator, by choice and for this browser only. One worker has the stream for all tabs.
(() => {
  const CHOICE = "hive-notify", URL = "/needs-you/news";
  const able = "Notification" in window && window.isSecureContext;
  const worker = document.getElementById("link-state")?.dataset.worker;
  const shown = new Map();
  const AGAIN = 30000;
  let port = null, source = null, known = null, later = null;

  const chosen = () => able && localStorage.getItem(CHOICE) === "on" && Notification.permission === "granted";

  function show({ fresh, gone }) {
    for (const key of gone) {
      shown.get(key)?.close();
      shown.delete(key);
    }
    if (!chosen() || (document.visibilityState === "visible" && document.hasFocus())) return;
    for (const row of fresh) {
      const note = new Notification(row.title, { tag: row.key, body: row.urgent ? "Urgent" : "Waits for you" });
      note.addEventListener("click", () => {
        window.focus();
        location.assign(row.href);
        note.close();
      });
      shown.set(row.key, note);
    }
  }

  function begin() {
    if (!chosen()) return;
    if (window.SharedWorker && worker) {
      if (!port) {
        port = new SharedWorker(worker, { name: "hive" }).port;
        port.onmessage = ({ data }) => show(data);
      }
      port.postMessage({ say: "on", url: URL });
    } else if (!document.hidden && !source) {
      alone();
    }
  }

  // Without a worker the page that is seen has the stream. As in the worker, an end that is not the reader's is not for ever.
  function alone() {
    source = new EventSource(URL);
    source.addEventListener("over", ended);
    source.addEventListener("error", () => source?.readyState === EventSource.CLOSED && ended());
    source.addEventListener("message", (event) => {
      const { rows } = JSON.parse(event.data);
      const keys = new Set(rows.map((row) => row.key));
      if (known) show({ fresh: rows.filter((row) => !known.has(row.key)), gone: [...known].filter((key) => !keys.has(key)) });
      known = keys;
    });
  }

  function close() {
    clearTimeout(later);
    source?.close();
    source = null;
  }

  function ended() {
    close();
    later = setTimeout(begin, AGAIN);
  }

  function end() {
    port?.postMessage({ say: "off" });
    close();
    known = null;
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) begin();
    else if (!port) close();
  });
  window.addEventListener("pagehide", () => port?.postMessage({ say: "bye" }));
  window.addEventListener("pageshow", (event) => { if (event.persisted) begin(); });

  // The choice, where a page has a place for it.
  function offer() {
    const place = document.querySelector("[data-notifications]");
    if (!place) return;
    const words = document.createElement("p");
    place.replaceChildren(words);
    if (!able) {
      words.textContent = "This browser shows none here: it needs https or localhost. HIVE_NOTIFY sends them to a phone.";
      return;
    }
    if (Notification.permission === "denied") {
      words.textContent = "You have forbidden notifications of this page; the browser's settings allow them again.";
      return;
    }
    const on = chosen();
    words.textContent = on ? "This browser notifies you." : "This browser does not notify you.";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = on ? "Turn off" : "Notify me in this browser";
    button.addEventListener("click", async () => {
      if (on) end();
      else await Notification.requestPermission();
      localStorage.setItem(CHOICE, !on && Notification.permission === "granted" ? "on" : "off");
      begin();
      offer();
    });
    const row = document.createElement("p");
    row.className = "row";
    row.append(button);
    place.append(row);
  }

  offer();
  begin();
})();
