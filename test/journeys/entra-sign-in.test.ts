/** Sign-in with Entra ID, through the real msal-node against the make-believe tenant: who becomes what, and who does not get in. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { contoso, contosoTenant, stableId } from '../../src/sandbox/contoso.ts';
import type { Tenant } from '../../src/sandbox/tenant.ts';
import { call, eventually, oidcOf, startUsher, type Usher } from '../ground/usher.ts';

const groupOf = (name: string) => stableId(`group ${name}`);
const policy = `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 100 } }
dedicatedMailbox: ${contoso.dedicatedMailbox}
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }]
rules: [{ name: Everybody, when: { domain: ${contoso.domain} }, licenses: [scheduled-meetings], invite: suppress }]
bookingPages: { takeFrom: [${contoso.founder}] }
access: { administrator: [${groupOf('admins')}], viewer: [${groupOf('viewers')}], exchange_admin: [${groupOf('exchange')}] }
`;

let usher: Usher;
let tenant: Tenant;

beforeAll(async () => {
  tenant = contosoTenant();
  const ana = stableId('ana.ruiz');
  const group = (name: string, ...locals: string[]) => ({
    objectId: groupOf(name),
    displayName: name,
    members: locals.map(stableId),
  });
  tenant.groups.push(
    group('admins', 'chidi.okafor'),
    group('viewers', 'elif.yildiz', 'priya.sharma'),
    group('exchange', 'elif.yildiz'),
    // More than a token can hold.
    ...Array.from({ length: 210 }, (_one, index) => ({
      objectId: stableId(`many ${index}`),
      displayName: `many ${index}`,
      members: [stableId('priya.sharma')],
    })),
  );
  tenant.users.push({
    ...(tenant.users.find((user) => user.objectId === ana) ?? never()),
    objectId: stableId('the founder'),
    userPrincipalName: contoso.founder,
    displayName: 'Founder',
    mail: contoso.founder,
    proxyAddresses: [],
  });
  tenant.users.push({
    ...(tenant.users.find((user) => user.objectId === ana) ?? never()),
    objectId: stableId('a guest'),
    userPrincipalName: `admin_elsewhere.example#EXT#@${contoso.domain}`,
    displayName: 'A guest who calls herself admin',
    mail: contoso.founder,
    userType: 'Guest',
  });
  usher = await startUsher({
    tenant,
    policy,
    config: { oidc: oidcOf(tenant) },
  });
  tenant.redirectUris.push(`${usher.address}/sign-in/entra/callback`);
});
afterAll(() => usher.close());

function never(): never {
  throw new Error('Ana is not in the tenant');
}

/** As a browser goes: to us, to the tenant, back with the code. */
async function signIn(objectId: string, meddle: (back: URL) => void = () => undefined) {
  tenant.atTheKeyboard = objectId;
  const begun = await fetch(`${usher.address}/sign-in/entra`, { redirect: 'manual' });
  expect(begun.status).toBe(303);
  const pending = (begun.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  const there = await fetch(begun.headers.get('location') ?? '', { redirect: 'manual' });
  expect(there.status).toBe(302);
  const back = new URL(there.headers.get('location') ?? '');
  meddle(back);
  const done = await fetch(back, { redirect: 'manual', headers: { cookie: pending } });
  const cookie =
    done.headers
      .getSetCookie()
      .map((value) => value.split(';')[0] ?? '')
      .find((value) => value.startsWith('usher-session=')) ?? '';
  return {
    status: done.status,
    text: done.status === 303 ? '' : await done.text(),
    api: (method: string, at: string, body?: unknown) =>
      call(`${usher.address}/api/v1${at}`, method, body, {
        cookie,
        origin: usher.address,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      }),
  };
}

test('the founding Administrator signs in as the user with the same userName, bound to the identity from then on', async () => {
  const founder = await signIn(stableId('the founder'));
  expect(founder.status).toBe(303);
  expect((await founder.api('GET', '/session')).body).toMatchObject({
    role: 'Administrator',
    how: 'entra',
    operatorRoles: [],
  });
  expect((await founder.api('GET', '/account/users')).status).toBe(200);
});

test('a guest with the address of an Administrator is nobody here', async () => {
  const guest = await signIn(stableId('a guest'));
  expect(guest.status).toBe(403);
  expect(guest.text).toContain('neither a user of this account nor in a group');
});

test('a person of the directory signs in as their own user, with a status that says so', async () => {
  const pushed = await usher.scim('POST', '/Users', {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
    userName: `ana.ruiz@${contoso.domain}`,
    externalId: stableId('ana.ruiz'),
    displayName: 'Ana Ruiz',
    active: true,
  });
  expect(pushed.status).toBe(201);
  const find = async () => (await usher.api('GET', '/account/users?filter=ana.ruiz')).body.items[0];
  const before = await eventually(find, (user) => user !== undefined);
  expect(before.status).toBe('Invited (Pending)');
  const ana = await signIn(stableId('ana.ruiz'));
  expect((await ana.api('GET', '/session')).body).toMatchObject({
    role: 'Member',
    accountUserId: before.accountUserId,
  });
  expect((await find()).status).toBe('Has signed in');
  expect((await ana.api('GET', '/account/users')).status).toBe(403);
});

test('a group of the policy gives its role to whoever is no user of the account', async () => {
  const chidi = await signIn(stableId('chidi.okafor'));
  expect((await chidi.api('GET', '/session')).body).toMatchObject({ role: 'Administrator', accountUserId: null });
  const elif = await signIn(stableId('elif.yildiz'));
  expect((await elif.api('GET', '/session')).body).toMatchObject({
    role: null,
    operatorRoles: ['viewer', 'exchange_admin'],
  });
  expect((await elif.api('GET', '/people')).status).toBe(200);
  expect((await elif.api('GET', '/account/users')).status).toBe(200);
  expect((await elif.api('POST', '/delegation/check', { all: true })).status).toBe(202);
  const refused = await elif.api('POST', '/account/users', { name: 'X', email: 'x@example.com' });
  expect([refused.status, refused.body.code]).toEqual([403, 'forbidden']);
  expect((await elif.api('POST', '/tokens', { source: 'scim' })).status).toBe(403);
});

test('where a token can not hold all groups, the directory is asked for those that count', async () => {
  const priya = await signIn(stableId('priya.sharma'));
  expect((await priya.api('GET', '/session')).body.operatorRoles).toEqual(['viewer']);
});

test('whoever holds a SCIM token does not become an Administrator by naming the own object id', async () => {
  const pushed = await usher.scim('POST', '/Users', {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
    userName: `boss@${contoso.domain}`,
    displayName: 'Boss',
    active: true,
  });
  const find = async () => (await usher.api('GET', '/account/users?filter=boss@')).body.items[0];
  const boss = await eventually(find, (user) => user !== undefined);
  await usher.api('PATCH', `/account/users/${boss.accountUserId}`, { role: 'Administrator' });
  const changed = await usher.scim('PATCH', `/Users/${pushed.body.id}`, {
    schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
    Operations: [{ op: 'replace', path: 'externalId', value: stableId('quentin.lefevre') }],
  });
  expect(changed.status).toBe(200);
  expect((await signIn(stableId('quentin.lefevre'))).status).toBe(403);
});

test('a group that the policy takes away takes its role with it, at the next request', async () => {
  const chidi = await signIn(stableId('chidi.okafor'));
  expect((await chidi.api('GET', '/account/users')).status).toBe(200);
  const client = new pg.Client({ connectionString: usher.databaseUrl });
  await client.connect();
  await client.query(`update account_sessions set groups = '{some-other-group}' where object_id = $1`, [
    stableId('chidi.okafor'),
  ]);
  await client.end();
  expect((await chidi.api('GET', '/account/users')).status).toBe(403);
  const sessions = await usher.api('GET', '/account/sessions');
  const own = sessions.body.items.find((item: { name: string }) => item.name.startsWith('chidi.okafor'));
  expect((await usher.api('DELETE', `/account/sessions/${own.sessionId}`)).status).toBe(204);
});

test('a callback that was not begun in this browser, or with another state, signs nobody in', async () => {
  const other = await signIn(stableId('the founder'), (back) => back.searchParams.set('state', 'another'));
  expect(other.status).toBe(400);
  const forged = await signIn(stableId('the founder'), (back) => back.searchParams.set('code', 'forged'));
  expect(forged.status).toBe(401);
  expect((await fetch(`${usher.address}/sign-in/entra/callback?code=x&state=y`)).status).toBe(400);
});

test('a suspended user does not get in, and a disabled one is told that Microsoft said no', async () => {
  const user = (await usher.api('GET', '/account/users?filter=ana.ruiz')).body.items[0];
  await usher.api('POST', `/account/users/${user.accountUserId}/suspend`);
  expect((await signIn(stableId('ana.ruiz'))).status).toBe(403);
  tenant.atTheKeyboard = null;
  const begun = await fetch(`${usher.address}/sign-in/entra`, { redirect: 'manual' });
  const there = await fetch(begun.headers.get('location') ?? '', { redirect: 'manual' });
  const back = await fetch(there.headers.get('location') ?? '', {
    redirect: 'manual',
    headers: { cookie: (begun.headers.get('set-cookie') ?? '').split(';')[0] ?? '' },
  });
  expect(back.status).toBe(401);
});
