/**
 * One request over Node's own HTTP server, without a framework between: measured, half of what a create cost the process was the framework's
 * layers and the pool, and identity providers push in bursts.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse as parseQuery } from 'node:querystring';
import { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { UsherError } from '../../errors.ts';
import type { Caller } from './endpoint.ts';

/** A request and what is found out about it on its way. */
export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  requestId: string;
  /** Behind /scim/v2, without the query: `/Users/2819c223`. */
  path: string;
  query: Record<string, unknown>;
  /** Ends with /scim/v2. */
  base: string;
  /** Of the client, also behind a proxy on this machine. */
  address: string;
  caller: Caller | null;
  body: unknown;
  refusal: string | null;
}

export const scimPath = '/scim/v2';

/** Is this address below `/scim/v2`, in any letter case? */
export function isScim(url: string): boolean {
  return /^(?:https?:\/\/[^/?]*)?\/scim\/v2(?:[/?]|$)/i.test(url);
}

export function openExchange(
  request: IncomingMessage,
  response: ServerResponse,
  publicUrl: string | null,
  requestId: string,
): Exchange {
  // RFC 9112 section 3.2.2: the absolute form, as a proxy sends it, is the same request.
  const url = (request.url ?? '/').replace(/^https?:\/\/[^/?]*/i, '');
  const question = url.indexOf('?');
  const whole = question < 0 ? url : url.slice(0, question);
  return {
    request,
    response,
    requestId,
    path: whole.slice(scimPath.length) || '/',
    query: question < 0 ? {} : parseQuery(url.slice(question + 1)),
    base: `${publicUrl ?? originOf(request)}${scimPath}`,
    address: addressOf(request),
    caller: null,
    body: undefined,
    refusal: null,
  };
}

const isLoopback = (address: string): boolean => /^(::1$|(::ffff:)?127\.)/.test(address);
const forwarded = (request: IncomingMessage, name: string): string[] =>
  isLoopback(request.socket.remoteAddress ?? '')
    ? String(request.headers[name] ?? '')
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== '')
    : [];

/** What a proxy on this machine says of the client is believed; what a client says of itself is not. */
function originOf(request: IncomingMessage): string {
  const protocol = forwarded(request, 'x-forwarded-proto')[0] ?? 'http';
  const host = forwarded(request, 'x-forwarded-host')[0] ?? request.headers.host ?? 'localhost';
  return `${protocol === 'https' ? 'https' : 'http'}://${host}`;
}

function addressOf(request: IncomingMessage): string {
  const hops = [...forwarded(request, 'x-forwarded-for'), request.socket.remoteAddress ?? ''];
  // From the right: the last one that is no proxy of ours.
  return hops.reverse().find((hop) => !isLoopback(hop)) ?? hops.at(-1) ?? '';
}

/** @throws UsherError `unsupported_media_type`, `payload_too_large`, `invalid_syntax` */
export async function readJson(request: IncomingMessage, limitBytes: number): Promise<unknown> {
  checkMediaType(request);
  const bytes = await readBody(request, limitBytes);
  if (bytes.length === 0) throw new UsherError('invalid_syntax', 'The body is empty.');
  checkDepth(bytes);
  try {
    // Drops a byte order mark, and refuses what is no UTF-8 (RFC 8259 section 8.1).
    return JSON.parse(utf8.decode(bytes)) as unknown;
  } catch (error) {
    throw new UsherError('invalid_syntax', 'The body is no JSON.', { cause: error });
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** RFC 7644 section 3.1 and 3.8. */
function checkMediaType(request: IncomingMessage): void {
  if (request.headers['content-length'] === '0') throw new UsherError('invalid_syntax', 'The body is empty.');
  const given = request.headers['content-type'] ?? 'application/scim+json';
  if (given === 'application/scim+json' || given === 'application/json') return;
  const [type = '', ...parameters] = given
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  if (type !== 'application/scim+json' && type !== 'application/json')
    throw new UsherError('unsupported_media_type', `${type} is not supported.`);
  const charset = parameters
    .find((parameter) => parameter.startsWith('charset='))
    ?.slice(8)
    .replace(/"/g, '');
  if (charset && charset !== 'utf-8' && charset !== 'utf8')
    throw new UsherError('unsupported_media_type', `charset ${charset} is not supported.`);
}

const decoders = { gzip: createGunzip, 'x-gzip': createGunzip, deflate: createInflate, br: createBrotliDecompress };

async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const encoding = (request.headers['content-encoding'] ?? 'identity').toLowerCase();
  const tooLarge = () => new UsherError('payload_too_large', `The body is larger than ${limitBytes} bytes.`);
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) throw tooLarge();
  let stream: NodeJS.ReadableStream = request;
  if (encoding !== 'identity') {
    if (!Object.hasOwn(decoders, encoding))
      throw new UsherError('unsupported_media_type', 'The encoding is not supported.');
    stream = request.pipe(decoders[encoding as keyof typeof decoders]());
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const cut = (error: unknown) => {
      if (stream instanceof Transform) stream.destroy();
      reject(new UsherError('invalid_syntax', 'The body did not arrive whole.', { cause: error }));
    };
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length;
      // Also counted unpacked: a small body can unpack to any size.
      if (length > limitBytes) {
        request.unpipe();
        stream.removeAllListeners('data');
        // A decoder that is merely not listened to goes on unpacking.
        if (stream instanceof Transform) stream.destroy();
        reject(tooLarge());
      } else chunks.push(chunk);
    });
    stream.on('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)));
    stream.on('error', cut);
    request.on('error', cut);
    request.on('aborted', cut);
  });
}

/** Deeper than any SCIM resource; what walks a body may recurse this far. */
const deepestBody = 32;

/** More attributes than any schema has; every one of them is looked up. */
const mostKeys = 1000;

/** Counts brackets and keys outside of texts, before anything is parsed: one pass, no recursion. */
function checkDepth(body: Buffer): void {
  let depth = 0;
  let inText = false;
  const keys: number[] = [];
  for (let at = 0; at < body.length; at++) {
    const byte = body[at];
    if (inText) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) inText = false;
    } else if (byte === 0x22) inText = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > deepestBody)
        throw new UsherError('invalid_syntax', `The body is nested deeper than ${deepestBody}.`);
      keys[depth] = 0;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
    else if (byte === 0x3a) {
      keys[depth] = (keys[depth] ?? 0) + 1;
      if ((keys[depth] ?? 0) > mostKeys)
        throw new UsherError('too_many', `One object of the body has more than ${mostKeys} attributes.`);
    }
  }
}

/** What is left of a refused body this small is read to its end, and the connection kept. Bytes. */
const smallBody = 65_536;

export function send(
  { request, response, requestId }: Exchange,
  status: number,
  headers: Record<string, string>,
  body?: unknown,
): void {
  const text = body === undefined ? '' : JSON.stringify(body);
  // Left in the pipe, the rest of a refused body would be read as the next request.
  if (!request.complete) {
    if (!(Number(request.headers['content-length']) <= smallBody)) headers.Connection = 'close';
    request.resume();
  }
  response.writeHead(status, {
    'X-Request-Id': requestId,
    ...(body === undefined ? {} : { 'Content-Type': 'application/scim+json; charset=utf-8' }),
    ...(status === 204 || status === 304 ? {} : { 'Content-Length': Buffer.byteLength(text) }),
    ...headers,
  });
  response.end(text);
}
