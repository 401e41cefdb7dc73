// Passkeys: a form with data-touch or data-create is sent once the browser has the touch, or the new passkey, that it
// needs. The server makes the question from the form's own fields, and checks the answer.
(() => {
  const able = "PublicKeyCredential" in window && "parseRequestOptionsFromJSON" in PublicKeyCredential;
  const ready = new WeakSet();

  // In a dialog the page's own notice cannot be seen.
  function placeOf(form) {
    let place = form.querySelector("[data-says]") || form.parentElement.querySelector(":scope > [data-says]");
    if (!place && form.closest("dialog")) {
      place = document.createElement("div");
      place.dataset.says = "";
      form.lastElementChild.before(place);
    }
    return place || document.getElementById("notice");
  }

  function say(form, text, hint = "") {
    const place = placeOf(form);
    if (!place) return;
    place.hidden = false;
    place.className = "fault";
    place.setAttribute("role", "alert");
    place.textContent = hint ? `${text} (${hint})` : text;
  }

  async function question(form, url) {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams([...new FormData(form)].filter(([, value]) => typeof value === "string")),
    });
    if (answer.status === 401) throw new Error("You are logged out: log in in another tab, then try again.");
    const said = answer.headers.get("content-type")?.startsWith("application/json") ? await answer.json() : null;
    if (!said) throw new Error(`The dashboard answered ${answer.status}; nothing was changed.`);
    if (said.error) throw Object.assign(new Error(said.error), { hint: said.hint });
    return said;
  }

  async function touch(options) {
    if (!able) throw new Error("This browser knows no passkeys: approve with another one, or on the host as root.");
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(options));
    return JSON.stringify((await navigator.credentials.get({ publicKey })).toJSON());
  }

  async function create(options) {
    if (!able) throw new Error("This browser knows no passkeys.");
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(options));
    return JSON.stringify((await navigator.credentials.create({ publicKey })).toJSON());
  }

  async function prepare(form) {
    const fields = form.elements;
    if (form.dataset.create !== undefined) {
      const asked = await question(form, form.dataset.create);
      fields.touch.value = asked.touch ? await touch(asked.touch) : "";
      fields.credential.value = await create(asked.options);
      return;
    }
    const asked = await question(form, form.dataset.touch);
    fields[form.dataset.field || "touch"].value = asked.options ? await touch(asked.options) : "";
  }

  function words(error) {
    if (error.name === "NotAllowedError") return "No touch came: it was cancelled, or took too long. Nothing was changed.";
    if (error.name === "InvalidStateError") return "This device has a passkey of yours here already.";
    return error.message || String(error);
  }

  async function run(form, button) {
    form.setAttribute("aria-busy", "true");
    for (const old of form.querySelectorAll("[data-says]")) old.hidden = true;
    try {
      await prepare(form);
      ready.add(form);
      form.requestSubmit(button?.form === form ? button : undefined);
    } catch (error) {
      say(form, words(error), error.hint);
    } finally {
      form.removeAttribute("aria-busy");
    }
  }

  // Before htmx: its own listeners stand at the form.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!("touch" in form.dataset || "create" in form.dataset)) return;
    if (ready.delete(form)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!form.hasAttribute("aria-busy")) run(form, event.submitter);
  }, true);

  for (const place of document.querySelectorAll("[data-passkeys]")) place.hidden = !able;
})();
