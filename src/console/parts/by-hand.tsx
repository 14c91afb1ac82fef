/** Somebody described by hand: added, with what it would mean first; or changed. */
import { Button, Input } from '@fluentui/react-components';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { type ByHandPlan, call, get, type Items, type Person, Problem, post, type Said, type Source } from '../api.ts';
import { useWords } from '../words/index.tsx';
import { Copy } from './copy.tsx';
import { Dialog } from './dialog.tsx';
import { Asked, Code, Fault, Told } from './shown.tsx';

const fields = [
  'email',
  'givenName',
  'familyName',
  'displayName',
  'department',
  'title',
  'timeZone',
  'externalId',
] as const;
type Described = Record<(typeof fields)[number], string>;

const nobody = Object.fromEntries(fields.map((field) => [field, ''])) as Described;

function Fields({ value, set }: { value: Described; set(value: Described): void }) {
  const { t } = useWords();
  return fields.map((field) => (
    <label className="field" key={field}>
      {field === 'email' ? t('email') : t(`fields.${field}`)}
      <Input
        required={field === 'email'}
        type={field === 'email' ? 'email' : 'text'}
        value={value[field]}
        onChange={(_event, data) => set({ ...value, [field]: data.value })}
      />
    </label>
  ));
}

export function AddUser({ open, close, added }: { open: boolean; close(): void; added(person: Person): void }) {
  const { t } = useWords();
  return (
    <Dialog title={t('users.add')} open={open} close={close}>
      <Add
        close={close}
        added={(person) => {
          added(person);
          close();
        }}
      />
    </Dialog>
  );
}

function Add({ close, added }: { close(): void; added(person: Person): void }) {
  const { t } = useWords();
  const client = useQueryClient();
  const [value, setValue] = useState(nobody);
  const sources = useQuery({ queryKey: ['sources'], queryFn: () => get<Items<Source>>('/sources') });
  const said = Object.fromEntries(Object.entries(value).filter(([, text]) => text.trim() !== ''));
  const plan = useMutation({ mutationFn: () => post<ByHandPlan>('/people', { ...said, plan: true }) });
  const add = useMutation({
    mutationFn: () => post<Person>('/people', said),
    onSuccess: (person) => {
      added(person);
      void client.invalidateQueries();
    },
  });
  const isClear = plan.data?.kind === 'new' || plan.data?.kind === 'known';
  return (
    <Asked of={sources}>
      {({ items }) =>
        items.some(({ kind }) => kind === 'console') ? (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              if (isClear) add.mutate();
              else plan.mutate();
            }}
          >
            <p>{t('users.addText')}</p>
            <Fields
              value={value}
              set={(next) => {
                setValue(next);
                plan.reset();
                add.reset();
              }}
            />
            {plan.isError || add.isError ? <Fault error={plan.error ?? add.error} /> : null}
            {plan.data ? <Meaning plan={plan.data} /> : null}
            <p className="tools">
              <Button onClick={close}>{t('cancel')}</Button>
              <Button type="submit" appearance="primary" disabledFocusable={plan.isPending || add.isPending}>
                {isClear ? t(plan.data?.kind === 'known' ? 'users.join' : 'users.addIt') : t('users.next')}
              </Button>
            </p>
          </form>
        ) : (
          <>
            <p>{t('users.noConsole')}</p>
            <Code>{consoleLine}</Code>
            <p className="tools">
              <Copy text={consoleLine} />
              <Button onClick={close}>{t('close')}</Button>
            </p>
          </>
        )
      }
    </Asked>
  );
}

const consoleLine = '- { name: console, kind: console, domains: [contoso.com] }';

function Meaning({ plan }: { plan: ByHandPlan }) {
  const { t, named } = useWords();
  return (
    <div role="status">
      <p>
        <strong>{named('kind', plan.kind)}</strong>
        {plan.lifecycle ? ` · ${named('lifecycle', plan.lifecycle)}` : ''}
      </p>
      {plan.note ? (
        <p>
          <Told>{plan.note}</Told>
        </p>
      ) : null}
      {plan.wish && plan.lifecycle === 'wanted' ? (
        <p>
          {t('users.gets', {
            role: plan.wish.role,
            licenses: plan.wish.licenses.join(', ') || '–',
            pages: plan.wish.bookingPages.join(', ') || '–',
          })}
        </p>
      ) : null}
      {plan.personId ? (
        <p>
          <Link href={`/people/${plan.personId}`}>{t('users.see')}</Link>
        </p>
      ) : null}
    </div>
  );
}

export function EditByHand({ personId, said, close }: { personId: string; said: Said | null; close(): void }) {
  const { t } = useWords();
  return (
    <Dialog title={t('edit')} open={said !== null} close={close}>
      {said ? <Edit personId={personId} said={said} close={close} /> : null}
    </Dialog>
  );
}

function Edit({ personId, said, close }: { personId: string; said: Said; close(): void }) {
  const { t } = useWords();
  const client = useQueryClient();
  const before = Object.fromEntries(fields.map((field) => [field, said[field] ?? ''])) as Described;
  const [value, setValue] = useState(before);
  const save = useMutation({
    mutationFn: (mayLeave: boolean) => {
      const changed = fields.filter((field) => value[field] !== before[field]);
      return call('PATCH', `/people/${personId}`, {
        ...Object.fromEntries(changed.map((field) => [field, value[field].trim() || null])),
        mayLeave,
      });
    },
    onSuccess: () => {
      void client.invalidateQueries();
      close();
    },
  });
  const wouldLeave = save.error instanceof Problem && save.error.code === 'would_leave';
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate(false);
      }}
    >
      <Fields
        value={value}
        set={(next) => {
          setValue(next);
          save.reset();
        }}
      />
      {wouldLeave ? <p role="alert">{t('person.wouldLeave')}</p> : save.isError ? <Fault error={save.error} /> : null}
      <p className="tools">
        <Button onClick={close}>{t('cancel')}</Button>
        {wouldLeave ? (
          <Button disabledFocusable={save.isPending} onClick={() => save.mutate(true)}>
            {t('person.mayLeave')}
          </Button>
        ) : (
          <Button type="submit" appearance="primary" disabledFocusable={save.isPending}>
            {t('save')}
          </Button>
        )}
      </p>
    </form>
  );
}
