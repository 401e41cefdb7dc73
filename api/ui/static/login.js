// Take the token of a one-time link out of the address, where the history would keep it, and send it with the form.
const form = document.getElementById("login");

function enter() {
  const token = location.hash.slice(1);
  if (!token) return;
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.token.value = token;
  form.requestSubmit();
}

addEventListener("hashchange", enter); // a link that is opened while this page is shown
enter();
