/** How the CLI talks to a running `usher serve`: over its API, like everybody else. */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';

export interface ApiTarget {
  url: string;
  token: string;
}

export class ApiRefusal extends Error {
  readonly status: number;
  readonly next: string | null;
  constructor(status: number, detail: string, next: string | null) {
    super(detail);
    this.name = 'ApiRefusal';
    this.status = status;
    this.next = next;
  }
}

export interface ApiClient {
  get(path: string): Promise<Record<string, unknown>>;
  /** An answer that is no JSON: CSV, a script. */
  text(path: string): Promise<string>;
  /** A table, as it is read. */
  upload(path: string, csv: Readable): Promise<Record<string, unknown>>;
  send(method: 'POST' | 'DELETE', path: string, body?: unknown): Promise<Record<string, unknown>>;
}

export function openApiClient(target: ApiTarget): ApiClient {
  const call = async (
    method: string,
    at: string,
    body?: unknown,
    plain = false,
    csv?: Readable,
  ): Promise<Record<string, unknown> | string> => {
    let response: Response;
    try {
      response = await fetch(`${target.url}/api/v1${at}`, {
        method,
        headers: {
          authorization: `Bearer ${target.token}`,
          ...(csv ? { 'content-type': 'text/csv' } : body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(csv
          ? { body: Readable.toWeb(csv) as unknown as ReadableStream, duplex: 'half' as const }
          : body === undefined
            ? {}
            : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(csv ? 1_800_000 : 60_000),
      });
    } catch {
      throw new ApiRefusal(
        0,
        `No Usher answers at ${target.url}.`,
        'Start «usher serve», or set USHER_PUBLIC_URL to where it runs.',
      );
    }
    const text = await response.text();
    if (plain && response.ok) return text;
    let parsed: Record<string, unknown> = {};
    try {
      parsed = text ? (JSON.parse(text) as Record<string, unknown>) : {};
    } catch {
      throw new ApiRefusal(
        response.status,
        `${target.url} answered ${response.status} with something that is no JSON.`,
        'Check that USHER_PUBLIC_URL leads to Usher.',
      );
    }
    if (!response.ok)
      throw new ApiRefusal(
        response.status,
        String(parsed.detail ?? `The answer was ${response.status}.`),
        parsed.next ? String(parsed.next) : null,
      );
    return parsed;
  };
  return {
    get: async (at) => (await call('GET', at)) as Record<string, unknown>,
    text: async (at) => (await call('GET', at, undefined, true)) as string,
    upload: async (at, csv) => (await call('POST', at, undefined, false, csv)) as Record<string, unknown>,
    send: async (method, at, body) => (await call(method, at, body)) as Record<string, unknown>,
  };
}

const fileIn = (dataDir: string): string => path.join(dataDir, 'cli.json');

/**
 * The first admin token is shown once; for commands of the same operating-system user on the same machine it is kept beside the embedded
 * data, readable by that user only.
 */
export async function keepTarget(dataDir: string, target: ApiTarget): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  await writeFile(fileIn(dataDir), `${JSON.stringify(target)}\n`, { mode: 0o600 });
}

export async function keptTarget(dataDir: string): Promise<ApiTarget | null> {
  try {
    return JSON.parse(await readFile(fileIn(dataDir), 'utf8')) as ApiTarget;
  } catch {
    return null;
  }
}

/** Of several demos that ran here, the one that was started last. */
async function newestTarget(dataDirs: string[]): Promise<ApiTarget | null> {
  const ages = await Promise.all(
    dataDirs.map(async (dataDir) => ({
      dataDir,
      at: await stat(fileIn(dataDir)).then(
        (file) => file.mtimeMs,
        () => 0,
      ),
    })),
  );
  const newest = ages.sort((a, b) => b.at - a.at)[0];
  return newest && newest.at > 0 ? keptTarget(newest.dataDir) : null;
}

/** From the settings first, then from what a running instance left: this folder's, then the demo's. */
export async function findTarget(env: NodeJS.ProcessEnv): Promise<ApiTarget> {
  const dataDir = env.USHER_DATA_DIR || './.usher';
  const kept =
    (await keptTarget(dataDir)) ??
    (await newestTarget([path.join(dataDir, 'demo'), path.join(dataDir, 'demo-oncehub')]));
  const url =
    env.USHER_PUBLIC_URL?.replace(/\/+$/, '') ||
    (env.USHER_PORT || env.USHER_HOST
      ? `http://${env.USHER_HOST || '127.0.0.1'}:${env.USHER_PORT || 8080}`
      : (kept?.url ?? 'http://127.0.0.1:8080'));
  const token = env.USHER_ADMIN_TOKEN || kept?.token;
  if (!token)
    throw new ApiRefusal(
      0,
      'There is no admin token.',
      'Set USHER_ADMIN_TOKEN to the one that «usher serve» showed at its first start.',
    );
  return { url, token };
}
