/** Everybody, however many: rows are drawn as they come into view, and asked for in pages. The address keeps the filter. */
import { Button, Checkbox, Input, Select } from '@fluentui/react-components';
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useRef, useState } from 'react';
import { Link, useSearchParams } from 'wouter';
import { get, type Items, type Listed, type Person, post, query, type Source, type Summary } from '../api.ts';
import { useMay } from '../parts/session.ts';
import { Asked, Empty, Fault, Marks, Page } from '../parts/shown.tsx';
import { useWords } from '../words/index.tsx';

const pageSize = 200;
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
  const [added, setAdded] = useState<string | null>(null);
  const summary = useQuery({ queryKey: ['summary'], queryFn: () => get<Summary>('/summary') });
  const sources = useQuery({ queryKey: ['sources'], queryFn: () => get<Items<Source>>('/sources') });
  const people = useInfiniteQuery({
    queryKey: ['people', wished],
    queryFn: ({ pageParam }) =>
      get<Listed<Person>>(`/people${query({ ...wished, limit: pageSize, cursor: pageParam })}`),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.nextCursor,
    placeholderData: keepPreviousData,
  });
  const reasons = Object.entries(summary.data?.conditions[wished.condition] ?? {}).flatMap(([status, counts]) =>
    status === 'true' || typeof counts !== 'object' ? [] : Object.keys(counts as Record<string, number>),
  );
  const mayProvision = useMay('operator');
  const mayAdd = useMay();
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
      <Asked of={people}>
        {(data) => (
          <>
            <p role="status" className="muted">
              {t('users.count', { count: data.pages[0]?.total ?? 0 })}
            </p>
            <Grid
              people={data.pages.flatMap((page) => page.items)}
              total={data.pages[0]?.total ?? 0}
              more={() => {
                if (people.hasNextPage && !people.isFetching && !people.isError) void people.fetchNextPage();
              }}
              picked={picked}
              pick={setPicked}
              canPick={mayProvision}
            />
            <span className="muted">{t('users.picked', { count: number(picked.size) })}</span>
          </>
        )}
      </Asked>
      {added ? <p role="status">{t('users.added', { name: added })}</p> : null}
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
  people: Person[];
  total: number;
  more(): void;
  picked: ReadonlySet<string>;
  pick(picked: ReadonlySet<string>): void;
  canPick: boolean;
}

function Grid({ people, total, more, picked, pick, canPick }: GridProps) {
  const { t, named } = useWords();
  const frame = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: people.length,
    getScrollElement: () => frame.current,
    estimateSize: () => rowHeight,
    overscan: 12,
  });
  const shown = rows.getVirtualItems();
  const last = shown.at(-1)?.index ?? 0;
  useEffect(() => {
    if (people.length < total && last >= people.length - 50) more();
  }, [last, people.length, total, more]);
  if (people.length === 0) return <Empty>{t('users.nobody')}</Empty>;
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
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
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
            const person = people[index] as Person;
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
  );
}

/** First what would be done, of each; then, if whoever looks says so, it. */
function Bulk({ personIds, done }: { personIds: string[]; done(): void }) {
  const { t } = useWords();
  const client = useQueryClient();
  const [seen, setSeen] = useState<{ id: string; who: string; what: string }[] | null>(null);
  const each = useMutation({
    mutationFn: async (plan: boolean) => {
      const rows: { id: string; who: string; what: string }[] = [];
      for (const id of personIds) {
        const [person, result] = [
          await get<Person>(`/people/${id}`),
          await post<{ steps?: { message: string; outcome: string }[] }>(`/people/${id}/provision`, { plan }),
        ];
        const steps = (result.steps ?? []).filter(({ outcome }) => outcome !== 'nothing_to_do');
        rows.push({
          id,
          who: person.displayName ?? person.userName,
          what: steps.map(({ message }) => message).join(' ') || t('users.asWished'),
        });
      }
      return rows;
    },
    onSuccess: (rows, plan) => {
      if (plan) return setSeen(rows);
      setSeen(null);
      done();
      void client.invalidateQueries();
    },
  });
  return (
    <section className="card below" aria-label={t('users.bulk')}>
      <div className="tools">
        <span>{t('users.picked', { count: personIds.length })}</span>
        <Button onClick={() => each.mutate(true)} disabled={each.isPending}>
          {t('users.preview')}
        </Button>
        {seen ? (
          <Button appearance="primary" onClick={() => each.mutate(false)} disabled={each.isPending}>
            {t('users.provision')}
          </Button>
        ) : null}
        <Button appearance="subtle" onClick={done}>
          {t('users.unpick')}
        </Button>
      </div>
      {each.isError ? <Fault error={each.error} /> : null}
      {seen ? (
        <ul className="plain">
          {seen.map(({ id, who, what }) => (
            <li key={id}>
              <strong>{who}</strong>: {what}
            </li>
          ))}
        </ul>
      ) : null}
    </section>
  );
}

/** The browser's own dialog: it keeps the focus inside, and gives it back. */
function AddUser({ open, close, added }: { open: boolean; close(): void; added(name: string): void }) {
  const { t } = useWords();
  const client = useQueryClient();
  const dialog = useRef<HTMLDialogElement>(null);
  const [name, setName] = useState('');
  const [email, setEmail] = useState('');
  const add = useMutation({
    mutationFn: () => post('/account/users', { name, email }),
    onSuccess: () => {
      added(name);
      setName('');
      setEmail('');
      void client.invalidateQueries();
      close();
    },
  });
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} className="dialog" aria-labelledby="add" onClose={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          add.mutate();
        }}
      >
        <h2 id="add">{t('users.add')}</h2>
        <p>{t('users.addText')}</p>
        <label className="field">
          {t('users.name')}
          <Input required value={name} onChange={(_event, data) => setName(data.value)} />
        </label>
        <label className="field">
          {t('email')}
          <Input required type="email" value={email} onChange={(_event, data) => setEmail(data.value)} />
        </label>
        {add.isError ? <Fault error={add.error} /> : null}
        <p className="tools">
          <Button onClick={close}>{t('cancel')}</Button>
          <Button type="submit" appearance="primary" disabled={add.isPending}>
            {t('save')}
          </Button>
        </p>
      </form>
    </dialog>
  );
}
