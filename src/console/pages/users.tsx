/** Everybody, however many: rows are drawn as they come into view, and asked for where one looks. The address keeps the filter. */
import { Button, Checkbox, Input, Select } from '@fluentui/react-components';
import { keepPreviousData, useMutation, useQueries, useQuery } from '@tanstack/react-query';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useRef, useState } from 'react';
import { Link, useSearchParams } from 'wouter';
import { get, type Items, type Listed, type Person, query, type Source, type Summary } from '../api.ts';
import { Bulk } from '../parts/bulk.tsx';
import { AddUser } from '../parts/by-hand.tsx';
import { useMay } from '../parts/session.ts';
import { Asked, Empty, Fault, Marks, Page } from '../parts/shown.tsx';
import { useWords } from '../words/index.tsx';

const pageSize = 200;
const ahead = 50;
/** More are done by a table, or by the policy. */
const mostPicked = 1000;
const filters = ['filter', 'condition', 'reason', 'group', 'source', 'lifecycle', 'ready'] as const;
type Filter = (typeof filters)[number];

export function Users() {
  const { t, named, number } = useWords();
  const [params, setParams] = useSearchParams();
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const wished = Object.fromEntries(filters.map((name) => [name, params.get(name) ?? ''])) as Record<Filter, string>;
  const set = (changes: Partial<Record<Filter, string>>): void => {
    // Nobody is acted on who is not to be seen.
    setPicked(new Set());
    setParams(
      (before) => {
        const after = new URLSearchParams(before);
        for (const [name, value] of Object.entries(changes)) value ? after.set(name, value) : after.delete(name);
        return after;
      },
      { replace: true },
    );
  };
  const [adding, setAdding] = useState(false);
  const [added, setAdded] = useState<Person | null>(null);
  const summary = useQuery({ queryKey: ['summary'], queryFn: () => get<Summary>('/summary') });
  const sources = useQuery({ queryKey: ['sources'], queryFn: () => get<Items<Source>>('/sources') });
  const page = (number: number) => ({
    queryKey: ['people', wished, number],
    queryFn: ({ signal }: { signal: AbortSignal }) =>
      get<Listed<Person>>(`/people${query({ ...wished, limit: pageSize, offset: number * pageSize })}`, signal),
  });
  const pickAll = useMutation({
    mutationFn: async () => {
      const ids: string[] = [];
      for (let cursor: string | null = ''; cursor !== null; ) {
        const some: Listed<Person> = await get(`/people${query({ ...wished, limit: 500, cursor })}`);
        ids.push(...some.items.map(({ personId }) => personId));
        cursor = some.nextCursor;
      }
      return ids;
    },
    onSuccess: (ids) => setPicked(new Set(ids)),
  });
  // How many there are; the first page as well.
  const first = useQuery({ ...page(0), placeholderData: keepPreviousData });
  const reasons = Object.entries(summary.data?.conditions[wished.condition] ?? {}).flatMap(([status, counts]) =>
    status === 'true' || typeof counts !== 'object' ? [] : Object.keys(counts as Record<string, number>),
  );
  const mayProvision = useMay('operator');
  const mayAdd = useMay('operator');
  return (
    <Page title={t('users')} lead={t('users.lead')}>
      <div className="tools" role="search">
        <Search label={t('users.search')} value={wished.filter} onChange={(filter) => set({ filter })} />
        <Pick
          label={t('users.condition')}
          value={wished.condition}
          onChange={(condition) => set({ condition, reason: '' })}
        >
          {['Profile', 'Delegation', 'License', 'BookingPages'].map((type) => [type, named('condition', type)])}
        </Pick>
        {reasons.length > 0 ? (
          <Pick label={t('reason')} value={wished.reason} onChange={(reason) => set({ reason })}>
            {reasons.map((reason) => [reason, named('reason', reason)])}
          </Pick>
        ) : null}
        <Search label={t('users.group')} value={wished.group} onChange={(group) => set({ group })} />
        <Pick label={t('source')} value={wished.source} onChange={(source) => set({ source })}>
          {(sources.data?.items ?? []).map(({ name }) => [name, name])}
        </Pick>
        <Pick label={t('users.status')} value={wished.lifecycle} onChange={(lifecycle) => set({ lifecycle })}>
          {['wanted', 'out_of_scope', 'held', 'leaving', 'suspended', 'gone'].map((one) => [
            one,
            named('lifecycle', one),
          ])}
        </Pick>
        <Pick label={t('ready')} value={wished.ready} onChange={(ready) => set({ ready })}>
          {[
            ['true', t('yes')],
            ['false', t('no')],
          ]}
        </Pick>
        {filters.some((name) => wished[name]) ? (
          <Button onClick={() => set(Object.fromEntries(filters.map((name) => [name, ''])))}>{t('users.all')}</Button>
        ) : null}
        {mayAdd ? <Button onClick={() => setAdding(true)}>{t('users.add')}</Button> : null}
      </div>
      {picked.size > 0 && mayProvision ? (
        <Bulk key={[...picked].join()} personIds={[...picked]} done={() => setPicked(new Set())} />
      ) : null}
      <p role="status">
        {added ? (
          <Link href={`/people/${added.personId}`}>
            {t('users.added', { name: added.displayName ?? added.userName })}
          </Link>
        ) : null}
      </p>
      <Asked of={first}>
        {({ total }) => (
          <>
            <p role="status" className="muted">
              {t('users.count', { count: total })}
            </p>
            <Grid
              key={JSON.stringify(wished)}
              total={total}
              page={page}
              picked={picked}
              pick={setPicked}
              canPick={mayProvision}
            />
            <p className="tools">
              <span className="muted">{t('users.picked', { count: number(picked.size) })}</span>
              {mayProvision && total > 0 && total <= mostPicked && picked.size < total ? (
                <Button size="small" disabledFocusable={pickAll.isPending} onClick={() => pickAll.mutate()}>
                  {t('users.pickAll', { count: total })}
                </Button>
              ) : null}
            </p>
          </>
        )}
      </Asked>
      <AddUser open={adding} close={() => setAdding(false)} added={setAdded} />
    </Page>
  );
}

/** Asked for once whoever types pauses. */
function Search({ label, value, onChange }: { label: string; value: string; onChange(value: string): void }) {
  const [typed, setTyped] = useState(value);
  const told = useRef(value);
  useEffect(() => {
    if (value !== told.current) setTyped(value);
    told.current = value;
  }, [value]);
  useEffect(() => {
    if (typed === told.current) return;
    const timer = setTimeout(() => {
      told.current = typed;
      onChange(typed);
    }, 250);
    return () => clearTimeout(timer);
  });
  return (
    <label className="field">
      {label}
      <Input type="search" value={typed} onChange={(_event, data) => setTyped(data.value)} />
    </label>
  );
}

function Pick(props: {
  label: string;
  value: string;
  onChange(value: string): void;
  children: (readonly [string, string] | string[])[];
}) {
  const { t } = useWords();
  return (
    <label className="field">
      {props.label}
      <Select value={props.value} onChange={(_event, data) => props.onChange(data.value)}>
        <option value="">{t('any')}</option>
        {props.children.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </Select>
    </label>
  );
}

const rowHeight = 52;

interface GridProps {
  total: number;
  page(number: number): { queryKey: unknown[]; queryFn(of: { signal: AbortSignal }): Promise<Listed<Person>> };
  picked: ReadonlySet<string>;
  pick(picked: ReadonlySet<string>): void;
  canPick: boolean;
}

/** Whoever drags past a thousand pages asks for a few of them. */
const lookMs = 120;

function Grid({ total, page, picked, pick, canPick }: GridProps) {
  const { t, named } = useWords();
  const frame = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: total,
    getScrollElement: () => frame.current,
    estimateSize: () => rowHeight,
    overscan: 12,
  });
  const shown = rows.getVirtualItems();
  // A little ahead, so that whoever scrolls on finds it there.
  const inView = [(shown[0]?.index ?? 0) - ahead, (shown.at(-1)?.index ?? 0) + ahead].map((index) =>
    Math.floor(Math.min(Math.max(index, 0), Math.max(0, total - 1)) / pageSize),
  );
  const [from = 0, to = 0] = useThrottled(inView.join(), lookMs).split(',').map(Number);
  const numbers = Array.from({ length: to - from + 1 }, (_one, index) => from + index);
  const pages = useQueries({ queries: numbers.map((number) => page(number)) });
  const at = (index: number): Person | undefined =>
    pages[Math.floor(index / pageSize) - from]?.data?.items[index % pageSize];
  const failed = pages.find((one) => one.isError);
  if (total === 0) return <Empty>{t('users.nobody')}</Empty>;
  const toggle = (id: string): void => {
    const after = new Set(picked);
    if (!after.delete(id)) after.add(id);
    pick(after);
  };
  const heads = [
    'users.name',
    'users.role',
    'users.integrations',
    'users.licenses',
    'users.status',
    'users.conditions',
  ] as const;
  return (
    <>
      {failed ? <Fault error={failed.error} again={() => void failed.refetch()} /> : null}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
      <section className="scroll tall" ref={frame} aria-label={t('users')} tabIndex={0}>
        <div className="grid" role="table" aria-rowcount={total + 1} aria-label={t('users')}>
          <div role="row" className="head" aria-rowindex={1}>
            <span role="columnheader">
              <span className="unseen">{t('users.pick')}</span>
            </span>
            {heads.map((key) => (
              <span role="columnheader" key={key}>
                {t(key)}
              </span>
            ))}
          </div>
          <div role="rowgroup" style={{ height: rows.getTotalSize(), position: 'relative' }}>
            {shown.map(({ index, start }) => {
              const person = at(index);
              if (!person)
                return (
                  <div
                    role="row"
                    key={`row ${index}`}
                    className="row"
                    aria-rowindex={index + 2}
                    style={{ transform: `translateY(${start}px)` }}
                  >
                    <span role="cell" className="muted">
                      …
                    </span>
                  </div>
                );
              const name = person.displayName ?? person.userName;
              const delegated = person.conditions.find(({ type }) => type === 'Delegation')?.status === 'true';
              return (
                <div
                  role="row"
                  key={person.personId}
                  className="row"
                  aria-rowindex={index + 2}
                  style={{ transform: `translateY(${start}px)` }}
                >
                  <span role="cell">
                    {canPick ? (
                      <Checkbox
                        checked={picked.has(person.personId)}
                        onChange={() => toggle(person.personId)}
                        aria-label={t('users.pickOne', { name })}
                      />
                    ) : null}
                  </span>
                  <span role="cell" className="cell">
                    <Link href={`/people/${person.personId}`}>{name}</Link>
                    <small>{person.email ?? person.userName}</small>
                  </span>
                  <span role="cell" className="cell">
                    {person.role ?? '–'}
                  </span>
                  <span role="cell" className="cell">
                    {delegated ? 'Exchange' : t('none')}
                  </span>
                  <span role="cell" className="cell">
                    {person.conditions.find(({ type }) => type === 'License')?.status === 'true'
                      ? person.licenses.join(', ') || t('none')
                      : t('none')}
                  </span>
                  <span role="cell" className="cell">
                    {person.ready
                      ? t('ready')
                      : person.lifecycle === 'wanted'
                        ? t('users.notReady')
                        : named('lifecycle', person.lifecycle)}
                    {person.reason ? <small>{named('reason', person.reason)}</small> : null}
                  </span>
                  <span role="cell">
                    <Marks conditions={person.conditions} />
                  </span>
                </div>
              );
            })}
          </div>
        </div>
      </section>
    </>
  );
}

/** What it was, until it rests or the time is up. */
function useThrottled(value: string, milliseconds: number): string {
  const [slow, setSlow] = useState(value);
  const latest = useRef(value);
  const timer = useRef<number | undefined>(undefined);
  useEffect(() => {
    latest.current = value;
    if (value === slow || timer.current !== undefined) return;
    timer.current = window.setTimeout(() => {
      timer.current = undefined;
      setSlow(latest.current);
    }, milliseconds);
  }, [value, slow, milliseconds]);
  useEffect(
    () => () => {
      window.clearTimeout(timer.current);
      timer.current = undefined;
    },
    [],
  );
  return slow;
}
