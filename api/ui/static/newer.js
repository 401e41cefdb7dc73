// A list that grows at its top: who has scrolled down keeps the place, and is told how many rows are new.
(() => {
  const button = document.getElementById("newer");
  if (!button) return;
  const rows = () => [...document.querySelectorAll(`#${button.dataset.list} > .list > li`)];
  const atTop = (all) => !all.length || all[0].getBoundingClientRect().bottom > 0;
  let seen = rows()[0]?.id;

  function look() {
    const all = rows();
    if (atTop(all)) {
      seen = all[0]?.id;
      button.hidden = true;
      return;
    }
    const place = all.findIndex((row) => row.id === seen);
    button.hidden = place === 0;
    const text = place < 0 ? `${all.length} or more new` : `${place} new`;
    if (button.textContent !== text) button.textContent = text;
  }

  document.addEventListener("hive:shown", look);
  document.addEventListener("scroll", look, { passive: true });
  button.addEventListener("click", () => {
    const first = rows()[0];
    first?.scrollIntoView({ block: "center" });
    first?.querySelector("summary")?.focus({ preventScroll: true });
  });
})();
