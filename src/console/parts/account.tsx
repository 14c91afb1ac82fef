/** A person's user in the scheduling account: as it is, changed by hand, its pages, and what it may do. */
import { Button, Input, Select } from '@fluentui/react-components';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import {
  type AccountUser,
  type BookingPage,
  call,
  get,
  type Listed,
  type Permission,
  type Person,
  Problem,
  query,
} from '../api.ts';
import { useWords } from '../words/index.tsx';
import { Empty, Fault, Mark, Told } from './shown.tsx';

export function Account({ person, mayAct }: { person: Person; mayAct: boolean }) {
  const { t, time } = useWords();
  const client = useQueryClient();
  const id = person.accountUserId;
  const user = useQuery({
    queryKey: ['person', person.personId, 'user'],
    queryFn: () => get<AccountUser>(`/account/users/${id}`),
    enabled: id !== null,
    retry: false,
  });
  const pages = useQuery({
    queryKey: ['person', person.personId, 'pages'],
    queryFn: () => get<Listed<BookingPage>>(`/account/booking-pages${query({ owner: id })}`),
    enabled: id !== null,
    retry: false,
  });
  const takeBack = useMutation({
    mutationFn: (key: string) => call('DELETE', `/people/${person.personId}/kept/${encodeURIComponent(key)}`),
    onSettled: () => client.invalidateQueries(),
  });
  if (!id) return null;
  return (
    <section className="card" aria-labelledby="account">
      <h2 id="account">{t('person.account')}</h2>
      {user.isError ? (
        <Empty>
          <Told>{user.error.message}</Told>
        </Empty>
      ) : null}
      {user.data ? (
        <dl className="data">
          <dt>{t('users.role')}</dt>
          <dd>{user.data.role}</dd>
          <dt>{t('users.status')}</dt>
          <dd>{user.data.suspended ? t('person.suspended') : <Told>{user.data.status}</Told>}</dd>
          <dt>{t('users.integrations')}</dt>
          <dd>
            <Told>{user.data.integrations}</Told>
          </dd>
          <dt>{t('users.licenses')}</dt>
          <dd>{user.data.licenses.join(', ') || t('none')}</dd>
          <dt>{t('person.timeZone')}</dt>
          <dd>{user.data.timeZone ?? '–'}</dd>
        </dl>
      ) : null}
      {user.data && mayAct ? <EditUser user={user.data} /> : null}
      <h3>{t('pages')}</h3>
      {pages.data?.items.length === 0 ? <Empty>{t('person.noPages')}</Empty> : null}
      <ul className="plain">
        {(pages.data?.items ?? []).map((page) => (
          <li key={page.pageId}>
            <strong>{page.title}</strong> <span className="muted">({page.linkName})</span>:{' '}
            <Told>{page.bookable.message}</Told>
          </li>
        ))}
      </ul>
      {Object.keys(person.kept ?? {}).length > 0 ? (
        <>
          <h3>{t('person.kept')}</h3>
          <ul className="plain">
            {Object.entries(person.kept).map(([key, { by, at }]) => (
              <li key={key} className="between">
                <span>
                  {key} <span className="muted">{t('person.keptBy', { who: by, time: time(at) })}</span>
                </span>
                {mayAct ? (
                  <Button size="small" onClick={() => takeBack.mutate(key)}>
                    {t('person.takeBack')}
                  </Button>
                ) : null}
              </li>
            ))}
          </ul>
        </>
      ) : null}
    </section>
  );
}

const userFields = ['name', 'email', 'timeZone'] as const;

/** What a rule manages is refused first, with the rule's name; then it can be kept by hand. */
function EditUser({ user }: { user: AccountUser }) {
  const { t } = useWords();
  const client = useQueryClient();
  const before = { name: user.name, email: user.email, timeZone: user.timeZone ?? '', role: user.role };
  const [value, setValue] = useState<typeof before | null>(null);
  const save = useMutation({
    mutationFn: ({ to, keepByHand }: { to: typeof before; keepByHand: boolean }) => {
      const changed = Object.entries(to).filter(([name, text]) => text !== before[name as keyof typeof before]);
      return call('PATCH', `/account/users/${user.accountUserId}`, {
        ...Object.fromEntries(changed.map(([name, text]) => [name, text.trim() || null])),
        keepByHand,
      });
    },
    onSuccess: () => {
      setValue(null);
      return client.invalidateQueries();
    },
  });
  if (!value)
    return (
      <p>
        <Button
          size="small"
          onClick={() => {
            save.reset();
            setValue(before);
          }}
        >
          {t('edit')}
        </Button>
      </p>
    );
  const isManaged = save.error instanceof Problem && save.error.code === 'managed_by_rule';
  const set = (name: keyof typeof before, text: string): void => {
    save.reset();
    setValue({ ...value, [name]: text });
  };
  const names = { name: t('users.name'), email: t('email'), timeZone: t('person.timeZone') };
  return (
    <form
      className="form below"
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate({ to: value, keepByHand: false });
      }}
    >
      {userFields.map((name) => (
        <label className="field" key={name}>
          {names[name]}
          <Input
            required={name !== 'timeZone'}
            value={value[name]}
            onChange={(_event, data) => set(name, data.value)}
          />
        </label>
      ))}
      <label className="field">
        {t('users.role')}
        <Select value={value.role} onChange={(_event, data) => set('role', data.value)}>
          <option>Administrator</option>
          <option>Member</option>
        </Select>
      </label>
      {isManaged ? (
        <p role="alert">{t('person.managed', { rule: user.managedBy?.rule ?? '' })}</p>
      ) : save.isError ? (
        <Fault error={save.error} />
      ) : null}
      <p className="tools">
        <Button type="submit" appearance="primary" disabledFocusable={save.isPending}>
          {t('save')}
        </Button>
        {isManaged ? (
          <Button disabledFocusable={save.isPending} onClick={() => save.mutate({ to: value, keepByHand: true })}>
            {t('person.keep')}
          </Button>
        ) : null}
        <Button appearance="subtle" onClick={() => setValue(null)}>
          {t('cancel')}
        </Button>
      </p>
    </form>
  );
}

export function Permissions({ person }: { person: Person }) {
  const { t } = useWords();
  const id = person.accountUserId;
  const permissions = useQuery({
    queryKey: ['person', person.personId, 'permissions'],
    queryFn: () => get<{ permissions: Permission[] }>(`/account/permissions${query({ user: id })}`),
    enabled: id !== null,
    retry: false,
  });
  if (!permissions.data) return null;
  return (
    <section className="card wide" aria-labelledby="permissions">
      <h2 id="permissions">{t('person.permissions')}</h2>
      <ul className="plain pairs">
        {permissions.data.permissions.map((one) => (
          <li key={one.function} className="between">
            <span>
              <Mark status={one.allowed ? 'true' : 'false'} label={one.allowed ? t('yes') : t('no')} />{' '}
              <Told>{one.title}</Told>
            </span>
            {one.allowed ? null : (
              <span className="muted">
                <Told>{one.reason}</Told>
              </span>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
