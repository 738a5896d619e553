// The API as the page uses it: each call gives what was asked for, or throws a Failure with words for a person.

const PATIENCE = 20_000; // milliseconds
const SHOWN = 5; // categories

/** What went wrong, in words; `status` is 0 where no answer came. */
export class Failure extends Error {
  /**
   * @param {string} words
   * @param {{status?: number, seconds?: number, errors?: {where: string, what: string}[]}} details
   */
  constructor(words, { status = 0, seconds = 0, errors = [] } = {}) {
    super(words);
    this.status = status;
    this.seconds = seconds;
    this.errors = errors;
  }
}

export const predict = (product) => ask(`predict?top_k=${SHOWN}`, asJson(product));
export const categories = () => ask("categories");
export const model = () => ask("model");
export const ready = () => ask("health/ready");

/** A token for a name and a password. */
export async function token(username, password) {
  const form = new URLSearchParams({ grant_type: "password", username, password });
  return (await ask("token", { method: "POST", body: form })).access_token;
}

/** Store what a person says of a prediction. */
export function feedback(said, bearer) {
  const request = asJson(said);
  request.headers.Authorization = `Bearer ${bearer}`;
  return ask("feedback", request);
}

function asJson(body) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

// Addresses are relative: the page works under a path of a proxy too.
async function ask(path, request = {}) {
  let answer;
  let body = null;
  try {
    answer = await fetch(path, { ...request, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    body = await answer.json().catch((error) => {
      if (error instanceof SyntaxError) return null; // a proxy's page, say
      throw error;
    });
  } catch (error) {
    throw new Failure(
      error.name === "TimeoutError"
        ? "The server takes too long to answer. Try again in a moment."
        : "The server cannot be reached. Check the network, then try again: your text is kept.",
    );
  }
  if (answer.ok && body !== null) return body;
  throw refused(answer, body ?? {});
}

function refused(answer, problem) {
  const seconds = Math.max(1, Math.ceil(Number(answer.headers.get("Retry-After")) || 1));
  return new Failure(words(answer.status, problem, seconds), {
    status: answer.status,
    seconds,
    errors: Array.isArray(problem.errors) ? problem.errors : [],
  });
}

function words(status, problem, seconds) {
  const detail = typeof problem.detail === "string" ? problem.detail : "";
  switch (status) {
    case 413:
      return "That is too much text for the server. Shorten the description.";
    case 422:
      return detail || "The server does not accept this text.";
    case 429:
      return `Too many requests at once. Try again in ${seconds === 1 ? "a second" : `${seconds} seconds`}.`;
    case 503:
      return Array.isArray(problem.reasons) && problem.reasons.length
        ? `Not ready: ${problem.reasons.join("; ")}.`
        : "No model answers now: the top of the page says why. Your text is kept.";
    default:
      return status >= 500 || !detail ? `The server failed (HTTP ${status}). Try again in a moment.` : detail;
  }
}
