/** `/api/v1/account/booking-pages`: one, thousands by CSV, or one a person from a template. */
import { z } from 'zod';
import { type MadePages, pageSorts, type ShownPage, type ShownUser } from '../administration.ts';
import { readCsv } from '../csv.ts';
import { domainOf, foldAddress, localPartOf } from '../domain/email-address.ts';
import { mayDo, nobody } from '../domain/roles.ts';
import { asLinkName } from '../domain/template.ts';
import { text } from '../domain/user-settings.ts';
import { UsherError } from '../errors.ts';
import { type AccountParts, cursor, sorted, yesNo } from './account-users.ts';
import type { Caller } from './caller.ts';
import { limit } from './people.ts';
import { must, type Route, route } from './route.ts';
import * as shapes from './shapes.ts';

const linkName = text(200)
  .transform(asLinkName)
  .refine((name) => name !== '', 'needs a letter or a digit');
const title = text(200);

const onePage = z.strictObject({
  linkName,
  title: title.nullable().default(null),
  ownerId: z.uuid().nullable().default(null),
  /** The owner by e-mail address, instead of ownerId. */
  owner: z.string().trim().max(320).optional(),
  enabled: z.boolean().default(true),
});
const createBody = z.union([
  z.strictObject({ pages: z.array(onePage).min(1).max(10_000) }),
  /** Pages that wait, disabled, for whom a rule names them. */
  z.strictObject({ linkNames: z.array(linkName).min(1).max(10_000) }),
  onePage,
]);
const createQuery = z.strictObject({ whenTaken: z.enum(['refuse', 'skip']).optional() });

const templateBody = z.strictObject({
  template: text(200),
  title: title.optional(),
  /** accountUserIds; left out: every user with a scheduled-meetings license. */
  users: z.array(z.uuid()).min(1).max(10_000).optional(),
});
const editBody = z.strictObject({
  title: title.optional(),
  linkName: linkName.optional(),
  enabled: z.boolean().optional(),
  why: text(500).optional(),
});
const ownerBody = z.strictObject({ ownerId: z.uuid() });
const pagesQuery = z.strictObject({
  filter: z.string().trim().max(200).optional(),
  owner: z.uuid().optional(),
  enabled: yesNo.optional(),
  sort: sorted(pageSorts).default({ sort: 'linkName', descending: false }),
  limit,
  cursor,
});

const headings = {
  linkName: ['link', 'page', 'pagelink', 'bookingpage', 'alias'],
  title: ['name', 'pagename', 'label'],
  owner: ['owneremail', 'email', 'emailaddress', 'primarysmtpaddress', 'userprincipalname'],
  enabled: ['active', 'on'],
};
const tag = 'Account: Booking pages';
const most = 20_000;
const mostOfMember = 100;
const atOnce = 5000;

export function pageRoutes({ administration, wakeUps }: AccountParts): Route[] {
  const ofPage = async (params: Record<string, string>): Promise<string> =>
    (await administration.page(params.pageId ?? '')).owner.accountUserId;
  const page = { description: 'The page.', schema: shapes.bookingPage };
  const answer = (shown: ShownPage, status = 200) => ({ status, body: showPage(shown), headers: { ETag: shown.etag } });
  const wakeOwner = async (ownerId: string): Promise<void> => {
    const { personId } = await administration.user(ownerId);
    if (personId) await wakeUps.hint('create-user', [personId], 'now');
  };

  /** A Member's pages are their own; an Administrator's go to whom they name. */
  const ownerFor = (named: string | null, caller: Caller): string | null => {
    const self = caller.asker.accountUserId;
    if (named !== null && named !== self) must(caller, 'pages.create_for_others');
    return named ?? self;
  };
  const ownersNamed = async (addresses: string[], caller: Caller): Promise<(address: string) => string> => {
    // Before anybody is looked up: who has a user here is nobody's business.
    if (addresses.length > 0 && !mayDo(caller.asker, 'pages.create_for_others').allowed) {
      const self = caller.asker.accountUserId ? await administration.user(caller.asker.accountUserId) : null;
      if (addresses.some((address) => foldAddress(address) !== foldAddress(self?.email ?? '')))
        must(caller, 'pages.create_for_others');
    }
    const known = await administration.usersByEmail([...new Set(addresses)]);
    return (address) => {
      const owner = known.get(foldAddress(address));
      if (!owner) throw new UsherError('invalid_value', `owner: the account has no user ${address.slice(0, 100)}.`);
      return owner.accountUserId;
    };
  };
  const fromCsv = async (csv: string, caller: Caller) => {
    const rows = readCsv(csv, headings, ['linkName'], most);
    if (rows.length === 0) throw new UsherError('invalid_value', 'The CSV has no rows below its headings.');
    if (rows.length > most)
      throw new UsherError('too_many', `The CSV has ${rows.length} rows; send at most ${most} at a time.`);
    const find = await ownersNamed(
      rows.flatMap((row) => (row.values.owner ? [row.values.owner] : [])),
      caller,
    );
    const faults: string[] = [];
    const seen = new Map<string, number>();
    const pages = rows.flatMap(({ line, values }) => {
      try {
        const read = onePage.safeParse({
          linkName: values.linkName ?? '',
          ...(values.title ? { title: values.title } : {}),
          ...(values.enabled ? { enabled: readYesNo(values.enabled) } : {}),
        });
        if (!read.success)
          throw new UsherError(
            'invalid_value',
            read.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '),
          );
        const twin = seen.get(read.data.linkName);
        if (twin)
          throw new UsherError('invalid_value', `linkName: ${read.data.linkName} stands in line ${twin} already`);
        seen.set(read.data.linkName, line);
        return [{ ...read.data, ownerId: ownerFor(values.owner ? find(values.owner) : null, caller) }];
      } catch (error) {
        if (!(error instanceof UsherError)) throw error;
        faults.push(`line ${line}: ${error.message}`);
        return [];
      }
    });
    if (faults.length > 0)
      throw new UsherError(
        'invalid_value',
        `${faults.length} of ${rows.length} rows are wrong, and nothing was created. ${faults.slice(0, 50).join(' | ')}`,
      );
    return pages;
  };

  return [
    route({
      method: 'get',
      path: '/account/booking-pages',
      tag,
      summary: 'Booking pages, by owner and name, each with whether it can be booked; a Member sees the own',
      operation: 'pages.list',
      subject: () => nobody,
      query: pagesQuery,
      answers: { 200: { description: 'A page of pages.', schema: shapes.listOf(shapes.bookingPage) } },
      async handle({ query: { sort, owner, ...query }, caller }) {
        if (owner && owner !== caller.asker.accountUserId) must(caller, 'pages.list', owner);
        const seesAll = caller.asker.role === 'Administrator' || caller.asker.operatorRoles.length > 0;
        const list = await administration.pages({
          ...query,
          ...sort,
          ownerId: seesAll ? owner : (caller.asker.accountUserId ?? undefined),
        });
        return { body: { ...list, items: list.items.map(showPage) } };
      },
    }),
    route({
      method: 'post',
      path: '/account/booking-pages',
      tag,
      summary: 'Create pages: one, many, or a CSV with the columns linkName, title, owner, enabled. All or none.',
      operation: 'pages.create',
      creates: true,
      csv: true,
      query: createQuery,
      body: createBody,
      answers: { 201: { description: 'What was made.', schema: shapes.madePages } },
      async handle({ body, query, caller, act }) {
        if (typeof body === 'string') {
          must(caller, 'pages.create_for_others');
          const made = await administration.createPages(await fromCsv(body, caller), query.whenTaken ?? 'refuse', act);
          return { status: 201, body: showMade(made) };
        }
        if ('linkNames' in body) {
          must(caller, 'pages.create_for_others');
          const made = await administration.createPages(
            [...new Set(body.linkNames)].map((name) => ({
              linkName: name,
              title: null,
              ownerId: null,
              enabled: false,
            })),
            query.whenTaken ?? 'skip',
            act,
          );
          return { status: 201, body: showMade(made) };
        }
        const pages = 'pages' in body ? body.pages : [body];
        if (caller.asker.role !== 'Administrator' && pages.length > mostOfMember)
          throw new UsherError('too_many', `A Member creates at most ${mostOfMember} pages at a time.`);
        if (pages.some((entry) => entry.owner && entry.ownerId))
          throw new UsherError('invalid_value', 'owner: give owner or ownerId, not both.');
        const find = await ownersNamed(
          pages.flatMap((entry) => (entry.owner ? [entry.owner] : [])),
          caller,
        );
        const made = await administration.createPages(
          pages.map(({ owner, ...entry }) => ({
            ...entry,
            ownerId: ownerFor(entry.ownerId ?? (owner ? find(owner) : null), caller),
          })),
          query.whenTaken ?? 'refuse',
          act,
        );
        return { status: 201, body: showMade(made) };
      },
    }),
    route({
      method: 'post',
      path: '/account/booking-pages/from-template',
      tag,
      summary: 'One page for each user, its link name from a template as {email.local} or {name}',
      operation: 'pages.create_for_others',
      creates: true,
      body: templateBody,
      answers: { 201: { description: 'What was made.', schema: shapes.madePages } },
      async handle({ body, act }) {
        const users = body.users
          ? await Promise.all(body.users.map((id) => administration.user(id)))
          : await licensedUsers();
        const wanted = users.map((user) => ({
          linkName: asLinkName(fill(body.template, user, 'template')),
          title: body.title ? fill(body.title, user, 'title') : null,
          ownerId: user.accountUserId,
          enabled: true,
        }));
        const names = new Set<string>();
        const twin = wanted.find((page) => names.size === names.add(page.linkName).size);
        if (twin)
          throw new UsherError(
            'invalid_value',
            `template: two users would share the link name ${twin.linkName}; nothing was created. Use an attribute that differs, as {email.local}.`,
          );
        const made: MadePages = { made: [], existing: [] };
        for (let from = 0; from < wanted.length; from += atOnce) {
          const part = await administration.createPages(wanted.slice(from, from + atOnce), 'skip', {
            ...act,
            once: act.once && { ...act.once, key: `${act.once.key}/${from}` },
          });
          made.made.push(...part.made);
          made.existing.push(...part.existing);
        }
        return { status: 201, body: showMade(made) };
      },
    }),
    route({
      method: 'get',
      path: '/account/booking-pages/{pageId}',
      tag,
      summary: 'One page, with whether it can be booked and why not',
      operation: 'pages.read',
      subject: ofPage,
      answers: { 200: page },
      handle: async ({ params }) => answer(await administration.page(params.pageId ?? '')),
    }),
    route({
      method: 'patch',
      path: '/account/booking-pages/{pageId}',
      tag,
      summary: 'Rename, enable or disable a page; who disabled it and why is kept',
      operation: 'pages.manage',
      subject: ofPage,
      matches: true,
      body: editBody,
      answers: { 200: page },
      async handle({ params, body, caller, act }) {
        const { title: newTitle, linkName: newName, enabled, why } = body;
        if (enabled && caller.asker.role !== 'Administrator') {
          const { disabledBy, disabledWhy } = await administration.page(params.pageId ?? '');
          const byOther = disabledBy !== null && ![act.actor, 'license', 'usher'].includes(disabledBy);
          if (byOther)
            throw new UsherError(
              'forbidden',
              `enabled: an Administrator disabled the page${disabledWhy ? ` (${disabledWhy})` : ''}; an Administrator enables it.`,
            );
        }
        const edited = await administration.editPage(
          params.pageId ?? '',
          {
            ...(newTitle === undefined ? {} : { title: newTitle }),
            ...(newName === undefined ? {} : { linkName: newName }),
            ...(enabled === undefined ? {} : { enabled }),
            ...(why === undefined ? {} : { why }),
          },
          act,
        );
        await wakeOwner(edited.owner.accountUserId);
        return answer(edited);
      },
    }),
    route({
      method: 'delete',
      path: '/account/booking-pages/{pageId}',
      tag,
      summary: 'Delete a page',
      operation: 'pages.manage',
      subject: ofPage,
      matches: true,
      answers: { 204: { description: 'Deleted.' } },
      async handle({ params, act }) {
        const ownerId = await ofPage(params);
        await administration.removePage(params.pageId ?? '', act);
        await wakeOwner(ownerId);
        return { status: 204 };
      },
    }),
    route({
      method: 'put',
      path: '/account/booking-pages/{pageId}/owner',
      tag,
      summary: 'Assign ownership; only an Administrator does',
      operation: 'pages.assign',
      matches: true,
      body: ownerBody,
      answers: { 200: page },
      async handle({ params, body, act }) {
        const assigned = await administration.assignPage(params.pageId ?? '', body.ownerId, act);
        await wakeOwner(assigned.owner.accountUserId);
        return answer(assigned);
      },
    }),
  ];

  async function licensedUsers(): Promise<ShownUser[]> {
    const users: ShownUser[] = [];
    let next: string | undefined;
    do {
      const list = await administration.users({
        license: 'scheduled-meetings',
        suspended: false,
        sort: 'name',
        descending: false,
        limit: 500,
        cursor: next,
      });
      users.push(...list.items);
      next = list.nextCursor ?? undefined;
    } while (next);
    return users;
  }
}

const attributes: Record<string, (user: ShownUser) => string | null> = {
  name: (user) => user.name,
  email: (user) => user.email,
  'email.local': (user) => localPartOf(user.email),
  'email.domain': (user) => domainOf(user.email),
  jobTitle: (user) => user.jobTitle,
};

function fill(template: string, user: ShownUser, field: string): string {
  return template.replace(/\{([^}]*)\}/g, (_whole, name: string) => {
    const attribute = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
    if (!attribute)
      throw new UsherError(
        'invalid_value',
        `${field}: {${name}} is no attribute of a user; known: ${Object.keys(attributes).join(', ')}.`,
      );
    const value = attribute(user);
    if (!value) throw new UsherError('invalid_value', `${field}: ${user.email} has no ${name}.`);
    return value;
  });
}

function readYesNo(text: string): boolean {
  if (/^(true|yes|1|on|ja)$/i.test(text)) return true;
  if (/^(false|no|0|off|nein)$/i.test(text)) return false;
  throw new UsherError('invalid_value', `enabled: «${text.slice(0, 20)}» is neither true nor false`);
}

function showPage({ etag: _etag, ...page }: ShownPage) {
  return page;
}

function showMade({ made, existing }: MadePages) {
  return { made: made.length, pages: made, existing };
}
