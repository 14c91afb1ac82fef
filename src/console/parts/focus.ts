/** Where what had the focus goes away, by what was done with it, the focus stays near: whoever uses the keyboard does not begin at the top again. */
import { type RefObject, useEffect } from 'react';

export function useKeptFocus(main: RefObject<HTMLElement | null>): void {
  useEffect(() => {
    const frame = main.current;
    if (!frame) return;
    let places: HTMLElement[] = [];
    const note = ({ target }: FocusEvent): void => {
      places = [];
      for (let at = target as HTMLElement | null; at && at !== frame; at = at.parentElement) places.push(at);
    };
    const forget = (): void => {
      places = [];
    };
    const look = new MutationObserver(() => {
      const [lost] = places;
      if (!lost || lost.isConnected || document.activeElement !== document.body) return;
      const near = places.find((place) => place.isConnected && place.matches('section, form, tr, li')) ?? frame;
      near.tabIndex = -1;
      near.focus({ preventScroll: true });
    });
    frame.addEventListener('focusin', note);
    // Somebody who clicks elsewhere means it.
    document.addEventListener('pointerdown', forget);
    look.observe(frame, { childList: true, subtree: true });
    return () => {
      frame.removeEventListener('focusin', note);
      document.removeEventListener('pointerdown', forget);
      look.disconnect();
    };
  }, [main]);
}
