/** What cannot be taken back is asked twice: the first press asks, the second does it, anything else forgets the first. */
import { Button } from '@fluentui/react-components';
import { useEffect, useRef, useState } from 'react';
import { useWords } from '../words/index.tsx';

interface SureProps {
  label: string;
  /** Whom or what it is about, where the label alone does not say. */
  about?: string;
  /** What it means, where the label does not say it all. */
  text?: string;
  disabled?: boolean;
  size?: 'small' | 'medium';
  run(): void;
}

export function Sure({ label, about, text, disabled = false, size = 'medium', run }: SureProps) {
  const { t } = useWords();
  const [asked, setAsked] = useState(false);
  const first = useRef<HTMLButtonElement>(null);
  const wasAsked = useRef(false);
  useEffect(() => {
    // Whoever answers goes on where the question was.
    if (wasAsked.current && !asked) first.current?.focus();
    wasAsked.current = asked;
  }, [asked]);
  const whom = about ? <span className="unseen">: {about}</span> : null;
  if (!asked)
    return (
      <Button ref={first} size={size} disabledFocusable={disabled} onClick={() => setAsked(true)}>
        {label} …{whom}
      </Button>
    );
  return (
    <span
      role="alertdialog"
      aria-label={about ? `${label}: ${about}` : label}
      className="sure"
      onKeyDown={({ key }) => {
        if (key === 'Escape') setAsked(false);
      }}
    >
      {text ? <span>{text}</span> : null}
      <Button
        size={size}
        appearance="primary"
        disabledFocusable={disabled}
        onClick={() => {
          setAsked(false);
          run();
        }}
      >
        {t('sure', { what: label })}
      </Button>
      <Button size={size} autoFocus onClick={() => setAsked(false)}>
        {t('cancel')}
      </Button>
    </span>
  );
}
