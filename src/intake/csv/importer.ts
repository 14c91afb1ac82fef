/**
 * A table of people becomes a plan, and the plan, once somebody applies it, people. A row says what was seen when it was planned; applying it compares, and a
 * person who changed since is left alone as `plan_stale`. Rows are settled one by one, so whoever stops half-way goes on behind the last.
 */
import { createHash } from 'node:crypto';
import { streamCsv } from '../../csv.ts';
import type { AccountPage } from '../../domain/account.ts';
import { type CsvFields, mergedFields, readRow, userFromFields } from '../../domain/csv-people.ts';
import { foldAddress } from '../../domain/email-address.ts';
import {
  actingKinds,
  emptySummary,
  expectedSeconds,
  type ImportSummary,
  type RowKind,
  stepsByHand,
} from '../../domain/import-plan.ts';
import { type PeopleColumn, peopleColumns } from '../../domain/people-columns.ts';
import type { Policy } from '../../domain/policy.ts';
import { asUsherError, type ErrorCode, UsherError } from '../../errors.ts';
import { newId } from '../../ids.ts';
import type { Log } from '../../log.ts';
import type {
  AccessStore,
  Cause,
  Import,
  ImportRow,
  ImportStore,
  IntakeStore,
  SchedulingAccount,
} from '../../ports.ts';
import { type DecideBy, decideRow, isSame, notUsed } from '../decide-row.ts';
import {
  changedBy,
  changeFor,
  decideCreate,
  difference,
  type Hints,
  mustNotPause,
  sourceOf,
} from '../record-change.ts';

export interface ImporterParts {
  store: ImportStore & IntakeStore & Pick<AccessStore, 'touch' | 'sources'>;
  account: Pick<SchedulingAccount, 'pagesNamed' | 'findById' | 'licenseCounts' | 'capabilities' | 'pace'>;
  policy: Policy;
  hints: Hints;
  log: Log;
  now: () => Date;
}

const mostBytes = 104_857_600;
const batch = 200;
const applyTogether = 100;
const applyAtOnce = 16;
const leaseSeconds = 60;

type NewRow = Omit<ImportRow, 'state' | 'result'>;

interface RawRow {
  line: number;
  cells: Record<string, string>;
  fault: string | undefined;
}

export type Importer = ReturnType<typeof openImporter>;

export function openImporter(parts: ImporterParts) {
  const { store, policy } = parts;
  return {
    /** Reads the whole table into a plan; nothing else is written. */
    async plan(name: string, bytes: AsyncIterable<Buffer>, by: string): Promise<Import> {
      const source = sourceOf('csv', policy);
      await mustNotPause(store, source.name);
      const importId = await store.beginImport(source.name, name, policy.version, by);
      try {
        await read(importId, source.name, bytes);
      } catch (error) {
        const { message } = asUsherError(error);
        await store.endReading(importId, { state: 'failed', failure: message });
        throw error;
      }
      const made = await store.import(importId);
      if (!made) throw new UsherError('internal', 'The plan that was just made is gone.');
      return made;
    },

    /** Takes an import that is to be applied, if there is one that nobody works on, and works until it is done or stopped. */
    async work(stopped: () => boolean): Promise<boolean> {
      const claimed = await store.claimImport(leaseSeconds);
      if (!claimed) return false;
      await store.touch([], [claimed.source], parts.now());
      const cause: Cause = { actor: claimed.appliedBy ?? claimed.createdBy, by: `import:${claimed.importId}` };
      while (!stopped()) {
        const rows = await store.waitingRows(claimed.importId, batch);
        if (rows.length === 0) {
          await store.finishImport(claimed.importId);
          return true;
        }
        for (let from = 0; from < rows.length && !stopped(); from += applyTogether) {
          if (!(await store.holdImport(claimed.importId, leaseSeconds))) return true;
          await applyRows(claimed, rows.slice(from, from + applyTogether), cause);
        }
      }
      return true;
    },
  };

  async function read(importId: string, source: string, bytes: AsyncIterable<Buffer>): Promise<void> {
    const file = createHash('sha256');
    const hashed = (async function* () {
      for await (const part of bytes) {
        file.update(part);
        yield part;
      }
    })();
    const table = await streamCsv(hashed, peopleColumns, [['userName', 'email']], mostBytes);
    const summary = emptySummary();
    const tally = openTally(parts, summary);
    const plan = createHash('sha256').update(policy.version);
    const seen = new Map<string, number>();
    let rows: RawRow[] = [];
    const flush = async (): Promise<void> => {
      const planned = await planRows(source, rows, seen);
      for (const row of planned) {
        tally.count(row);
        plan.update(
          JSON.stringify([row.line, row.kind, row.personId, row.version, row.generation, row.fields, row.lifecycle]),
        );
      }
      await tally.look(planned);
      await store.addRows(importId, planned);
      rows = [];
    };
    for await (const { line, values, fault } of table.rows) {
      rows.push({ line, cells: values, fault });
      if (rows.length >= batch) await flush();
    }
    if (rows.length > 0) await flush();
    if (summary.rows === 0) throw new UsherError('invalid_value', 'The file has no rows below its headings.');
    await tally.finish();
    await store.endReading(importId, {
      state: 'planned',
      fileHash: file.digest('hex'),
      planHash: plan.digest('hex'),
      columns: table.headings,
      summary,
    });
  }

  async function planRows(source: string, rows: RawRow[], seen: Map<string, number>): Promise<NewRow[]> {
    const by: DecideBy = {
      policy,
      source: sourceOf('csv', policy),
      namesInParts: parts.account.capabilities.namesInParts,
      now: parts.now,
    };
    const read = rows.map(({ line, cells, fault }) => {
      const { fields, faults } = readRow(cells as Partial<Record<PeopleColumn, string>>);
      if (fault) faults.push({ column: 'row', reason: fault, suggestion: null });
      const keys: string[] = [];
      for (const key of [
        fields.userName && `userName ${foldAddress(fields.userName)}`,
        fields.externalId && `externalId ${fields.externalId}`,
        fields.email && `email ${foldAddress(fields.email)}`,
      ]) {
        if (!key) continue;
        keys.push(key);
        const twin = seen.get(key);
        if (twin !== undefined)
          faults.push({
            column: 'row',
            reason: `${key.split(' ')[0]} stands in line ${twin} already`,
            suggestion: null,
          });
      }
      // A row that is not taken is in nobody's way.
      if (faults.length === 0) for (const key of keys) seen.set(key, line);
      const user = userFromFields(mergedFields({}, fields), { source, resourceId: newId(), activeSince: parts.now() });
      return { line, cells, fields, faults, user };
    });
    const sound = read.filter((row) => row.faults.length === 0);
    const sights = sound.length > 0 ? await store.rowSights(sound.map((row) => row.user)) : [];
    const sightOf = new Map(sound.map((row, index) => [row.line, sights[index]]));
    return read.map(({ line, cells, fields, faults, user }): NewRow => {
      const row: NewRow = {
        line,
        kind: 'faulty',
        who: fields.userName || fields.email || '(empty)',
        note: null,
        suggestion: null,
        lifecycle: null,
        wish: null,
        cells,
        fields: null,
        personId: null,
        resourceId: null,
        version: null,
        generation: null,
      };
      const sight = sightOf.get(line);
      if (faults.length > 0 || !sight)
        return {
          ...row,
          note: faults.map((fault) => `${fault.column}: ${fault.reason}`).join('; '),
          suggestion:
            faults
              .map((fault) => fault.suggestion && `${fault.column}: ${fault.suggestion}`)
              .filter(Boolean)
              .join('; ') || null,
        };
      return { ...row, ...decideRow(by, fields, user, sight) };
    });
  }

  async function applyRows(of: Import, rows: ImportRow[], cause: Cause): Promise<void> {
    const settled: Parameters<ImportStore['settleRows']>[1] = [];
    const made = await createStrangers(of, rows, cause);
    for (const [line, personId] of made) settled.push({ line, state: 'applied', result: null, personId });
    const queue = rows.filter((row) => !made.has(row.line));
    await Promise.all(
      Array.from({ length: applyAtOnce }, async () => {
        for (let row = queue.shift(); row; row = queue.shift()) {
          const outcome = await applyOne(of, row, cause);
          if (outcome) settled.push({ line: row.line, ...outcome });
        }
      }),
    );
    if (settled.length > 0) await store.settleRows(of.importId, settled);
  }

  /** Those of the new who are nobody's double, in one transaction: by line, the person. Whoever is left comes one by one, and is told apart there. */
  async function createStrangers(of: Import, rows: ImportRow[], cause: Cause): Promise<Map<number, string>> {
    const strangers = rows.flatMap((row) => {
      if (row.kind !== 'new' || !row.fields) return [];
      const resource = mergedFields({}, row.fields);
      const user = userFromFields(resource, { source: of.source, resourceId: newId(), activeSince: parts.now() });
      return [{ line: row.line, user, resource, personId: newId(), change: changeFor([user], null, policy, user) }];
    });
    if (strangers.length === 0) return new Map();
    const made = await store.createStrangers(of.source, strangers, cause).catch((error: unknown) => {
      parts.log.debug({ err: error }, 'rows that could not be written together are written one by one');
      return new Set<string>();
    });
    const written = strangers.filter(({ user }) => made.has(user.resourceId));
    for (const { personId, change } of written) hint(personId, change.lifecycle);
    return new Map(written.map(({ line, personId }) => [line, personId]));
  }

  /** Null: the database is away, and the row waits. */
  async function applyOne(
    of: Import,
    row: ImportRow,
    cause: Cause,
  ): Promise<Omit<Parameters<ImportStore['settleRows']>[1][number], 'line'> | null> {
    if (!row.fields || !actingKinds.includes(row.kind)) return { state: 'left', result: null, personId: row.personId };
    try {
      const personId = row.resourceId
        ? await change(of, row, row.fields, cause)
        : await create(of, row, row.fields, cause);
      return { state: 'applied', result: null, personId };
    } catch (thrown) {
      const error = asUsherError(thrown);
      if (error.code === 'database_unavailable') return null;
      if (thrown instanceof Stale) return { state: 'plan_stale', result: thrown.message, personId: row.personId };
      // A row that was written before its settling was lost: it is there now, as it was wished.
      if (error.code === 'uniqueness' && (await isThere(of, row, row.fields)))
        return { state: 'applied', result: null, personId: row.personId };
      if (error.row.status >= 500) parts.log.warn({ err: error, line: row.line }, 'a row of an import failed');
      return { state: 'failed', result: error.message, personId: row.personId };
    }
  }

  async function create(of: Import, row: ImportRow, fields: CsvFields, cause: Cause): Promise<string> {
    const resource = mergedFields({}, fields);
    const user = userFromFields(resource, { source: of.source, resourceId: newId(), activeSince: parts.now() });
    const alone = changeFor([user], null, policy, user);
    let wish = alone;
    const stored = await store.createCorrelated(
      { user, resource },
      async (candidates, load) => {
        const decision = await decideCreate(candidates, load, user, alone, policy);
        if (row.kind === 'new' && (decision.kind !== 'new' || decision.ambiguousWith.length > 0))
          throw new Stale('Somebody who could be the same person came since the plan was made.');
        if (row.kind === 'known' && (decision.kind !== 'attach' || decision.personId !== row.personId))
          throw new Stale('The person whom the plan meant is another one by now.');
        if (decision.kind === 'attach' && decision.generation !== row.generation)
          throw new Stale('What is wished for the person changed since the plan was made.');
        wish = decision.change;
        return decision;
      },
      cause,
    );
    hint(stored.personId, wish.lifecycle);
    return stored.personId;
  }

  async function change(of: Import, row: ImportRow, fields: CsvFields, cause: Cause): Promise<string> {
    const found = row.resourceId ? await store.findUserForChange(of.source, row.resourceId) : null;
    if (!found) throw new Stale('The person is gone from this source since the plan was made.');
    const { stored, all } = found;
    const resource = mergedFields(stored.resource, fields);
    // As it was wished already: this very row, before its settling was lost.
    if (isSame(resource, stored.resource)) return stored.personId;
    if (stored.version !== row.version || all.person.generation !== row.generation)
      throw new Stale('The person changed since the plan was made.');
    const user = userFromFields(resource, {
      source: of.source,
      resourceId: stored.resourceId,
      activeSince: parts.now(),
    });
    const after = changedBy(all, user, policy, parts.now());
    const written = await store.updateUser(
      {
        resourceId: stored.resourceId,
        version: stored.version,
        personId: stored.personId,
        generation: all.person.generation,
      },
      { user, resource },
      after,
      difference(stored.resource, resource),
      cause,
    );
    if (!written) throw new Stale('The person changed at this moment.');
    hint(stored.personId, after.lifecycle);
    return stored.personId;
  }

  async function isThere(of: Import, row: ImportRow, fields: CsvFields): Promise<boolean> {
    const user = userFromFields(mergedFields({}, fields), {
      source: of.source,
      resourceId: newId(),
      activeSince: parts.now(),
    });
    const own = (await store.rowSights([user]))[0]?.own;
    if (!own) return false;
    row.personId = own.stored.personId;
    return isSame(mergedFields(own.stored.resource, fields), own.stored.resource);
  }

  function hint(personId: string, lifecycle: string): void {
    if (lifecycle === 'wanted') {
      parts.hints.add('create-user', personId);
      if (policy.delegation !== 'ignored') parts.hints.add('check-delegation', personId);
    }
    if (lifecycle === 'leaving') parts.hints.add('offboard', personId);
  }
}

class Stale extends Error {}

const asleep: ErrorCode[] = ['throttled', 'account_unavailable', 'account_connection_down', 'plan_has_no_api'];

/** What the rows need, counted as they come: seats, calendars, pages. */
function openTally({ store, account, policy }: ImporterParts, summary: ImportSummary) {
  const wishedPages = new Set<string>();
  const owners = new Map<string, ReturnType<SchedulingAccount['findById']>>();
  return {
    count(row: NewRow): void {
      summary.rows += 1;
      summary.kinds[row.kind as RowKind] += 1;
      if (row.fields && row.lifecycle !== 'wanted' && row.kind !== 'leaver') summary.outOfScope += 1;
      if (row.fields && row.note?.includes(notUsed)) summary.cellsNotUsed = (summary.cellsNotUsed ?? 0) + 1;
    },

    async look(rows: NewRow[]): Promise<void> {
      const wanted = rows.filter((row) => row.fields && row.lifecycle === 'wanted');
      const facts = await store.peopleFacts(wanted.flatMap((row) => row.personId ?? []));
      for (const row of wanted) {
        const known = row.personId ? facts.get(row.personId) : undefined;
        for (const kind of row.wish?.licenses ?? []) {
          summary.seats[kind] ??= { needed: 0, left: null, missing: 0 };
          if (!known?.licenses.includes(kind)) summary.seats[kind].needed += 1;
        }
        if (policy.delegation === 'ignored') continue;
        if (known?.delegation === 'true') summary.calendars.delegated += 1;
        else if (known?.delegation === 'false') summary.calendars.notDelegated += 1;
        else summary.calendars.toBeChecked += 1;
      }
      const names = wanted.flatMap((row) => row.wish?.bookingPages ?? []);
      const found = await account.pagesNamed(names).catch((error: unknown) => {
        // A plan is made also while a vendor is slow or away; it says what it could not look at.
        if (!asleep.includes(asUsherError(error).code)) throw error;
        return null;
      });
      if (!found) {
        summary.pages.wished += names.length;
        summary.pages.notLookedAt = (summary.pages.notLookedAt ?? 0) + names.length;
        return;
      }
      const pages = new Map(found.map((page) => [page.linkName, page]));
      for (const row of wanted)
        for (const name of row.wish?.bookingPages ?? []) {
          if (wishedPages.has(name)) summary.pages.claimedTwice += 1;
          wishedPages.add(name);
          summary.pages.wished += 1;
          await judge(pages.get(name), row);
        }
    },

    async finish(): Promise<void> {
      const pools = await account.licenseCounts();
      for (const [kind, seats] of Object.entries(summary.seats)) {
        const pool = pools[kind];
        // Where a ledger stands for the account, a seat that somebody is asked to assign is no free one.
        const asked = account.capabilities.knowsPools ? 0 : (pool?.reserved ?? 0);
        const left =
          pool && pool.bought !== null ? Math.max(0, pool.bought - pool.assigned - asked - pool.waiting) : null;
        seats.left = pool ? left : 0;
        seats.missing = seats.left === null ? 0 : Math.max(0, seats.needed - seats.left);
      }
      summary.secondsExpected = expectedSeconds(summary, account.pace);
      summary.byHand = stepsByHand(account.capabilities.steps);
    },
  };

  async function judge(page: AccountPage | undefined, row: NewRow): Promise<void> {
    if (!page) {
      if (policy.bookingPages.createMissing === false && !account.capabilities.makesPageForNewUser)
        summary.pages.missing += 1;
      return;
    }
    // Whoever has it: where the account does not tell, the step finds out.
    if (page.ownerId === null) return;
    const owner = await ownerOf(page.ownerId);
    const isOwn = owner?.personId !== null && owner?.personId === row.personId;
    if (isOwn || owner?.role === 'Administrator') return;
    summary.pages.ownedByOthers += 1;
  }

  /** Most pages of a first import belong to one Administrator. */
  async function ownerOf(accountUserId: string) {
    const known = owners.get(accountUserId) ?? account.findById(accountUserId);
    owners.set(accountUserId, known);
    return known;
  }
}
