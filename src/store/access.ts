/** Tokens (hashes only), sources, and when they were last heard of. */
import { UsherError } from '../errors.ts';
import { isUuid, newId } from '../ids.ts';
import type { AccessStore, LiveToken } from '../ports.ts';
import { type Database, run, transaction } from './database.ts';

interface TokenRow {
  token_id: string;
  kind: 'scim' | 'admin';
  source: string | null;
  label: string;
  hash: string;
  created_at: Date;
  expires_at: Date | null;
  last_used_at: Date | null;
}

const tokenFrom = (row: TokenRow): LiveToken => ({
  tokenId: row.token_id,
  kind: row.kind,
  source: row.source,
  label: row.label,
  hash: row.hash,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  lastUsedAt: row.last_used_at,
});

/** Two live tokens a source: the old and the new one of a rotation. */
const tokensPerSource = 2;

const alive = 'revoked_at is null and (expires_at is null or expires_at > now())';

export function accessStore({ pool, reads }: Database): AccessStore {
  return {
    async liveTokens() {
      return (
        await run<TokenRow>(
          // Not over the pool: whoever waits for a lock there must not keep everybody else out.
          reads,
          { name: 'live-tokens', text: `select * from tokens where ${alive} order by created_at` },
          [],
        )
      ).map(tokenFrom);
    },

    addToken: (token) =>
      transaction(pool, async (client) => {
        await client.query(`select pg_advisory_xact_lock(hashtextextended('usher/tokens', 0))`);
        // A setting that changed replaces the token that it gave before.
        if (token.fixed)
          await client.query(
            'update tokens set revoked_at = now() where fixed and label = $1 and hash <> $2 and revoked_at is null',
            [token.label, token.hash],
          );
        const same = await client.query<TokenRow>('select * from tokens where hash = $1', [token.hash]);
        if (same.rows[0]) {
          // The settings name it again: it lives again.
          if (token.fixed)
            await client.query('update tokens set revoked_at = null, source = $2 where hash = $1', [
              token.hash,
              token.source,
            ]);
          return tokenFrom(same.rows[0]);
        }
        if (token.source && !token.fixed) {
          const { rowCount } = await client.query(`select 1 from tokens where source = $1 and not fixed and ${alive}`, [
            token.source,
          ]);
          if ((rowCount ?? 0) >= tokensPerSource)
            throw new UsherError('too_many', `Source ${token.source} has two live tokens already. Revoke one first.`);
        }
        const { rows } = await client.query<TokenRow>(
          'insert into tokens (token_id, kind, source, label, hash, expires_at, fixed) values ($1, $2, $3, $4, $5, $6, $7) returning *',
          [newId(), token.kind, token.source, token.label, token.hash, token.expiresAt, token.fixed ?? false],
        );
        if (!rows[0]) throw new UsherError('internal', 'The insert returned nothing.');
        return tokenFrom(rows[0]);
      }),

    async retireSettingTokens(labels) {
      await run(
        pool,
        {
          name: 'retire-tokens',
          text: 'update tokens set revoked_at = now() where fixed and label = any($1::text[]) and revoked_at is null',
        },
        [labels],
      );
    },

    async revokeToken(tokenId) {
      if (!isUuid(tokenId)) return false;
      return (
        (
          await run(
            pool,
            {
              name: 'revoke-token',
              text: 'update tokens set revoked_at = now() where token_id = $1 and revoked_at is null returning 1',
            },
            [tokenId],
          )
        ).length > 0
      );
    },

    async touch(tokenIds, sources, at) {
      await run(
        pool,
        { name: 'touch-tokens', text: 'update tokens set last_used_at = $2 where token_id = any($1::uuid[])' },
        [tokenIds, at],
      );
      await run(
        pool,
        { name: 'touch-sources', text: 'update sources set last_heard_at = $2 where name = any($1::text[])' },
        [sources, at],
      );
    },

    async syncSources(sources) {
      for (const source of sources) {
        await run(
          pool,
          {
            name: 'sync-source',
            text: 'insert into sources (name, kind) values ($1, $2) on conflict (name) do update set kind = excluded.kind',
          },
          [source.name, source.kind],
        );
      }
    },

    async sources() {
      const rows = await run<{ name: string; kind: string; paused_at: Date | null; last_heard_at: Date | null }>(
        pool,
        { name: 'sources', text: 'select * from sources order by name' },
        [],
      );
      return rows.map((row) => ({
        name: row.name,
        kind: row.kind,
        pausedAt: row.paused_at,
        lastHeardAt: row.last_heard_at,
      }));
    },

    async pauseSource(name, paused) {
      const rows = await run(
        pool,
        {
          name: 'pause-source',
          text: 'update sources set paused_at = case when $2::boolean then coalesce(paused_at, now()) end where name = $1 returning 1',
        },
        [name, paused],
      );
      return rows.length > 0;
    },
  };
}
