import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { contosoPeople } from '../../src/sandbox/contoso.ts';
import { eventually, plainPolicy, scimUser, someId, startUsher, type Usher } from '../ground/usher.ts';

const patchOf = (...operations: unknown[]) => ({
  schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
  Operations: operations,
});
const core = 'urn:ietf:params:scim:schemas:core:2.0:Group';
const find = (filter: string) => `?filter=${encodeURIComponent(filter)}`;

describe('/Groups', () => {
  let usher: Usher;
  let ids: string[];
  beforeAll(async () => {
    usher = await startUsher({ workers: false });
    ids = [];
    for (const { local } of contosoPeople.slice(0, 6))
      ids.push((await usher.scim('POST', '/Users', scimUser(local))).body.id);
  });
  afterAll(() => usher.close());

  const create = async (name: string, members: string[] = [], more = {}) =>
    (
      await usher.scim('POST', '/Groups', {
        schemas: [core, 'http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group'],
        displayName: name,
        members: members.map((value) => ({ value })),
        ...more,
      })
    ).body;
  const membersOf = async (id: string): Promise<string[]> =>
    ((await usher.scim('GET', `/Groups/${id}`)).body.members ?? [])
      .map((member: { value: string }) => member.value)
      .sort();
  const patch = (id: string, ...operations: unknown[]) => usher.scim('PATCH', `/Groups/${id}`, patchOf(...operations));

  test('people are listed by the group they are in, by its name or key, also through another group', async () => {
    const inner = await create('Inner Circle', ids.slice(0, 2), { externalId: 'G-inner' });
    const outer = await create('Outer Circle', [ids[2] ?? '', inner.id]);
    const inGroup = async (group: string) => {
      const { items, total } = (await usher.api('GET', `/people?group=${encodeURIComponent(group)}`)).body;
      expect(items).toHaveLength(total);
      return items.map(({ userName }: { userName: string }) => userName.split('@')[0]).sort();
    };
    const locals = contosoPeople.map(({ local }) => local);
    expect(await inGroup('inner circle')).toEqual(locals.slice(0, 2).sort());
    expect(await inGroup('G-inner')).toEqual(locals.slice(0, 2).sort());
    expect(await inGroup('Outer Circle')).toEqual(locals.slice(0, 3).sort());
    expect(await inGroup('nobody is in it')).toEqual([]);
    for (const { id } of [outer, inner]) await usher.scim('DELETE', `/Groups/${id}`);
  });

  test('are made, found, read with and without members, renamed and deleted', async () => {
    const group = await create('Advisors', ids.slice(0, 2), { externalId: 'G-1' });
    expect(group).toMatchObject({
      displayName: 'Advisors',
      externalId: 'G-1',
      meta: { resourceType: 'Group', version: 'W/"1"' },
    });
    expect(group.members[0].$ref).toContain('/scim/v2/Users/');
    for (const filter of [
      'displayName eq "ADVISORS"',
      'externalId eq "G-1"',
      `id eq "${group.id}" and members eq "${ids[0]}"`,
      `members[value eq "${ids[1]}"]`,
    ]) {
      expect((await usher.scim('GET', `/Groups${find(filter)}&excludedAttributes=members`)).body).toMatchObject({
        totalResults: 1,
        Resources: [{ id: group.id }],
      });
    }
    expect(
      (await usher.scim('GET', `/Groups${find(`id eq "${group.id}" and members eq "${ids[5]}"`)}`)).body.totalResults,
    ).toBe(0);
    expect((await usher.scim('GET', `/Groups/${group.id}?excludedAttributes=members`)).body.members).toBeUndefined();
    expect((await usher.scim('GET', `/Users/${ids[0]}`)).body.groups).toMatchObject([
      { value: group.id, display: 'Advisors' },
    ]);
    // Okta sends its id along with a rename.
    expect((await patch(group.id, { op: 'replace', value: { id: group.id, displayName: 'Consultants' } })).status).toBe(
      204,
    );
    expect((await usher.scim('GET', `/Groups/${group.id}`)).body).toMatchObject({
      displayName: 'Consultants',
      externalId: 'G-1',
    });
    expect((await usher.scim('DELETE', `/Groups/${group.id}`)).status).toBe(204);
    expect((await usher.scim('GET', `/Groups/${group.id}`)).status).toBe(404);
    expect((await usher.scim('GET', `/Users/${ids[0]}`)).body.groups).toBeUndefined();
  });

  test('membership changes as each provider sends them, answered 204 without the members', async () => {
    const group = await create('Dialects');
    const added = await patch(group.id, {
      op: 'Add',
      path: 'members',
      value: ids.slice(0, 4).map((value) => ({ $ref: null, value })),
    });
    expect([added.status, added.body]).toEqual([204, null]);
    expect(await membersOf(group.id)).toEqual(ids.slice(0, 4).sort());
    await patch(group.id, { op: 'Remove', path: 'members', value: [{ $ref: null, value: ids[0] }] });
    await patch(group.id, { op: 'remove', path: `members[value eq "${ids[1]}"]` });
    expect(await membersOf(group.id)).toEqual([ids[2], ids[3]].sort());
    await patch(
      group.id,
      { op: 'remove', path: `members[value eq "${ids[2]}"]` },
      { op: 'add', path: 'members', value: [{ value: ids[4] }] },
    );
    expect(await membersOf(group.id)).toEqual([ids[3], ids[4]].sort());
    await patch(group.id, { op: 'replace', path: 'members', value: [{ value: ids[5] }] });
    expect(await membersOf(group.id)).toEqual([ids[5]]);
    await usher.scim('PUT', `/Groups/${group.id}`, {
      schemas: [core],
      displayName: 'Dialects',
      members: [{ value: ids[0] }],
    });
    expect(await membersOf(group.id)).toEqual([ids[0]]);
    await patch(group.id, { op: 'replace', path: 'members', value: [] });
    expect(await membersOf(group.id)).toEqual([]);
  });

  test('a remove that selects nothing removes nothing, and nothing changes means no new version', async () => {
    const group = await create('Careful', ids.slice(0, 3));
    for (const operation of [
      { op: 'Remove', path: 'members', value: [] },
      { op: 'Remove', path: 'members', value: [{ value: someId() }] },
      { op: 'remove', path: `members[value eq "${someId()}"]` },
      { op: 'remove', path: 'members[value eq " or value ne "]' },
      { op: 'add', path: 'members', value: [{ value: ids[0] }] },
    ]) {
      expect((await patch(group.id, operation)).status).toBe(204);
    }
    expect(await membersOf(group.id)).toHaveLength(3);
    expect((await usher.scim('GET', `/Groups/${group.id}`)).body.meta.version).toBe('W/"1"');
    expect((await patch(group.id, { op: 'Remove', path: 'members' })).status).toBe(204);
    expect(await membersOf(group.id)).toEqual([]);
  });

  test('refusals: a stranger as member, no displayName, a stale version; and nothing of a failed PATCH stays', async () => {
    const group = await create('Strict', [ids[0] ?? '']);
    expect(
      (
        await patch(
          group.id,
          { op: 'add', path: 'members', value: [{ value: ids[1] }] },
          { op: 'add', path: 'members', value: [{ value: someId() }] },
        )
      ).body,
    ).toMatchObject({ status: '400', scimType: 'invalidValue' });
    expect(await membersOf(group.id)).toEqual([ids[0]]);
    expect((await usher.scim('POST', '/Groups', { schemas: [core], members: [] })).body).toMatchObject({
      status: '400',
      scimType: 'invalidValue',
    });
    expect((await patch(group.id, { op: 'remove', path: 'displayName' })).body).toMatchObject({
      status: '400',
      scimType: 'mutability',
    });
    expect(
      (
        await usher.scim('PATCH', `/Groups/${group.id}`, patchOf({ op: 'replace', path: 'displayName', value: 'x' }), {
          'if-match': 'W/"9"',
        })
      ).status,
    ).toBe(412);
    expect(
      (await usher.scim('POST', '/Groups', { schemas: [core], displayName: 'Strict 2', externalId: 'taken' })).status,
    ).toBe(201);
    expect(
      (await usher.scim('POST', '/Groups', { schemas: [core], displayName: 'Strict 3', externalId: 'taken' })).body,
    ).toMatchObject({ status: '409', scimType: 'uniqueness' });
  });

  test('twenty changes of one group at once all land', async () => {
    const group = await create('Busy');
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_one, index) =>
        patch(group.id, { op: 'add', path: 'members', value: [{ value: ids[index % 6] }] }),
      ),
    );
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([204]));
    expect(await membersOf(group.id)).toEqual([...ids].sort());
  });

  test('a deleted user leaves the groups; a disabled one stays', async () => {
    const extra = (await usher.scim('POST', '/Users', scimUser('leaver'))).body.id;
    const group = await create('Leavers', [extra, ids[0] ?? '']);
    await usher.scim('PATCH', `/Users/${extra}`, patchOf({ op: 'Replace', path: 'active', value: 'False' }));
    expect(await membersOf(group.id)).toContain(extra);
    await usher.scim('DELETE', `/Users/${extra}`);
    expect(await membersOf(group.id)).toEqual([ids[0]]);
  });
});

describe('a group that the policy gives by', () => {
  let usher: Usher;
  beforeAll(async () => {
    usher = await startUsher({
      policy: plainPolicy
        .replace('when: { domain: contoso.com }', 'when: { group: { id: group-guid-1 } }')
        .replace('["{userName.local}"]', '[]'),
    });
  });
  afterAll(() => usher.close());

  test('users come before their group, and both end right; out of the group is a leaver; a rename of the group is nothing', async () => {
    const state = async (local: string) => (await usher.api('GET', `/people/${local}@contoso.com`)).body;
    const ana = (await usher.scim('POST', '/Users', scimUser('ana.ruiz'))).body.id;
    const bjorn = (await usher.scim('POST', '/Users', scimUser('bjorn.akesson'))).body.id;
    expect((await state('ana.ruiz')).lifecycle).toBe('out_of_scope');
    const group = (
      await usher.scim('POST', '/Groups', { schemas: [core], displayName: 'Advisors', externalId: 'GROUP-GUID-1' })
    ).body;
    await usher.scim(
      'PATCH',
      `/Groups/${group.id}`,
      patchOf({ op: 'Add', path: 'members', value: [{ value: ana }, { value: bjorn }] }),
    );
    await eventually(
      () => state('ana.ruiz'),
      (person) => person.ready === true,
    );
    await eventually(
      () => state('bjorn.akesson'),
      (person) => person.ready === true,
    );
    await usher.scim(
      'PATCH',
      `/Groups/${group.id}`,
      patchOf({ op: 'replace', path: 'displayName', value: 'Consultants' }),
    );
    await usher.scim(
      'PATCH',
      `/Groups/${group.id}`,
      patchOf({ op: 'Remove', path: 'members', value: [{ value: bjorn }] }),
    );
    const left = await eventually(
      () => state('bjorn.akesson'),
      (person) => person.lifecycle === 'suspended',
    );
    expect(left.leave).toMatchObject({ cause: 'out_of_scope', witness: 'group_change' });
    expect((await state('ana.ruiz')).ready).toBe(true);
    const history = (await usher.api('GET', '/people/bjorn.akesson@contoso.com/history')).body.items.map(
      (row: { action: string }) => row.action,
    );
    expect(history).toEqual(expect.arrayContaining(['group.joined', 'group.left']));
  });
});

describe('groups that share their members, under a rule that asks for one', () => {
  let usher: Usher;
  beforeAll(async () => {
    usher = await startUsher({
      workers: false,
      policy: plainPolicy.replace('when: { domain', 'when: { group: { name: Wanted }, domain'),
    });
  });
  afterAll(() => usher.close());

  test('changed all at once end as the last word of each says', async () => {
    const people: string[] = [];
    for (let n = 0; n < 24; n++) people.push((await usher.scim('POST', '/Users', scimUser(`shared.${n}`))).body.id);
    const groups = await Promise.all(
      Array.from({ length: 6 }, async (_one, n) => {
        const made = await usher.scim('POST', '/Groups', { schemas: [core], displayName: `Shared ${n}` });
        return made.body.id as string;
      }),
    );
    const some = () => people.filter(() => Math.random() < 0.4);
    for (let round = 0; round < 4; round++) {
      const answers = await Promise.all(
        groups.map((id, n) =>
          usher.scim('PUT', `/Groups/${id}`, {
            schemas: [core],
            displayName: `Shared ${n} in round ${round}`,
            members: some().map((value) => ({ value })),
          }),
        ),
      );
      expect(answers.map((answer) => answer.status)).toEqual(groups.map(() => 200));
    }
  });

  test('a user who is deleted while being added is no member afterwards', async () => {
    for (let n = 0; n < 5; n++) {
      const { body: user } = await usher.scim('POST', '/Users', scimUser(`ghost.${n}`));
      const { body: group } = await usher.scim('POST', '/Groups', { schemas: [core], displayName: `Ghosts ${n}` });
      await Promise.all([
        usher.scim(
          'PATCH',
          `/Groups/${group.id}`,
          patchOf({ op: 'add', path: 'members', value: [{ value: user.id }] }),
        ),
        usher.scim('DELETE', `/Users/${user.id}`),
      ]);
      expect((await usher.scim('GET', `/Groups/${group.id}`)).body.members ?? []).toEqual([]);
    }
  });
});
