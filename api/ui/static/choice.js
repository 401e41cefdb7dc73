// A decision belongs to the row that a person chose. A row that is decided elsewhere keeps its place, without buttons,
// until the focus and the pointer have left it. What was put in, changed or moved a moment ago cannot be decided yet.
(() => {
  const INERT = 1000, SAID = 5000;
  const rows = () => [...document.querySelectorAll("#rows > .list > .item")];
  const keyOf = (row) => row.id.replace(/^was-/, "");
  const rowOf = (at) => at?.closest?.("#rows > .list > .item") ?? null;
  const idOf = (at) => { const row = rowOf(at); return row && keyOf(row); };
  let seen = new Map(), held = new Map(), order = [], begun = false, focused = null, pointed = null;

  // What the forms of a row would send, but for the viewer's own fields.
  function sends(row) {
    const own = ["csrf", "assertion"];
    return [...row.querySelectorAll("form")].map((form) => {
      const fields = [...form.querySelectorAll("input[type=hidden]")].filter((field) => !own.includes(field.name));
      return [form.getAttribute("action"), ...fields.map((field) => `${field.name}=${field.value}`)].join(" ");
    }).join("\n");
  }

  function deciders(row) {
    return row.querySelectorAll("form button:not([type=button]), [data-key=a]");
  }

  function isInert(row, byPointer) {
    const known = seen.get(keyOf(row)), now = performance.now();
    return Boolean(known) && (now - known.changed < INERT || (byPointer && now - known.moved < INERT));
  }

  function mark(row) {
    for (const button of deciders(row)) button.setAttribute("aria-disabled", "true");
    setTimeout(() => {
      if (!isInert(row, true)) for (const button of deciders(row)) button.removeAttribute("aria-disabled");
    }, INERT + 20);
  }

  // The id keeps a later answer from taking this element for one of its own.
  function say(row, button = null) {
    const id = `now-${row.querySelector("details").id}`;
    if (document.getElementById(id)) return;
    const said = document.createElement("span");
    said.id = id;
    said.className = "warn";
    said.setAttribute("role", "alert");
    said.textContent = "This changed just now: look again, then decide. ";
    (row.querySelector(".decide p") ?? button?.parentElement ?? row).prepend(said);
    setTimeout(() => said.remove(), SAID);
  }

  async function tell(note, href) {
    try {
      const answer = await fetch(href, { headers: { "HX-Request": "true" } });
      if (!answer.ok) return;
      const body = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-of=gone]");
      if (body) note.textContent = body.textContent.trim();
    } catch {
      // The note says already that the row needs nobody.
    }
  }

  // Make a row that has gone the place holder that stands where it stood.
  function hold({ row, height }) {
    const details = row.querySelector("details"), href = details.dataset.href;
    const note = document.createElement("p");
    note.className = "note";
    note.setAttribute("role", "status");
    note.textContent = "This does not need you any more.";
    for (const each of row.querySelectorAll("dialog, form, button, .decide")) each.remove();
    for (const each of row.querySelectorAll("[id]")) each.removeAttribute("id");
    for (const name of ["href", "of"]) delete details.dataset[name];
    row.id = `was-${keyOf(row)}`;
    row.className = "item was";
    row.style.minHeight = `${height}px`;
    row.append(note);
    if (href) tell(note, href);
    return row;
  }

  function put(id, row) {
    let list = document.querySelector("#rows > .list");
    if (!list) {
      list = document.createElement("ul");
      list.className = "list";
      document.getElementById("rows")?.prepend(list);
    }
    const above = order.slice(0, Math.max(0, order.indexOf(id))).reverse();
    const present = new Map(rows().map((each) => [keyOf(each), each]));
    const before = above.map((each) => present.get(each)).find(Boolean);
    if (before) before.after(row);
    else list.prepend(row);
    if (focused === id) row.querySelector("summary").focus({ preventScroll: true });
  }

  function keep() {
    const there = new Set(rows().map(keyOf));
    for (const id of new Set([focused, pointed, ...held.keys()])) {
      const known = seen.get(id);
      if (!id || there.has(id) || !known?.row || known.row.isConnected) continue;
      if (!held.has(id)) held.set(id, hold(known));
      put(id, held.get(id));
    }
    for (const id of held.keys()) {  // it came back
      if (document.getElementById(id)) drop(id);
    }
  }

  function drop(id) {
    held.get(id)?.remove();
    held.delete(id);
  }

  function measure(id) {
    const known = seen.get(id);
    if (known?.row.isConnected) known.height = known.row.offsetHeight;
  }

  function settle() {
    if (begun) keep();
    const all = rows(), now = performance.now(), next = new Map();
    order = all.map(keyOf);
    all.forEach((row, place) => {
      const id = order[place], old = seen.get(id);
      const known = {
        row, sends: sends(row), above: order.slice(0, place).join(" "),
        changed: old?.changed ?? -INERT, moved: old?.moved ?? -INERT, height: old?.height ?? 0,
      };
      const changed = begun && known.sends && known.sends !== old?.sends;
      if (changed) known.changed = now;
      if (begun && old && known.above !== old.above) known.moved = now;
      next.set(id, known);
      if (held.has(id)) return;
      if (changed && old?.sends && (id === focused || id === pointed)) say(row);
    });
    seen = next;
    for (const [id, { row, changed, moved }] of seen) if (!held.has(id) && Math.max(changed, moved) === now) mark(row);
    measure(focused);
    measure(pointed);
    begun = true;
  }

  function release() {
    for (const id of [...held.keys()]) if (id !== focused && id !== pointed) drop(id);
  }

  function choose() {
    focused = idOf(document.activeElement);
    measure(focused);
    release();
  }
  document.addEventListener("focusin", choose);
  document.addEventListener("focusout", () => setTimeout(choose));  // after a row that went has been put back
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    pointed = idOf(event.target);
    measure(pointed);
    release();
  });
  document.documentElement.addEventListener("pointerleave", () => {
    pointed = null;
    release();
  });

  // Before htmx and the passkeys: a click that comes too soon decides nothing, and says why.
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button"), row = rowOf(button);
    if (!row || ![...deciders(row)].includes(button)) return;
    if (!isInert(row, event.detail > 0 && !button.closest("dialog"))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    say(row, button);
  }, true);

  settle();
  const main = document.querySelector("main");
  const what = { childList: true, subtree: true, attributes: true, attributeFilter: ["value"] };
  if (main) new MutationObserver(settle).observe(main, what);

  window.hiveChoice = {
    // A row that a key chose is looked at first.
    chosen(row) {
      const known = seen.get(idOf(row));
      if (!known) return;
      known.changed = performance.now();
      mark(known.row);
    },
  };
})();
