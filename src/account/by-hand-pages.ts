/** Booking pages, by the hand of an Administrator or of the owner. */
import type pg from 'pg';
import type { AccountAdministration, Act, PagesQuery, ShownPage } from '../administration.ts';
import { bookable } from '../domain/bookable.ts';
import type { Condition } from '../domain/conditions.ts';
import { schedulingLicense } from '../domain/license.ts';
import type { Policy } from '../domain/policy.ts';
import { UsherError } from '../errors.ts';
import { isUuid, newId } from '../ids.ts';
import { checkMatch, etagOf, keptBy, lockPersonBehind, once, ruling, touchPerson, writeHistory } from './acts.ts';
import { type AccountDatabase, change } from './database.ts';
import { bindings, pageOf, readCursor, searched } from './lists.ts';
import { assignPage, isLicensed, type PageRow } from './pages.ts';

interface Row extends PageRow {
  owner_name: string;
  owner_email: string;
  owner_suspended: boolean;
  owner_licensed: boolean;
  delegation: Pick<Condition, 'status' | 'reason' | 'message'> | null;
}

const shownColumns = `p.*, u.name as owner_name, u.email as owner_email, u.suspended as owner_suspended,
  exists (select 1 from account_licenses l where l.account_user_id = p.owner_id and l.kind = '${schedulingLicense}') as owner_licensed,
  pe.conditions -> 'Delegation' as delegation`;
const around =
  'join account_users u on u.account_user_id = p.owner_id left join people pe on pe.account_user_id = p.owner_id';

const etag = (row: PageRow): string =>
  etagOf([row.page_id, row.link_name, row.title, row.owner_id, row.enabled, row.disabled_by, row.disabled_why]);

const sortKeys: Record<PagesQuery['sort'], string> = {
  linkName: 'p.link_name',
  title: 'lower(coalesce(p.title, p.link_name))',
};

type PageActs = Pick<
  AccountAdministration,
  'pages' | 'page' | 'createPages' | 'editPage' | 'removePage' | 'assignPage'
>;

export function pageActs(database: AccountDatabase, founderEmail: string, delegation: Policy['delegation']): PageActs {
  const shown = (row: Row): ShownPage => ({
    pageId: row.page_id,
    linkName: row.link_name,
    title: row.title ?? row.link_name,
    owner: { accountUserId: row.owner_id, name: row.owner_name, email: row.owner_email },
    enabled: row.enabled,
    disabledBy: row.disabled_by,
    disabledWhy: row.disabled_why,
    createdAt: row.created_at,
    bookable: bookable(
      {
        page: {
          linkName: row.link_name,
          enabled: row.enabled,
          disabledBy: row.disabled_by,
          disabledWhy: row.disabled_why,
        },
        owner: {
          email: row.owner_email,
          suspended: row.owner_suspended,
          licenses: row.owner_licensed ? [{ kind: schedulingLicense, givenByUsher: false, rule: null }] : [],
        },
        delegation: row.delegation,
      },
      delegation,
    ),
    etag: etag(row),
  });
  const missing = (pageId: string): UsherError =>
    new UsherError('not_found', `The account has no Booking page ${pageId.slice(0, 100)}.`);
  const page = async (pageId: string): Promise<ShownPage> => {
    const rows = isUuid(pageId)
      ? await database.query<Row>(
          'account-shown-page',
          `select ${shownColumns} from account_pages p ${around} where p.page_id = $1`,
          [pageId],
        )
      : [];
    if (!rows[0]) throw missing(pageId);
    return shown(rows[0]);
  };
  /** The person behind the owner, then the page, both locked. */
  const lock = async (client: pg.PoolClient, pageId: string, act: Act) => {
    if (!isUuid(pageId)) throw missing(pageId);
    const owner = await client.query<{ owner_id: string }>('select owner_id from account_pages where page_id = $1', [
      pageId,
    ]);
    const ownerId = owner.rows[0]?.owner_id;
    if (!ownerId) throw missing(pageId);
    const person = await lockPersonBehind(client, ownerId);
    const { rows } = await client.query<PageRow>('select * from account_pages where page_id = $1 for update', [pageId]);
    const row = rows[0];
    if (!row) throw missing(pageId);
    // Handed over at this moment: looked at anew.
    if (row.owner_id !== ownerId) throw new UsherError('conflict', 'The page got another owner at the same time.');
    checkMatch(act, etag(row));
    return { row, person, subject: person?.personId ?? ownerId };
  };
  return {
    page,

    async pages(query) {
      const { values, bind } = bindings();
      const tests: string[] = [];
      if (query.filter) tests.push(...searched('p.search', query.filter, bind));
      if (query.ownerId) tests.push(`p.owner_id = ${bind(query.ownerId)}`);
      if (query.enabled !== undefined) tests.push(`p.enabled = ${bind(query.enabled)}`);
      const where = tests.length > 0 ? tests.join(' and ') : 'true';
      const counting = database.list<{ total: string }>(
        `select count(*) as total from account_pages p where ${where}`,
        [...values],
      );
      const key = sortKeys[query.sort];
      const place = query.cursor ? readCursor(query.sort, query.cursor) : null;
      const direction = query.descending ? 'desc' : 'asc';
      const order = `${key} ${direction}, p.page_id ${direction}`;
      const behindPlace = place
        ? ` and (${key}, p.page_id) ${query.descending ? '<' : '>'} (${bind(place.key)}, ${bind(place.id)}::uuid)`
        : '';
      const [counted, rows] = await Promise.all([
        counting,
        database.list<Row & { place_key: string }>(
          `select ${shownColumns}, ${key} as place_key from (
             select * from account_pages p where ${where}${behindPlace} order by ${order} limit ${bind(query.limit + 1)}) as p ${around} order by ${order}`,
          values,
        ),
      ]);
      return pageOf(rows, query, query.sort, (row) => row.page_id, shown, counted);
    },

    createPages: (pages, whenTaken, act) =>
      change(database, (client) =>
        once(client, act, async () => {
          const founder = await client.query<{ account_user_id: string }>(
            `select account_user_id from account_users where email_key = $1 or founder
             order by (email_key = $1) desc limit 1`,
            [founderEmail],
          );
          const ownerOf = (ownerId: string | null): string => {
            const id = ownerId ?? founder.rows[0]?.account_user_id;
            if (!id)
              throw new UsherError('invalid_value', 'ownerId: name the owner; there is no founding Administrator.');
            return id;
          };
          const wanted = pages.map((entry) => ({ ...entry, pageId: newId(), ownerId: ownerOf(entry.ownerId) }));
          // Locked: an owner neither goes nor loses the license before the pages are there.
          const owners = await client.query<{ account_user_id: string; licensed: boolean }>(
            `select u.account_user_id, exists (select 1 from account_licenses l where l.account_user_id = u.account_user_id and l.kind = $2) as licensed
             from account_users u where u.account_user_id = any ($1::uuid[]) order by u.account_user_id for share`,
            [[...new Set(wanted.map((entry) => entry.ownerId))], schedulingLicense],
          );
          const known = new Map(owners.rows.map((row) => [row.account_user_id, row.licensed]));
          const strangers = wanted.filter((entry) => !known.has(entry.ownerId));
          if (strangers[0])
            throw new UsherError(
              'invalid_value',
              `ownerId: the account has no user ${strangers[0].ownerId.slice(0, 100)}.`,
            );
          const { rows } = await client.query<{
            page_id: string;
            link_name: string;
            owner_id: string;
            enabled: boolean;
          }>(
            `insert into account_pages (page_id, link_name, title, owner_id, enabled, disabled_by, disabled_why, disabled_at, created_by)
             select n."pageId", n."linkName", n.title, n."ownerId", n.enabled and n.licensed,
               case when n.enabled and not n.licensed then 'license' end,
               case when n.enabled and not n.licensed then 'the owner has no license' end,
               case when not (n.enabled and n.licensed) then now() end, $2
             from jsonb_to_recordset($1::jsonb) as n ("pageId" uuid, "linkName" text, title text, "ownerId" uuid, enabled boolean, licensed boolean)
             on conflict (link_name) do nothing returning page_id, link_name, owner_id, enabled`,
            [JSON.stringify(wanted.map((entry) => ({ ...entry, licensed: known.get(entry.ownerId) }))), act.actor],
          );
          if (act.reserved) {
            const { rows: wished } = await client.query<{ name: string }>(
              `select name from unnest($1::text[]) as name where exists (
                 select 1 from people p where p.lifecycle = 'wanted' and p.wish -> 'bookingPages' <> '[]'
                   and p.wish -> 'bookingPages' @> to_jsonb(name) and p.account_user_id is distinct from $2)`,
              [rows.map((row) => row.link_name), act.actingId],
            );
            if (wished[0])
              throw new UsherError(
                'uniqueness',
                `linkName: ${wished[0].name} is kept for the person whom a rule names.`,
              );
          }
          const made = new Set(rows.map((row) => row.page_id));
          const existing = wanted.filter((entry) => !made.has(entry.pageId)).map((entry) => entry.linkName);
          if (whenTaken === 'refuse' && existing.length > 0)
            throw new UsherError(
              'uniqueness',
              `linkName: taken by another page: ${existing.slice(0, 20).join(', ')}${existing.length > 20 ? ` and ${existing.length - 20} more` : ''}. Nothing was created.`,
            );
          await client.query(
            `insert into history (person_id, actor, cause, action, before, after)
             select coalesce(pe.person_id, m."ownerId"), $2, $3, 'account.page_created', null,
               jsonb_build_object('pageId', m."pageId", 'linkName', m."linkName", 'owner', m."ownerId", 'enabled', m.enabled)
             from jsonb_to_recordset($1::jsonb) as m ("pageId" uuid, "linkName" text, "ownerId" uuid, enabled boolean)
             left join people pe on pe.account_user_id = m."ownerId"`,
            [
              JSON.stringify(
                rows.map((row) => ({
                  pageId: row.page_id,
                  linkName: row.link_name,
                  ownerId: row.owner_id,
                  enabled: row.enabled,
                })),
              ),
              act.actor,
              act.by,
            ],
          );
          // Somebody may be waiting for a page of this name.
          await client.query(
            `update people p set conditions = jsonb_set(p.conditions, '{BookingPages,nextCheckAt}', to_jsonb(now())), next_at = now()
             where p.lifecycle = 'wanted' and p.wish -> 'bookingPages' <> '[]' and p.wish -> 'bookingPages' ?| $1::text[]
               and p.conditions -> 'BookingPages' ->> 'reason' = 'page_missing'`,
            [rows.map((row) => row.link_name)],
          );
          return {
            made: rows.map((row) => ({
              pageId: row.page_id,
              linkName: row.link_name,
              ownerId: row.owner_id,
              enabled: row.enabled,
            })),
            existing,
          };
        }),
      ),

    async editPage(pageId, edit, act) {
      await change(database, async (client) => {
        const { row, person, subject } = await lock(client, pageId, act);
        if (edit.enabled && !row.enabled && !(await isLicensed(client, row.owner_id)))
          throw new UsherError(
            'needs_license',
            `enabled: the owner of «${row.link_name}» has no «${schedulingLicense}» license, and the page can not be enabled before.`,
          );
        const after = {
          linkName: edit.linkName ?? row.link_name,
          title: edit.title ?? row.title,
          enabled: edit.enabled ?? row.enabled,
          disabledBy: row.disabled_by,
          disabledWhy: row.disabled_why,
        };
        if (edit.enabled === true) Object.assign(after, { disabledBy: null, disabledWhy: null });
        if (edit.enabled === false && (row.enabled || edit.why !== undefined))
          Object.assign(after, { disabledBy: act.actor, disabledWhy: edit.why ?? 'by hand' });
        await client.query(
          `update account_pages set link_name = $2, title = $3, enabled = $4, disabled_by = $5, disabled_why = $6,
             disabled_at = case when $4 then null when enabled then now() else disabled_at end where page_id = $1`,
          [pageId, after.linkName, after.title, after.enabled, after.disabledBy, after.disabledWhy],
        );
        const before = {
          linkName: row.link_name,
          title: row.title,
          enabled: row.enabled,
          disabledBy: row.disabled_by,
          disabledWhy: row.disabled_why,
        };
        const changed = (Object.keys(after) as (keyof typeof after)[]).filter(
          (field) => after[field] !== before[field],
        );
        if (changed.length === 0) return;
        await writeHistory(client, subject, act, {
          action: 'account.page_updated',
          before: { pageId, ...Object.fromEntries(changed.map((field) => [field, before[field]])) },
          after: Object.fromEntries(changed.map((field) => [field, after[field]])),
        });
        if (person) await touchPerson(client, person.personId, null);
      });
      return page(pageId);
    },

    removePage: (pageId, act) =>
      change(database, async (client) => {
        const { row, person, subject } = await lock(client, pageId, act);
        await client.query('delete from account_pages where page_id = $1', [pageId]);
        await writeHistory(client, subject, act, {
          action: 'account.page_deleted',
          before: { pageId, linkName: row.link_name, title: row.title, owner: row.owner_id, enabled: row.enabled },
          after: null,
        });
        if (person) await touchPerson(client, person.personId, null);
      }),

    async assignPage(pageId, ownerId, act) {
      if (!isUuid(ownerId))
        throw new UsherError('invalid_value', 'ownerId: name a user of the account by accountUserId.');
      await change(database, async (client) => {
        const heir = await lockPersonBehind(client, ownerId);
        const { row, subject } = await lock(client, pageId, act);
        const target = await client.query<{ suspended: boolean; email: string }>(
          'select suspended, email from account_users where account_user_id = $1 for share',
          [ownerId],
        );
        const owner = target.rows[0];
        if (!owner) throw new UsherError('invalid_value', `ownerId: the account has no user ${ownerId}.`);
        if (owner.suspended)
          throw new UsherError('account_refused', `ownerId: ${owner.email} is suspended and can not take a page.`);
        if (row.owner_id === ownerId) return;
        const enable = row.enabled && (await isLicensed(client, ownerId));
        if (!(await assignPage(client, pageId, row.owner_id, ownerId, enable, act.actor)))
          throw new UsherError('conflict', 'The page has another owner by now.');
        await writeHistory(client, heir?.personId ?? ownerId, act, {
          action: 'account.page_assigned',
          before: { pageId, linkName: row.link_name, owner: row.owner_id, enabled: row.enabled },
          after: { owner: ownerId, enabled: enable },
        });
        if (subject !== (heir?.personId ?? ownerId))
          await writeHistory(client, subject, act, {
            action: 'account.page_given_away',
            before: { pageId, linkName: row.link_name },
            after: { owner: ownerId },
          });
        // Whoever a rule wishes the page for: it stays with whom the Administrator gave it to, until that is taken back.
        const { rows: wishing } = await client.query<{ person_id: string; kept: Record<string, never> }>(
          `select person_id, kept from people where lifecycle in ('wanted', 'held', 'leaving', 'suspended') and wish -> 'bookingPages' <> '[]'
             and wish -> 'bookingPages' @> to_jsonb($1::text) and person_id is distinct from $2 order by person_id for no key update`,
          [row.link_name, heir?.personId ?? null],
        );
        for (const other of wishing)
          await touchPerson(client, other.person_id, { ...other.kept, [`page:${row.link_name}`]: keptBy(act) });
        if (heir) {
          const { [`page:${row.link_name}`]: _kept, ...kept } = heir.kept;
          await touchPerson(client, heir.personId, ruling(heir) ? kept : null);
        }
      });
      return page(pageId);
    },
  };
}
