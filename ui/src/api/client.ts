/** One request to the API: what goes out, what comes back, and what is said when it fails. */

/** A refused or failed request. `message` is the server's own sentence; `status` 0 means that nobody answered. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly fields: Readonly<Record<string, string>> = {},
    /** the sentence without what is wrong about single parameters, which `fields` has */
    readonly head: string = message,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

export type Verb = "GET" | "POST" | "PUT" | "DELETE";
export type Parameters = Readonly<Record<string, string | number | undefined>>;

const SENDS_PASSWORD = /^\/(access\/(ticket|password|tfa\/)|cluster\/config\/join$|kvorum\/cluster\/qdevice$)/;
/** How long an answer is waited for; changes look around among the nodes before they answer. */
const DEADLINE_MS = { asked: 30_000, changed: 90_000 };

let csrfToken = "";
let onUnauthorized: (reason: string) => void = () => undefined;

/** Sets the token that accompanies every change from now on. */
export function setCsrfToken(token: string): void {
  csrfToken = token;
}

/** Says whom to tell when the server no longer accepts the ticket. */
export function whenUnauthorized(listener: (reason: string) => void): void {
  onUnauthorized = listener;
}

/**
 * Calls `/api2/json{path}` and returns the answer's data.
 *
 * Throws ApiError with the server's sentence. A 401 is also reported to the session, except where a
 * password is sent along, which may be what is wrong.
 */
export async function call<T>(verb: Verb, path: string, parameters: Parameters = {}): Promise<T> {
  return (await exchange(verb, path, parameters)).data as T;
}

/** Reads what stands beside the data of an answer too, as `call`. */
export async function readWhole<Answer extends Body>(path: string): Promise<Answer> {
  return (await exchange("GET", path, {})) as Answer;
}

/** Asks for a file in a format of its own, as `call`; it may be another each time, hence no link. */
export async function readFile(format: string, path: string, parameters: Parameters = {}): Promise<Blob> {
  const response = await send("POST", path, encode(parameters), format);
  return response.ok ? response.blob() : refused(response, path, await readBody(response));
}

async function exchange(verb: Verb, path: string, parameters: Parameters): Promise<Body> {
  const response = await send(verb, path, encode(parameters));
  const body = await readBody(response);
  return response.ok ? body : refused(response, path, body);
}

function refused(response: Response, path: string, body: Body): never {
  const message = sentence(response, body);
  if (response.status === 401 && !SENDS_PASSWORD.test(path)) onUnauthorized(message);
  throw new ApiError(response.status, message, body.errors ?? {}, headOf(response, body));
}

async function send(verb: Verb, path: string, form: URLSearchParams, format = "json"): Promise<Response> {
  const query = verb === "GET"; // also a DELETE may carry a password, and addresses end up in logs
  const suffix = query && form.size > 0 ? `?${form.toString()}` : "";
  const request: RequestInit = {
    method: verb,
    credentials: "same-origin",
    cache: "no-store",
    signal: AbortSignal.timeout(query ? DEADLINE_MS.asked : DEADLINE_MS.changed),
  };
  if (verb !== "GET") request.headers = { CSRFPreventionToken: csrfToken };
  if (!query) request.body = form;
  try {
    return await fetch(`/api2/${format}${path}${suffix}`, request);
  } catch (error) {
    throw new ApiError(0, error instanceof Error ? error.message : String(error));
  }
}

function encode(parameters: Parameters): URLSearchParams {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) form.append(name, String(value));
  }
  return form;
}

/** What every answer is made of; lists may have more beside their data. */
export interface Body {
  data?: unknown;
  message?: string;
  errors?: Record<string, string>;
}

async function readBody(response: Response): Promise<Body> {
  try {
    const body: unknown = await response.json();
    return typeof body === "object" && body !== null ? body : {};
  } catch {
    return {};
  }
}

/** The sentence to show: the body's message, else the reason phrase, with what is wrong about single parameters. */
function sentence(response: Response, body: Body): string {
  const fields = Object.entries(body.errors ?? {}).map(([name, text]) => `${name}: ${text.trim()}`);
  return [headOf(response, body), ...fields].join("\n");
}

function headOf(response: Response, body: Body): string {
  const message = body.message?.trim();
  return message ? message : response.statusText || `HTTP ${response.status}`;
}
