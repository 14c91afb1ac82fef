/**
 * Who is calling? Tokens are stored as SHA-256 only and compared in constant time. Live tokens are kept for a second, so that a
 * revocation in another process is felt within that second; one in this process is felt at once.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { UsherError } from './errors.ts';
import type { AccessStore, LiveToken } from './ports.ts';

export interface Access {
  /** The live token of that kind behind an Authorization header. Throws `unauthorized`; a database outage stays a database outage. */
  identify(authorization: string | undefined, kind: LiveToken['kind']): Promise<LiveToken>;
  forget(): void;
  /** Writes down who was heard of, every few seconds. */
  flush(): Promise<void>;
  isPaused(source: string): Promise<boolean>;
}

const believeForMs = 1000;

export function openAccess(store: AccessStore): Access {
  let known: { at: number; tokens: Promise<LiveToken[]>; paused: Promise<Set<string>> } | undefined;
  let used = new Set<string>();
  let heard = new Set<string>();

  const current = () => {
    if (!known || Date.now() - known.at > believeForMs) {
      const fresh = {
        at: Date.now(),
        tokens: store.liveTokens(),
        paused: store
          .sources()
          .then((sources) => new Set(sources.filter((source) => source.pausedAt).map((source) => source.name))),
      };
      known = fresh;
      for (const part of [fresh.tokens, fresh.paused]) {
        part.catch(() => {
          if (known === fresh) known = undefined;
        });
      }
    }
    return known;
  };

  return {
    async identify(authorization, kind) {
      const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
      if (!given)
        throw new UsherError(
          'unauthorized',
          authorization ? 'The Authorization header is no bearer token.' : 'The Authorization header is missing.',
        );
      const hash = Buffer.from(hashToken(given), 'hex');
      const now = new Date();
      let found: LiveToken | null = null;
      // Every live token is compared, found or not: the time tells nothing.
      for (const token of await current().tokens) {
        const same = timingSafeEqual(Buffer.from(token.hash, 'hex'), hash);
        if (same && token.kind === kind && (!token.expiresAt || token.expiresAt > now)) found = token;
      }
      if (!found) throw new UsherError('unauthorized', 'The token is not known, has expired, or was revoked.');
      used.add(found.tokenId);
      if (found.source) heard.add(found.source);
      return found;
    },
    forget() {
      known = undefined;
    },
    async flush() {
      if (used.size === 0) return;
      const [tokens, sources] = [[...used], [...heard]];
      used = new Set();
      heard = new Set();
      await store.touch(tokens, sources, new Date());
    },
    async isPaused(source) {
      return (await current().paused).has(source);
    },
  };
}

export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** 256 random bits, with a prefix by which a leaked one is recognised. */
export function newToken(kind: LiveToken['kind']): string {
  return `usher_${kind}_${randomBytes(32).toString('base64url')}`;
}
