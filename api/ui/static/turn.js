// The live page of an agent: stays at the end while the reader is there, counts what is new while not, opens what has
// to be seen, loads folds when they are opened, and keeps what is typed until it is sent.
(() => {
  const NEAR = 48;
  const link = document.getElementById("new");
  const form = document.getElementById("send");
  const transcript = () => document.getElementById("transcript");
  if (!link || !form) return;
  let fresh = 0, following = true;

  function atEnd() {
    const page = document.scrollingElement;
    return page.scrollHeight - page.scrollTop - page.clientHeight < NEAR;
  }

  function toEnd() {
    const page = document.scrollingElement;
    page.scrollTop = page.scrollHeight;
    fresh = 0;
    say();
  }

  function say() {
    link.hidden = fresh === 0;
    const words = `${fresh} new ↓`;
    if (fresh && link.textContent !== words) link.textContent = words;
  }

  // A fold with `data-src` gets its content when it is opened, once.
  async function load(fold) {
    const place = fold.querySelector(":scope > [hx-morph-skip-children]");
    if (!place || place.dataset.loaded) return;
    place.dataset.loaded = "1";
    try {
      const answer = await fetch(fold.dataset.src, { headers: { "HX-Request": "true" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const content = new DOMParser().parseFromString(await answer.text(), "text/html");
      place.replaceChildren(...content.body.childNodes);
      window.hiveTimes?.refresh(place);
    } catch {
      delete place.dataset.loaded;
    }
  }

  // What failed and what was edited is opened once; after that, and after a click, it is the reader's.
  function open() {
    for (const fold of document.querySelectorAll("details[data-open]:not([data-touched])")) {
      fold.dataset.touched = "1";
      fold.open = true;
    }
    for (const fold of document.querySelectorAll("details[data-src][open]")) load(fold);
  }

  document.addEventListener("toggle", (event) => {
    if (event.target.open && event.target.dataset.src) load(event.target);
  }, true);
  document.addEventListener("click", (event) => {
    const fold = event.target.closest?.("summary")?.parentElement;
    if (fold?.dataset.open !== undefined) fold.dataset.touched = "1";
  });

  window.addEventListener("scroll", () => {
    following = atEnd();
    if (following) { fresh = 0; say(); }
  }, { passive: true });
  document.addEventListener("hive:shown", () => {
    open();
    if (following) toEnd();
    else say();
  });
  link.addEventListener("click", (event) => {
    event.preventDefault();
    following = true;
    toEnd();
  });
  new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.target.id !== "events") continue;
      for (const node of change.addedNodes) if (node.localName === "li" && !following) fresh += 1;
    }
  }).observe(transcript().parentElement, { childList: true, subtree: true });

  // What is typed is kept for this tab until it was sent, whatever happens to the page or the daemon.
  const text = form.elements.text;
  const draft = `hive-draft-${form.dataset.draft}`;
  const newKey = () => { form.elements.key.value = crypto.randomUUID?.() ?? String(Math.random()).slice(2); };
  text.value ||= sessionStorage.getItem(draft) ?? "";
  newKey();
  text.addEventListener("input", () => sessionStorage.setItem(draft, text.value));
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener("reset", () => {
    sessionStorage.removeItem(draft);
    newKey();
    following = true;
  });

  open();
  if (!location.hash) toEnd();
})();
