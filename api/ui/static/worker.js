// One stream for all tabs of a browser: it asks a tab to notify of each row that is new. A tab shows it, because a worker
// cannot open a page when the notification is clicked.
const AGAIN = 30000;
const ports = [];
let source = null, known = null, later = null;

function start(url) {
  clearTimeout(later);
  if (source) return;
  source = new EventSource(url);
  source.addEventListener("message", (event) => news(JSON.parse(event.data).rows));
  source.addEventListener("over", () => ended(url));
  // A browser connects again by itself, unless the answer was an error: without a login, or a proxy's without hive.
  source.addEventListener("error", () => source?.readyState === EventSource.CLOSED && ended(url));
}

function ended(url) {
  close();
  later = setTimeout(start, AGAIN, url);
}

function close() {
  clearTimeout(later);
  source?.close();
  source = null;
}

function stop() {
  close();
  known = null;
}

// What is there at the beginning is no news. After a lost connection only what came meanwhile is.
function news(rows) {
  const keys = new Set(rows.map((row) => row.key));
  const fresh = known ? rows.filter((row) => !known.has(row.key)) : [];
  const gone = known ? [...known].filter((key) => !keys.has(key)) : [];
  known = keys;
  if (fresh.length || gone.length) ports[0]?.postMessage({ fresh, gone });
}

// The tab that was looked at last is the first.
function heard(port, { say, url }) {
  const at = ports.indexOf(port);
  if (at >= 0) ports.splice(at, 1);
  if (say !== "bye") ports.unshift(port);
  if (say === "on") start(url);
  if (say === "off" || !ports.length) stop();
}

onconnect = (event) => {
  const [port] = event.ports;
  port.onmessage = ({ data }) => heard(port, data);
};
