// Keeps the words of times true, and shows exact times in the viewer's zone. The rules are those of api/ui/times.py.
(() => {
  const MINUTE = 60, HOUR = 3600, DAY = 86400;
  const exact = new Intl.DateTimeFormat("en-GB", {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    timeZoneName: "short",
  });
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const date = new Intl.DateTimeFormat("en-GB", {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
  });

  function span(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    if (whole < MINUTE) return `${whole} s`;
    if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
    if (whole < 2 * HOUR) {
      const minutes = Math.floor((whole % HOUR) / MINUTE);
      return minutes ? `1 h ${minutes} min` : "1 h";
    }
    return whole < 2 * DAY ? `${Math.floor(whole / HOUR)} h` : `${Math.floor(whole / DAY)} d`;
  }

  function words(at, now, form) {
    switch (form) {
      case "ago": return now - at < 1 ? "now" : `${span(now - at)} ago`;
      case "left": return at <= now ? "now" : span(at - now);
      case "clock": return clock.format(at * 1000);
      case "date": return date.format(at * 1000);
      default: return span(now - at);
    }
  }

  function refresh(root = document) {
    const now = Date.now() / 1000;
    for (const element of root.querySelectorAll("time[data-form]")) {
      const at = Date.parse(element.dateTime) / 1000;
      if (Number.isNaN(at)) continue;
      const text = words(at, now, element.dataset.form);
      if (element.textContent !== text) element.textContent = text;
      const title = exact.format(at * 1000);
      if (element.title !== title) element.title = title;
    }
  }

  window.hiveTimes = { refresh };
  refresh();
  setInterval(refresh, 1000);
})();
