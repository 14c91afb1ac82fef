/** Booking pages: one owner, always; enabled only for an owner with the license, which a foreign key holds to. */
import type pg from 'pg';
import type { AccountPage } from '../domain/account.ts';
import { schedulingLicense } from '../domain/license.ts';
import { UsherError } from '../errors.ts';
import { newId } from '../ids.ts';

export interface PageRow {
  page_id: string;
  link_name: string;
  title: string | null;
  owner_id: string;
  enabled: boolean;
  disabled_by: string | null;
  disabled_why: string | null;
  created_at: Date;
}

export const pageFrom = (row: PageRow): AccountPage => ({
  pageId: row.page_id,
  linkName: row.link_name,
  title: row.title,
  ownerId: row.owner_id,
  enabled: row.enabled,
  disabledBy: row.disabled_by,
  disabledWhy: row.disabled_why,
});

export async function isLicensed(client: pg.PoolClient, accountUserId: string): Promise<boolean> {
  const { rowCount } = await client.query({
    name: 'account-is-licensed',
    // Shared: the license does not go before the page leans on it.
    text: 'select 1 from account_licenses where account_user_id = $1 and kind = $2 for key share',
    values: [accountUserId, schedulingLicense],
  });
  return (rowCount ?? 0) > 0;
}

export async function mustBeLicensed(client: pg.PoolClient, accountUserId: string): Promise<void> {
  if (!(await isLicensed(client, accountUserId))) throw needsLicense();
}

const needsLicense = (): UsherError =>
  new UsherError(
    'needs_license',
    `A page is enabled only for an owner with a «${schedulingLicense}» license, and this owner has none.`,
  );

export interface NewPage {
  linkName: string;
  ownerId: string;
}

/** Enabled pages of licensed owners, all or none; in order, whether each is new. */
export async function insertPages(client: pg.PoolClient, pages: NewPage[]): Promise<boolean[]> {
  const owners = [...new Set(pages.map((page) => page.ownerId))];
  const licensed = await client.query({
    name: 'account-are-licensed',
    text: 'select 1 from account_licenses where account_user_id = any ($1::uuid[]) and kind = $2 for key share',
    values: [owners, schedulingLicense],
  });
  if ((licensed.rowCount ?? 0) < owners.length) throw needsLicense();
  const fresh = pages.map((page) => ({ ...page, pageId: newId() }));
  const { rows } = await client.query<{ page_id: string }>({
    name: 'account-insert-pages',
    text: `insert into account_pages (page_id, link_name, owner_id, enabled, created_by)
      select x."pageId", x."linkName", x."ownerId", true, 'usher' from jsonb_to_recordset($1::jsonb) as x ("pageId" uuid, "linkName" text, "ownerId" uuid)
      on conflict (link_name) do nothing returning page_id`,
    values: [JSON.stringify(fresh)],
  });
  const made = new Set(rows.map((row) => row.page_id));
  return fresh.map((page) => made.has(page.pageId));
}

/** Every page that the user owns, because the license goes (rule 11). `by` is `license` when Usher takes it, and an Administrator's name when a person does: that one is not undone by Usher. */
export async function disablePagesOf(client: pg.PoolClient, ownerId: string, by: string): Promise<string[]> {
  const { rows } = await client.query<{ link_name: string }>(
    `update account_pages set enabled = false, disabled_by = $2, disabled_why = 'the owner has no license', disabled_at = now()
     where owner_id = $1 and enabled returning link_name`,
    [ownerId, by],
  );
  return rows.map((row) => row.link_name);
}

/** Pages that were disabled because an Administrator took the license are the rule's again, and the next step enables them. */
export async function enableWithLicense(client: pg.PoolClient, ownerId: string, kind: string): Promise<void> {
  if (kind !== schedulingLicense) return;
  await client.query(
    `update account_pages set disabled_by = 'license' where owner_id = $1 and not enabled and disabled_why = 'the owner has no license'`,
    [ownerId],
  );
}

/**
 * All pages of one user to another. They stay as they are where somebody was named who has the license; else they arrive disabled, by nobody's
 * decision: Usher enables what it assigns next.
 */
export async function handOver(
  client: pg.PoolClient,
  fromId: string,
  toId: string,
  isNamed: boolean,
): Promise<string[]> {
  const { rows } = await client.query<{ link_name: string }>(
    `update account_pages p set owner_id = $2, enabled = p.enabled and k.keeps,
       disabled_by = case when p.enabled and not k.keeps then 'usher' else p.disabled_by end,
       disabled_why = case when p.enabled and not k.keeps then 'the former owner left' else p.disabled_why end,
       disabled_at = case when p.enabled and not k.keeps then now() else p.disabled_at end
     from (select $3::boolean and exists (select 1 from account_licenses where account_user_id = $2 and kind = $4) as keeps) as k
     where p.owner_id = $1 returning p.link_name`,
    [fromId, toId, isNamed, schedulingLicense],
  );
  return rows.map((row) => row.link_name);
}

/** False when the page has another owner by now. */
export async function assignPage(
  client: pg.PoolClient,
  pageId: string,
  fromId: string,
  toId: string,
  enable: boolean,
  by: string,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `update account_pages set owner_id = $3, enabled = $4, disabled_by = case when $4 then null else coalesce(disabled_by, $5) end,
       disabled_why = case when $4 then null else coalesce(disabled_why, 'the former owner left') end
     where page_id = $1 and owner_id = $2`,
    [pageId, fromId, toId, enable, by],
  );
  return (rowCount ?? 0) > 0;
}
