/** The console's words, in the language of whoever looks, with dates and numbers as they write them. */
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from 'react';
import { de } from './de.ts';
import { en } from './en.ts';

export const languages = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof languages;
export type Key = keyof typeof en;
const dictionaries: Record<Language, Record<Key, string>> = { en, de };

export interface Words {
  language: Language;
  setLanguage(language: Language): void;
  /** `{name}` in a sentence is filled in; numbers as the language writes them. */
  t(key: Key, values?: Record<string, string | number>): string;
  /** Of a word that the API gave (a reason, a state): as it is, where there is none for it. */
  named(
    group: 'reason' | 'owner' | 'lifecycle' | 'kind' | 'state' | 'condition' | 'step' | 'connection' | 'alert' | 'day',
    name: string,
  ): string;
  number(value: number): string;
  /** From 0 to 1. */
  percent(share: number): string;
  time(value: string | null | undefined): string;
  ago(value: string | null | undefined): string;
}

const WordsContext = createContext<Words | null>(null);

export function useWords(): Words {
  const words = useContext(WordsContext);
  if (!words) throw new Error('outside of WordsProvider');
  return words;
}

const stored = 'usher-language';

function firstLanguage(): Language {
  const kept = localStorage.getItem(stored);
  const wished = kept ?? navigator.language.slice(0, 2);
  return wished in languages ? (wished as Language) : 'en';
}

export function WordsProvider({ children }: { children: ReactNode }) {
  const [language, set] = useState<Language>(firstLanguage);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  useEffect(() => {
    // Chosen in another tab, it holds in this one.
    const heard = (event: StorageEvent): void => {
      if (event.key === stored) set(firstLanguage());
    };
    window.addEventListener('storage', heard);
    return () => window.removeEventListener('storage', heard);
  }, []);
  const words = useMemo((): Words => {
    const dictionary = dictionaries[language];
    const numbers = new Intl.NumberFormat(language);
    const percents = new Intl.NumberFormat(language, { style: 'percent' });
    const times = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
    const since = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
    const t: Words['t'] = (key, values = {}) =>
      dictionary[key].replace(/\{(\w+)\}/g, (whole, name: string) => {
        const value = values[name];
        return value === undefined ? whole : typeof value === 'number' ? numbers.format(value) : value;
      });
    return {
      language,
      setLanguage(chosen) {
        localStorage.setItem(stored, chosen);
        set(chosen);
      },
      t,
      named: (group, name) => {
        const key = `${group}.${name}`;
        return key in dictionary ? dictionary[key as Key] : name.replaceAll('_', ' ');
      },
      number: (value) => numbers.format(value),
      percent: (share) => percents.format(Math.floor(share * 100) / 100),
      time: (value) => (value ? times.format(new Date(value)) : '–'),
      ago(value) {
        if (!value) return '–';
        const seconds = (new Date(value).getTime() - Date.now()) / 1000;
        for (const [unit, length] of units)
          if (Math.abs(seconds) >= length || unit === 'second') return since.format(Math.round(seconds / length), unit);
        return '–';
      },
    };
  }, [language]);
  return <WordsContext value={words}>{children}</WordsContext>;
}

const units = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const;
