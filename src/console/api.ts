/** The API as the console sees it. The types are those that the OpenAPI document is made of. */
import type { z } from 'zod';
import type * as shapes from '../api/shapes.ts';

export type Person = z.output<typeof shapes.person>;
export type ByHandPlan = z.output<typeof shapes.byHandPlan>;
export type Said = z.output<typeof shapes.said>;
export type DelegationReport = z.output<typeof shapes.delegationReport>;
export type Import = z.output<typeof shapes.shownImport>;
export type ListedImport = z.output<typeof shapes.listedImport>;
export type ImportRow = z.output<typeof shapes.importRow>;
export type ImportPace = z.output<typeof shapes.importPace>;
export type PolicyDiff = z.output<typeof shapes.policyDiff>;
export type DelegationWays = z.output<typeof shapes.delegationWays>;
export type CalendarConnection = z.output<typeof shapes.calendarConnection>;
export type Condition = z.output<typeof shapes.condition>;
export type Summary = z.output<typeof shapes.summary>;
export type ReadinessDay = z.output<typeof shapes.readinessDay>;
export type HistoryRow = z.output<typeof shapes.historyRow>;
export type ProvisionResult = z.output<typeof shapes.provisionResult>;
export type Run = z.output<typeof shapes.run>;
export type PlanItem = z.output<typeof shapes.planItem>;
export type Drift = z.output<typeof shapes.drift>;
export type Task = z.output<typeof shapes.task>;
export type Worksheet = z.output<typeof shapes.worksheet>;
export type Source = z.output<typeof shapes.source>;
export type Connections = z.output<typeof shapes.connections>;
export type Token = z.output<typeof shapes.token>;
export type LoggedRequest = z.output<typeof shapes.loggedRequest>;
export type Alert = z.output<typeof shapes.alert>;
export type Session = z.output<typeof shapes.session>;
export type AccountUser = z.output<typeof shapes.accountUser>;
export type BookingPage = z.output<typeof shapes.bookingPage>;
export type Permission = z.output<typeof shapes.permission>;

export interface Items<T> {
  items: T[];
}
export interface Listed<T> extends Items<T> {
  nextCursor: string | null;
  total: number;
}

/** A refusal, in the words of the API (RFC 9457). */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly next: string | null;
  constructor(status: number, body: { code?: string; title?: string; detail?: string; next?: string }) {
    super(body.detail ?? body.title ?? `status ${status}`);
    this.status = status;
    this.code = body.code ?? 'unknown';
    this.next = body.next ?? null;
  }
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export async function call<T>(method: Method, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      ...(signal ? { signal } : {}),
      headers: { Accept: 'application/json', ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    // Nobody waits for it any more.
    if (signal?.aborted) throw error;
    throw new Problem(0, { code: 'offline' });
  }
  if (response.status === 401) {
    // The session ended: the server leads to the sign-in, and back here from there.
    window.location.reload();
  }
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  const read: unknown = text === '' || !isJson ? text : JSON.parse(text);
  if (!response.ok) throw new Problem(response.status, typeof read === 'object' && read !== null ? read : {});
  return read as T;
}

/** A file, which takes its time: `told` hears how much of it is there, from 0 to 1. */
export function upload<T>(path: string, file: Blob, told: (share: number) => void, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `/api/v1${path}`);
    request.setRequestHeader('Content-Type', 'text/csv');
    request.setRequestHeader('Accept', 'application/json');
    request.responseType = 'json';
    request.upload.onprogress = ({ loaded, total }) => told(total > 0 ? loaded / total : 0);
    request.onerror = () => reject(new Problem(0, { code: 'offline' }));
    request.onabort = () => reject(signal.reason);
    request.onload = () => {
      if (request.status === 401) window.location.reload();
      if (request.status < 300) resolve(request.response as T);
      else reject(new Problem(request.status, (request.response ?? {}) as Record<string, string>));
    };
    signal.addEventListener('abort', () => request.abort());
    request.send(file);
  });
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => call<T>('GET', path, undefined, signal);
export const post = <T>(path: string, body: unknown = {}): Promise<T> => call<T>('POST', path, body);

/** What of these is set, as a query. */
export function query(values: Record<string, string | number | null | undefined>): string {
  const set = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return set.length === 0 ? '' : `?${new URLSearchParams(set.map(([name, value]) => [name, String(value)]))}`;
}
