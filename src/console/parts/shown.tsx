/** What every page shows alike: its title, what it waits for, what failed, what is empty, and the four marks. */
import { Button, MessageBar, MessageBarBody, MessageBarTitle, Spinner } from '@fluentui/react-components';
import type { UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useEffect, useRef } from 'react';
import { type Condition, Problem, type Source } from '../api.ts';
import { useWords } from '../words/index.tsx';

export function Page({ title, lead, children }: { title: string; lead?: ReactNode; children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Usher`;
  }, [title]);
  return (
    <>
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {lead ? <p className="lead">{lead}</p> : <div className="lead" />}
      {children}
    </>
  );
}

/** What the API says is English, whatever language is chosen here (WCAG 3.1.2). */
export function Told({ children }: { children: ReactNode }) {
  return <span lang="en">{children}</span>;
}

/** A refusal in the API's own words, with what to do next. */
export function Fault({ error, again }: { error: unknown; again?: () => void }) {
  const { t } = useWords();
  const problem = error instanceof Problem ? error : null;
  return (
    <MessageBar intent="error" layout="multiline" role="alert">
      <MessageBarBody>
        <MessageBarTitle>{problem?.code === 'offline' ? t('fault.offline') : t('fault.title')}</MessageBarTitle>
        {problem?.code === 'offline' ? (
          t('fault.offlineText')
        ) : (
          <Told>
            {error instanceof Error ? error.message : String(error)}
            {/* A refusal names the field and the fix itself. */}
            {problem && problem.status >= 429 ? ` ${problem.next ?? ''}` : ''}
          </Told>
        )}{' '}
        {again ? (
          <Button size="small" onClick={again}>
            {t('again')}
          </Button>
        ) : null}
      </MessageBarBody>
    </MessageBar>
  );
}

/** Text as it is; what scrolls is reached by the keyboard. */
export function Code({ children }: { children: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <pre className="code" tabIndex={0}>
      {children}
    </pre>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <p className="muted">{children}</p>;
}

/** Shows what came; before that, that it comes; where it failed, why. */
export function Asked<T>({ of, children }: { of: UseQueryResult<T>; children: (data: T) => ReactNode }) {
  const { t } = useWords();
  const fault = of.isError ? <Fault error={of.error} again={() => void of.refetch()} /> : null;
  // What was known stays to be seen beside the fault.
  if (of.data !== undefined)
    return (
      <>
        {fault}
        {children(of.data)}
      </>
    );
  if (fault) return fault;
  return <Spinner label={t('loading')} />;
}

/** A page that is about one thing: until it is there, and where it is not, it is a page all the same. */
export function Whole<T>({
  of,
  title,
  children,
}: {
  of: UseQueryResult<T>;
  title: string;
  children: (data: T) => ReactNode;
}) {
  if (of.data !== undefined) return <Asked of={of}>{children}</Asked>;
  return (
    <Page title={title}>
      <Asked of={of}>{children}</Asked>
    </Page>
  );
}

/** When a source was last heard of. */
export function Heard({ source }: { source: Source }) {
  const { t, ago } = useWords();
  if (source.pausedAt) return <span className="muted">{t('sources.paused')}</span>;
  return <span className="muted">{source.lastHeardAt ? ago(source.lastHeardAt) : t('sources.never')}</span>;
}

const signs = { true: '✓', false: '✕', unknown: '?' } as const;

export function Mark({ status, label }: { status: Condition['status']; label: string }) {
  return (
    <span className={`mark ${status}`} role="img" aria-label={label} title={label}>
      {signs[status]}
    </span>
  );
}

export function Marks({ conditions }: { conditions: Condition[] }) {
  const { t, named } = useWords();
  return (
    <span className="marks">
      {conditions.map((condition) => (
        <Mark
          key={condition.type}
          status={condition.status}
          label={`${named('condition', condition.type)}: ${condition.status === 'true' ? t('yes') : condition.reason ? named('reason', condition.reason) : t(condition.status === 'false' ? 'no' : 'unknown')}`}
        />
      ))}
    </span>
  );
}
