/** A changed policy: seen beforehand, its additions run, and what it takes waits in a stored plan until somebody says so. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { contoso } from '../../src/sandbox/contoso.ts';
import { freshDatabase } from '../ground/databases.ts';
import { eventually, scimUser, startUsher, type Usher } from '../ground/usher.ts';

const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
const policy = (rules: string) => `
account: { kind: builtin, plan: paid, pools: { scheduled-meetings: 50, engagement: 50 } }
delegation: ignored
sources: [{ name: scim, kind: scim, domains: [${contoso.domain}] }]
rules:
${rules}
leavers: { holdMinutes: 0 }
`;
const before = policy(`
  - { name: Sales, when: { department: Sales }, licenses: [scheduled-meetings, engagement] }
  - { name: Advisory, when: { department: Advisory } }
  - { name: Support, when: { department: Support } }`);
/** Sales lose a license, Support leaves, Advisory gets one more, Legal is new. */
const after = policy(`
  - { name: Sales, when: { department: Sales } }
  - { name: Advisory, when: { department: Advisory }, licenses: [scheduled-meetings, engagement] }
  - { name: Legal, when: { department: Legal } }`);

let usher: Usher;
let databaseUrl: string;
let drop: () => Promise<void>;
const people: [string, string][] = [
  ['ann', 'Sales'],
  ['bob', 'Sales'],
  ['cyd', 'Advisory'],
  ['dan', 'Support'],
  ['eve', 'Support'],
  ['fay', 'Legal'],
];

beforeAll(async () => {
  ({ url: databaseUrl, drop } = await freshDatabase('embedded PostgreSQL'));
  usher = await startUsher({ databaseUrl, policy: before });
  for (const [local, department] of people)
    await usher.scim('POST', '/Users', scimUser(local, { [enterprise]: { department } }));
  await ready(5);
});
afterAll(async () => {
  await usher.close();
  await drop();
});

const ready = (count: number) =>
  eventually(
    async () => (await usher.api('GET', '/summary')).body,
    (summary) => summary.ready === count,
  );
const person = async (local: string) => (await usher.api('GET', `/people/${local}@${contoso.domain}`)).body;
const planRun = async () =>
  (await usher.api('GET', '/runs')).body.items.find((run: { kind: string }) => run.kind === 'policy');

test('beforehand: who would be given what, and who would lose what; a faulty policy is told with its line', async () => {
  const diff = (await usher.api('POST', '/policy/diff', { policy: after })).body;
  expect(diff).toMatchObject({ people: 6, gives: 2, takes: 4 });
  expect(
    Object.fromEntries(
      diff.items.map((item: { userName: string; what: string[] }) => [item.userName.split('@')[0], item.what]),
    ),
  ).toEqual({
    ann: ['licenses taken: engagement'],
    bob: ['licenses taken: engagement'],
    dan: ['leaves: no rule of the policy matches any more (was Support)'],
    eve: ['leaves: no rule of the policy matches any more (was Support)'],
    cyd: ['licenses given: engagement'],
    fay: ['is wanted by rule Legal', 'licenses given: scheduled-meetings'],
  });
  const faulty = await usher.api('POST', '/policy/diff', { policy: 'rules: [{ name: A, licences: [] }]' });
  expect(faulty).toMatchObject({ status: 400, body: { detail: expect.stringContaining('licences') } });
  expect((await person('dan')).ready).toBe(true);
});

test('at start the additions run, and the rest waits, exactly as it was shown', async () => {
  await usher.close();
  usher = await startUsher({ databaseUrl, policy: after });
  await ready(6);
  expect(await planRun()).toMatchObject({ state: 'planned', waiting: 4 });
  expect((await person('cyd')).licenses).toEqual(['engagement', 'scheduled-meetings']);
  expect((await person('ann')).licenses).toEqual(['engagement', 'scheduled-meetings']);
  expect((await person('dan')).lifecycle).toBe('wanted');
  const { runId } = await planRun();
  const { items } = (await usher.api('GET', `/runs/${runId}/plan`)).body;
  expect(
    items.map((item: { userName: string; what: string[] }) => [item.userName.split('@')[0], item.what[0]]),
  ).toEqual([
    ['ann', 'licenses taken: engagement'],
    ['bob', 'licenses taken: engagement'],
    ['dan', 'leaves: no rule of the policy matches any more (was Support)'],
    ['eve', 'leaves: no rule of the policy matches any more (was Support)'],
  ]);
});

test('approved one by one, what changed since is left alone, and the rest is kept', async () => {
  const { runId } = await planRun();
  const approve = (only?: string[]) => usher.api('POST', `/runs/${runId}/approve`, only ? { only } : {});
  expect((await approve([`ann@${contoso.domain}`, `dan@${contoso.domain}`])).body).toEqual({ decided: 2, stale: 0 });
  await eventually(
    () => person('ann'),
    (body) => body.licenses.length === 1 && body.ready,
  );
  await eventually(
    () => person('dan'),
    (body) => body.lifecycle === 'suspended',
  );
  // Bob moves to a department with another rule meanwhile: what was shown of him is not so any more.
  const bob = (await usher.scim('GET', `/Users?filter=userName eq "bob@${contoso.domain}"`)).body.Resources[0].id;
  await usher.scim('PATCH', `/Users/${bob}`, {
    schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
    Operations: [{ op: 'replace', path: `${enterprise}:department`, value: 'Advisory' }],
  });
  expect((await approve([`bob@${contoso.domain}`])).body).toEqual({ decided: 0, stale: 1 });
  expect((await usher.api('POST', `/runs/${runId}/keep`, {})).body).toEqual({ decided: 1 });
  expect(await planRun()).toMatchObject({ state: 'decided', waiting: 0 });
  expect((await person('eve')).lifecycle).toBe('wanted');
  expect((await person('bob')).licenses).toEqual(['engagement', 'scheduled-meetings']);
});

test('a start with the same policy makes no second plan', async () => {
  await usher.close();
  usher = await startUsher({ databaseUrl, policy: after });
  const { items } = (await usher.api('GET', '/runs')).body;
  expect(items.filter((run: { kind: string }) => run.kind === 'policy')).toHaveLength(1);
  expect((await person('eve')).lifecycle).toBe('wanted');
});
