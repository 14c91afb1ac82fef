/** A real Chromium, Debian's own, in front of a real Usher: signed in, looked at by axe-core, photographed. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { adminToken, type Usher } from './usher.ts';

const binaries = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

function findChromium(): string | null {
  for (const name of binaries) {
    try {
      return execFileSync('sh', ['-c', `command -v ${name}`], { stdio: ['ignore', 'pipe', 'ignore'] })
        .toString()
        .trim();
    } catch {
      // the next one
    }
  }
  return null;
}

export function chromiumBinary(): string {
  const there = findChromium();
  if (there) return there;
  try {
    execFileSync('sh', ['-c', 'apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium'], {
      stdio: 'ignore',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  } catch {
    // may not, or is no Debian: the sentence below says what to do
  }
  const installed = findChromium();
  if (!installed)
    throw new Error('The tests need Chromium: install it (on Debian: apt-get install chromium) and run them again.');
  return installed;
}

export async function openBrowser(): Promise<Browser> {
  // As root, and in containers, Chromium's own sandbox can not start.
  return chromium.launch({
    executablePath: process.env.TEST_CHROMIUM ?? chromiumBinary(),
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}

export interface Watched {
  context: BrowserContext;
  page: Page;
  /** What the browser itself complained of: faults of scripts, refusals of the page's policy, requests to elsewhere. */
  complaints: string[];
}

export async function openPage(browser: Browser, usher: Usher, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    locale: 'en-GB',
    // A colour on its way from disabled to enabled has no contrast of its own.
    reducedMotion: 'reduce',
    baseURL: usher.address,
    ...options,
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(`script: ${error.message}`));
  page.on('console', (message) => {
    // A refusal of the API is an answer to the page, which shows it.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      complaints.push(message.text());
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith('http') && url.origin !== usher.address) complaints.push(`asked elsewhere: ${url}`);
  });
  return { context, page, complaints };
}

export async function signIn(page: Page, token = adminToken): Promise<void> {
  if (!page.url().endsWith('/sign-in')) await page.goto('/sign-in');
  await page.getByLabel(/^Admin.token$/i).fill(token);
  await page.locator('form[action="/sign-in/token"] button').click();
  await page.getByRole('heading', { level: 1 }).waitFor();
}

const axe = readFileSync(createRequire(path.resolve('package.json')).resolve('axe-core/axe.min.js'), 'utf8');

/** WCAG 2.2 AA, by axe-core: what it finds, a line each. Brought in by the debugger: the page's policy would let no script of ours in. */
export async function violations(page: Page): Promise<string[]> {
  const session = await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: axe });
  const { result } = await session.send('Runtime.evaluate', {
    expression: `axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
      .then((found) => JSON.stringify(found.violations.map((one) => one.id + ': ' + one.nodes.map((node) => node.html.slice(0, 120)).slice(0, 3).join(' | '))))`,
    awaitPromise: true,
    returnByValue: true,
  });
  await session.detach();
  return JSON.parse(String(result.value)) as string[];
}

const screens = path.resolve('test/browser/screens');

/** Kept to look at. */
export async function photograph(page: Page, name: string): Promise<void> {
  if (!existsSync(screens)) mkdirSync(screens, { recursive: true });
  await page.screenshot({ path: path.join(screens, `${name}.png`) });
}
