// What every page does beside htmx: a form that succeeded closes its dialog and is emptied, one that failed keeps all.
(() => {
  // What went wrong with a form in a dialog stands in the dialog: nobody reads the page behind it.
  function tell(form, text) {
    const notice = new DOMParser().parseFromString(text, "text/html").getElementById("notice");
    if (!notice || !form.closest("dialog[open]")) return false;
    let place = form.querySelector("[data-says]");
    if (!place) {
      place = document.createElement("div");
      place.dataset.says = "";
      form.querySelector(":scope > .row:last-of-type")?.before(place);
    }
    place.hidden = false;
    place.className = "fault";
    place.setAttribute("role", "alert");
    place.replaceChildren(...notice.childNodes);
    return true;
  }

  document.addEventListener("htmx:after:request", (event) => {
    const form = event.target.closest?.("form");
    const status = event.detail.ctx?.response?.status ?? 0;
    if (!form) return;
    if (status >= 400) {
      if (tell(form, event.detail.ctx.text ?? "")) event.detail.ctx.text = "";  // not behind the dialog as well
      return;
    }
    if (status < 200 || status >= 300) return;
    form.querySelector("[data-says]")?.replaceChildren();
    form.closest("dialog")?.close();
    if (form.dataset.clear !== undefined) form.reset();
    form.closest("details.menu")?.removeAttribute("open");
  });

  // What went wrong stands in the way until somebody has read it.
  document.addEventListener("click", (event) => {
    const place = event.target.closest?.("[data-close]")?.closest("#notice, [data-says]");
    if (!place) return;
    place.className = "";
    place.removeAttribute("role");
    place.replaceChildren();
  });

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
