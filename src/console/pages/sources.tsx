/** Where people come from: addresses, tokens, guides with the values filled in; the policy, and what another one would change. */
import { Button, Field, Input, Select, Textarea } from '@fluentui/react-components';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import {
  type AccountUser,
  type Alert,
  type Connections,
  call,
  get,
  type Items,
  type Listed,
  type PolicyDiff,
  post,
  query,
  type Source,
  type Token,
} from '../api.ts';
import { Copy } from '../parts/copy.tsx';
import { useMay } from '../parts/session.ts';
import { Asked, Code, Empty, Fault, Heard, Mark, Page, Told } from '../parts/shown.tsx';
import { Sure } from '../parts/sure.tsx';
import { Table } from '../parts/table.tsx';
import { useWords } from '../words/index.tsx';

export function Sources() {
  const { t } = useWords();
  const manages = useMay('operator', 'idp_admin');
  return (
    <Page title={t('sources')} lead={t('sources.lead')}>
      <div className="cards">
        <List manages={manages} />
        {manages ? <Tokens /> : null}
        <Guides />
        <ConnectionsCards />
        <AlertsCard />
        <PolicyCard />
      </div>
    </Page>
  );
}

const scimAddress = (): string => `${window.location.origin}/scim/v2`;

function List({ manages }: { manages: boolean }) {
  const { t } = useWords();
  const client = useQueryClient();
  const sources = useQuery({ queryKey: ['sources'], queryFn: () => get<Items<Source>>('/sources') });
  const act = useMutation({
    mutationFn: ({ name, how }: { name: string; how: 'pause' | 'resume' | 'poll' }) =>
      post(`/sources/${encodeURIComponent(name)}/${how}`),
    onSettled: () => client.invalidateQueries({ queryKey: ['sources'] }),
  });
  return (
    <section className="card" aria-labelledby="list">
      <h2 id="list">{t('sources.list')}</h2>
      <Asked of={sources}>
        {({ items }) => (
          <ul className="plain">
            {items.map((source) => (
              <li key={source.name} className="between">
                <span>
                  <strong>{source.name}</strong> ({source.kind})
                  <br />
                  <Heard source={source} />
                </span>
                {manages ? (
                  <span className="tools">
                    {source.kind === 'graph' ? (
                      <Button size="small" onClick={() => act.mutate({ name: source.name, how: 'poll' })}>
                        {t('sources.poll')}
                      </Button>
                    ) : null}
                    <Button
                      size="small"
                      onClick={() => act.mutate({ name: source.name, how: source.pausedAt ? 'resume' : 'pause' })}
                    >
                      {source.pausedAt ? t('sources.resume') : t('sources.pause')}
                    </Button>
                  </span>
                ) : null}
              </li>
            ))}
          </ul>
        )}
      </Asked>
      {act.isError ? <Fault error={act.error} /> : null}
    </section>
  );
}

function Tokens() {
  const { t, ago, time } = useWords();
  const client = useQueryClient();
  const [source, setSource] = useState('');
  const [label, setLabel] = useState('');
  const [days, setDays] = useState('');
  const tokens = useQuery({ queryKey: ['tokens'], queryFn: () => get<Items<Token>>('/tokens') });
  const sources = useQuery({ queryKey: ['sources'], queryFn: () => get<Items<Source>>('/sources') });
  const scim = (sources.data?.items ?? []).filter(({ kind }) => kind === 'scim');
  const again = () => client.invalidateQueries({ queryKey: ['tokens'] });
  const make = useMutation({
    mutationFn: (of: { source: string; label: string; expiresInDays?: number }) =>
      post<Token & { token: string }>('/tokens', of),
    onSettled: again,
  });
  const revoke = useMutation({ mutationFn: (id: string) => call('DELETE', `/tokens/${id}`), onSettled: again });
  return (
    <section className="card" aria-labelledby="tokens">
      <h2 id="tokens">{t('tokens')}</h2>
      <p>
        {t('tokens.address')} <code className="tokenvalue">{scimAddress()}</code> <Copy text={scimAddress()} />
      </p>
      {make.data ? (
        <div role="status" className="card below" ref={(shown) => shown?.scrollIntoView({ block: 'nearest' })}>
          <p>{t('tokens.once')}</p>
          <p>
            <code className="tokenvalue">{make.data.token}</code> <Copy text={make.data.token} />
          </p>
          <p className="muted">{t('tokens.then')}</p>
        </div>
      ) : null}
      <Asked of={tokens}>
        {({ items }) => (
          <ul className="plain">
            {items.map((token) => (
              <li key={token.tokenId} className="between">
                <span>
                  <strong>{token.label || token.kind}</strong>{' '}
                  {token.source ? `(${token.source})` : `(${t('tokens.admin')})`}
                  <br />
                  <span className="muted">
                    {t('tokens.made', { time: time(token.createdAt) })} ·{' '}
                    {token.lastUsedAt ? t('tokens.used', { ago: ago(token.lastUsedAt) }) : t('tokens.unused')}
                    {token.expiresAt ? ` · ${t('tokens.expires', { time: time(token.expiresAt) })}` : ''}
                  </span>
                </span>
                <span className="tools">
                  {token.source ? (
                    <Button
                      size="small"
                      disabledFocusable={make.isPending}
                      onClick={() =>
                        make.mutate({
                          source: token.source ?? '',
                          label: token.label,
                          // As long as the one before had been given.
                          ...(token.expiresAt ? { expiresInDays: daysOf(token.createdAt, token.expiresAt) } : {}),
                        })
                      }
                    >
                      {t('tokens.rotate')}
                      <span className="unseen">: {token.label || token.kind}</span>
                    </Button>
                  ) : null}
                  <Sure
                    size="small"
                    label={t('tokens.revoke')}
                    about={`${token.label || token.kind}, ${time(token.createdAt)}`}
                    text={t(token.label.startsWith('USHER_') ? 'tokens.revokeSettings' : 'tokens.revokeSure')}
                    disabled={revoke.isPending}
                    run={() => revoke.mutate(token.tokenId)}
                  />
                </span>
              </li>
            ))}
          </ul>
        )}
      </Asked>
      {revoke.isError ? <Fault error={revoke.error} /> : null}
      {scim.length > 0 ? (
        <form
          className="form"
          onSubmit={(event) => {
            event.preventDefault();
            make.mutate({
              source: source || (scim[0]?.name ?? ''),
              label,
              ...(days === '' ? {} : { expiresInDays: Number(days) }),
            });
          }}
        >
          <h3>{t('tokens.make')}</h3>
          <Field label={t('source')}>
            <Select value={source || scim[0]?.name} onChange={(_event, data) => setSource(data.value)}>
              {scim.map(({ name }) => (
                <option key={name}>{name}</option>
              ))}
            </Select>
          </Field>
          <Field label={t('tokens.label')}>
            <Input value={label} onChange={(_event, data) => setLabel(data.value)} />
          </Field>
          <Field label={t('tokens.days')}>
            <Input type="number" min={1} max={3650} value={days} onChange={(_event, data) => setDays(data.value)} />
          </Field>
          <p>
            <Button type="submit" disabledFocusable={make.isPending}>
              {t('tokens.make')}
            </Button>
          </p>
        </form>
      ) : null}
      {make.isError ? <Fault error={make.error} /> : null}
    </section>
  );
}

const daysOf = (from: string, to: string): number =>
  Math.max(1, Math.round((Date.parse(to) - Date.parse(from)) / 86_400_000));

function Guides() {
  const { t } = useWords();
  const guides = [
    ['Microsoft Entra ID', ['guide.entra1', 'guide.entra2', 'guide.entra3', 'guide.entra4']],
    ['Okta', ['guide.okta1', 'guide.okta2', 'guide.okta3']],
  ] as const;
  return (
    <section className="card" aria-labelledby="guides">
      <h2 id="guides">{t('guides')}</h2>
      {guides.map(([name, lines]) => (
        <details key={name}>
          <summary>{name}</summary>
          <ol>
            {lines.map((line) => (
              <li key={line}>{t(line, { address: scimAddress() })}</li>
            ))}
          </ol>
        </details>
      ))}
    </section>
  );
}

/** What is in force, and what an edited one would do to whom; nothing is done by looking. */
function PolicyCard() {
  const { t, number } = useWords();
  const [text, setText] = useState('');
  const policy = useQuery({
    queryKey: ['policy'],
    queryFn: () => get<{ version: string; text: string }>('/policy'),
  });
  const diff = useMutation({ mutationFn: () => post<PolicyDiff>('/policy/diff', { policy: text }) });
  return (
    <section className="card wide" aria-labelledby="policy">
      <h2 id="policy">{t('policy')}</h2>
      <Asked of={policy}>
        {(inForce) => (
          <details>
            <summary>{t('policy.inForce')}</summary>
            <p className="muted">{t('policy.version', { version: inForce.version })}</p>
            <Code>{inForce.text}</Code>
            <p>
              <Button onClick={() => setText(inForce.text)}>{t('policy.edit')}</Button>
            </p>
          </details>
        )}
      </Asked>
      <Field label={t('policy.try')}>
        <Textarea
          rows={8}
          value={text}
          onChange={(_event, data) => {
            setText(data.value);
            diff.reset();
          }}
        />
      </Field>
      <p>
        <Button disabledFocusable={text.trim() === '' || diff.isPending} onClick={() => diff.mutate()}>
          {t('policy.diff')}
        </Button>
      </p>
      {diff.isError ? <Faults error={diff.error} /> : null}
      {diff.data ? (
        <div role="status">
          <p>{t('policy.would', { gives: number(diff.data.gives), takes: number(diff.data.takes) })}</p>
          <p className="muted">{t('policy.apply')}</p>
          {diff.data.items.length === 0 ? <Empty>{t('policy.same')}</Empty> : null}
          <ul className="plain">
            {diff.data.items.slice(0, shownPeople).map((item) => (
              <li key={item.personId}>
                <strong>{item.userName}</strong>: <Told>{item.what.join('; ')}</Told>
              </li>
            ))}
          </ul>
          {diff.data.gives + diff.data.takes > shownPeople ? (
            <p className="muted">
              {t('delegation.shown', {
                count: Math.min(shownPeople, diff.data.items.length),
                all: diff.data.gives + diff.data.takes,
              })}
            </p>
          ) : null}
        </div>
      ) : null}
    </section>
  );
}

const shownPeople = 200;

/** Every fault of a policy at once, a line each. */
function Faults({ error }: { error: Error }) {
  const faults = error.message.split(' | ');
  if (faults.length < 2) return <Fault error={error} />;
  return (
    <div role="alert" lang="en">
      <ul>
        {faults.map((fault) => (
          <li key={fault}>{fault}</li>
        ))}
      </ul>
    </div>
  );
}

/** To whom it is told, and what was told. */
function AlertsCard() {
  const { t, named, time } = useWords();
  const alerts = useQuery({ queryKey: ['alerts'], queryFn: () => get<Items<Alert>>('/alerts') });
  const connections = useConnections();
  return (
    <section className="card wide" aria-labelledby="alerts">
      <h2 id="alerts">{t('alerts')}</h2>
      <Asked of={connections}>
        {({ alerts: told }) => (
          <dl className="data">
            <dt>{t('alerts.mail')}</dt>
            <dd>{told.mail.join(', ') || t('none')}</dd>
            <dt>{t('alerts.webhook')}</dt>
            <dd>
              {told.webhook ? `${told.webhook} · ${t('alerts.heartbeat', { hours: told.heartbeatHours })}` : t('none')}
            </dd>
            <dt>{t('alerts.seats')}</dt>
            <dd>{t('alerts.seatsLow', { count: told.seatsLow })}</dd>
          </dl>
        )}
      </Asked>
      <p className="muted">{t('alerts.text')}</p>
      <Asked of={alerts}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty>{t('alerts.none')}</Empty>
          ) : (
            <Table heads={[t('alerts.what'), t('alerts.raised'), t('alerts.resolved')]}>
              {items.map((alert) => (
                <tr key={`${alert.key} ${alert.raisedAt}`}>
                  <td>
                    <strong>{named('alert', alert.kind)}</strong>
                    <br />
                    <Told>{alert.message}</Told>
                  </td>
                  <td className="tight">{time(alert.raisedAt)}</td>
                  <td className="tight">{alert.resolvedAt ? time(alert.resolvedAt) : t('alerts.stands')}</td>
                </tr>
              ))}
            </Table>
          )
        }
      </Asked>
    </section>
  );
}

function Administrators() {
  const { t } = useWords();
  const users = useQuery({
    queryKey: ['administrators'],
    queryFn: () => get<Listed<AccountUser>>(`/account/users${query({ role: 'Administrator', limit: 100 })}`),
    retry: false,
  });
  if (!users.data) return null;
  return (
    <>
      <h3>{t('who.administrators')}</h3>
      <ul className="plain below">
        {users.data.items.map(({ accountUserId, name, email, status }) => (
          <li key={accountUserId}>
            {name}{' '}
            <span className="muted">
              {email} · <Told>{status}</Told>
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}

const useConnections = () =>
  useQuery({ queryKey: ['connections'], queryFn: () => get<Connections>('/connections'), staleTime: 60_000 });

/** The tenant with its permissions, and who may sign in. */
function ConnectionsCards() {
  const { t, named } = useWords();
  const connections = useConnections();
  const status = { given: 'true', missing: 'false', unsure: 'unknown' } as const;
  return (
    <Asked of={connections}>
      {({ account, graph, signIn, mails }) => (
        <>
          <section className="card" aria-labelledby="tenant">
            <h2 id="tenant">Microsoft 365</h2>
            {graph === null ? (
              <Empty>{t('tenant.none')}</Empty>
            ) : (
              <>
                <dl className="data">
                  <dt>{t('tenant.id')}</dt>
                  <dd>{graph.tenantId}</dd>
                  <dt>{t('tenant.app')}</dt>
                  <dd>{graph.clientId}</dd>
                </dl>
                {graph.trouble ? <p role="status">{graph.trouble}</p> : null}
                <ul className="plain">
                  {graph.permissions
                    .filter(({ needed, state }) => needed || state === 'given')
                    .map(({ permission, state, found }) => (
                      <li key={permission}>
                        <Mark status={status[state]} label={named('state', state)} /> {permission}
                        {state === 'given' ? null : <span className="muted"> ({found})</span>}
                      </li>
                    ))}
                </ul>
                <p>
                  <a href={graph.consentLink} rel="noreferrer" target="_blank">
                    {t('tenant.consent')}
                  </a>{' '}
                  <Button size="small" disabled={connections.isFetching} onClick={() => void connections.refetch()}>
                    {t('delegation.check')}
                  </Button>
                </p>
              </>
            )}
          </section>
          <section className="card" aria-labelledby="who">
            <h2 id="who">{t('who')}</h2>
            <ul className="plain">
              <li>
                <Mark status={signIn.entra ? 'true' : 'false'} label={signIn.entra ? t('yes') : t('no')} />{' '}
                {t('who.entra')}
              </li>
              <li>
                <Mark status={signIn.links ? 'true' : 'false'} label={signIn.links ? t('yes') : t('no')} />{' '}
                {t('who.links')}
              </li>
              <li>
                <Mark status={mails ? 'true' : 'false'} label={mails ? t('yes') : t('no')} /> {t('who.mails')}
              </li>
            </ul>
            <dl className="data">
              {Object.entries(signIn.groups)
                .filter(([, ids]) => ids.length > 0)
                .map(([role, ids]) => (
                  <div key={role} style={{ display: 'contents' }}>
                    <dt>{role}</dt>
                    <dd>{ids.join(', ')}</dd>
                  </div>
                ))}
            </dl>
            {account === 'builtin' ? <Administrators /> : null}
            <p className="muted">{t('who.text')}</p>
          </section>
        </>
      )}
    </Asked>
  );
}
