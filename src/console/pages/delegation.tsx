/** Whose calendar is not delegated, why, and what mends it. */
import { Button } from '@fluentui/react-components';
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { mendedByGrant } from '../../domain/delegation.ts';
import { type DelegationReport, get, post, query } from '../api.ts';
import { Copy } from '../parts/copy.tsx';
import { useMay } from '../parts/session.ts';
import { Asked, Code, Empty, Fault, Page, Told } from '../parts/shown.tsx';
import { Sure } from '../parts/sure.tsx';
import { Table } from '../parts/table.tsx';
import { useWords } from '../words/index.tsx';

const pageSize = 100;

export function Delegation() {
  const { t, named, number, ago } = useWords();
  const client = useQueryClient();
  const mayCheck = useMay('operator', 'exchange_admin');
  const [reason, setReason] = useState<string | null>(null);
  const report = useInfiniteQuery({
    queryKey: ['delegation', reason],
    queryFn: ({ pageParam, signal }) =>
      get<DelegationReport>(`/delegation${query({ reason, limit: pageSize, offset: pageParam })}`, signal),
    initialPageParam: 0,
    getNextPageParam: (last, all) => (all.length * pageSize < last.total ? all.length * pageSize : undefined),
    placeholderData: keepPreviousData,
  });
  const check = useMutation({
    mutationFn: (who: string[] | undefined) => post<{ checking: number }>('/delegation/check', who ? { who } : {}),
    onSettled: () => client.invalidateQueries({ queryKey: ['delegation'] }),
  });
  return (
    <Page title={t('delegation')} lead={t('delegation.lead')}>
      <Asked of={report}>
        {({ pages }) => {
          const { dedicatedMailbox, byReason = {}, assistedGrant, total = 0 } = pages[0] ?? {};
          const all = Object.values(byReason).reduce((sum, count) => sum + count, 0);
          const rows = pages.flatMap(({ items }) => items);
          return all === 0 ? (
            <Empty>{t('delegation.none')}</Empty>
          ) : (
            <>
              <p>
                {t('delegation.mailbox')} <strong>{dedicatedMailbox ?? '–'}</strong>
              </p>
              <div className="tools">
                <Button aria-pressed={reason === null} onClick={() => setReason(null)}>
                  {t('delegation.every', { count: all })}
                </Button>
                {Object.entries(byReason).map(([name, count]) => (
                  <Button key={name} aria-pressed={reason === name} onClick={() => setReason(name)}>
                    {named('reason', name)}: {number(count)}
                  </Button>
                ))}
              </div>
              <div className="tools">
                {mayCheck ? (
                  <Button
                    appearance="primary"
                    disabledFocusable={check.isPending}
                    onClick={() => check.mutate(undefined)}
                  >
                    {t('delegation.checkAll')}
                  </Button>
                ) : null}
                <Button as="a" href={`/api/v1/delegation${query({ format: 'csv', reason })}`} download="delegation.csv">
                  CSV
                </Button>
                {check.data ? (
                  <span role="status">{t('delegation.checking', { count: check.data.checking })}</span>
                ) : null}
              </div>
              {check.isError ? <Fault error={check.error} /> : null}
              {mayCheck && assistedGrant?.enabled ? <Grant {...assistedGrant} /> : null}
              {mendedByGrant.some((name) => byReason[name] && (reason === null || reason === name)) ? (
                <Script key={reason} reason={reason} />
              ) : null}
              <Table
                heads={[t('users.name'), t('reason'), t('acts'), t('checked'), t('delegation.check')]}
                unseen={[t('delegation.check')]}
              >
                {rows.map((item) => (
                  <tr key={item.personId}>
                    <td>
                      <Link href={`/people/${item.personId}`}>{item.name}</Link>
                      <br />
                      <span className="muted">{item.mailbox}</span>
                    </td>
                    <td>
                      <strong>{named('reason', item.reason)}</strong>
                      <br />
                      <Told>{item.message}</Told>
                    </td>
                    <td className="tight">{named('owner', item.owner)}</td>
                    <td className="tight">{ago(item.checkedAt)}</td>
                    <td>
                      {mayCheck ? (
                        <Button size="small" onClick={() => check.mutate([item.personId])}>
                          {t('delegation.check')}
                          <span className="unseen">: {item.name}</span>
                        </Button>
                      ) : null}
                    </td>
                  </tr>
                ))}
              </Table>
              <p className="tools">
                <span className="muted">{t('delegation.shown', { count: rows.length, all: total })}</span>
                {report.hasNextPage ? (
                  <Button disabled={report.isFetchingNextPage} onClick={() => void report.fetchNextPage()}>
                    {t('delegation.more')}
                  </Button>
                ) : null}
              </p>
            </>
          );
        }}
      </Asked>
    </Page>
  );
}

/** Read and run by an Exchange admin. */
function Script({ reason }: { reason: string | null }) {
  const { t } = useWords();
  const address = `/delegation/script${query({ reason })}`;
  const script = useQuery({
    queryKey: ['script', reason],
    gcTime: 0,
    queryFn: () => get<string>(address),
    enabled: false,
  });
  return (
    <section className="card below" aria-label={t('delegation.script')}>
      <div className="tools">
        <Button disabled={script.isFetching} onClick={() => void script.refetch()}>
          {t('delegation.script')}
        </Button>
        <Button as="a" href={`/api/v1${address}`} download="delegate.ps1">
          {t('delegation.download')}
        </Button>
        {script.isFetching ? <span role="status">{t('loading')}</span> : null}
        {script.data ? <Copy text={script.data} /> : null}
      </div>
      <p className="muted">{t('delegation.scriptText')}</p>
      {script.isError ? <Fault error={script.error} /> : null}
      {script.data ? <Code>{script.data}</Code> : null}
    </section>
  );
}

/** Where the policy lets Usher delegate by itself: first for whom, then, if whoever looks says so, it. */
function Grant({ everybody, pilot }: DelegationReport['assistedGrant']) {
  const { t } = useWords();
  const client = useQueryClient();
  const grant = useMutation({
    mutationFn: (plan: boolean) =>
      post<{ granting: number; items?: { personId: string; name: string; mailbox: string }[] }>('/delegation/grant', {
        plan,
      }),
    onSettled: () => client.invalidateQueries({ queryKey: ['delegation'] }),
  });
  const { granting = 0, items } = grant.data ?? {};
  return (
    <section className="card below" aria-labelledby="grant">
      <h2 id="grant">{t('grant')}</h2>
      <p>{everybody ? t('grant.everybody') : t('grant.pilot', { who: pilot.join(', ') || '–' })}</p>
      <div className="tools">
        <Button disabledFocusable={grant.isPending} onClick={() => grant.mutate(true)}>
          {t('grant.plan')}
        </Button>
        {items && granting > 0 ? (
          <Sure
            label={t('grant.do', { count: granting })}
            text={t('grant.sure')}
            disabled={grant.isPending}
            run={() => grant.mutate(false)}
          />
        ) : null}
        {grant.isPending ? <span role="status">{t('loading')}</span> : null}
      </div>
      {grant.isError ? <Fault error={grant.error} /> : null}
      {grant.data && !items ? <p role="status">{t('grant.done', { count: granting })}</p> : null}
      {items ? (
        granting === 0 ? (
          <p role="status">{t('grant.nobody')}</p>
        ) : (
          <ul className="plain">
            {items.map(({ personId, name, mailbox }) => (
              <li key={personId}>
                {name} <span className="muted">{mailbox}</span>
              </li>
            ))}
          </ul>
        )
      ) : null}
    </section>
  );
}
