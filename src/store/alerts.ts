/** What an operator must know: one row a trouble, told once when it begins and once when it is over. */
import { alertLetter, alertPost } from '../domain/alerts.ts';
import { newId } from '../ids.ts';
import type { AlertStore, AlertTargets } from '../ports.ts';
import { type Database, list, run } from './database.ts';

/** Told in the statement that writes it down: an alert that stands was told, also when the process dies behind it. */
const told = `
insert into notices (notice_id, channel, recipient, subject, body)
select gen_random_uuid(), t.channel, t.recipient, $4, case t.channel when 'mail' then $5 else $6 end from changed, unnest($7::text[], $8::text[]) as t (channel, recipient)`;

export function alertStore({ pool, lists }: Database, targets: AlertTargets): AlertStore {
  const receivers = (kind: string): [string[], string[]] => {
    // Overdue tasks have a letter of their own, which names them.
    const mail = kind === 'task_overdue' ? [] : targets.mail;
    return [
      [...mail.map(() => 'mail'), ...(targets.webhook ? ['webhook'] : [])],
      [...mail, ...(targets.webhook ? [targets.webhook] : [])],
    ];
  };
  const tell = (event: 'raised' | 'resolved', key: string, kind: string, message: string): unknown[] => {
    const { subject, text } = alertLetter(event, kind, message);
    return [subject, text, alertPost(event, { key, kind, message }), ...receivers(kind)];
  };
  const count = async (name: string, where: string): Promise<number> => {
    const rows = await list<{ count: string }>(
      lists,
      `select count(*) from people where lifecycle = 'wanted' and ${where} /* ${name} */`,
      [],
    );
    return Number(rows[0]?.count ?? 0);
  };

  return {
    async raiseAlert(key, kind, message) {
      const rows = await run(
        pool,
        {
          name: 'raise-alert',
          text: `with changed as (insert into alerts (key, kind, message) values ($1, $2, $3)
                 on conflict (key) do update set kind = excluded.kind, message = excluded.message, raised_at = now(), resolved_at = null where alerts.resolved_at is not null returning 1),
                 sent as (${told}) select 1 from changed`,
        },
        [key, kind, message, ...tell('raised', key, kind, message)],
      );
      return rows.length > 0;
    },

    async resolveAlert(key) {
      const standing = await run<{ kind: string; message: string }>(
        pool,
        { name: 'standing-alert', text: 'select kind, message from alerts where key = $1 and resolved_at is null' },
        [key],
      );
      const row = standing[0];
      if (!row) return false;
      const rows = await run(
        pool,
        {
          name: 'resolve-alert',
          text: `with changed as (update alerts set resolved_at = now() where key = $1 and kind = $2 and message = $3 and resolved_at is null returning 1),
                 sent as (${told}) select 1 from changed`,
        },
        [key, row.kind, row.message, ...tell('resolved', key, row.kind, row.message)],
      );
      return rows.length > 0;
    },

    async resolveOthers(kind, keys) {
      const rows = await run<{ key: string }>(
        pool,
        {
          name: 'other-alerts',
          text: 'select key from alerts where kind = $1 and resolved_at is null and not key = any ($2::text[])',
        },
        [kind, keys],
      );
      for (const { key } of rows) await this.resolveAlert(key);
    },

    async alerts() {
      const rows = await run<{ key: string; kind: string; message: string; raised_at: Date; resolved_at: Date | null }>(
        pool,
        { name: 'alerts', text: 'select * from alerts order by resolved_at nulls first, raised_at desc limit 200' },
        [],
      );
      return rows.map((row) => ({
        key: row.key,
        kind: row.kind,
        message: row.message,
        raisedAt: row.raised_at,
        resolvedAt: row.resolved_at,
      }));
    },

    async beat(everyHours, to) {
      const rows = await run(
        pool,
        {
          name: 'heartbeat',
          text: `with beat as (insert into facts (key, value) values ('heartbeat_at', now()::text)
                   on conflict (key) do update set value = excluded.value where facts.value::timestamptz < now() - make_interval(secs => $1::float8 * 3600) returning 1)
                 insert into notices (notice_id, channel, recipient, subject, body) select $2, 'webhook', $3, 'heartbeat', $4 from beat returning 1`,
        },
        [everyHours, newId(), to, alertPost('heartbeat', null)],
      );
      return rows.length > 0;
    },

    delegationsLost: () =>
      count('delegations-lost', `first_ready_at is not null and conditions -> 'Delegation' ->> 'status' = 'false'`),
    connectionsDown: () =>
      count(
        'connections-down',
        `(conditions -> 'Delegation' ->> 'reason' in ('connection_down', 'no_consent') or conditions -> 'Delegation' -> 'evidence' ->> 'lastLook' like '%USHER_GRAPH%')`,
      ),
  };
}
