// Rows of Needs you: they load when they are opened and again when something changed; keys move among them and decide.
(() => {
  const LATER = 1000, OLD = 15000;
  const rows = () => [...document.querySelectorAll("#rows .item > details")];
  const typing = (at) => at.closest?.("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]");
  const loaded = new WeakMap();
  let timer = null, after = "";

  // The body of an open row, as it is now. What was typed and where the focus is survive.
  async function load(row) {
    const body = row.querySelector(":scope > [hx-morph-skip-children] > .body");
    if (!body || body.dataset.loading) return;
    body.dataset.loading = "1";
    loaded.set(row, Date.now());
    try {
      const answer = await fetch(row.dataset.href, { headers: { "HX-Request": "true" } });
      if (!answer.ok || !body.isConnected) return;
      const text = await answer.text();
      await htmx.swap({ sourceElement: body, target: body, swap: "outerMorph", text, response: { raw: answer } });
      window.hiveTimes?.refresh(row);
    } catch {
      // The page says by itself that the connection is lost, and loads the row when it is back.
    } finally {
      delete body.dataset.loading;
    }
  }

  // The list says what the first rows show by a digest. Others that are open load again now and then.
  function stale(row) {
    const body = row.querySelector(".body");
    if (row.dataset.of) return row.dataset.of !== body?.dataset.of;
    return Date.now() - (loaded.get(row) ?? 0) > OLD;
  }

  function reload() {
    timer = null;
    if (document.hidden) return;
    for (const row of rows()) if (row.open && row.dataset.href && stale(row)) load(row);
  }
  setInterval(reload, OLD);

  document.addEventListener("toggle", (event) => {
    const row = event.target;
    if (row.open && row.dataset?.href && row.querySelector(".body[data-empty]")) load(row);
  }, true);
  document.addEventListener("hive:shown", () => {
    timer ??= setTimeout(reload, LATER);
  });

  function openHash() {
    const id = decodeURIComponent(location.hash.slice(1));
    const row = id.startsWith("row-") && document.getElementById(id)?.querySelector("details");
    if (!row) return;
    row.open = true;
    row.querySelector("summary").focus();
    row.scrollIntoView({ block: "start" });
  }
  window.addEventListener("hashchange", openHash);
  document.addEventListener("DOMContentLoaded", openHash);

  const current = () => document.activeElement?.closest?.("#rows .item > details");

  function move(by) {
    const all = rows();
    const here = all.indexOf(current());
    const next = all[here < 0 ? (by > 0 ? 0 : all.length - 1) : here + by];
    if (!next) return;
    next.querySelector("summary").focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  // A decision is about the row that has the focus. Without one the first proposal gets it, and a folded one is
  // opened: nobody decides unseen.
  function decide(key) {
    const row = current();
    if (row?.open) return row.querySelector(`[data-key=${key}]`)?.click();
    const next = row ?? document.querySelector("#rows .item[id^='row-proposal:'] > details");
    if (!next) return;
    next.open = true;
    next.querySelector("summary").focus();
    next.scrollIntoView({ block: "nearest" });
    window.hiveChoice?.chosen(next);
  }

  const GO = { n: "/", a: "/agents", m: "/messages", d: "/deploys", q: "/questions", p: "/plan", e: "/events", h: "/host", s: "/settings" };
  const DO = {
    j: () => move(1),
    k: () => move(-1),
    a: () => decide("a"),
    d: () => decide("d"),
    "?": () => document.getElementById("keys")?.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || typing(event.target)) return;
    if (document.querySelector("dialog:modal")) return;
    const first = after;
    after = "";
    if (first === "g" && GO[event.key]) {
      event.preventDefault();
      location.assign(GO[event.key]);
    } else if (event.key === "g") {
      after = "g";
      setTimeout(() => { after = ""; }, LATER);
    } else if (DO[event.key]) {
      event.preventDefault();
      DO[event.key]();
    }
  });
})();
