/** What cannot be taken back is asked twice: the first press asks, the second does it, anything else forgets the first. */
import { Button } from '@fluentui/react-components';
import { useState } from 'react';
import { useWords } from '../words/index.tsx';

interface SureProps {
  label: string;
  /** What it means, where the label does not say it all. */
  text?: string;
  disabled?: boolean;
  size?: 'small' | 'medium';
  run(): void;
}

export function Sure({ label, text, disabled = false, size = 'medium', run }: SureProps) {
  const { t } = useWords();
  const [asked, setAsked] = useState(false);
  if (!asked)
    return (
      <Button size={size} disabled={disabled} onClick={() => setAsked(true)}>
        {label} …
      </Button>
    );
  return (
    <span role="alertdialog" aria-label={label} className="sure">
      {text ? <span>{text}</span> : null}
      <Button
        size={size}
        appearance="primary"
        disabled={disabled}
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
