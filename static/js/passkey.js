// form[data-passkey="create" | "get"] asks the browser for a passkey before it is sent, and sends what it answered as JSON.
// Options: data-options names a JSON element of the page, data-options-url is asked for them.
const form_of = "form[data-passkey]";
const known = Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON);

async function optionsOf(form) {
  if (!form.dataset.optionsUrl) return JSON.parse(document.getElementById(form.dataset.options).textContent).publicKey;
  const answer = await fetch(form.dataset.optionsUrl, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return (await answer.json()).request_options.publicKey;
}

async function create(form) {
  const options = await optionsOf(form);
  const alone = form.elements.passwordless?.checked ?? false;
  options.authenticatorSelection = {
    ...options.authenticatorSelection,
    residentKey: alone ? "required" : "discouraged",
    requireResidentKey: alone,
    ...(alone && { userVerification: "required" }),
  };
  return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
}

async function get(form) {
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(await optionsOf(form)) });
}

function complain(form, why) {
  const place = form.querySelector("[data-passkey-error]");
  place.textContent = place.dataset[why];
  place.hidden = false;
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest(form_of);
  if (!form) return;
  event.preventDefault();
  if (!known) return complain(form, "unsupported");
  try {
    const credential = await (form.dataset.passkey === "create" ? create(form) : get(form));
    form.elements.credential.value = JSON.stringify(credential);
  } catch {
    return complain(form, "refused"); // given up, timed out, or no such key: the browser tells nobody which
  }
  form.submit();
});

for (const form of document.querySelectorAll(form_of)) {
  form.hidden = false;
  form.querySelector("button[type=submit]").disabled = false; // before this script a press would send no passkey
}
