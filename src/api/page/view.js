// Small parts of the page. Whatever comes from outside is text, never HTML.

const PERCENT = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const counting = new Map(); // the timer of each place that counts seconds

/** An element with a class and a text. */
export function made(tag, style = "", text = "") {
  const element = document.createElement(tag);
  element.className = style;
  element.textContent = text;
  return element;
}

/** A probability as people read it: little is not nothing, and much is not everything. */
export function percent(probability) {
  if (probability < 0.001) return "< 0.1%";
  return probability > 0.999 ? "> 99.9%" : PERCENT.format(probability);
}

/** A moment of the API, in the reader's time zone. */
export function moment(iso) {
  const time = made("time", "", MOMENT.format(new Date(iso)));
  time.dateTime = iso;
  return time;
}

/** What a person reads for the value of a select. */
export function label(select, value) {
  return [...select.options].find((option) => option.value === String(value))?.text ?? String(value);
}

/** Show a problem; where it says when to try again, the seconds are counted. */
export function show(place, problem) {
  forget(place);
  place.textContent = problem.message ?? problem;
  place.hidden = false;
  if (problem.status === 429) count(place, problem.seconds);
}

/** Take a problem away. */
export function forget(place) {
  clearInterval(counting.get(place));
  empty(place);
  place.hidden = true;
}

export function empty(place) {
  place.textContent = "";
}

/** Say what is wrong with a field, beside it; nothing is wrong with it where the words are empty. */
export function wrong(field, words) {
  document.getElementById(`${field.id}-wrong`).textContent = words;
  field.setAttribute("aria-invalid", String(Boolean(words)));
  if (words) field.focus();
}

// Seen, not spoken: a screen reader hears the sentence once, and once that it is over.
function count(place, seconds) {
  const until = performance.now() + seconds * 1000;
  const left = made("span", "left");
  left.setAttribute("aria-hidden", "true");
  place.append(left);
  const tick = () => {
    const rest = Math.ceil((until - performance.now()) / 1000);
    left.textContent = rest > 0 ? `${rest} s` : "";
    if (rest > 0) return;
    clearInterval(counting.get(place));
    place.textContent = "You can try again now.";
  };
  counting.set(place, setInterval(tick, 250));
  tick();
}
