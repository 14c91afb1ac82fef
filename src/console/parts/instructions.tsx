/** What somebody can do about their own calendar: to read, to copy, or to send. */
import { Button } from '@fluentui/react-components';
import { useQuery } from '@tanstack/react-query';
import { type DelegationWays, get, query } from '../api.ts';
import { useWords } from '../words/index.tsx';
import { Copy } from './copy.tsx';

export function Instructions({ email, name }: { email: string; name: string }) {
  const { t, language } = useWords();
  const ways = useQuery({
    queryKey: ['instructions', language],
    queryFn: () => get<DelegationWays>(`/delegation/instructions${query({ language })}`),
    retry: false,
    staleTime: 600_000,
  });
  if (!ways.data) return null;
  const steps = ways.data.ways
    .map(({ title, steps }) => `${title}\n${steps.map((step, index) => `${index + 1}. ${step}`).join('\n')}`)
    .join('\n\n');
  const text = `${t('instructions.letter', { name, mailbox: ways.data.dedicatedMailbox })}\n\n${steps}`;
  return (
    <section className="card wide" aria-labelledby="instructions">
      <h2 id="instructions">{t('instructions')}</h2>
      <div className="tools">
        <Copy text={text} />
        <Button
          as="a"
          href={`mailto:${encodeURIComponent(email)}?subject=${encodeURIComponent(t('instructions.subject'))}&body=${encodeURIComponent(text)}`}
        >
          {t('instructions.mail')}
        </Button>
      </div>
      <Steps ways={ways.data.ways} />
    </section>
  );
}

export function Steps({ ways }: { ways: DelegationWays['ways'] }) {
  return (
    <>
      {ways.map(({ title, steps }) => (
        <details key={title}>
          <summary>{title}</summary>
          <ol>
            {steps.map((step) => (
              <li key={step}>{step}</li>
            ))}
          </ol>
        </details>
      ))}
    </>
  );
}
