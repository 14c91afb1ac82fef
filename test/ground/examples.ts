/** Examples to vary: show only what matters in a test. */

import type { AccountPage, AccountUser } from '../../src/domain/account.ts';
import { type Condition, type Conditions, freshConditions } from '../../src/domain/conditions.ts';
import type { DirectoryUser, Person, Wish } from '../../src/domain/person.ts';
import type { Policy, PolicyInput } from '../../src/domain/policy.ts';
import { policySchema } from '../../src/domain/policy.ts';

export const now = new Date('2026-11-22T12:00:00Z');
export const minutes = (count: number): Date => new Date(now.getTime() + count * 60_000);

export function aPolicy(more: PolicyInput = {}): Policy {
  const parsed = policySchema.parse({
    dedicatedMailbox: 'scheduling@contoso.com',
    sources: [{ name: 'scim', kind: 'scim', domains: ['contoso.com'] }],
    rules: [{ name: 'Everybody' }],
    ...more,
  });
  return { ...parsed, version: 'v1' };
}

export function aDirectoryUser(more: Partial<DirectoryUser> = {}): DirectoryUser {
  return {
    source: 'scim',
    resourceId: '00000000-0000-4000-8000-000000000001',
    externalId: 'e1',
    userName: 'ana.ruiz@contoso.com',
    displayName: 'Ana Ruiz',
    givenName: 'Ana',
    familyName: 'Ruiz',
    email: 'ana.ruiz@contoso.com',
    addresses: ['ana.ruiz@contoso.com'],
    active: true,
    entraObjectId: null,
    department: null,
    division: null,
    organization: null,
    costCenter: null,
    title: null,
    userType: null,
    timeZone: null,
    groups: [],
    asked: { role: null, licenses: [], bookingPages: [] },
    activeSince: now,
    deletedAt: null,
    ...more,
  };
}

export function aWish(more: Partial<Wish> = {}): Wish {
  return {
    rule: 'Everybody',
    policyVersion: 'v1',
    source: 'scim',
    userName: 'ana.ruiz@contoso.com',
    displayName: 'Ana Ruiz',
    givenName: 'Ana',
    familyName: 'Ruiz',
    email: 'ana.ruiz@contoso.com',
    role: 'Member',
    licenses: ['scheduled-meetings'],
    bookingPages: ['ana.ruiz'],
    timeZone: null,
    invite: 'send',
    mailboxKeys: ['ana.ruiz@contoso.com'],
    faults: [],
    ...more,
  };
}

export function aPerson(more: Partial<Person> = {}): Person {
  return {
    personId: '10000000-0000-4000-8000-000000000001',
    lifecycle: 'wanted',
    generation: 1,
    wish: aWish(),
    leave: null,
    leavingSince: null,
    suspendedAt: null,
    ambiguousWith: [],
    accountUserId: null,
    accountUserOrigin: null,
    kept: {},
    handedOver: [],
    takenSeats: [],
    wishedAt: now,
    createdAt: now,
    ...more,
  };
}

export function theConditions(more: Partial<Record<keyof Conditions, Partial<Condition>>> = {}): Conditions {
  const fresh = freshConditions(1, now);
  return Object.fromEntries(
    Object.entries(fresh).map(([type, condition]) => [type, { ...condition, ...more[type as keyof Conditions] }]),
  ) as Conditions;
}

export const itIsTrue: Partial<Condition> = {
  status: 'true',
  reason: null,
  checkedAt: now,
  nextCheckAt: minutes(1440),
};

export function anAccountUser(more: Partial<AccountUser> = {}): AccountUser {
  return {
    accountUserId: '20000000-0000-4000-8000-000000000001',
    personId: '10000000-0000-4000-8000-000000000001',
    name: 'Ana Ruiz',
    email: 'ana.ruiz@contoso.com',
    role: 'Member',
    status: 'Invited (Pending)',
    suspended: false,
    signInBlocked: false,
    protected: false,
    timeZone: null,
    licenses: [],
    ...more,
  };
}

export function aPage(more: Partial<AccountPage> = {}): AccountPage {
  return {
    pageId: 'p1',
    linkName: 'ana.ruiz',
    title: null,
    ownerId: 'admin',
    enabled: false,
    disabledBy: null,
    disabledWhy: null,
    ...more,
  };
}
