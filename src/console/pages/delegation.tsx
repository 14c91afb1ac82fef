/** Whose calendar is not delegated, why, and what mends it. */
import { Button } from '@fluentui/react-components';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { get, post, query } from '../api.ts';
import { Copy } from '../parts/copy.tsx';
import { useMay } from '../parts/session.ts';
import { Asked, Code, Empty, Fault, Page, Told } from '../parts/shown.tsx';
import { Table } from '../parts/table.tsx';
import { useWords } from '../words/index.tsx';

interface Report {
  dedicatedMailbox: string | null;
  total: number;
  byReason: Record<string, number>;
  items: {
    personId: string;
    name: string;
    mailbox: string;
    reason: string;
    owner: string;
    message: string;
    since: string;
    checkedAt: string;
  }[];
}
/** What an Exchange admin's script can mend. */
const scripted = ['not_delegated', 'shared_not_delegated', 'role_too_low'];
const shownRows = 500;

export function Delegation() {
  const { t, named, number, ago } = useWords();
  const client = useQueryClient();
  const mayCheck = useMay('operator', 'exchange_admin');
  const [reason, setReason] = useState<string | null>(null);
  const report = useQuery({ queryKey: ['delegation'], queryFn: () => get<Report>('/delegation') });
  const script = useQuery({
    queryKey: ['delegation', 'script'],
    queryFn: () => get<string>('/delegation/script'),
    enabled: false,
  });
  const check = useMutation({
    mutationFn: (who: string[] | undefined) => post<{ checking: number }>('/delegation/check', who ? { who } : {}),
    onSettled: () => client.invalidateQueries({ queryKey: ['delegation'] }),
  });
  return (
    <Page title={t('delegation')} lead={t('delegation.lead')}>
      <Asked of={report}>
        {({ dedicatedMailbox, total, byReason, items }) => {
          const rows = items.filter((item) => reason === null || item.reason === reason);
          return total === 0 ? (
            <Empty>{t('delegation.none')}</Empty>
          ) : (
            <>
              <p>
                {t('delegation.mailbox')} <strong>{dedicatedMailbox ?? '–'}</strong>
              </p>
              <div className="tools">
                <Button aria-pressed={reason === null} onClick={() => setReason(null)}>
                  {t('delegation.every', { count: total })}
                </Button>
                {Object.entries(byReason).map(([name, count]) => (
                  <Button key={name} aria-pressed={reason === name} onClick={() => setReason(name)}>
                    {named('reason', name)}: {number(count)}
                  </Button>
                ))}
              </div>
              <div className="tools">
                {mayCheck ? (
                  <Button appearance="primary" disabled={check.isPending} onClick={() => check.mutate(undefined)}>
                    {t('delegation.checkAll')}
                  </Button>
                ) : null}
                {items.some((item) => scripted.includes(item.reason)) ? (
                  <Button onClick={() => void script.refetch()}>{t('delegation.script')}</Button>
                ) : null}
                <Button as="a" href={`/api/v1/delegation${query({ format: 'csv', reason })}`} download="delegation.csv">
                  CSV
                </Button>
                {check.data ? (
                  <span role="status">{t('delegation.checking', { count: check.data.checking })}</span>
                ) : null}
              </div>
              {check.isError || script.isError ? <Fault error={check.error ?? script.error} /> : null}
              {script.data ? (
                <section className="card below" aria-label={t('delegation.script')}>
                  <p>{t('delegation.scriptText')}</p>
                  <Copy text={script.data} />
                  <Code>{script.data}</Code>
                </section>
              ) : null}
              <Table
                heads={[t('users.name'), t('reason'), t('acts'), t('checked'), t('delegation.check')]}
                unseen={[t('delegation.check')]}
              >
                {rows.slice(0, shownRows).map((item) => (
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
              {rows.length > shownRows ? (
                <Empty>{t('delegation.more', { count: rows.length - shownRows })}</Empty>
              ) : null}
            </>
          );
        }}
      </Asked>
    </Page>
  );
}
