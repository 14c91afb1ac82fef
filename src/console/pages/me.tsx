/** What somebody who signed in sees of themselves: can they be booked, what they can do for it, their pages, their profile. */
import { Button, Checkbox, Field, Input, Select } from '@fluentui/react-components';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { mendedByGrant } from '../../domain/delegation.ts';
import { type AccountUser, type BookingPage, type CalendarConnection, call, get, type Listed, query } from '../api.ts';
import { Steps } from '../parts/instructions.tsx';
import { useSession } from '../parts/session.ts';
import { Asked, Empty, Fault, Mark, Page, Told } from '../parts/shown.tsx';
import { useWords } from '../words/index.tsx';

export function Me() {
  const session = useSession();
  const { t } = useWords();
  const id = session.accountUserId;
  if (!id)
    return (
      <Page title={session.name}>
        <Empty>{t('me.nobody')}</Empty>
      </Page>
    );
  return <Mine id={id} />;
}

function Mine({ id }: { id: string }) {
  const { t } = useWords();
  const user = useQuery({ queryKey: ['me'], queryFn: () => get<AccountUser>(`/account/users/${id}`) });
  const pages = useQuery({
    queryKey: ['me', 'pages'],
    queryFn: () => get<Listed<BookingPage>>(`/account/booking-pages${query({ owner: id })}`),
  });
  return (
    <Asked of={user}>
      {(me) => (
        <Page title={me.name} lead={t('me.lead')}>
          <div className="cards">
            <CalendarCard id={id} />
            <section className="card" aria-labelledby="pages">
              <h2 id="pages">{t('pages')}</h2>
              <Asked of={pages}>
                {({ items }) =>
                  items.length === 0 ? (
                    <Empty>{t('person.noPages')}</Empty>
                  ) : (
                    <ul className="plain">
                      {items.map((page) => (
                        <Own key={page.pageId} page={page} />
                      ))}
                    </ul>
                  )
                }
              </Asked>
            </section>
            <Profile user={me} />
          </div>
        </Page>
      )}
    </Asked>
  );
}

function CalendarCard({ id }: { id: string }) {
  const { t, ago, language } = useWords();
  const client = useQueryClient();
  const calendar = useQuery({
    queryKey: ['me', 'calendar', language],
    queryFn: () => get<CalendarConnection>(`/account/users/${id}/calendar${query({ language })}`),
    retry: false,
  });
  const check = useMutation({
    mutationFn: () => call('POST', `/account/users/${id}/calendar/check`, {}),
    onSettled: () => setTimeout(() => void client.invalidateQueries({ queryKey: ['me', 'calendar'] }), 1500),
  });
  return (
    <section className="card" aria-labelledby="calendar">
      <h2 id="calendar">{t('me.calendar')}</h2>
      <Asked of={calendar}>
        {(found) => (
          <>
            <p>
              <Calendar of={found} />
            </p>
            <p className="muted">{t('person.checked', { ago: ago(found.condition?.checkedAt) })}</p>
            <Button onClick={() => check.mutate()} disabled={check.isPending}>
              {t('delegation.check')}
            </Button>
            {found.condition?.status !== 'true' ? <Steps ways={found.instructions} /> : null}
          </>
        )}
      </Asked>
      {check.isError ? <Fault error={check.error} /> : null}
    </section>
  );
}

/** In words for whom it concerns; what only an administrator can read stays with them. */
function Calendar({ of: { condition, message } }: { of: CalendarConnection }) {
  const { t, named } = useWords();
  const status = condition?.status ?? 'unknown';
  const isTheirs = mendedByGrant.some((reason) => reason === condition?.reason);
  return (
    <>
      <Mark status={status} label={t(status === 'true' ? 'yes' : status === 'false' ? 'no' : 'unknown')} />{' '}
      {status === 'true' ? t('me.delegated') : null}
      {isTheirs ? t('me.notDelegated') : null}
      {status !== 'true' && !isTheirs ? (
        <>
          {condition?.reason ? `${named('reason', condition.reason)}. ` : ''}
          <Told>{message}</Told>
        </>
      ) : null}
    </>
  );
}

const notifications = ['bookingScheduled', 'bookingRescheduled', 'bookingCanceled', 'bookingReminders'] as const;
const choices = {
  dateFormat: ['DD/MM/YYYY', 'MM/DD/YYYY', 'YYYY-MM-DD', 'DD.MM.YYYY'],
  timeFormat: ['12h', '24h'],
  weekStart: ['Monday', 'Sunday', 'Saturday'],
} as const;

/** What everybody may change of the own profile; name, address, role and licenses are the directory's and the account's. */
function Profile({ user }: { user: AccountUser }) {
  const { t, named } = useWords();
  const client = useQueryClient();
  const [value, setValue] = useState({
    phone: user.phone ?? '',
    jobTitle: user.jobTitle ?? '',
    timeZone: user.timeZone ?? '',
    notifications: user.notifications as Record<string, boolean>,
    dateTime: user.dateTime as Record<string, string>,
  });
  const set = (changes: Partial<typeof value>): void => {
    save.reset();
    setValue({ ...value, ...changes });
  };
  const save = useMutation({
    mutationFn: () =>
      call('PATCH', `/account/users/${user.accountUserId}`, {
        ...value,
        phone: value.phone.trim() || null,
        jobTitle: value.jobTitle.trim() || null,
        timeZone: value.timeZone.trim() || null,
      }),
    onSuccess: () => client.invalidateQueries({ queryKey: ['me'] }),
  });
  return (
    <section className="card" aria-labelledby="profile">
      <h2 id="profile">{t('me.profile')}</h2>
      <dl className="data">
        <dt>{t('email')}</dt>
        <dd>{user.email}</dd>
        <dt>{t('users.role')}</dt>
        <dd>{user.role}</dd>
        <dt>{t('users.licenses')}</dt>
        <dd>{user.licenses.join(', ') || t('none')}</dd>
      </dl>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate();
        }}
      >
        <Field label={t('me.phone')}>
          <Input value={value.phone} onChange={(_event, data) => set({ phone: data.value })} />
        </Field>
        <Field label={t('me.jobTitle')}>
          <Input value={value.jobTitle} onChange={(_event, data) => set({ jobTitle: data.value })} />
        </Field>
        <Field label={t('fields.timeZone')}>
          <Input value={value.timeZone} onChange={(_event, data) => set({ timeZone: data.value })} />
        </Field>
        {Object.entries(choices).map(([name, options]) => (
          <Field key={name} label={t(`me.${name as keyof typeof choices}`)}>
            <Select
              value={value.dateTime[name] ?? ''}
              onChange={(_event, data) => set({ dateTime: { ...value.dateTime, [name]: data.value } })}
            >
              {options.map((option) => (
                <option key={option} value={option}>
                  {named('day', option)}
                </option>
              ))}
            </Select>
          </Field>
        ))}
        <fieldset>
          <legend>{t('me.mails')}</legend>
          {notifications.map((name) => (
            <Checkbox
              key={name}
              label={t(`me.${name}`)}
              checked={value.notifications[name] ?? false}
              onChange={(_event, data) =>
                set({ notifications: { ...value.notifications, [name]: data.checked === true } })
              }
            />
          ))}
        </fieldset>
        <p>
          <Button type="submit" disabledFocusable={save.isPending}>
            {t('save')}
          </Button>{' '}
          <span role="status">{save.isSuccess ? t('saved') : ''}</span>
        </p>
      </form>
      {save.isError ? <Fault error={save.error} /> : null}
    </section>
  );
}

/** A page of one's own is switched on and off by whoever owns it. */
function Own({ page }: { page: BookingPage }) {
  const { t } = useWords();
  const client = useQueryClient();
  const turn = useMutation({
    mutationFn: () => call('PATCH', `/account/booking-pages/${page.pageId}`, { enabled: !page.enabled }),
    onSettled: () => client.invalidateQueries({ queryKey: ['me', 'pages'] }),
  });
  return (
    <li>
      <Mark
        status={page.bookable.bookable}
        label={t(page.bookable.bookable === 'true' ? 'yes' : page.bookable.bookable === 'false' ? 'no' : 'unknown')}
      />{' '}
      <strong>{page.title}</strong> <span className="muted">({page.linkName})</span>{' '}
      <Button size="small" disabledFocusable={turn.isPending} onClick={() => turn.mutate()}>
        {t(page.enabled ? 'me.disable' : 'me.enable')}
        <span className="unseen">: {page.title}</span>
      </Button>
      <br />
      <Told>{page.bookable.message}</Told>
      {turn.isError ? <Fault error={turn.error} /> : null}
    </li>
  );
}
