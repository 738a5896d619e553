// Who is signed in. The token is here alone, in memory: it goes away with the page.

import * as api from "./client.js";
import { forget, show } from "./view.js";

const at = (id) => document.getElementById(id);
const dialog = at("sign-in");

let held = "";
let name = "";

export const isSignedIn = () => held !== "";
export const token = () => held;

/** The session is over, or the person ends it. */
export function forgetToken() {
  held = "";
  showWho();
}

/** Ask for a name and a password; whether somebody is signed in then. */
export function signIn(why) {
  at("sign-in-why").textContent = why;
  forget(at("sign-in-problem"));
  at("username").value = name;
  at("password").value = "";
  dialog.showModal();
  (name ? at("password") : at("username")).focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(isSignedIn()), { once: true }));
}

/** Make the dialog and the button of the session work. */
export function watchSession() {
  at("session").addEventListener("click", () => (isSignedIn() ? forgetToken() : signIn("To give feedback.")));
  at("not-now").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => (at("password").value = ""));
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    enter();
  });
  showWho();
}

async function enter() {
  const [username, password] = [at("username"), at("password")];
  forget(at("sign-in-problem"));
  const missing = [username, password].find((field) => !field.value);
  if (missing) {
    show(at("sign-in-problem"), "Both the name and the password are needed.");
    missing.focus();
    return;
  }
  try {
    const got = await api.token(username.value, password.value);
    if (!dialog.open) return; // given up meanwhile
    [held, name] = [got, username.value];
    showWho();
    dialog.close();
  } catch (failure) {
    const refused = failure.status === 400 || failure.status === 401;
    show(at("sign-in-problem"), refused ? "The name or the password is wrong." : failure);
    password.select();
  }
}

function showWho() {
  at("who").textContent = name;
  at("who").hidden = !isSignedIn();
  at("session").textContent = isSignedIn() ? "Sign out" : "Sign in";
}
