/**
 * `users/delta` and `groups/delta`: a token stands for what the client has seen, and a round tells what differs now
 * (learn.microsoft.com/graph/delta-query-overview). Order is not promised, pages may be empty, and a token can expire.
 */
import { randomUUID } from 'node:crypto';
import { type Answer, graphError, memberType, propertiesOf } from './graph-api.ts';
import type { Tenant } from './tenant.ts';

/** What a client has seen of one kind: id → its selected properties as JSON, and of groups the members. */
interface Seen {
  select: string[];
  entries: Map<string, { json: string; members: Set<string> | null }>;
}

interface Round {
  pages: unknown[][];
  seen: Seen;
}

const defaultSelect = {
  users: ['businessPhones', 'displayName', 'givenName', 'jobTitle', 'mail', 'surname', 'userPrincipalName'],
  groups: ['displayName', 'members'],
};

export function openDelta(tenant: Tenant) {
  const rounds = new Map<string, Round>();
  const tokens = new Map<string, Seen>();

  const serve = (kind: 'users' | 'groups', url: URL, prefer: string): Answer => {
    const query = url.searchParams;
    const self = `${url.origin}/v1.0/${kind}/delta`;
    const skip = query.get('$skiptoken');
    if (skip !== null) {
      if (query.has('$select')) return graphError(400, 'BadRequest', '$select is not supported with $skiptoken.');
      const [round = '', page = '0'] = skip.split('.');
      const known = rounds.get(round);
      return known ? show(self, round, known, Number(page)) : stale(self);
    }
    const token = query.get('$deltatoken');
    if (token !== null && token !== '' && token !== 'latest') {
      if (tenant.delta.expired) return stale(self);
      const seen = tokens.get(token);
      return seen ? begin(kind, self, seen, prefer.includes('return=minimal'), false) : stale(self);
    }
    for (const refused of ['$expand', '$orderby', '$top', '$filter', '$search'])
      if (query.has(refused)) return graphError(400, 'Request_UnsupportedQuery', `${refused} is not supported.`);
    tenant.delta.expired = false;
    const select = query.get('$select')?.split(',') ?? defaultSelect[kind];
    return begin(kind, self, { select, entries: new Map() }, false, token === 'latest');
  };

  const stale = (self: string): Answer =>
    tenant.delta.expired === 'syncStateNotFound'
      ? graphError(400, 'syncStateNotFound', 'The sync state was not found; start anew.')
      : graphError(410, 'resyncRequired', 'Resync required.', { location: `${self}?$deltatoken=` });

  const begin = (kind: 'users' | 'groups', self: string, before: Seen, minimal: boolean, latest: boolean): Answer => {
    const after: Seen = { select: before.select, entries: new Map() };
    const items: unknown[] = [];
    const differing = (id: string, whole: Record<string, unknown>, members: string[] | null): void => {
      const json = JSON.stringify(whole);
      const old = before.entries.get(id);
      after.entries.set(id, { json, members: members && new Set(members) });
      const added = members?.filter((member) => !old?.members?.has(member)) ?? [];
      const left = [...(old?.members ?? [])].filter((member) => !members?.includes(member));
      if (old && old.json === json && added.length === 0 && left.length === 0) return;
      const shown = old && minimal ? changedOnly(JSON.parse(old.json), whole) : whole;
      const entries = [
        ...added.map((member) => ({ '@odata.type': memberType(tenant, member), id: member })),
        ...left.map((member) => ({
          '@odata.type': memberType(tenant, member),
          id: member,
          '@removed': { reason: 'deleted' },
        })),
      ];
      // A large group comes back on several pages, under its own id.
      for (let at = 0; at === 0 || at < entries.length; at += 500)
        items.push({
          ...shown,
          id,
          ...(entries.length > 0 ? { 'members@delta': entries.slice(at, at + 500) } : {}),
        });
    };
    if (kind === 'users') {
      const select = new Set(['id', ...before.select]);
      for (const user of tenant.users) {
        const whole: Record<string, unknown> = {};
        for (const [name, value] of Object.entries(propertiesOf(user)))
          if (select.has(name) && value !== undefined && value !== null) whole[name] = value;
        differing(user.objectId, whole, null);
      }
      const soft = new Set(tenant.deletedUsers.map((user) => user.objectId));
      for (const id of before.entries.keys())
        if (!after.entries.has(id)) items.push({ id, '@removed': { reason: soft.has(id) ? 'changed' : 'deleted' } });
    } else {
      for (const group of tenant.groups)
        differing(
          group.objectId,
          {
            id: group.objectId,
            ...(before.select.includes('displayName') ? { displayName: group.displayName } : {}),
          },
          before.select.includes('members') ? group.members : null,
        );
      for (const id of before.entries.keys())
        if (!after.entries.has(id)) items.push({ id, '@removed': { reason: 'deleted' } });
    }
    const round: Round = { pages: latest ? [[]] : paged(items), seen: after };
    const name = randomUUID();
    rounds.set(name, round);
    return show(self, name, round, 0);
  };

  const paged = (items: unknown[]): unknown[][] => {
    const { pageSize, emptyEvery, repeat } = tenant.delta;
    const pages: unknown[][] = [];
    for (let at = 0; at < items.length; at += pageSize) {
      pages.push(items.slice(Math.max(0, at - repeat), at + pageSize));
      if (emptyEvery > 0 && pages.length % emptyEvery === 0) pages.push([]);
    }
    return pages.length > 0 ? pages : [[]];
  };

  const show = (self: string, name: string, round: Round, page: number): Answer => {
    const last = page >= round.pages.length - 1;
    let link: Record<string, string> = { '@odata.nextLink': `${self}?$skiptoken=${name}.${page + 1}` };
    if (last) {
      tokens.set(name, round.seen);
      link = { '@odata.deltaLink': `${self}?$deltatoken=${name}` };
    }
    return {
      status: 200,
      body: {
        '@odata.context': 'https://graph.microsoft.com/v1.0/$metadata#delta',
        ...link,
        value: round.pages[page] ?? [],
      },
    };
  };

  return {
    users: (url: URL, prefer: string): Answer => serve('users', url, prefer),
    groups: (url: URL, prefer: string): Answer => serve('groups', url, prefer),
  };
}

/** `Prefer: return=minimal`: what changed, a value that is gone as null. */
function changedOnly(before: Record<string, unknown>, after: Record<string, unknown>): Record<string, unknown> {
  const changed: Record<string, unknown> = {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)]))
    if (JSON.stringify(before[name]) !== JSON.stringify(after[name])) changed[name] = after[name] ?? null;
  return changed;
}
