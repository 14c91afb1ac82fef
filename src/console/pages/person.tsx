/** One person: the four steps with evidence, reason and who acts; run them now; what was done, and what the provider sent. */
import { Badge, Button } from '@fluentui/react-components';
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useEffect, useState } from 'react';
import { Link, useLocation } from 'wouter';
import {
  type Condition,
  get,
  type HistoryRow,
  type Items,
  type LoggedRequest,
  type Person,
  type ProvisionResult,
  post,
  query,
  type Run,
  type Said,
} from '../api.ts';
import { Account, Permissions } from '../parts/account.tsx';
import { EditByHand } from '../parts/by-hand.tsx';
import { Instructions } from '../parts/instructions.tsx';
import { useMay } from '../parts/session.ts';
import { Asked, Code, Empty, Fault, Mark, Page, Told, Whole } from '../parts/shown.tsx';
import { Sure } from '../parts/sure.tsx';
import { Table } from '../parts/table.tsx';
import { useWords } from '../words/index.tsx';

export function PersonPage({ who }: { who: string }) {
  const { t } = useWords();
  const person = useQuery({
    queryKey: ['person', who],
    queryFn: () => get<Person>(`/people/${encodeURIComponent(who)}`),
  });
  const [, go] = useLocation();
  const { personId } = person.data ?? {};
  useEffect(() => {
    // An address of a mailbox may change under one's hands; the key does not.
    if (personId && personId !== who) go(`/people/${personId}`, { replace: true });
  }, [personId, who, go]);
  return (
    <Whole of={person} title={t('users')}>
      {(found) => <Shown person={found} title={found.displayName ?? found.userName ?? t('users')} />}
    </Whole>
  );
}

function Shown({ person, title }: { person: Person; title: string }) {
  const { t, named, time } = useWords();
  const client = useQueryClient();
  const mayAct = useMay('operator');
  const mayTakeBack = useMay();
  const mayReadRequests = useMay('operator', 'idp_admin');
  const run = useMutation({
    mutationFn: (plan: boolean) => post<ProvisionResult>(`/people/${person.personId}/provision`, { plan }),
    onSettled: () => client.invalidateQueries(),
  });
  const offboard = useMutation({
    mutationFn: () => post(`/people/${person.personId}/offboard`),
    onSettled: () => client.invalidateQueries(),
  });
  const restore = useMutation({
    mutationFn: () => post(`/people/${person.personId}/restore`),
    onSettled: () => client.invalidateQueries(),
  });
  const isLeaving = !['wanted', 'out_of_scope'].includes(person.lifecycle);
  // What would be refused is not offered; why not is said.
  const canReturn = useQuery({
    queryKey: ['person', person.personId, 'return', person.lifecycle],
    queryFn: () => post(`/people/${person.personId}/restore`, { plan: true }),
    enabled: mayAct && isLeaving,
    retry: false,
  });
  const runs = useQuery({
    queryKey: ['runs'],
    queryFn: () => get<Items<Run>>('/runs'),
    enabled: person.lifecycle === 'held',
  });
  const heldIn = runs.data?.items.find(({ removals }) =>
    removals.some(({ personId, state }) => personId === person.personId && state === 'held'),
  );
  const delegation = person.conditions.find(({ type }) => type === 'Delegation');
  return (
    <Page
      title={title}
      lead={
        <>
          {person.email ?? person.userName} · {t('source')} {person.source} · {named('lifecycle', person.lifecycle)}
          {person.rule ? <> · {t('person.rule', { rule: person.rule })}</> : null}{' '}
          <Badge color={person.ready ? 'success' : 'warning'} appearance="tint">
            {person.ready ? t('ready') : t('users.notReady')}
          </Badge>
        </>
      }
    >
      <div className="tools">
        {mayAct && person.lifecycle === 'wanted' ? (
          <>
            <Button appearance="primary" disabledFocusable={run.isPending} onClick={() => run.mutate(false)}>
              {t('person.provision')}
            </Button>
            <Button disabledFocusable={run.isPending} onClick={() => run.mutate(true)}>
              {t('person.plan')}
            </Button>
            <Sure
              label={t('person.offboard')}
              text={t('person.offboardSure')}
              disabled={offboard.isPending}
              run={() => offboard.mutate()}
            />
          </>
        ) : null}
        {mayAct && isLeaving && canReturn.isSuccess ? (
          <Sure
            label={t('person.restore')}
            text={t('person.restoreSure')}
            disabled={restore.isPending}
            run={() => restore.mutate()}
          />
        ) : null}
      </div>
      {person.leave && isLeaving ? (
        <p>
          {t('person.leaves', { time: time(person.leave.since), reason: named('reason', person.leave.cause) })}{' '}
          {heldIn ? <Link href={`/runs/${heldIn.runId}`}>{t('runs.decide')}</Link> : null}{' '}
          {person.lifecycle === 'held' && runs.isSuccess && !heldIn ? `${t('person.keptText')} ` : ''}
          {canReturn.isError ? <Told>{canReturn.error.message}</Told> : null}
        </p>
      ) : null}
      {run.isError || offboard.isError || restore.isError ? (
        <Fault error={run.error ?? offboard.error ?? restore.error} />
      ) : null}
      {run.data ? <Results result={run.data} plan={run.variables === true} /> : null}
      <div className="cards">
        <section className="card wide" aria-labelledby="steps">
          <h2 id="steps">{t('person.steps')}</h2>
          <ol className="steps">
            {person.conditions.map((condition) => (
              <Step key={condition.type} condition={condition} />
            ))}
          </ol>
        </section>
        {delegation && delegation.status !== 'true' && person.lifecycle === 'wanted' && person.email ? (
          <Instructions email={person.email} name={title} />
        ) : null}
        <Sources person={person} mayEdit={mayAct} />
        <Account person={person} mayAct={mayTakeBack} />
        <Permissions person={person} />
        <History personId={person.personId} />
        {mayReadRequests ? <Requests personId={person.personId} /> : null}
      </div>
    </Page>
  );
}

const attributes = ['email', 'givenName', 'familyName', 'department', 'title', 'timeZone', 'externalId'] as const;

/** Each source with what it says; what somebody said by hand is changed here. */
function Sources({ person: { personId, source }, mayEdit }: { person: Person; mayEdit: boolean }) {
  const { t, time } = useWords();
  const [editing, setEditing] = useState<Said | null>(null);
  const said = useQuery({
    queryKey: ['person', personId, 'sources'],
    queryFn: () => get<Items<Said>>(`/people/${personId}/sources`),
  });
  const stateOf = (one: Said): string => {
    if (one.deletedAt) return t('person.deleted', { time: time(one.deletedAt) });
    return t(one.active ? 'person.active' : 'person.inactive');
  };
  return (
    <section className="card" aria-labelledby="said">
      <h2 id="said">{t('person.said')}</h2>
      <Asked of={said}>
        {({ items }) =>
          items.map((one) => (
            <div key={one.source}>
              <h3 className="between">
                {t('person.saidBy', { source: one.source, state: stateOf(one) })}
                {mayEdit && one.kind === 'console' && one.source === source && !one.deletedAt ? (
                  <Button size="small" onClick={() => setEditing(one)}>
                    {t('edit')}
                  </Button>
                ) : null}
              </h3>
              <dl className="data">
                {attributes
                  .filter((name) => one[name])
                  .map((name) => (
                    <Fact
                      key={name}
                      name={
                        name === 'timeZone' ? t('person.timeZone') : name === 'email' ? t('email') : t(`fields.${name}`)
                      }
                    >
                      {one[name]}
                    </Fact>
                  ))}
                {one.groups.length > 0 ? <Fact name={t('person.groups')}>{one.groups.join(', ')}</Fact> : null}
              </dl>
            </div>
          ))
        }
      </Asked>
      <EditByHand personId={personId} said={editing} close={() => setEditing(null)} />
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div style={{ display: 'contents' }}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Step({ condition }: { condition: Condition }) {
  const { t, named, ago } = useWords();
  const evidence = Object.entries(condition.evidence ?? {});
  return (
    <li>
      <Mark
        status={condition.status}
        label={condition.status === 'true' ? t('yes') : t(condition.status === 'false' ? 'no' : 'unknown')}
      />
      <div className="body">
        <h3>
          {named('condition', condition.type)}
          {condition.reason ? <span className="muted"> · {named('reason', condition.reason)}</span> : null}
        </h3>
        <p style={{ margin: 0 }}>
          <Told>{condition.message}</Told>
        </p>
        <p className="muted" style={{ margin: 0 }}>
          {condition.status !== 'true' && condition.owner !== 'nobody'
            ? `${t('person.acts', { who: named('owner', condition.owner) })} `
            : ''}
          {t('person.checked', { ago: ago(condition.checkedAt) })}
          {condition.nextCheckAt && new Date(condition.nextCheckAt) > new Date()
            ? ` ${t('person.nextCheck', { ago: ago(condition.nextCheckAt) })}`
            : ''}
        </p>
        {evidence.length > 0 ? (
          <details>
            <summary>{t('person.evidence')}</summary>
            <dl className="data">
              {evidence.map(([name, value]) => (
                <Fact key={name} name={name}>
                  {typeof value === 'string' ? value : JSON.stringify(value)}
                </Fact>
              ))}
            </dl>
          </details>
        ) : null}
      </div>
    </li>
  );
}

function Results({ result, plan }: { result: ProvisionResult; plan: boolean }) {
  const { t, named, number } = useWords();
  return (
    <section className="card below" role="status" aria-label={t('person.result')}>
      <h2>{plan ? t('person.wouldDo') : t('person.result')}</h2>
      <Table heads={[t('person.step'), t('person.outcome'), t('person.what'), 'ms']}>
        {result.steps.map((step) => (
          <tr key={step.step}>
            <td className="tight">{named('step', step.step)}</td>
            <td className="tight">{named('state', step.outcome)}</td>
            <td>
              <Told>{step.message}</Told>
            </td>
            <td>{number(step.tookMs)}</td>
          </tr>
        ))}
      </Table>
    </section>
  );
}

function History({ personId }: { personId: string }) {
  const { t, time } = useWords();
  const history = useInfiniteQuery({
    queryKey: ['person', personId, 'history'],
    queryFn: ({ pageParam }) =>
      get<Items<HistoryRow> & { nextBefore: string | null }>(
        `/people/${personId}/history${query({ limit: 50, before: pageParam })}`,
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.nextBefore,
  });
  return (
    <section className="card wide" aria-labelledby="history">
      <h2 id="history">{t('person.history')}</h2>
      <Asked of={history}>
        {({ pages }) => (
          <ul className="plain">
            {pages
              .flatMap(({ items }) => items)
              .map((row) => (
                <li key={row.historyId}>
                  <details>
                    <summary>
                      {time(row.at)} · <strong lang="en">{row.action}</strong>{' '}
                      <span className="muted">{row.actor}</span>
                    </summary>
                    <Code>{JSON.stringify({ cause: row.cause, before: row.before, after: row.after }, null, 2)}</Code>
                  </details>
                </li>
              ))}
          </ul>
        )}
      </Asked>
      {history.hasNextPage ? (
        <p>
          <Button disabled={history.isFetchingNextPage} onClick={() => void history.fetchNextPage()}>
            {t('delegation.more')}
          </Button>
        </p>
      ) : null}
    </section>
  );
}

function Requests({ personId }: { personId: string }) {
  const { t, time } = useWords();
  const requests = useQuery({
    queryKey: ['person', personId, 'requests'],
    queryFn: () => get<Items<LoggedRequest>>(`/requests${query({ who: personId, limit: 20 })}`),
    retry: false,
  });
  if (!requests.data) return null;
  return (
    <section className="card wide" aria-labelledby="requests">
      <h2 id="requests">{t('person.requests')}</h2>
      {requests.data.items.length === 0 ? <Empty>{t('person.noRequests')}</Empty> : null}
      <ul className="plain">
        {requests.data.items.map((row) => (
          <li key={row.requestNo}>
            <details>
              <summary>
                {time(row.at)} · {row.method} {row.path} · {row.status}
              </summary>
              <Code>{JSON.stringify(row.body, null, 2)}</Code>
            </details>
          </li>
        ))}
      </ul>
      <p>
        <Link href="/sources">{t('sources')}</Link>
      </p>
    </section>
  );
}
