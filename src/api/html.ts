/** Pages that need no script: sign-in, and the API described. Every value is escaped by the template itself. */
import { createHash } from 'node:crypto';
import type { Response } from 'express';

export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

const escaped = (value: unknown): string =>
  value instanceof Html
    ? value.text
    : Array.isArray(value)
      ? value.map(escaped).join('')
      : String(value ?? '').replace(/[&<>"']/g, (letter) => escapes[letter] ?? '');

export function html(parts: TemplateStringsArray, ...values: unknown[]): Html {
  return new Html(parts.reduce((text, part, index) => text + escaped(values[index - 1]) + part));
}

const style = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{max-width:46rem;margin:3rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}button,.button{font:inherit;padding:.6rem 1.2rem;border:0;border-radius:.3rem;background:#0f5ea8;color:#fff;text-decoration:none;display:inline-block;cursor:pointer}
button:focus-visible,.button:focus-visible,input:focus-visible{outline:3px solid #f2a900;outline-offset:2px}input{font:inherit;padding:.5rem;width:100%;max-width:24rem;box-sizing:border-box;margin:.2rem 0 .8rem;display:block}
a{color:#0f5ea8}.button{color:#fff}@media(prefers-color-scheme:dark){a:not(.button){color:#8ec2f5}}code{overflow-wrap:anywhere}dt{margin-top:.8rem}dd{margin:0 0 .2rem 1rem}.muted{opacity:.75}`;

/** Strict: no script, nothing from elsewhere, in no frame, and no address told to other sites. */
export function sendPage(response: Response, status: number, title: string, body: Html, language = 'en'): void {
  response
    .status(status)
    .set({
      'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'`,
      'Cache-Control': 'no-store',
      'Content-Language': language,
      Vary: 'Accept-Language',
      // Not no-referrer: a browser would then send «Origin: null» with our own forms.
      'Referrer-Policy': 'same-origin',
      'X-Content-Type-Options': 'nosniff',
    })
    .type('html')
    .send(
      html`<!doctype html><html lang="${language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex"><title>${title}</title><style>${new Html(style)}</style></head><body><main><h1>${title}</h1>${body}</main></body></html>`
        .text,
    );
}
