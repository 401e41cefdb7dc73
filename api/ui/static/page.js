// What every page does beside htmx: a form that succeeded closes its dialog and is emptied, one that failed keeps all.
(() => {
  // What went wrong with a form in a dialog stands in the dialog: nobody reads the page behind it.
  function place(form) {
    if (!form.closest("dialog[open]")) return document.getElementById("notice");
    let own = form.querySelector("[data-says]");
    if (!own) {
      own = document.createElement("div");
      own.dataset.says = "";
      form.querySelector(":scope > .row:last-of-type")?.before(own);
    }
    return own;
  }

  function say(where, ...nodes) {
    where.hidden = false;
    where.className = "fault";
    where.setAttribute("role", "alert");
    where.replaceChildren(...nodes);
  }

  // Words of this page, where hive's own did not come.
  function words(form, text) {
    const said = document.createElement("div"), close = document.createElement("button");
    said.textContent = text;
    close.type = "button";
    close.className = "bare";
    close.dataset.close = "";
    close.textContent = "Close";
    say(place(form), said, close);
  }

  // The answer of a form has a notice. One of hive's guard is a line of text, another one a page; a proxy's is neither.
  function tell(form, ctx) {
    const { text = "", response } = ctx;
    const answer = new DOMParser().parseFromString(text, "text/html");
    const notice = answer.getElementById("notice");
    if (notice && !form.closest("dialog[open]")) return;
    ctx.text = ""; // not behind the dialog as well
    if (notice) return say(place(form), ...notice.childNodes);
    const line = response.headers.get("content-type")?.startsWith("text/plain") ? text.trim().slice(0, 300) : "";
    const why = line || answer.querySelector(".fault strong")?.textContent || `hive did not do it (${response.status})`;
    words(form, `${why}. What you typed is still here.`);
  }

  // A request that got no answer was not sent if the connection was lost before. Else it may have arrived.
  function unanswered(form) {
    const lost = document.getElementById("link-state")?.dataset.since;
    words(form, lost
      ? "hive does not answer. Nothing was sent; what you typed is still here."
      : "hive does not answer. What you typed is still here; when hive is back, look whether it arrived.");
  }

  document.addEventListener("htmx:error", (event) => {
    const form = event.target.closest?.("form");
    if (form && !event.detail.ctx?.response) unanswered(form);
  });

  // What was done may be seen before the answer comes, and its form be gone by then. htmx drops an answer without a target.
  document.addEventListener("htmx:config:request", (event) => {
    if (event.detail.ctx?.swap === "none") event.detail.ctx.target = document.body;
  });

  document.addEventListener("htmx:after:request", (event) => {
    const form = event.target.closest?.("form");
    const status = event.detail.ctx?.response?.status ?? 0;
    if (!form) return;
    if (status >= 400) return tell(form, event.detail.ctx);
    if (status < 200 || status >= 300) return;
    form.querySelector("[data-says]")?.replaceChildren();
    form.closest("dialog")?.close();
    if (form.dataset.clear !== undefined) form.reset();
    form.closest("details.menu")?.removeAttribute("open");
  });

  // What was done lies above the page, until something else is done.
  document.addEventListener("click", (event) => {
    const notice = document.getElementById("notice");
    if (!notice?.classList.contains("note") || notice.contains(event.target)) return;
    notice.className = "";
    notice.replaceChildren();
  });

  // What went wrong stands in the way until somebody has read it.
  document.addEventListener("click", (event) => {
    const closed = event.target.closest?.("[data-close]")?.closest("#notice, [data-says]");
    if (!closed) return;
    closed.className = "";
    closed.removeAttribute("role");
    closed.replaceChildren();
  });

  // A phone shows only a part of a row of tabs: the one that is open must be in it.
  for (const here of document.querySelectorAll(".tabs .here, .seg [aria-current]")) {
    const row = here.parentElement, box = row.getBoundingClientRect(), own = here.getBoundingClientRect();
    if (own.left < box.left || own.right > box.right) row.scrollLeft += own.left - box.left - (box.width - own.width) / 2;
  }

  // A menu closes when something else is used.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.removeAttribute("open");
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.removeAttribute("open");
      menu.querySelector("summary")?.focus();
    }
  });

  // Who writes an answer of their own has chosen it.
  document.addEventListener("input", (event) => {
    const choice = document.getElementById(event.target.dataset?.chooses ?? "");
    if (choice && event.target.value) choice.checked = true;
  });

  // Browsers that do not know `command` yet open and close dialogs by it here.
  if (!("command" in HTMLButtonElement.prototype)) {
    document.addEventListener("click", (event) => {
      const button = event.target.closest?.("button[commandfor]");
      const dialog = button && document.getElementById(button.getAttribute("commandfor"));
      if (!dialog) return;
      if (button.getAttribute("command") === "show-modal") dialog.showModal();
      else if (button.getAttribute("command") === "close") dialog.close();
    });
  }
})();
