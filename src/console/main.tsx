/** The console begins here: the style sheets' nonce, the theme, the language, and the questions to the API. */
import {
  createDOMRenderer,
  FluentProvider,
  RendererProvider,
  webDarkTheme,
  webLightTheme,
} from '@fluentui/react-components';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode, useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';
import { Problem } from './api.ts';
import { App } from './app.tsx';
import './console.css';
import { WordsProvider } from './words/index.tsx';

const nonce = document.querySelector<HTMLMetaElement>('meta[name="usher-nonce"]')?.content ?? '';
const renderer = createDOMRenderer(document, { styleElementAttributes: { nonce } });
const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5000,
      // Whether the network is there is found out by asking: what fails is shown.
      networkMode: 'always',
      // A refusal is an answer; only what did not answer is asked again.
      retry: (times, error) => times < 2 && !(error instanceof Problem && error.status >= 400 && error.status < 500),
    },
    mutations: { networkMode: 'always' },
  },
});

const dark = window.matchMedia('(prefers-color-scheme: dark)');
function useDark(): boolean {
  return useSyncExternalStore(
    (changed) => {
      dark.addEventListener('change', changed);
      return () => dark.removeEventListener('change', changed);
    },
    () => dark.matches,
  );
}

function Console() {
  const isDark = useDark();
  return (
    <RendererProvider renderer={renderer} targetDocument={document}>
      <FluentProvider theme={isDark ? webDarkTheme : webLightTheme} className="console">
        <WordsProvider>
          <QueryClientProvider client={client}>
            <App />
          </QueryClientProvider>
        </WordsProvider>
      </FluentProvider>
    </RendererProvider>
  );
}

const root = document.getElementById('console');
if (root)
  createRoot(root).render(
    <StrictMode>
      <Console />
    </StrictMode>,
  );
