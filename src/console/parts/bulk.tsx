/** What is done to many at once: first what would be done, of each; then, if whoever looks says so, it; and what came of it, of each. */
import { Button, Select } from '@fluentui/react-components';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { get, type Person, type ProvisionResult, post } from '../api.ts';
import { useWords, type Words } from '../words/index.tsx';
import { Told } from './shown.tsx';
import { Sure } from './sure.tsx';

const acts = ['provision', 'check', 'offboard', 'restore'] as const;
type Act = (typeof acts)[number];

interface Row {
  id: string;
  who: string;
  what: string;
  isFault: boolean;
}

const doneBy = (result: ProvisionResult): string =>
  result.steps
    .filter(({ outcome }) => outcome !== 'nothing_to_do')
    .map(({ message }) => message)
    .join(' ');

/** Of one person; nothing is done. */
async function wouldDo(act: Act, person: Person, { t, named }: Words): Promise<string> {
  if (!concerns(act, person)) return t('bulk.nothing', { state: named('lifecycle', person.lifecycle) });
  const holds = (type: string) => person.conditions.some((one) => one.type === type && one.status === 'true');
  switch (act) {
    case 'provision':
      return (
        doneBy(await post<ProvisionResult>(`/people/${person.personId}/provision`, { plan: true })) ||
        t('users.asWished')
      );
    case 'check':
      return t('bulk.checkText');
    case 'offboard':
      return t('bulk.offboardText', {
        licenses: (holds('License') && person.licenses.join(', ')) || '–',
        pages: (holds('BookingPages') && person.bookingPages.join(', ')) || '–',
      });
    case 'restore':
      await post(`/people/${person.personId}/restore`, { plan: true });
      return t('person.restoreSure');
  }
}

/** Whom it does not concern it leaves alone, as the look before said. */
function concerns(act: Act, { lifecycle }: Person): boolean {
  if (act === 'offboard') return lifecycle === 'wanted' || lifecycle === 'held';
  if (act === 'restore') return lifecycle !== 'wanted' && lifecycle !== 'out_of_scope';
  return act === 'provision' || lifecycle === 'wanted';
}

async function perform(act: Act, person: Person, { t, named }: Words): Promise<string> {
  switch (act) {
    case 'provision':
      return doneBy(await post<ProvisionResult>(`/people/${person.personId}/provision`)) || t('users.asWished');
    case 'check':
      await post('/delegation/check', { who: [person.personId] });
      return t('bulk.checked');
    default:
      return named('lifecycle', (await post<Person>(`/people/${person.personId}/${act}`)).lifecycle);
  }
}

export function Bulk({ personIds, done }: { personIds: string[]; done(): void }) {
  const words = useWords();
  const { t } = words;
  const client = useQueryClient();
  const [act, setAct] = useState<Act>('provision');
  const [at, setAt] = useState(0);
  const each = useMutation({
    mutationFn: async (plan: boolean) => {
      const rows: Row[] = [];
      setAt(0);
      for (const id of personIds) {
        const row: Row = { id, who: id, what: '', isFault: false };
        try {
          const person = await get<Person>(`/people/${id}`);
          row.who = person.displayName ?? person.userName;
          row.what = await (plan || !concerns(act, person) ? wouldDo : perform)(act, person, words);
        } catch (error) {
          // One who can not is no reason to leave the others alone.
          row.what = error instanceof Error ? error.message : String(error);
          row.isFault = true;
        }
        rows.push(row);
        setAt(rows.length);
      }
      return { plan, rows };
    },
    onSettled: (_rows, _error, plan) => (plan ? undefined : client.invalidateQueries()),
  });
  const isPlanned = each.data?.plan === true;
  const isSerious = act === 'offboard';
  return (
    <section className="card below" aria-label={t('users.bulk')}>
      <div className="tools">
        <span>{t('users.picked', { count: personIds.length })}</span>
        <Select
          aria-label={t('bulk.act')}
          value={act}
          disabled={each.isPending}
          onChange={(_event, data) => {
            setAct(data.value as Act);
            each.reset();
          }}
        >
          {acts.map((one) => (
            <option key={one} value={one}>
              {t(`bulk.${one}`)}
            </option>
          ))}
        </Select>
        <Button onClick={() => each.mutate(true)} disabled={each.isPending}>
          {t('users.preview')}
        </Button>
        {isPlanned && isSerious ? (
          <Sure
            label={t('bulk.offboard')}
            text={t('person.offboardSure')}
            disabled={each.isPending}
            run={() => each.mutate(false)}
          />
        ) : null}
        {isPlanned && !isSerious ? (
          <Button appearance="primary" onClick={() => each.mutate(false)} disabled={each.isPending}>
            {t('users.provision')}
          </Button>
        ) : null}
        <Button appearance="subtle" disabledFocusable={each.isPending} onClick={done}>
          {t('users.unpick')}
        </Button>
        {each.isPending ? <span role="status">{t('home.of', { count: at, all: personIds.length })}</span> : null}
      </div>
      {each.data ? (
        <div role="status">
          <h2>{isPlanned ? t('person.wouldDo') : t('person.result')}</h2>
          {isSerious ? (
            <p>
              {t('bulk.brake')} <Link href="/runs">{t('runs')}</Link>
            </p>
          ) : null}
          <ul className="plain">
            {each.data.rows.map(({ id, who, what, isFault }) => (
              <li key={id}>
                <strong>{who}</strong>: {isFault ? `${t(isPlanned ? 'bulk.not' : 'state.failed')}: ` : ''}
                <Told>{what}</Told>
              </li>
            ))}
          </ul>
        </div>
      ) : null}
    </section>
  );
}
