/**
 * Entra ID and Okta as SCIM clients, request for request as their documents show them. Each keeps on where it stood: a second cycle finds the
 * users by their externalId and sends only what changed.
 */
import { randomUUID } from 'node:crypto';
import { type ContosoPerson, contoso } from './contoso.ts';

export interface ScimTarget {
  /** Ends with /scim/v2. */
  url: string;
  token: string;
}

interface Sent {
  status: number;
  body: Record<string, unknown>;
}

async function send(
  target: ScimTarget,
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: unknown,
): Promise<Sent> {
  const response = await fetch(`${target.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${target.token}`, ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text ? (JSON.parse(text) as Record<string, unknown>) : {} };
}

function expect(sent: Sent, ...statuses: number[]): Sent {
  if (!statuses.includes(sent.status))
    throw new Error(`the SCIM endpoint answered ${sent.status}: ${JSON.stringify(sent.body)}`);
  return sent;
}

const core = 'urn:ietf:params:scim:schemas:core:2.0:User';
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
const patchOp = 'urn:ietf:params:scim:api:messages:2.0:PatchOp';

export interface Changes {
  /** Local part → new family name. */
  renamed: Record<string, string>;
  /** Local parts of those who leave. */
  disabled: string[];
}

export type Progress = (what: string) => void;

/** Microsoft Entra ID: the connection test, the match, the create, one operation per attribute, "False" as a text. */
export async function playEntraCycle(
  target: ScimTarget,
  people: ContosoPerson[],
  changes: Changes,
  progress: Progress,
): Promise<void> {
  const headers = { 'content-type': 'application/scim+json', accept: 'application/scim+json' };
  const none = expect(
    await send(target, 'GET', `/Users?filter=${encodeURIComponent(`userName eq "${randomUUID()}"`)}`, headers),
    200,
  );
  if (none.body.totalResults !== 0) throw new Error('a user that is not there was found');
  progress('connection test: a user that is not there is answered with an empty list');
  const ids = new Map<string, string>();
  let created = 0;
  for (const person of people) {
    const found = expect(
      await send(target, 'GET', `/Users?filter=${encodeURIComponent(`externalId eq "${person.objectId}"`)}`, headers),
      200,
    );
    const existing = (found.body.Resources as { id: string }[] | undefined)?.[0];
    if (!existing) created += 1;
    ids.set(
      person.local,
      existing?.id ?? String(expect(await send(target, 'POST', '/Users', headers, entraUser(person)), 201).body.id),
    );
  }
  progress(
    created > 0
      ? `${people.length} people matched, ${created} of them created`
      : `${people.length} people matched, nobody is new`,
  );
  for (const [local, familyName] of Object.entries(changes.renamed)) {
    const id = ids.get(local);
    const person = people.find((entry) => entry.local === local);
    if (!id || !person) continue;
    const renamedLocal = `${local.split('.')[0]}.${familyName.toLowerCase()}`;
    expect(
      await send(target, 'PATCH', `/Users/${id}`, headers, {
        schemas: [patchOp],
        Operations: [
          { op: 'Replace', path: 'name.familyName', value: familyName },
          { op: 'Replace', path: 'displayName', value: `${person.givenName} ${familyName}` },
          { op: 'Replace', path: 'userName', value: `${renamedLocal}@${contoso.domain}` },
          { op: 'Replace', path: 'emails[type eq "work"].value', value: `${renamedLocal}@${contoso.domain}` },
        ],
      }),
      200,
      204,
    );
    progress(`${local} is renamed to ${renamedLocal}`);
  }
  for (const local of changes.disabled) {
    const id = ids.get(local);
    if (!id) continue;
    expect(
      await send(target, 'PATCH', `/Users/${id}`, headers, {
        schemas: [patchOp],
        Operations: [{ op: 'Replace', path: 'active', value: 'False' }],
      }),
      200,
      204,
    );
    progress(`${local} is disabled`);
  }
}

function entraUser(person: ContosoPerson) {
  const address = `${person.local}@${contoso.domain}`;
  return {
    schemas: [core, enterprise],
    externalId: person.objectId,
    userName: address,
    active: true,
    displayName: `${person.givenName} ${person.familyName}`,
    emails: [{ primary: true, type: 'work', value: address }],
    meta: { resourceType: 'User' },
    name: {
      formatted: `${person.givenName} ${person.familyName}`,
      familyName: person.familyName,
      givenName: person.givenName,
    },
    title: null,
    phoneNumbers: null,
    roles: [],
    [enterprise]: { department: person.department, manager: null },
  };
}

/** Okta: the look-up with paging, a placeholder password with every create, GET and PUT for a profile push, PATCH without a path to deactivate. */
export async function playOktaCycle(
  target: ScimTarget,
  people: ContosoPerson[],
  changes: Changes,
  progress: Progress,
): Promise<void> {
  const headers = {
    'content-type': 'application/scim+json; charset=utf-8',
    accept: 'application/scim+json',
    'user-agent': 'Okta SCIM Client 1.0.0',
  };
  const ids = new Map<string, string>();
  let created = 0;
  for (const person of people) {
    const known = expect(
      await send(
        target,
        'GET',
        `/Users?filter=${encodeURIComponent(`externalId eq "${oktaId(person)}"`)}&startIndex=1&count=100`,
        headers,
      ),
      200,
    );
    const linked = (known.body.Resources as { id: string }[] | undefined)?.[0];
    if (linked) {
      ids.set(person.local, linked.id);
      continue;
    }
    const probe = expect(
      await send(
        target,
        'GET',
        `/Users?filter=${encodeURIComponent(`userName eq "${person.local}@${contoso.domain}"`)}&startIndex=1&count=100`,
        headers,
      ),
      200,
    );
    created += 1;
    if (probe.body.totalResults !== 0) throw new Error(`${person.local} is there already`);
    ids.set(person.local, String(expect(await send(target, 'POST', '/Users', headers, oktaUser(person)), 201).body.id));
  }
  progress(
    created > 0
      ? `${people.length} people looked up, ${created} of them created`
      : `${people.length} people looked up, nobody is new`,
  );
  for (const [local, familyName] of Object.entries(changes.renamed)) {
    const id = ids.get(local);
    const person = people.find((entry) => entry.local === local);
    if (!id || !person) continue;
    const present = expect(await send(target, 'GET', `/Users/${id}`, headers), 200).body;
    const name = { givenName: person.givenName, familyName };
    expect(
      await send(target, 'PUT', `/Users/${id}`, headers, {
        ...present,
        name,
        displayName: `${person.givenName} ${familyName}`,
      }),
      200,
    );
    progress(`${local} has a new family name, ${familyName}`);
  }
  for (const local of changes.disabled) {
    const id = ids.get(local);
    if (!id) continue;
    expect(
      await send(target, 'PATCH', `/Users/${id}`, headers, {
        schemas: [patchOp],
        Operations: [{ op: 'replace', value: { active: false } }],
      }),
      200,
      204,
    );
    progress(`${local} is deactivated`);
  }
}

const oktaId = (person: ContosoPerson): string => `00u${person.objectId.replace(/-/g, '').slice(0, 17)}`;

function oktaUser(person: ContosoPerson) {
  const address = `${person.local}@${contoso.domain}`;
  return {
    schemas: [core],
    userName: address,
    name: { givenName: person.givenName, familyName: person.familyName },
    emails: [{ primary: true, value: address, type: 'work', display: address }],
    displayName: `${person.givenName} ${person.familyName}`,
    locale: 'en-US',
    externalId: oktaId(person),
    groups: [],
    password: 'p4ssw0rd-placeholder',
    active: true,
  };
}
