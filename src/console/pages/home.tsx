/** How many can be booked, what is in the way of the rest, and what waits for somebody. */
import { MessageBar, MessageBarBody, MessageBarTitle } from '@fluentui/react-components';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { countsByReason } from '../../domain/conditions.ts';
import {
  type Alert,
  type Connections,
  get,
  type Items,
  query,
  type ReadinessDay,
  type Run,
  type Source,
  type Summary,
  type Worksheet,
} from '../api.ts';
import { Asked, Empty, Heard, Mark, Page, Told } from '../parts/shown.tsx';
import { useWords } from '../words/index.tsx';

const order = ['Profile', 'Delegation', 'License', 'BookingPages'];

export function Home() {
  const { t } = useWords();
  const summary = useQuery({ queryKey: ['summary'], queryFn: () => get<Summary>('/summary') });
  return (
    <Page title={t('home')} lead={t('home.lead')}>
      <Alerts />
      <Asked of={summary}>
        {(counts) => (
          <div className="cards">
            <Readiness summary={counts} />
            <InTheWay summary={counts} />
            <Seats summary={counts} />
            <SourcesCard />
            <Waiting />
            <HealthCard />
            <Days />
          </div>
        )}
      </Asked>
    </Page>
  );
}

function Alerts() {
  const { ago, named } = useWords();
  const alerts = useQuery({ queryKey: ['alerts'], queryFn: () => get<Items<Alert>>('/alerts') });
  const standing = alerts.data?.items.filter((alert) => !alert.resolvedAt) ?? [];
  return (
    <>
      {standing.map((alert) => (
        <MessageBar key={alert.key} intent="warning" layout="multiline" className="below">
          <MessageBarBody>
            <MessageBarTitle>{named('alert', alert.kind)}</MessageBarTitle>
            <Told>{alert.message}</Told> ({ago(alert.raisedAt)})
          </MessageBarBody>
        </MessageBar>
      ))}
    </>
  );
}

function Readiness({ summary }: { summary: Summary }) {
  const { t, number, percent } = useWords();
  const wanted = summary.lifecycles.wanted ?? 0;
  if (summary.people === 0)
    return (
      <section className="card" aria-labelledby="ready">
        <h2 id="ready">{t('home.begin')}</h2>
        <p>{t('home.beginText')}</p>
        <ul className="plain">
          <li>
            <Link href="/onboard">{t('home.beginCsv')}</Link>
          </li>
          <li>
            <Link href="/sources">{t('home.beginScim')}</Link>
          </li>
          <li>
            <Link href="/users">{t('home.beginHand')}</Link>
          </li>
        </ul>
      </section>
    );
  const share = wanted === 0 ? 0 : summary.ready / wanted;
  const round = 2 * Math.PI * 42;
  return (
    <section className="card" aria-labelledby="ready">
      <h2 id="ready">{t('home.ready')}</h2>
      <div className="between middle">
        <div>
          <div className="big">{number(summary.ready)}</div>
          <p className="muted">{t('home.ofWanted', { count: wanted })}</p>
          <Link href="/users?ready=false&lifecycle=wanted">
            {t('home.notReady', { count: wanted - summary.ready })}
          </Link>
        </div>
        <svg width="100" height="100" viewBox="0 0 100 100" role="img" aria-label={percent(share)}>
          <circle cx="50" cy="50" r="42" fill="none" stroke="var(--colorNeutralBackground5)" strokeWidth="12" />
          <circle
            cx="50"
            cy="50"
            r="42"
            fill="none"
            stroke="var(--colorBrandStroke1)"
            strokeWidth="12"
            strokeDasharray={`${share * round} ${round}`}
            transform="rotate(-90 50 50)"
          />
          <text x="50" y="56" textAnchor="middle" fontSize="18" fill="var(--colorNeutralForeground1)">
            {percent(share)}
          </text>
        </svg>
      </div>
    </section>
  );
}

/** In the order of the steps: how many hold, and of the others the reasons, each a way to those people. */
function InTheWay({ summary }: { summary: Summary }) {
  const { t, number, named } = useWords();
  const wanted = summary.lifecycles.wanted ?? 0;
  if (wanted === 0) return null;
  return (
    <section className="card" aria-labelledby="way">
      <h2 id="way">{t('home.way')}</h2>
      <ul className="bars">
        {order.map((type) => {
          const counts = summary.conditions[type];
          if (!counts) return null;
          const reasons = Object.entries(countsByReason(counts)).sort((a, b) => b[1] - a[1]);
          return (
            <li key={type}>
              <strong>{named('condition', type)}</strong>
              <span>{t('home.of', { count: counts.true, all: wanted })}</span>
              <div className="track">
                <div className="fill" style={{ width: `${(100 * counts.true) / wanted}%` }} />
              </div>
              {reasons.map(([reason, count]) => (
                <Link key={reason} href={`/users${query({ condition: type, reason })}`}>
                  {named('reason', reason)}: {number(count)}
                </Link>
              ))}
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function Seats({ summary }: { summary: Summary }) {
  const { t, number } = useWords();
  const kinds = Object.entries(summary.licenses);
  return (
    <section className="card" aria-labelledby="seats">
      <h2 id="seats">{t('home.seats')}</h2>
      {kinds.length === 0 ? <Empty>{t('home.noPools')}</Empty> : null}
      <ul className="bars">
        {kinds.map(([kind, { bought, assigned, waiting }]) => (
          <li key={kind}>
            <strong>{kind}</strong>
            <span>
              {bought === null
                ? t('home.seatsUnlimited', { assigned })
                : t('home.of', { count: assigned, all: bought })}
            </span>
            {bought === null ? null : (
              <div className="track">
                <div className="fill" style={{ width: `${bought === 0 ? 0 : (100 * assigned) / bought}%` }} />
              </div>
            )}
            {waiting > 0 ? (
              <Link href="/users?condition=License&reason=no_seats_left">
                {t('home.seatsWaiting', { count: waiting })}
              </Link>
            ) : (
              <span className="muted">
                {bought === null ? '' : t('home.seatsFree', { count: number(bought - assigned) })}
              </span>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

function SourcesCard() {
  const { t } = useWords();
  const sources = useQuery({ queryKey: ['sources'], queryFn: () => get<Items<Source>>('/sources') });
  return (
    <section className="card" aria-labelledby="sources">
      <h2 id="sources">{t('sources.list')}</h2>
      <Asked of={sources}>
        {({ items }) => (
          <ul className="plain">
            {items.map((source) => (
              <li key={source.name} className="between">
                <Link href={`/users${query({ source: source.name })}`}>
                  {source.name} <span className="muted">({source.kind})</span>
                </Link>
                <Heard source={source} />
              </li>
            ))}
          </ul>
        )}
      </Asked>
    </section>
  );
}

function Waiting() {
  const { t, number } = useWords();
  const runs = useQuery({ queryKey: ['runs'], queryFn: () => get<Items<Run>>('/runs') });
  const tasks = useQuery({ queryKey: ['tasks'], queryFn: () => get<Items<Worksheet>>('/tasks/worksheets') });
  const held = runs.data?.items.filter((run) => run.state === 'held') ?? [];
  const sheets = tasks.data?.items ?? [];
  return (
    <section className="card" aria-labelledby="waits">
      <h2 id="waits">{t('home.waits')}</h2>
      {held.length + sheets.length === 0 ? <Empty>{t('home.nothingWaits')}</Empty> : null}
      <ul className="plain">
        {held.map((run) => (
          <li key={run.runId}>
            <Link href={`/runs/${run.runId}`}>
              {t('home.held', { count: run.removals.filter(({ state }) => state === 'held').length })}
            </Link>
          </li>
        ))}
        {sheets.map((sheet) => (
          <li key={sheet.kind} className="between">
            <Link href="/tasks">{sheet.title}</Link>
            <span>{number(sheet.tasks)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Each connection by itself, with what mends it. */
function HealthCard() {
  const { t, named } = useWords();
  const connections = useQuery({
    queryKey: ['connections'],
    queryFn: () => get<Connections>('/connections'),
    refetchInterval: 60_000,
  });
  const status = { ok: 'true', fault: 'false', off: 'unknown' } as const;
  return (
    <section className="card" aria-labelledby="health">
      <h2 id="health">{t('home.health')}</h2>
      <Asked of={connections}>
        {({ health }) => (
          <ul className="plain">
            {health.map(({ connection, state, found, next }) => (
              <li key={connection}>
                <Mark status={status[state]} label={named('state', state)} />{' '}
                <strong>{named('connection', connection)}</strong>{' '}
                <Told>
                  <span className="muted">
                    {found}
                    {next ? `. ${next}` : ''}
                  </span>
                </Told>
              </li>
            ))}
          </ul>
        )}
      </Asked>
    </section>
  );
}

/** Thirty days in a picture; the table below it says the same to whoever does not see it. */
function Days() {
  const { t, language } = useWords();
  const days = useQuery({ queryKey: ['summary', 'days'], queryFn: () => get<Items<ReadinessDay>>('/summary/days') });
  const day = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'short', timeZone: 'UTC' });
  return (
    <section className="card wide" aria-labelledby="days">
      <h2 id="days">{t('home.days')}</h2>
      <Asked of={days}>
        {({ items }) => {
          if (items.every(({ people }) => people === 0)) return <Empty>{t('home.noDays')}</Empty>;
          const most = Math.max(1, ...items.map(({ people }) => people));
          const step = 600 / 30;
          return (
            <>
              <svg viewBox="0 0 600 120" width="100%" height="120" preserveAspectRatio="none" aria-hidden="true">
                {items.map(({ day: at, people, ready }, index) => (
                  <g key={at}>
                    <rect
                      x={index * step + 2}
                      y={120 - (people / most) * 115}
                      width={step - 4}
                      height={(people / most) * 115}
                      fill="var(--colorNeutralBackground5)"
                    />
                    <rect
                      x={index * step + 2}
                      y={120 - (ready / most) * 115}
                      width={step - 4}
                      height={(ready / most) * 115}
                      fill="var(--colorBrandBackground)"
                    />
                  </g>
                ))}
              </svg>
              <details>
                <summary>{t('home.daysTable')}</summary>
                <table className="table">
                  <thead>
                    <tr>
                      <th>{t('day')}</th>
                      <th>{t('home.wanted')}</th>
                      <th>{t('home.ready')}</th>
                    </tr>
                  </thead>
                  <tbody>
                    {items.map((row) => (
                      <tr key={row.day}>
                        <td>{day.format(new Date(row.day))}</td>
                        <td>{row.people}</td>
                        <td>{row.ready}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </details>
            </>
          );
        }}
      </Asked>
    </section>
  );
}
