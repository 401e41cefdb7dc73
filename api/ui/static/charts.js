// Draws the charts of a page by uPlot, from the JSON in data-plot. Without it the bars that the server made stay.
(() => {
  if (!window.uPlot) return;
  const HEIGHT = 160, DAY = 86400;
  const TIMES = [1, 5, 15, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400];
  const drawn = new Map();
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

  function short(value) {
    for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (value >= limit) return `${value / limit >= 10 ? Math.round(value / limit) : (value / limit).toFixed(1)} ${unit}`;
    }
    return String(Math.round(value));
  }

  function span(seconds) {
    if (seconds < 60) return `${Math.round(seconds)} s`;
    if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
    return `${(seconds / 3600).toFixed(1)} h`;
  }

  const FORMS = { tokens: short, seconds: span, dollars: (value) => `$${value.toFixed(2)}` };

  const STEPS = [1, 2, 4, 8];

  // The end of the axis: a round number above all bars, which is a tick too.
  function above(spec, high) {
    if (!(high > 0)) return 1;
    if (spec.unit === "seconds") {
      return 4 * (TIMES.find((each) => each * 4 >= high) ?? Math.ceil(high / DAY) * DAY);
    }
    const unit = 10 ** Math.floor(Math.log10(high));
    return unit * (STEPS.find((each) => each * unit >= high) ?? 10);
  }

  function ticks(chart, axis, low, high) {
    return [0, 1, 2, 3, 4].map((part) => (high * part) / 4);
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function options(place, spec) {
    const form = FORMS[spec.unit] || String;
    const axis = { stroke: colour("--muted"), ticks: { show: false }, font: "12px system-ui, sans-serif" };
    return {
      width: Math.max(place.clientWidth, 100),
      height: HEIGHT,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { range: (chart, first, last) => [first - DAY / 2, last + DAY / 2] }, y: { range: (chart, low, high) => [0, above(spec, high)] } },
      axes: [
        { ...axis, grid: { show: false }, values: (chart, at) => at.map((each) => day.format(each * 1000)), space: 60, gap: 10 },
        { ...axis, grid: { stroke: colour("--line"), width: 1 }, values: (chart, at) => at.map(form), size: 60,
          splits: ticks },
      ],
      series: [
        { label: "Day", value: (chart, at) => day.format((at ?? spec.at.at(-1)) * 1000) },
        {
          label: spec.title,
          stroke: colour("--accent"),
          fill: colour("--accent"),
          width: 0,
          points: { show: false },
          paths: uPlot.paths.bars({ size: [0.7, 24] }),
          value: (chart, at) => form(at ?? chart.data[1].at(-1) ?? 0),
        },
      ],
    };
  }

  function draw(place) {
    const text = place.dataset.plot;
    const before = drawn.get(place);
    if (before && before.text === text) return;
    const spec = JSON.parse(text);
    if (before) {
      before.chart.setData([spec.at, spec.values]);
      before.text = text;
      return;
    }
    place.replaceChildren();
    drawn.set(place, { text, chart: new uPlot(options(place, spec), [spec.at, spec.values], place) });
    sizes.observe(place);
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const chart = drawn.get(target)?.chart;
      if (chart && contentRect.width && Math.abs(chart.width - contentRect.width) > 1) {
        chart.setSize({ width: contentRect.width, height: HEIGHT });
      }
    }
  });

  function all() {
    for (const place of drawn.keys()) {
      if (place.isConnected) continue;
      drawn.get(place).chart.destroy();
      sizes.unobserve(place);
      drawn.delete(place);
    }
    document.querySelectorAll("[data-plot]").forEach(draw);
  }

  // The colours are those of the theme, which may change while the page is open.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const { chart } of drawn.values()) chart.destroy();
    drawn.clear();
    all();
  });
  document.addEventListener("hive:shown", all);
  document.addEventListener("DOMContentLoaded", all);
})();
