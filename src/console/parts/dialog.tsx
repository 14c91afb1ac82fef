/** The browser's own dialog: it keeps the focus inside, and gives it back. What is in it begins anew each time it opens. */
import { type ReactNode, useEffect, useRef } from 'react';

interface DialogProps {
  title: string;
  open: boolean;
  close(): void;
  children: ReactNode;
}

export function Dialog({ title, open, close, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} className="dialog" aria-label={title} onClose={close}>
      {open ? (
        <>
          <h2>{title}</h2>
          {children}
        </>
      ) : null}
    </dialog>
  );
}
