/** The frame: who is signed in, where one is, and what is said of the connection. Each page is loaded when it is opened. */
import { Button, MessageBar, MessageBarBody, Select, Spinner } from '@fluentui/react-components';
import { useQuery } from '@tanstack/react-query';
import { lazy, type ReactNode, Suspense, useEffect, useRef } from 'react';
import { Link, Route, Switch, useLocation } from 'wouter';
import { type Alert, get, type Items, type Run, type Session, type Worksheet } from './api.ts';
import { useEvents } from './events.ts';
import { Boundary } from './parts/boundary.tsx';
import { useKeptFocus } from './parts/focus.ts';
import { SessionContext } from './parts/session.ts';
import { Asked, Empty, Page } from './parts/shown.tsx';
import { type Key, type Language, languages, useWords } from './words/index.tsx';

const Home = lazy(async () => ({ default: (await import('./pages/home.tsx')).Home }));
const Users = lazy(async () => ({ default: (await import('./pages/users.tsx')).Users }));
const PersonPage = lazy(async () => ({ default: (await import('./pages/person.tsx')).PersonPage }));
const Onboard = lazy(async () => ({ default: (await import('./pages/onboard.tsx')).Onboard }));
const Delegation = lazy(async () => ({ default: (await import('./pages/delegation.tsx')).Delegation }));
const Runs = lazy(async () => ({ default: (await import('./pages/runs.tsx')).Runs }));
const RunPage = lazy(async () => ({ default: (await import('./pages/runs.tsx')).RunPage }));
const Tasks = lazy(async () => ({ default: (await import('./pages/tasks.tsx')).Tasks }));
const Sources = lazy(async () => ({ default: (await import('./pages/sources.tsx')).Sources }));
const Me = lazy(async () => ({ default: (await import('./pages/me.tsx')).Me }));

const places: { path: string; name: Key }[] = [
  { path: '/', name: 'home' },
  { path: '/users', name: 'users' },
  { path: '/onboard', name: 'onboard' },
  { path: '/delegation', name: 'delegation' },
  { path: '/runs', name: 'runs' },
  { path: '/tasks', name: 'tasks' },
  { path: '/sources', name: 'sources' },
];

/** Members see themselves; everybody else who may sign in may read. */
export const isMember = (session: Session): boolean =>
  session.role !== 'Administrator' && session.operatorRoles.length === 0;

export function App() {
  const session = useQuery({ queryKey: ['session'], queryFn: () => get<Session>('/session'), staleTime: 60_000 });
  return (
    <Asked of={session}>
      {(who) => (
        <SessionContext value={who}>
          <Frame session={who} />
        </SessionContext>
      )}
    </Asked>
  );
}

function Frame({ session }: { session: Session }) {
  const { t, language, setLanguage } = useWords();
  const member = isMember(session);
  const connection = useEvents(!member);
  const [location] = useLocation();
  const main = useRef<HTMLElement>(null);
  useKeptFocus(main);
  const before = useRef(location);
  useEffect(() => {
    // Whoever goes to another page by keyboard or by ear arrives at its beginning.
    if (before.current !== location) main.current?.focus();
    before.current = location;
  }, [location]);
  return (
    <>
      <header className="bar">
        <a className="skip" href="#main">
          {t('skip')}
        </a>
        <Link href="/" className="name">
          Usher
        </Link>
        {connection === 'away' ? (
          <MessageBar intent="warning">
            <MessageBarBody>{t('away')}</MessageBarBody>
          </MessageBar>
        ) : null}
        <Select
          aria-label={t('language')}
          size="small"
          value={language}
          onChange={(_event, data) => setLanguage(data.value as Language)}
        >
          {Object.entries(languages).map(([code, name]) => (
            <option key={code} value={code}>
              {name}
            </option>
          ))}
        </Select>
        <span className="muted">{session.name}</span>
        <form method="post" action="/sign-out">
          <Button type="submit" size="small">
            {t('signOut')}
          </Button>
        </form>
      </header>
      {member ? null : <Navigation location={location} />}
      <main id="main" className="page" ref={main} tabIndex={-1} style={member ? { gridColumn: '1 / -1' } : undefined}>
        <Boundary place={location}>
          <Suspense fallback={<Spinner label={t('loading')} />}>
            {member ? (
              <Me />
            ) : (
              <Switch>
                <Route path="/">{() => <Home />}</Route>
                <Route path="/users">{() => <Users />}</Route>
                <Route path="/people/:who">{({ who }) => <PersonPage who={who} />}</Route>
                <Route path="/onboard/:importId?">{({ importId }) => <Onboard importId={importId ?? null} />}</Route>
                <Route path="/delegation">{() => <Delegation />}</Route>
                <Route path="/runs">{() => <Runs />}</Route>
                <Route path="/runs/:runId">{({ runId }) => <RunPage runId={runId} />}</Route>
                <Route path="/tasks">{() => <Tasks />}</Route>
                <Route path="/sources">{() => <Sources />}</Route>
                <Route path="/me">{() => <Me />}</Route>
                <Route>
                  <Page title={t('nowhere')}>
                    <Empty>{t('nowhereText')}</Empty>
                  </Page>
                </Route>
              </Switch>
            )}
          </Suspense>
        </Boundary>
      </main>
    </>
  );
}

/** With a number where somebody is waited for. */
function Navigation({ location }: { location: string }) {
  const { t, number } = useWords();
  const alerts = useQuery({ queryKey: ['alerts'], queryFn: () => get<Items<Alert>>('/alerts') });
  const runs = useQuery({ queryKey: ['runs'], queryFn: () => get<Items<Run>>('/runs') });
  const tasks = useQuery({ queryKey: ['tasks'], queryFn: () => get<Items<Worksheet>>('/tasks/worksheets') });
  const counts: Partial<Record<Key, number>> = {
    home: alerts.data?.items.filter((alert) => !alert.resolvedAt).length ?? 0,
    runs: runs.data?.items.filter((run) => run.state === 'held').length ?? 0,
    tasks: tasks.data?.items.reduce((sum, sheet) => sum + sheet.tasks, 0) ?? 0,
  };
  return (
    <nav className="nav" aria-label={t('navigation')}>
      <ul>
        {places.map(({ path, name }): ReactNode => {
          const isHere =
            path === '/'
              ? location === '/'
              : location.startsWith(path) || (path === '/users' && location.startsWith('/people'));
          const count = counts[name] ?? 0;
          return (
            <li key={path}>
              <Link href={path} aria-current={isHere ? 'page' : undefined}>
                {t(name)}
                {count > 0 ? (
                  <span>
                    <span aria-hidden="true">{number(count)}</span>
                    <span className="unseen">{t('waiting', { count })}</span>
                  </span>
                ) : null}
              </Link>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}
