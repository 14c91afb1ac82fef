/** What ran, what it found, and what the brake holds: each removal let through or kept, by whom and when. */
import { Button, Checkbox, Select } from '@fluentui/react-components';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useLocation } from 'wouter';
import { type Drift, get, type Items, type PlanItem, post, type Run } from '../api.ts';
import { useMay } from '../parts/session.ts';
import { Asked, Code, Empty, Fault, Page, Told, Whole } from '../parts/shown.tsx';
import { Sure } from '../parts/sure.tsx';
import { Table } from '../parts/table.tsx';
import { useWords } from '../words/index.tsx';

export function Runs() {
  const { t, named, time } = useWords();
  const [, go] = useLocation();
  const client = useQueryClient();
  const mayDecide = useMay('operator');
  const runs = useQuery({ queryKey: ['runs'], queryFn: () => get<Items<Run>>('/runs') });
  const reconcile = useMutation({
    mutationFn: () => post<Run>('/runs/reconcile', { apply: false }),
    onSuccess: ({ runId }) => {
      void client.invalidateQueries({ queryKey: ['runs'] });
      go(`/runs/${runId}`);
    },
  });
  return (
    <Page title={t('runs')} lead={t('runs.lead')}>
      {mayDecide ? (
        <div className="tools">
          <Button appearance="primary" disabledFocusable={reconcile.isPending} onClick={() => reconcile.mutate()}>
            {t('runs.compare')}
          </Button>
        </div>
      ) : null}
      {reconcile.isError ? <Fault error={reconcile.error} /> : null}
      <Asked of={runs}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty>{t('runs.none')}</Empty>
          ) : (
            <Table heads={[t('runs.run'), t('state'), t('source'), t('runs.began'), t('runs.expires')]}>
              {items.map((run) => (
                <tr key={run.runId}>
                  <td>
                    <Link href={`/runs/${run.runId}`}>{named('kind', run.kind)}</Link>
                  </td>
                  <td>{named('state', run.state)}</td>
                  <td>{run.source ?? '–'}</td>
                  <td className="tight">{time(run.createdAt)}</td>
                  <td className="tight">{run.state === 'held' ? time(run.expiresAt) : '–'}</td>
                </tr>
              ))}
            </Table>
          )
        }
      </Asked>
    </Page>
  );
}

export function RunPage({ runId }: { runId: string }) {
  const { t, named, time } = useWords();
  const run = useQuery({
    queryKey: ['run', runId],
    queryFn: () => get<Run>(`/runs/${runId}`),
    refetchInterval: ({ state }) => (state.data?.state === 'running' ? 1000 : false),
  });
  return (
    <Whole of={run} title={t('runs')}>
      {(shown) => (
        <Page
          title={named('kind', shown.kind)}
          lead={`${named('state', shown.state)} · ${time(shown.createdAt)}${shown.state === 'held' ? ` · ${t('runs.keptAt', { time: time(shown.expiresAt) })}` : ''}`}
        >
          {shown.removals.length > 0 ? <Removals run={shown} /> : null}
          {shown.kind === 'reconcile' ? <Differences run={shown} /> : null}
          {shown.kind === 'policy' ? <PlanItems run={shown} /> : null}
          {shown.removals.length === 0 && shown.kind !== 'reconcile' && shown.kind !== 'policy' ? (
            <Code>{JSON.stringify(shown.report ?? {}, null, 2)}</Code>
          ) : null}
        </Page>
      )}
    </Whole>
  );
}

function Removals({ run }: { run: Run }) {
  const { t, named } = useWords();
  const client = useQueryClient();
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [cause, setCause] = useState('');
  const decide = useMutation({
    mutationFn: ({ how, all }: { how: 'approve' | 'keep'; all: boolean }) =>
      // Exactly those who are to be seen: whoever was held since is not among them.
      post(`/runs/${run.runId}/${how}`, { only: all ? held.map(({ personId }) => personId) : [...picked] }),
    onSettled: () => {
      setPicked(new Set());
      void client.invalidateQueries();
    },
  });
  const mayDecide = useMay('operator');
  const causes = [...new Set(run.removals.map((removal) => removal.cause))];
  const decisions = mayDecide && run.state === 'held' ? (['approve', 'keep'] as const) : [];
  const shown = run.removals.filter((removal) => cause === '' || removal.cause === cause);
  const held = shown.filter(({ state }) => state === 'held');
  return (
    <>
      {run.state === 'held' ? <p>{t('runs.brake')}</p> : null}
      <div className="tools">
        <label className="field">
          {t('reason')}
          <Select
            value={cause}
            onChange={(_event, data) => {
              setPicked(new Set());
              setCause(data.value);
            }}
          >
            <option value="">{t('any')}</option>
            {causes.map((one) => (
              <option key={one} value={one}>
                {named('reason', one)}
              </option>
            ))}
          </Select>
        </label>
        {decisions.map((how) => (
          <Button
            key={how}
            disabledFocusable={picked.size === 0 || decide.isPending}
            onClick={() => decide.mutate({ how, all: false })}
          >
            {t(how === 'approve' ? 'runs.approvePicked' : 'runs.keepPicked', { count: picked.size })}
          </Button>
        ))}
        {decisions.map((how) => (
          <Sure
            key={how}
            label={t(how === 'approve' ? 'runs.approveAll' : 'runs.keepAll', { count: held.length })}
            disabled={held.length === 0 || decide.isPending}
            run={() => decide.mutate({ how, all: true })}
          />
        ))}
      </div>
      {decide.isError ? <Fault error={decide.error} /> : null}
      <Table
        heads={[t('users.pick'), t('users.name'), t('reason'), t('state'), t('runs.by')]}
        unseen={[t('users.pick')]}
      >
        {shown.map((removal) => {
          const name = removal.displayName ?? removal.userName;
          return (
            <tr key={removal.personId}>
              <td>
                {mayDecide && removal.state === 'held' ? (
                  <Checkbox
                    aria-label={t('users.pickOne', { name })}
                    checked={picked.has(removal.personId)}
                    onChange={() => {
                      const after = new Set(picked);
                      if (!after.delete(removal.personId)) after.add(removal.personId);
                      setPicked(after);
                    }}
                  />
                ) : null}
              </td>
              <td>
                <Link href={`/people/${removal.personId}`}>{name}</Link>
              </td>
              <td>{named('reason', removal.cause)}</td>
              <td>{named('state', removal.state)}</td>
              <td>
                <Decided {...removal} />
              </td>
            </tr>
          );
        })}
      </Table>
    </>
  );
}

/** By whom, and when. */
function Decided({ decidedBy, decidedAt }: { decidedBy: string | null; decidedAt: string | null }) {
  const { time } = useWords();
  return (
    <>
      {decidedBy ?? '–'}
      {decidedAt ? <div className="muted">{time(decidedAt)}</div> : null}
    </>
  );
}

function Differences({ run }: { run: Run }) {
  const { t, named, ago } = useWords();
  const client = useQueryClient();
  const [, go] = useLocation();
  const drift = useQuery({
    queryKey: ['run', run.runId, 'drift', run.state],
    queryFn: () => get<Items<Drift>>(`/runs/${run.runId}/drift`),
    enabled: run.state !== 'running',
  });
  const apply = useMutation({
    mutationFn: () => post<Run>(`/runs/${run.runId}/apply`),
    onSuccess: ({ runId }) => {
      void client.invalidateQueries({ queryKey: ['runs'] });
      go(`/runs/${runId}`);
    },
  });
  const mayDecide = useMay('operator');
  const report = (run.report ?? {}) as { apply?: boolean; error?: string };
  if (run.state === 'running') return <p role="status">{t('runs.running')}</p>;
  if (run.state === 'failed') return <Empty>{report.error}</Empty>;
  return (
    <Asked of={drift}>
      {({ items }) =>
        items.length === 0 ? (
          <Empty>{t('runs.inOrder')}</Empty>
        ) : (
          <>
            <div className="tools">
              {mayDecide && !report.apply && items.some((one) => one.mode === 'correct') ? (
                <Button appearance="primary" disabledFocusable={apply.isPending} onClick={() => apply.mutate()}>
                  {t('runs.correct')}
                </Button>
              ) : null}
              <Button as="a" href={`/api/v1/runs/${run.runId}/drift?format=csv`} download="drift.csv">
                CSV
              </Button>
            </div>
            {apply.isError ? <Fault error={apply.error} /> : null}
            <Table heads={[t('users.name'), t('runs.kind'), t('person.what'), t('runs.since'), t('acts'), t('state')]}>
              {items.map((one, index) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: a person may differ twice in a kind, and the list is never sorted anew
                <tr key={`${one.kind}${one.who}${index}`}>
                  <td>{one.personId ? <Link href={`/people/${one.personId}`}>{one.who}</Link> : one.who}</td>
                  <td>{named('kind', one.kind)}</td>
                  <td>
                    <Told>{one.what}</Told>
                  </td>
                  <td className="tight">{ago(one.since)}</td>
                  <td>{named('owner', one.owner)}</td>
                  <td>
                    {one.state === 'found' && one.mode === 'report' ? t('runs.reported') : named('state', one.state)}
                  </td>
                </tr>
              ))}
            </Table>
          </>
        )
      }
    </Asked>
  );
}

/** What a changed policy would take, person by person: decided like what the brake holds. */
function PlanItems({ run }: { run: Run }) {
  const { t, named } = useWords();
  const client = useQueryClient();
  const mayDecide = useMay('operator');
  const plan = useQuery({
    queryKey: ['run', run.runId, 'plan'],
    queryFn: () => get<Items<PlanItem>>(`/runs/${run.runId}/plan`),
  });
  const decide = useMutation({
    mutationFn: ({ how, only }: { how: 'approve' | 'keep'; only?: string[] }) =>
      post(`/runs/${run.runId}/${how}`, only ? { only } : {}),
    onSettled: () => client.invalidateQueries(),
  });
  return (
    <Asked of={plan}>
      {({ items }) => {
        const waiting = items.filter(({ state }) => state === 'waiting').length;
        return (
          <>
            <p>{t('runs.policy')}</p>
            {mayDecide && waiting > 0 ? (
              <div className="tools">
                {(['approve', 'keep'] as const).map((how) => (
                  <Sure
                    key={how}
                    label={t(how === 'approve' ? 'runs.takeAll' : 'runs.keepAll', { count: waiting })}
                    disabled={decide.isPending}
                    run={() => decide.mutate({ how })}
                  />
                ))}
              </div>
            ) : null}
            {decide.isError ? <Fault error={decide.error} /> : null}
            <Table
              heads={[t('users.name'), t('person.what'), t('state'), t('runs.by'), t('runs.decide')]}
              unseen={[t('runs.decide')]}
            >
              {items.map((item) => (
                <tr key={item.personId}>
                  <td>
                    <Link href={`/people/${item.personId}`}>{item.displayName ?? item.userName}</Link>
                  </td>
                  <td>
                    <Told>{item.what.join('; ')}</Told>
                  </td>
                  <td>{named('state', item.state)}</td>
                  <td>
                    <Decided {...item} />
                  </td>
                  <td className="tight">
                    {mayDecide && item.state === 'waiting'
                      ? (['approve', 'keep'] as const).map((how) => (
                          <Button
                            key={how}
                            size="small"
                            disabledFocusable={decide.isPending}
                            onClick={() => decide.mutate({ how, only: [item.personId] })}
                          >
                            {t(how === 'approve' ? 'runs.take' : 'runs.keep')}
                            <span className="unseen">: {item.userName}</span>
                          </Button>
                        ))
                      : null}
                  </td>
                </tr>
              ))}
            </Table>
          </>
        );
      }}
    </Asked>
  );
}
