// Which model answers, since when; and why none does, where none does.

import * as api from "./client.js";
import { forget, moment, show } from "./view.js";

const SOON = 5_000; // milliseconds, while there is no model
const LATER = 60_000;

const status = document.getElementById("status");
const outage = document.getElementById("outage");

/** Show the state of the model now and from now on; `whenReady` is called when it is there again. */
export function watchModel(whenReady) {
  let known = null;
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    let wait = SOON;
    try {
      await api.ready();
      known = await api.model();
      wait = LATER;
      tell("ready", `Model version ${known.version} is ready`);
      if (!outage.hidden) whenReady();
      forget(outage);
    } catch (failure) {
      if (failure.status !== 429) lack(failure);
    }
    clearTimeout(timer); // of a look that began meanwhile
    timer = setTimeout(look, wait);
  }

  /** Write into `place` which version gave an answer; another one than before is asked about. */
  async function answered({ name, version }, place) {
    place.replaceChildren(`Answered by ${name}, version ${version}.`);
    if (known?.version !== version) await look();
    if (known?.version !== version || !place.textContent.includes(`version ${version}.`)) return;
    place.replaceChildren(
      `Answered by ${name}, version ${version}, in service since `, moment(known.loaded_at),
      "; registered ", moment(known.created_at), ".",
    );
  }

  document.addEventListener("visibilitychange", () => document.hidden || look());
  addEventListener("online", look);
  addEventListener("offline", look);
  look();
  return { answered, look };
}

function tell(state, words) {
  if (status.textContent !== words) status.textContent = words; // said aloud once
  status.dataset.state = state;
}

function lack(failure) {
  tell("away", failure.status ? "Not ready" : "No connection");
  const what = failure.status ? failure.message : "The server cannot be reached.";
  const words = `${what} This page looks again every ${SOON / 1000} seconds.`;
  if (outage.textContent !== words) show(outage, words);
}
