// The page: a product in, its categories out, a person's word on them back.

import * as api from "./client.js";
import { forgetToken, isSignedIn, signIn, token, watchSession } from "./session.js";
import { watchModel } from "./model.js";
import { empty, forget, label, made, percent, show, wrong } from "./view.js";

const LONGEST = { designation: 1000, description: 50_000, comment: 500 }; // characters, as the API counts them
const UNSURE = 0.5;

const at = (id) => document.getElementById(id);
const product = at("product");
const feedback = at("feedback");

let newest = 0; // of the questions: an answer that comes after a newer question's is not shown
let prediction = null;
let giving = false;

function start() {
  const model = watchModel(() => at("problem").dataset.passes && forget(at("problem")));
  product.addEventListener("submit", (event) => {
    event.preventDefault();
    classify(model);
  });
  at("description").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    product.requestSubmit();
  });
  for (const button of [at("clear"), at("next")]) button.addEventListener("click", clear);
  for (const example of document.querySelectorAll(".example")) {
    example.addEventListener("click", () => {
      at("designation").value = example.textContent;
      at("description").value = example.dataset.description;
      product.requestSubmit();
    });
  }
  at("agree").addEventListener("click", () => give(prediction.categories[0].code, ""));
  at("other").addEventListener("change", () => offerOther());
  feedback.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!fits(at("comment"))) return;
    give(Number(at("other").value), at("comment").value.trim());
  });
  watchSession();
}

async function classify(model) {
  forget(at("problem"));
  const designation = at("designation");
  const description = at("description");
  wrong(designation, designation.value.trim() ? "" : "Write a title: the model reads it first.");
  if (!designation.value.trim() || !fits(designation) || !fits(description)) return;
  const mine = ++newest;
  document.body.classList.add("busy");
  try {
    const asked = { designation: designation.value, description: description.value };
    // An answer is worth showing without the others: they are asked for again with the next question.
    const [answer] = await Promise.all([api.predict(asked), offerCategories().catch(() => {})]);
    if (mine !== newest) return;
    showAnswer(asked.designation, answer);
    model.answered(answer.model, at("answered-by"));
  } catch (failure) {
    if (mine === newest) showFailure(failure, at("problem"), model);
  } finally {
    if (mine === newest) document.body.classList.remove("busy");
  }
}

function showFailure(failure, place, model) {
  const passes = failure.status === 503 || failure.status === 0; // once the model is there
  if (passes) model.look();
  for (const { where, what } of failure.errors) {
    const field = ["designation", "description"].find((name) => String(where).includes(name));
    if (field) wrong(at(field), String(what));
  }
  show(place, failure);
  place.dataset.passes = passes ? "yes" : "";
}

function showAnswer(designation, answer) {
  prediction = answer;
  const [best] = answer.categories;
  at("asked").textContent = designation;
  at("categories").replaceChildren(...answer.categories.map(row));
  at("unsure").hidden = best.probability >= UNSURE;
  at("agree").textContent = `Yes, ${best.name}`;
  at("other").value = "";
  at("comment").value = "";
  wrong(at("comment"), "");
  offerOther();
  forget(at("feedback-problem"));
  at("thanks").hidden = true;
  feedback.hidden = false;
  at("empty").hidden = true;
  at("answer").hidden = false;
  const others = answer.categories.slice(1, 3).map(({ name, probability }) => `${name} ${percent(probability)}`);
  say(`${best.name}, ${percent(best.probability)}. Then ${others.join(", ")}.`);
  reveal(at("result"));
}

// On a phone the answer is below the form, and under the keyboard.
function reveal(result) {
  const touched = matchMedia("(pointer: coarse)").matches;
  if (touched) document.activeElement.blur();
  if (touched || result.getBoundingClientRect().top > innerHeight / 2) result.scrollIntoView();
}

function row({ name, probability }) {
  const fill = made("span", "fill");
  fill.style.inlineSize = `${probability * 100}%`;
  const bar = made("span", "bar");
  bar.setAttribute("aria-hidden", "true");
  bar.append(fill);
  const item = made("li");
  item.append(made("span", "name", name), " ", made("span", "percent", percent(probability)), bar);
  return item;
}

// The categories are asked for once, and again where that failed.
async function offerCategories() {
  const other = at("other");
  if (other.options.length) return;
  const all = await api.categories();
  if (other.options.length) return;
  all.sort((one, two) => one.name.localeCompare(two.name, "en"));
  other.replaceChildren(new Option("another category…", ""), ...all.map(({ code, name }) => new Option(name, code)));
}

function offerOther() {
  const chosen = at("other").selectedOptions[0];
  at("more").hidden = !chosen?.value;
  at("send").textContent = chosen?.value ? `Send: ${chosen.text}` : "";
}

async function give(code, comment) {
  if (giving) return;
  giving = true;
  forget(at("feedback-problem"));
  const about = prediction;
  const name = label(at("other"), code);
  try {
    const sent = await send({ prediction_id: about.id, code, comment });
    if (!sent) show(at("feedback-problem"), "Not sent: that needs a sign-in. Your choice is still here.");
    else if (prediction === about) thank(name);
  } catch (failure) {
    show(at(prediction === about ? "feedback-problem" : "problem"), failure);
  } finally {
    giving = false;
  }
}

// Sent at once, or as soon as the person has signed in; false where they do not want to.
async function send(said) {
  let why = "Feedback carries a name. Yours is sent as soon as you are signed in.";
  for (;;) {
    if (!isSignedIn() && !(await signIn(why))) return false;
    try {
      await api.feedback(said, token());
      return true;
    } catch (failure) {
      if (failure.status !== 401) throw failure;
      forgetToken();
      why = "Your session is over. Sign in again: your feedback is kept, and sent then.";
    }
  }
}

function thank(name) {
  feedback.hidden = true;
  at("thanks-words").textContent = `Thank you. Noted as ${name}.`;
  at("thanks").hidden = false;
  at("next").focus(); // the button that had it is gone
  say(at("thanks-words").textContent);
}

function clear() {
  newest++;
  prediction = null;
  document.body.classList.remove("busy");
  product.reset();
  for (const field of [at("designation"), at("description")]) wrong(field, "");
  forget(at("problem"));
  empty(at("announcement"));
  at("answer").hidden = true;
  at("empty").hidden = false;
  at("designation").focus();
}

function fits(field) {
  const most = LONGEST[field.id];
  const length = [...field.value].length;
  const words = `${length.toLocaleString("en")} characters are too many: ${most.toLocaleString("en")} is the most.`;
  wrong(field, length > most ? words : "");
  return length <= most;
}

function say(words) {
  at("announcement").textContent = words;
}

start();
